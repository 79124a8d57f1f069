package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bearer tokens of the clients with the scope scim: 256 bits each.
var (
	corpToken   = strings.Repeat("c0", 32)
	secondToken = strings.Repeat("d1", 32)
	chooseToken = strings.Repeat("e2", 32)
	otherToken  = strings.Repeat("f3", 32)
	wireToken   = strings.Repeat("a4", 32)
	xmppToken   = strings.Repeat("b5", 32)
)

func tokenHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var managers = caller{id: "corp-scim", secret: secret}

// scimClients are the clients by which the providers of the settings manage their users.
var scimClients = `
  - {id: corp-scim, auth: secret, secret_sha256: ` + tokenHash(secret) + `, grants: [client_credentials], scopes: [scim], domains: [example.com], scim: {provider: dev, token_sha256: ["` + tokenHash(corpToken) + `", "` + tokenHash(secondToken) + `"]}}
  - {id: choose-scim, auth: none, scopes: [scim], domains: [choose.example], scim: {token_sha256: ["` + tokenHash(chooseToken) + `"]}}
  - {id: other-scim, auth: none, scopes: [scim], domains: [example.org], scim: {token_sha256: ["` + tokenHash(otherToken) + `"]}}
  - {id: wire-scim, auth: none, scopes: [scim], domains: [wire.example], scim: {token_sha256: ["` + tokenHash(wireToken) + `"]}}
  - {id: xmpp-scim, auth: none, scopes: [scim], domains: [xmpp.example], scim: {token_sha256: ["` + tokenHash(xmppToken) + `"]}}
`

// scim sends a request of a provider with its bearer token.
func (s *site) scim(t *testing.T, token, method, path string, body any, header ...string) answer {
	t.Helper()
	text := ""
	switch body := body.(type) {
	case nil:
	case rawBody:
		text = string(body)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	req := s.request(t, method, "/scim/v2"+path, text)
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.send(t, s.http, req)
}

const (
	schemaUser  = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaPatch = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

func patch(operations ...object) object {
	return object{"schemas": []string{schemaPatch}, "Operations": operations}
}

func setActive(active any) object {
	return patch(object{"op": "replace", "path": "active", "value": active})
}

func newUser(name, subject string) object {
	return object{"schemas": []string{schemaUser}, "userName": name, "externalId": subject}
}

// wantSCIM wants an error of SCIM (RFC 7644 §3.12).
func wantSCIM(t *testing.T, a answer, status int, kind string) {
	t.Helper()
	schemas, _ := a.json["schemas"].([]any)
	if a.status != status || a.text("scimType") != kind || a.text("status") != strconv.Itoa(status) || a.text("detail") == "" ||
		len(schemas) != 1 || schemas[0] != "urn:ietf:params:scim:api:messages:2.0:Error" ||
		a.header.Get("Content-Type") != "application/scim+json" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer = %v with headers %v, want %d %s as an error of SCIM", a, a.header, status, kind)
	}
}

// filtered asks for the users that a filter matches, and returns their userNames.
func (s *site) filtered(t *testing.T, token, filter string) (names []string) {
	t.Helper()
	a := s.scim(t, token, http.MethodGet, "/Users?filter="+url.QueryEscape(filter), nil)
	wantStatus(t, a, http.StatusOK)
	list, _ := a.json["Resources"].([]any)
	for _, v := range list {
		names = append(names, v.(object)["userName"].(string))
	}
	if total, _ := a.json["totalResults"].(float64); int(total) != len(names) {
		t.Errorf("filter %s: totalResults = %v with %d users", filter, a.json["totalResults"], len(names))
	}
	return names
}

// TestSCIMShapes plays the requests of known providers.
func TestSCIMShapes(t *testing.T) {
	s := start(t, nil)
	files, err := filepath.Glob("testdata/scim/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("files = %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var script struct {
				ContentType string
				Steps       []struct {
					Name, Method, Path string
					Body               json.RawMessage
					Status             int
					Keep               string
					Want               object
				}
			}
			decode(t, text, &script)
			kept := ""
			for _, step := range script.Steps {
				var body any
				if step.Body != nil {
					body = rawBody(strings.ReplaceAll(string(step.Body), "${id}", kept))
				}
				path := strings.ReplaceAll(step.Path, "${id}", kept)
				if strings.HasPrefix(step.Name, "import") { // all users of the provider, of both files
					path += "&filter=" + url.QueryEscape(`active eq false`)
				}
				a := s.scim(t, corpToken, step.Method, path, body, "Content-Type", script.ContentType)
				if a.status != step.Status || a.header.Get("Content-Type") != "application/scim+json" {
					t.Fatalf("%s = %v, want %d", step.Name, a, step.Status)
				}
				if step.Keep != "" {
					if kept = a.text(step.Keep); a.header.Get("Location") != s.issuer+"/scim/v2/Users/"+kept || a.header.Get("ETag") == "" {
						t.Errorf("%s: headers = %v", step.Name, a.header)
					}
				}
				for name, want := range step.Want {
					if got := member(a.json, name); !reflect.DeepEqual(got, want) {
						t.Errorf("%s: %s = %v, want %v", step.Name, name, got, want)
					}
				}
			}
		})
	}
}

// memberNames returns the names of the members of an object, in order.
func memberNames(o object) string { return strings.Join(slices.Sorted(maps.Keys(o)), " ") }

// member returns a member of an object by its path, nil if there is none.
func member(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case object:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		}
	}
	return v
}

// TestSCIMDisables holds that a provider which disables a person ends all access before it is answered, and that it can undo that.
func TestSCIMDisables(t *testing.T) {
	s := start(t, nil)
	phone, laptop, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, also, his := s.login(t, phone, "alice"), s.login(t, laptop, "alice"), s.login(t, bobs, "bob")
	code := s.code(t, "alice", nil)
	if got := s.filtered(t, corpToken, `externalId eq "dev-10021"`); len(got) != 1 || got[0] != "alice@example.com" {
		t.Fatalf("users = %q, want alice", got)
	}
	id := deviceOf(t, held).Local()
	var off answer
	events := s.audited(func() {
		for range 2 {
			off = s.scim(t, corpToken, http.MethodPatch, "/Users/"+id, setActive("False"))
			wantStatus(t, off, http.StatusOK)
		}
	})
	want := "event=user.disabled actor=client domain=example.com user=" + id + " client=corp-scim address=127.0.0.1"
	if off.json["active"] != false || len(events) != 1 || !sameFields(events[0], want) {
		t.Errorf("answer = %v with events %q, want one like %s", off, events, want)
	}
	for _, x := range []struct {
		d *device
		h tokens
	}{{phone, held}, {laptop, also}} {
		s.wantInactive(t, x.h.access)
		wantError(t, s.token(t, app, x.d, refreshForm(x.h.refresh)), http.StatusBadRequest, "invalid_grant")
	}
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	v := s.visit(t, "alice", nil)
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusForbidden)
	s.wantAlive(t, bobs, his)

	on := s.scim(t, corpToken, http.MethodPut, "/Users/"+id, object{"schemas": []string{schemaUser}, "userName": "alice", "active": true})
	if on.status != http.StatusOK || on.json["active"] != true {
		t.Fatalf("answer = %v, want an active user", on)
	}
	wantError(t, s.token(t, app, phone, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantAlive(t, phone, s.login(t, phone, "alice"))
	// A PUT without active changes nothing about it.
	s.scim(t, corpToken, http.MethodPatch, "/Users/"+id, setActive(false))
	if a := s.scim(t, corpToken, http.MethodPut, "/Users/"+id, newUser("alice", "dev-10021")); a.json["active"] != false {
		t.Errorf("PUT without active = %v, want an inactive user", a)
	}
}

// sameFields reports whether an event in the log has the fields of another.
func sameFields(event, want string) bool {
	for field := range strings.FieldsSeq(want) {
		if !strings.Contains(event+" ", field+" ") {
			return false
		}
	}
	return true
}

// TestSCIMProvisions holds that a user who was created ahead of the first login is the one who signs in, unless they are inactive.
func TestSCIMProvisions(t *testing.T) {
	s := start(t, nil)
	var made answer
	events := s.audited(func() {
		made = s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice.early@EXAMPLE.com", "dev-10021"))
	})
	wantStatus(t, made, http.StatusCreated)
	want := "event=user.provisioned actor=client domain=example.com user=" + made.text("id") + " client=corp-scim address=127.0.0.1"
	if len(events) != 1 || !sameFields(events[0], want) || strings.Contains(events[0], "early") {
		t.Errorf("events = %q, want one like %s", events, want)
	}
	d := newDevice(t)
	held := s.login(t, d, "alice")
	if deviceOf(t, held).Local() != made.text("id") || held.set.Handle != "im:%40alice.early@example.com" {
		t.Errorf("login = %+v, want the user %s", held.set, made)
	}

	inactive := newUser("bob.early", bobSubject)
	inactive["active"] = "false"
	made = s.scim(t, corpToken, http.MethodPost, "/Users", inactive)
	if made.status != http.StatusCreated || made.json["active"] != false {
		t.Fatalf("answer = %v, want an inactive user", made)
	}
	v := s.visit(t, "bob", nil)
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusForbidden)
	wantStatus(t, s.scim(t, corpToken, http.MethodPatch, "/Users/"+made.text("id"), setActive(true)), http.StatusOK)
	if his := s.login(t, newDevice(t), "bob"); deviceOf(t, his).Local() != made.text("id") {
		t.Errorf("login = %+v, want the user %s", his.set, made)
	}

	// What is taken.
	for name, body := range map[string]object{
		"externalId": newUser("someone", "dev-10021"), "userName": newUser("alice.early", "new"), "another spelling": newUser("ALICE.Early@example.com", "new"),
		"a user id": newUser(made.text("id"), "new"),
	} {
		t.Run(name, func(t *testing.T) {
			wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", body), http.StatusConflict, "uniqueness")
		})
	}
	for name, body := range map[string]any{
		"no userName": object{"schemas": []string{schemaUser}, "externalId": "x"}, "an empty one": newUser("", "x"), "no externalId": object{"schemas": []string{schemaUser}, "userName": "x1"},
		"null": object{"schemas": []string{schemaUser}, "userName": "x1", "externalId": nil}, "another domain": newUser("erin@example.org", "x"),
		"a reserved name": newUser("admin", "x"), "characters": newUser("er in", "x"), "a number": object{"schemas": []string{schemaUser}, "userName": 7, "externalId": "x"},
		"active": object{"schemas": []string{schemaUser}, "userName": "erin", "externalId": "x", "active": "yes"}, "long": newUser("erin", strings.Repeat("x", 1025)),
	} {
		t.Run(name, func(t *testing.T) {
			wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", body), http.StatusBadRequest, "invalidValue")
		})
	}
	for name, body := range map[string]string{
		"nothing": "", "a list": "[]", "repeated": `{"schemas":["` + schemaUser + `"],"userName":"erin","externalId":"x","userName":"mallory"}`,
		"in two cases": `{"schemas":["` + schemaUser + `"],"active":true,"externalId":"x","userName":"erin","Active":false}`,
		"by URN":       `{"schemas":["` + schemaUser + `"],"active":true,"externalId":"x","userName":"erin","` + schemaUser + `:active":false}`,
		"no schemas":   `{"userName":"erin","externalId":"x"}`, "other schemas": `{"schemas":["` + schemaPatch + `"],"userName":"erin","externalId":"x"}`,
		"deep": strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), "truncated": `{"schemas":["` + schemaUser + `"],"userName":"er`,
	} {
		t.Run(name, func(t *testing.T) {
			wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", rawBody(body)), http.StatusBadRequest, "invalidSyntax")
		})
	}
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", rawBody(`{"x":"`+strings.Repeat("x", 70<<10)+`"}`)), http.StatusRequestEntityTooLarge, "")
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", newUser("erin", "x"), "Content-Type", "text/plain"), http.StatusUnsupportedMediaType, "")
	if got := s.filtered(t, corpToken, `userName eq "erin"`); got != nil {
		t.Errorf("users = %q, want none after refusals", got)
	}
	s.advance(t, time.Hour)
	later := s.scim(t, corpToken, http.MethodPost, "/Users", newUser("frank", "dev-9"))
	wantStatus(t, later, http.StatusCreated)

	// Other systems, and a provider that does not decide about handles.
	for token, want := range map[string]string{wireToken: "frank@wire.example", xmppToken: "frank@xmpp.example", chooseToken: "frank@choose.example"} {
		a := s.scim(t, token, http.MethodPost, "/Users", newUser("Frank", "dev-9"))
		if a.status != http.StatusCreated || a.text("userName") != want {
			t.Errorf("answer = %v, want %s", a, want)
		}
		renamed := s.scim(t, token, http.MethodPatch, "/Users/"+a.text("id"), patch(object{"op": "replace", "path": "userName", "value": "frances"}))
		if wire := token == wireToken; renamed.status != http.StatusOK || (renamed.text("userName") == want) == wire {
			t.Errorf("rename = %v, want %s to stay unless the domain is of Wire", renamed, want)
		}
	}
}

// TestSCIMCallers holds who may manage users, and whose.
func TestSCIMCallers(t *testing.T) {
	s := start(t, nil)
	held := s.login(t, newDevice(t), "alice")
	id := deviceOf(t, held).Local()
	d := newDevice(t)
	own := s.service(t, managers, d, url.Values{"resource": {s.issuer}})
	for name, a := range map[string]answer{
		"bearer token": s.scim(t, corpToken, http.MethodGet, "/Users/"+id, nil), "second token": s.scim(t, secondToken, http.MethodGet, "/Users/"+id, nil),
		"access token": s.held(t, d, own, http.MethodGet, "/scim/v2/Users/"+id, nil),
	} {
		if a.status != http.StatusOK || a.text("userName") != "alice@example.com" {
			t.Errorf("%s = %v, want alice", name, a)
		}
	}
	wantStatus(t, s.held(t, d, own, http.MethodPatch, "/scim/v2/Users/"+id, setActive(true)), http.StatusOK)

	// Users of other domains and providers do not exist for a client.
	foreign := s.scim(t, otherToken, http.MethodPost, "/Users", newUser("alice", "dev-10021"))
	wantStatus(t, foreign, http.StatusCreated)
	s.moveLinkOf(t, id, "https://elsewhere.example", "bobs")
	unlinked := deviceOf(t, s.login(t, newDevice(t), "bob")).Local()
	for token, user := range map[string]string{corpToken: foreign.text("id"), otherToken: unlinked, secondToken: id} {
		wantSCIM(t, s.scim(t, token, http.MethodGet, "/Users/"+user, nil), http.StatusNotFound, "")
		wantSCIM(t, s.scim(t, token, http.MethodPatch, "/Users/"+user, setActive(false)), http.StatusNotFound, "")
		wantSCIM(t, s.scim(t, token, http.MethodPut, "/Users/"+user, newUser("mallory", "m")), http.StatusNotFound, "")
		if got := s.filtered(t, token, `id eq "`+user+`"`); got != nil {
			t.Errorf("users = %q, want none", got)
		}
	}
	if got := s.filtered(t, corpToken, `userName eq "alice"`); got != nil {
		t.Errorf("users = %q, want none who are not linked", got)
	}
	s.wantActive(t, held.access)

	// Everybody else.
	for name, ask := range map[string]struct {
		authorization string
		status        int
		challenge     string
	}{
		"nobody": {"", 401, "Bearer"}, "a wrong token": {"Bearer " + strings.Repeat("9", 64), 401, `error="invalid_token"`}, "an empty one": {"Bearer ", 401, "Bearer"},
		"the hash": {"Bearer " + tokenHash(corpToken), 401, "Bearer"}, "a part": {"Bearer " + corpToken[:63], 401, "Bearer"}, "the access token as bearer": {"Bearer " + own, 401, "Bearer"},
		"the secret": {basic(managers.id, secret), 401, "Bearer"}, "a refresh token": {"Bearer " + held.refresh, 401, "Bearer"},
		"an access token without a proof": {"DPoP " + own, 401, "DPoP"}, "the bearer token as DPoP": {"DPoP " + corpToken, 401, "DPoP"},
	} {
		req := s.request(t, http.MethodGet, "/scim/v2/Users", "")
		if ask.authorization != "" {
			req.Header.Set("Authorization", ask.authorization)
		}
		a := s.send(t, s.http, req)
		wantSCIM(t, a, ask.status, "")
		if got := strings.Join(a.header.Values("WWW-Authenticate"), ", "); !strings.Contains(got, ask.challenge) {
			t.Errorf("%s: challenge = %q, want %s", name, got, ask.challenge)
		}
	}
	phone := newDevice(t)
	hers := s.account(t, phone, "bob")
	for name, token := range map[string]string{
		"a user": s.forIssuer(t, phone, hers, "account").access, "a service with another scope": s.service(t, auditor, phone, url.Values{"resource": {s.issuer}}),
	} {
		if a := s.held(t, phone, token, http.MethodGet, "/scim/v2/Users", nil); a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
			t.Errorf("%s = %v, want 403 insufficient_scope", name, a)
		} else {
			wantSCIM(t, a, http.StatusForbidden, "")
		}
	}
	wantSCIM(t, s.held(t, d, s.service(t, managers, d, nil), http.MethodGet, "/scim/v2/Users", nil), http.StatusUnauthorized, "") // for the domain

	// The bearer token is for nothing else.
	for _, path := range []string{"/me/devices", "/me/actors", "/events"} {
		req := s.request(t, http.MethodGet, path, "")
		req.Header.Set("Authorization", "Bearer "+corpToken)
		if a := s.send(t, s.http, req); a.status != http.StatusUnauthorized {
			t.Errorf("%s with the bearer token = %v, want 401", path, a)
		}
	}
	wantError(t, s.token(t, caller{id: "choose-scim"}, d, url.Values{"grant_type": {"client_credentials"}}), http.StatusBadRequest, "unauthorized_client")
	wantError(t, s.token(t, caller{id: managers.id, secret: corpToken}, d, url.Values{"grant_type": {"client_credentials"}}), http.StatusUnauthorized, "invalid_client")

	// Without such a client there is nothing.
	s.reload(t, map[string]string{"scim": ""})
	wantSCIM(t, s.scim(t, corpToken, http.MethodGet, "/Users/"+id, nil), http.StatusNotFound, "")
}

// moveLinkOf links a user to another account at another provider.
func (s *site) moveLinkOf(t *testing.T, user, issuer, subject string) {
	t.Helper()
	line := object{"user": user, "to": object{"iss": issuer, "sub": subject}}
	wantStatus(t, s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/links?domain=example.com", string(encode(line)))), http.StatusOK)
}

// TestSCIMLists holds pages, filters and projections.
func TestSCIMLists(t *testing.T) {
	s := start(t, nil)
	ids := make(map[string]bool)
	for i := range 205 {
		u := newUser(fmt.Sprintf("user%d", i), fmt.Sprint("s", i))
		u["active"] = i%2 == 0
		a := s.scim(t, corpToken, http.MethodPost, "/Users", u)
		wantStatus(t, a, http.StatusCreated)
		ids[a.text("id")] = true
	}
	page := func(query string) answer {
		t.Helper()
		a := s.scim(t, corpToken, http.MethodGet, "/Users?"+query, nil)
		wantStatus(t, a, http.StatusOK)
		return a
	}
	seen := make(map[string]bool)
	for at := 1; at <= 205; at += 60 {
		a := page(fmt.Sprintf("startIndex=%d&count=60", at))
		if a.json["totalResults"] != 205.0 || a.json["startIndex"] != float64(at) || a.json["itemsPerPage"] != float64(min(60, 206-at)) {
			t.Errorf("page at %d = %v of %v from %v", at, a.json["itemsPerPage"], a.json["totalResults"], a.json["startIndex"])
		}
		for _, v := range a.json["Resources"].([]any) {
			id := v.(object)["id"].(string)
			if seen[id] || !ids[id] {
				t.Errorf("user %s is there twice or is not one of the provider", id)
			}
			seen[id] = true
		}
	}
	for query, want := range map[string][3]float64{ // total, start, items
		"": {205, 1, 100}, "count=100000": {205, 1, 200}, "count=0": {205, 1, 0}, "count=-5": {205, 1, 0}, "startIndex=0&count=1": {205, 1, 1},
		"startIndex=-9&count=1": {205, 1, 1}, "startIndex=206": {205, 206, 0}, "startIndex=2000000000": {205, 2000000000, 0},
		"filter=active+eq+true": {103, 1, 100}, "filter=active+eq+false&count=200": {102, 1, 102}, "filter=active+eq+%22False%22&startIndex=100": {102, 100, 3},
		"sortBy=userName&sortOrder=descending&count=1": {205, 1, 1},
	} {
		a := page(query)
		if got := [3]float64{a.json["totalResults"].(float64), a.json["startIndex"].(float64), a.json["itemsPerPage"].(float64)}; got != want {
			t.Errorf("%s = %v, want %v", query, got, want)
		}
	}
	for query, kind := range map[string]string{
		"count=many": "invalidValue", "startIndex=1.5": "invalidValue", "count=99999999999999999999": "invalidValue", "filter=x": "invalidFilter",
		"attributes=id&excludedAttributes=id": "invalidValue", "count=1&count=2": "",
	} {
		wantSCIM(t, s.scim(t, corpToken, http.MethodGet, "/Users?"+query, nil), http.StatusBadRequest, kind)
	}

	// Filters find by exact values, whatever is in them.
	for filter, want := range map[string]string{
		`userName eq "user7"`: "user7@example.com", `USERNAME EQ "USER7@Example.COM"`: "user7@example.com", `userName eq "user7@example.org"`: "",
		`externalId eq "s7"`: "user7@example.com", `externalId eq "S7"`: "", `(externalId eq "s7") and active eq false`: "user7@example.com",
		`externalId eq "s7" and active eq true`: "", `externalId eq "s7" and userName eq "user8"`: "", `externalId eq "s7" and externalId eq "s8"`: "",
		`active eq true and active eq false`: "", schemaUser + `:userName eq "user7"`: "user7@example.com",
		`externalId eq "s7' OR '1'='1"`: "", `externalId eq "s7\" or externalId eq \"s8"`: "", `externalId eq "%"`: "", `externalId eq "s_"`: "", `userName eq "*"`: "",
		`id eq "../Users"`: "", `externalId eq "\u0000"`: "", `userName eq "user7\u0000"`: "", `externalId eq "s7; DROP TABLE users"`: "",
	} {
		if got := strings.Join(s.filtered(t, corpToken, filter), " "); got != want {
			t.Errorf("filter %s = %q, want %q", filter, got, want)
		}
	}
	for _, filter := range []string{
		`userName eq "user7" or active eq true`, `userName co "user"`, `userName sw "u"`, `not (active eq true)`, `userName pr`, `externalId ne "s7"`,
		`password eq "x"`, `meta.created gt "2011-05-13T04:42:34Z"`, `emails[type eq "work"]`, `userName eq user7`, `userName eq "user7`, `active eq 1`,
		`externalId eq true`, `(active eq true`, `active eq true)`, `active eq true active eq true`, `active eq true and`, `and`, `()`, `"`, `userName eq "\x"`,
		`externalId eq "s7"or externalId eq "s8"`, `1 eq 1`, `userName eq "a" UNION SELECT 1`, strings.Repeat("(", 9) + "active eq true" + strings.Repeat(")", 9),
		strings.Repeat("active eq true and ", 16) + "active eq true", `externalId eq "` + strings.Repeat("x", 2100) + `"`, "active\teq\ttrue", "active eq\ntrue",
	} {
		wantSCIM(t, s.scim(t, corpToken, http.MethodGet, "/Users?filter="+url.QueryEscape(filter), nil), http.StatusBadRequest, "invalidFilter")
	}

	// Projections.
	for query, want := range map[string]string{
		"attributes=userName": "id schemas userName", "excludedAttributes=meta,userName,id,schemas": "active externalId id schemas",
		"attributes=META.location, ACTIVE": "active id meta schemas", "attributes=nothing": "id schemas", "excludedAttributes=nothing": "active externalId id meta schemas userName",
	} {
		a := page(strings.ReplaceAll(query, " ", "+") + "&count=1")
		if got := memberNames(a.json["Resources"].([]any)[0].(object)); got != want {
			t.Errorf("%s = %q, want %q", query, got, want)
		}
	}
}

// TestSCIMChanges holds PATCH and PUT: their forms, their preconditions, and that all of a request happens or nothing.
func TestSCIMChanges(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.login(t, newDevice(t), "bob")
	path := "/Users/" + deviceOf(t, held).Local()
	for name, test := range map[string]struct {
		body any
		kind string
	}{
		"no operations": {patch(), "invalidSyntax"}, "an unknown op": {patch(object{"op": "move", "path": "active", "value": false}), "invalidSyntax"},
		"no op": {patch(object{"path": "active", "value": false}), "invalidSyntax"}, "an operation that is none": {rawBody(`{"schemas":["` + schemaPatch + `"],"Operations":[1]}`), "invalidSyntax"},
		"operations that are none": {rawBody(`{"schemas":["` + schemaPatch + `"],"Operations":{}}`), "invalidSyntax"}, "no schema": {object{"Operations": []object{{"op": "replace", "path": "active", "value": false}}}, "invalidSyntax"},
		"a value twice": {rawBody(`{"schemas":["` + schemaPatch + `"],"Operations":[{"op":"replace","path":"active","value":true,"Value":false}]}`), "invalidSyntax"},
		"no value":      {patch(object{"op": "replace", "path": "active"}), "invalidValue"}, "no boolean": {patch(object{"op": "replace", "path": "active", "value": "no"}), "invalidValue"},
		"a list": {patch(object{"op": "replace", "path": "active", "value": []bool{false}}), "invalidValue"}, "no path and no object": {patch(object{"op": "replace", "value": false}), "invalidValue"},
		"a path": {patch(object{"op": "replace", "path": "active or", "value": false}), "invalidPath"}, "an open filter": {patch(object{"op": "replace", "path": "emails[type", "value": "x"}), "invalidPath"},
		"a number as path": {patch(object{"op": "replace", "path": 1, "value": false}), "invalidPath"}, "removal of nothing": {patch(object{"op": "remove"}), "noTarget"},
		"removal of active": {patch(object{"op": "Remove", "path": "active"}), "mutability"}, "removal of userName": {patch(object{"op": "remove", "path": schemaUser + ":userName"}), "mutability"},
		"a taken name": {patch(object{"op": "replace", "path": "userName", "value": "bob"}), "uniqueness"}, "a reserved name": {patch(object{"op": "replace", "path": "userName", "value": "admin"}), "invalidValue"},
		"a bad operation after a good one": {patch(object{"op": "replace", "path": "active", "value": false}, object{"op": "replace", "path": "active", "value": 7}), "invalidValue"},
	} {
		t.Run(name, func(t *testing.T) {
			status := http.StatusBadRequest
			if test.kind == "uniqueness" {
				status = http.StatusConflict
			}
			wantSCIM(t, s.scim(t, corpToken, http.MethodPatch, path, test.body), status, test.kind)
		})
	}
	// The name is taken, so the user does not become active either.
	wantStatus(t, s.scim(t, corpToken, http.MethodPatch, path, setActive(false)), http.StatusOK)
	wantSCIM(t, s.scim(t, corpToken, http.MethodPut, path, object{"schemas": []string{schemaUser}, "userName": "bob", "active": true}), http.StatusConflict, "uniqueness")
	now := s.scim(t, corpToken, http.MethodGet, path, nil)
	if now.json["active"] != false || now.text("userName") != "alice@example.com" {
		t.Fatalf("user = %v, want an inactive alice", now)
	}

	// Entity tags.
	tag := now.header.Get("ETag")
	if tag == "" || member(now.json, "meta.version") != tag {
		t.Fatalf("ETag = %q, want meta.version in %v", tag, now)
	}
	if a := s.scim(t, corpToken, http.MethodGet, path, nil, "If-None-Match", `"x", `+tag); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("answer = %v, want 304", a)
	}
	for _, stale := range []string{`W/"x"`, `""`, `"*"`, tag[:8]} {
		wantSCIM(t, s.scim(t, corpToken, http.MethodPatch, path, setActive(true), "If-Match", stale), http.StatusPreconditionFailed, "")
	}
	on := s.scim(t, corpToken, http.MethodPatch, path, setActive(true), "If-Match", tag)
	if on.status != http.StatusOK || on.header.Get("ETag") == tag {
		t.Fatalf("answer = %v, want another version", on)
	}
	wantSCIM(t, s.scim(t, corpToken, http.MethodPut, path, newUser("alice", "x"), "If-Match", tag), http.StatusPreconditionFailed, "")
	wantStatus(t, s.scim(t, corpToken, http.MethodPut, path, newUser("alice", "x"), "If-Match", "*"), http.StatusOK)
	wantStatus(t, s.scim(t, corpToken, http.MethodPut, path, newUser("alice", "x"), "If-Match", strings.TrimPrefix(on.header.Get("ETag"), "W/")), http.StatusOK)

	// A rename.
	held = s.login(t, d, "alice")
	events := s.audited(func() {
		for range 2 {
			wantStatus(t, s.scim(t, corpToken, http.MethodPut, path, newUser("Alex@example.com", "dev-10021")), http.StatusOK)
		}
	})
	if len(events) != 1 || !sameFields(events[0], "event=user.renamed actor=client handle=alex client=corp-scim") {
		t.Errorf("events = %q, want one rename", events)
	}
	s.wantInactive(t, held.access)
	if next := s.refreshed(t, d, held.refresh); next.set.Handle != "im:%40alex@example.com" {
		t.Errorf("handle = %q, want alex", next.set.Handle)
	}
	for name, want := range map[string]int{"alice": 0, "alex": 1} {
		if got := s.filtered(t, corpToken, `userName eq "`+name+`"`); len(got) != want {
			t.Errorf("users with %s = %q, want %d", name, got, want)
		}
	}
	for _, gone := range []string{"/Users/nobody", "/Users/" + strings.Repeat("x", 2000), "/Users/%2e%2e", "/Users/'%20OR%201=1", "/Groups", "/Schemas/urn:x", "/Me", "/Bulk", "/"} {
		wantSCIM(t, s.scim(t, corpToken, http.MethodGet, gone, nil), http.StatusNotFound, "")
	}
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, path, setActive(false)), http.StatusMethodNotAllowed, "")
}

// TestSCIMRemoves holds that a user whom the provider deletes is gone at once and for ever, and that the person may come back as another
// user.
func TestSCIMRemoves(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	id := deviceOf(t, held).Local()
	tag := s.scim(t, corpToken, http.MethodGet, "/Users/"+id, nil).header.Get("ETag")
	wantSCIM(t, s.scim(t, corpToken, http.MethodDelete, "/Users/"+id, nil, "If-Match", `W/"x"`), http.StatusPreconditionFailed, "")
	wantSCIM(t, s.scim(t, otherToken, http.MethodDelete, "/Users/"+id, nil), http.StatusNotFound, "")
	s.wantActive(t, held.access)
	events := s.audited(func() {
		wantStatus(t, s.scim(t, corpToken, http.MethodDelete, "/Users/"+id, nil, "If-Match", tag), http.StatusNoContent)
		wantSCIM(t, s.scim(t, corpToken, http.MethodDelete, "/Users/"+id, nil), http.StatusNotFound, "")
	})
	want := "event=user.removed actor=client domain=example.com user=" + id + " client=corp-scim address=127.0.0.1"
	if len(events) != 1 || !sameFields(events[0], want) {
		t.Errorf("events = %q, want one like %s", events, want)
	}
	s.wantInactive(t, held.access)
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	wantSCIM(t, s.scim(t, corpToken, http.MethodGet, "/Users/"+id, nil), http.StatusNotFound, "")
	for _, filter := range []string{`userName eq "alice"`, `externalId eq "dev-10021"`, `id eq "` + id + `"`} {
		if got := s.filtered(t, corpToken, filter); got != nil {
			t.Errorf("filter %s = %q, want nobody", filter, got)
		}
	}
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice2", "dev-10021")), http.StatusConflict, "uniqueness")
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice", "someone-else")), http.StatusConflict, "uniqueness")
	s.advance(t, 3*time.Hour)
	again := s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice2", "dev-10021"))
	if again.status != http.StatusCreated || again.text("id") == id {
		t.Errorf("answer = %v, want another user", again)
	}
	wantSCIM(t, s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice", "someone-else")), http.StatusConflict, "uniqueness")
}

// TestSCIMDocuments holds what SCIM says about itself.
func TestSCIMDocuments(t *testing.T) {
	s := start(t, nil)
	for path, want := range map[string]object{
		"/ServiceProviderConfig": {"patch.supported": true, "bulk.supported": false, "filter.maxResults": 200.0, "etag.supported": true, "sort.supported": false},
		"/ResourceTypes":         {"totalResults": 1.0, "Resources.0.endpoint": "/Users"},
		"/ResourceTypes/User":    {"schema": schemaUser, "meta.location": s.issuer + "/scim/v2/ResourceTypes/User"},
		"/Schemas":               {"totalResults": 1.0, "Resources.0.id": schemaUser},
		"/Schemas/" + schemaUser: {"attributes.0.name": "userName", "attributes.1.name": "active"},
	} {
		a := s.scim(t, corpToken, http.MethodGet, path, nil)
		wantStatus(t, a, http.StatusOK)
		for name, value := range want {
			if got := member(a.json, name); got != value {
				t.Errorf("%s: %s = %v, want %v", path, name, got, value)
			}
		}
		wantSCIM(t, s.scim(t, corpToken, http.MethodGet, path+"?filter=x", nil), http.StatusForbidden, "")
		wantSCIM(t, s.scim(t, "x", http.MethodGet, path, nil), http.StatusUnauthorized, "")
	}
}

// TestSCIMLimits holds that an address which guesses tokens and a client that asks too often are stopped, and that requests which
// authenticate and fail lock nobody out.
func TestSCIMLimits(t *testing.T) {
	s := start(t, map[string]string{"limits": ", per_address: 5/1h, per_client: 20/1h"})
	for range 8 {
		wantSCIM(t, s.scim(t, corpToken, http.MethodGet, "/Users/nobody", nil), http.StatusNotFound, "")
	}
	for range 5 {
		wantSCIM(t, s.scim(t, strings.Repeat("0", 64), http.MethodGet, "/Users", nil), http.StatusUnauthorized, "")
	}
	a := s.scim(t, corpToken, http.MethodGet, "/Users", nil)
	if wantSCIM(t, a, http.StatusTooManyRequests, ""); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.advance(t, time.Hour)
	for range 20 {
		wantStatus(t, s.scim(t, corpToken, http.MethodGet, "/Users", nil), http.StatusOK)
	}
	a = s.scim(t, secondToken, http.MethodGet, "/Users", nil)
	if wantSCIM(t, a, http.StatusTooManyRequests, ""); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantStatus(t, s.scim(t, otherToken, http.MethodGet, "/Users", nil), http.StatusOK)
}

// TestSCIMStoredClient holds that a client in storage manages users until it is removed.
func TestSCIMStoredClient(t *testing.T) {
	s := start(t, map[string]string{"scim": ""})
	token := strings.Repeat("7", 64)
	added := s.operateJSON(t, "/admin/clients", object{
		"id": "late-scim", "auth": "none", "scopes": []string{"scim"}, "domains": []string{"example.com"}, "scim": object{"token_sha256": []string{tokenHash(token)}},
	})
	wantStatus(t, added, http.StatusOK)
	if scim, _ := added.json["scim"].(object); scim["provider"] != "dev" {
		t.Errorf("client = %v, want its provider", added)
	}
	made := s.scim(t, token, http.MethodPost, "/Users", newUser("gina", "g"))
	wantStatus(t, made, http.StatusCreated)
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {"late-scim"}}), http.StatusOK)
	wantSCIM(t, s.scim(t, token, http.MethodPatch, "/Users/"+made.text("id"), setActive(false)), http.StatusNotFound, "")
}

// TestSCIMRaces holds that of the requests which create the same user at once one succeeds, and that no refresh survives the disabling that
// it races with.
func TestSCIMRaces(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	path := "/Users/" + deviceOf(t, held).Local()
	var wait sync.WaitGroup
	statuses := make([]int, 8)
	var next [8]answer
	for i := range statuses {
		wait.Add(2)
		go func() {
			defer wait.Done()
			statuses[i] = s.scim(t, corpToken, http.MethodPost, "/Users", newUser("hugo", "h")).status
		}()
		go func() {
			defer wait.Done()
			if i == 4 {
				wantStatus(t, s.scim(t, corpToken, http.MethodPatch, path, setActive(false)), http.StatusOK)
			} else {
				next[i] = s.token(t, app, d, refreshForm(held.refresh))
			}
		}()
	}
	wait.Wait()
	made := 0
	for _, status := range statuses {
		switch status {
		case http.StatusCreated:
			made++
		case http.StatusConflict:
		default:
			t.Errorf("status = %d, want 201 or 409", status)
		}
	}
	if made != 1 {
		t.Errorf("%d requests created the user, want one", made)
	}
	for _, a := range next {
		if a.status == http.StatusOK {
			s.wantInactive(t, a.text("access_token"))
		}
	}
	s.wantInactive(t, held.access)
}

// managedBySCIM is a flow of TestStoreFails: a provider creates a user, looks them up, lists, disables and enables them.
func managedBySCIM(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	user := deviceOf(t, held).Local()
	name := handleOf(t, "ahead")
	good := func(member string, want any) func(answer) {
		return func(a answer) {
			if wantStatus(t, a, http.StatusOK); a.json[member] != want {
				t.Errorf("answer = %v, want %s %v", a, member, want)
			}
		}
	}
	// send sends a request. An outage is told in the words of SCIM, for which TestStoreFails does not look.
	send := func(method, path string, body any) answer {
		a := s.scim(t, corpToken, method, path, body)
		if a.status == http.StatusServiceUnavailable {
			wantSCIM(t, a, http.StatusServiceUnavailable, "")
			a.json["error"], a.json["error_description"] = "temporarily_unavailable", a.json["detail"]
		}
		return a
	}
	find := func(filter string) func() answer {
		return func() answer { return send(http.MethodGet, "/Users?count=1&filter="+url.QueryEscape(filter), nil) }
	}
	list := func(a answer) { wantStatus(t, a, http.StatusOK) }
	return []step{
		{name: "creation", ask: func() answer { return send(http.MethodPost, "/Users", newUser(name, t.Name())) },
			good: func(a answer) {
				if a.status != http.StatusCreated && a.status != http.StatusConflict { // the answer of the first try was lost
					t.Errorf("answer = %v, want a user", a)
				}
			}},
		{name: "look-up by name", ask: find(`userName eq "` + name + `"`), good: good("totalResults", 1.0)},
		{name: "look-up by externalId", ask: find(`externalId eq ` + strconv.Quote(t.Name())), good: good("totalResults", 1.0)},
		{name: "list", ask: find("active eq true"), good: list},
		{name: "reading", ask: func() answer { return send(http.MethodGet, "/Users/"+user, nil) }, good: good("active", true)},
		{name: "disabling", ask: func() answer { return send(http.MethodPatch, "/Users/"+user, setActive(false)) },
			good: func(a answer) {
				good("active", false)(a)
				s.soonEnded(t, d, held)
			}},
		{name: "enabling and renaming", ask: func() answer {
			return send(http.MethodPut, "/Users/"+user, object{"schemas": []string{schemaUser}, "userName": handleOf(t, "later"), "active": true})
		}, good: good("active", true)},
		{name: "removal", ask: func() answer { return send(http.MethodDelete, "/Users/"+user, nil) },
			good: func(a answer) {
				if a.status != http.StatusNoContent && a.status != http.StatusNotFound { // the answer of the first try was lost
					t.Errorf("answer = %v, want the user removed", a)
				}
			}},
	}
}
