package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// finger asks who a resource is.
func (s *site) finger(t *testing.T, resource string, rels ...string) answer {
	t.Helper()
	query := url.Values{"resource": {resource}, "rel": rels}
	return s.get(t, "/.well-known/webfinger?"+query.Encode())
}

// findableBy has the holder of a token say who finds them.
func (s *site) findableBy(t *testing.T, d *device, own, by string) answer {
	t.Helper()
	return s.held(t, d, own, http.MethodPut, "/me/privacy", object{"findable_by": by})
}

const notFound = `{"error":"not_found","error_description":"Nothing is known about the resource."}` + "\n"

// TestWebFinger holds that a user is found by their exact handle if they want it, and by nothing else.
func TestWebFinger(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	hidden := func() {
		t.Helper()
		for _, resource := range []string{"acct:alice@example.com", "im:%40alice@example.com"} {
			if a := s.finger(t, resource); a.status != http.StatusNotFound || a.body != notFound {
				t.Errorf("answer about %s = %v, want 404", resource, a)
			}
		}
	}
	hidden() // by default
	if a := s.held(t, phone, own, http.MethodGet, "/me/privacy", nil); a.text("findable_by") != "nobody" {
		t.Errorf("privacy = %v, want nobody", a)
	}
	var a answer
	events := s.audited(func() { a = s.findableBy(t, phone, own, "handle") })
	if a.status != http.StatusOK || a.text("findable_by") != "handle" {
		t.Fatalf("answer = %v, want handle", a)
	}
	want := fmt.Sprintf("event=user.findable actor=user domain=example.com user=%s client=account-app session=%s reason=handle id=%s address=127.0.0.1",
		deviceOf(t, held).Local(), held.set.SID, a.header.Get("X-Request-Id"))
	if len(events) != 1 || !sameWords(events[0], want) {
		t.Errorf("events = %q, want %q", events, want)
	}
	if events := s.audited(func() { s.findableBy(t, phone, own, "handle") }); len(events) != 0 {
		t.Errorf("events = %q, want none: nothing changed", events)
	}
	if a := s.held(t, phone, own, http.MethodGet, "/me/privacy", nil); a.text("findable_by") != "handle" {
		t.Errorf("privacy = %v, want handle", a)
	}

	body := `{"subject":"im:%40alice@example.com","aliases":["acct:alice@example.com"],"links":` +
		`[{"rel":"https://github.com/imidentity/issuer/rel/issuer","href":"` + s.issuer + `"}]}` + "\n"
	for _, resource := range []string{
		"acct:alice@example.com", "acct:ALICE@Example.COM", "acct:%61lice@example.com", "im:%40alice@example.com", "im:%40Alice@EXAMPLE.com",
	} {
		a := s.finger(t, resource)
		if a.status != http.StatusOK || a.body != body || a.header.Get("Content-Type") != "application/jrd+json" ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("answer about %s = %v, want %s", resource, a, body)
		}
		wantShared(t, a)
	}
	// RFC 7033 §4.3: rel limits the links and nothing else.
	const rel = "https://github.com/imidentity/issuer/rel/issuer"
	if a := s.finger(t, "acct:alice@example.com", "avatar", rel); a.body != body {
		t.Errorf("answer = %v, want the link", a)
	}
	if a := s.finger(t, "acct:alice@example.com", "avatar", rel+"x"); a.status != http.StatusOK || !strings.Contains(a.body, `"links":[]}`) {
		t.Errorf("answer = %v, want no link", a)
	}
	for _, resource := range []string{
		"acct:alic@example.com", "acct:alice2@example.com", "acct:a*@example.com", "acct:alice%25@example.com", "acct:%40alice@example.com",
		"acct:alice@example.org", "acct:alice@nowhere.example", "acct:alice@127.0.0.1", "acct:аlice@example.com", // the first letter is Cyrillic
		held.set.Subject, held.set.Device, "mimi://example.com/u/alice", "im:xmpp=alice@example.com", "im:wire=%40alice@example.com", "mailto:alice@example.com",
		"https://example.com/alice", "acct:" + deviceOf(t, held).Local() + "@example.com",
	} {
		if a := s.finger(t, resource); a.status != http.StatusNotFound || a.body != notFound {
			t.Errorf("answer about %s = %v, want 404", resource, a)
		}
	}
	for _, query := range []string{
		"", "?resource=", "?resource=alice", "?resource=acct:alice", "?resource=acct:@example.com", "?resource=acct:%25zz@example.com",
		"?resource=acct:alice@example.com&resource=acct:bob@example.com", "?resource=%zz", "?resource=acct:" + strings.Repeat("a", 1024) + "@example.com",
		"?rel=x",
	} {
		if a := s.get(t, "/.well-known/webfinger"+query); a.status != http.StatusBadRequest || a.text("error") != "invalid_request" {
			t.Errorf("answer to %.60s = %v, want 400", query, a)
		}
	}

	// The decision is taken back, and holds at once.
	s.findableBy(t, phone, own, "nobody")
	hidden()
	s.findableBy(t, phone, own, "handle")
	s.restart(t, nil)
	if a := s.finger(t, "acct:alice@example.com"); a.body != body {
		t.Errorf("answer after a restart = %v, want %s", a, body)
	}
	s.disable(t, deviceOf(t, held).Local())
	hidden()
}

// TestWebFingerOfOtherForms finds users of domains whose identifiers have another form.
func TestWebFingerOfOtherForms(t *testing.T) {
	s := start(t, nil)
	manyApp := caller{id: "many-app"}
	for domain, resources := range map[string][]string{
		"mimi.example": {"mimi://mimi.example/u/alice", "acct:alice@mimi.example"},
		"wire.example": {"im:wire=%40alice@wire.example", "acct:alice@wire.example"},
		"xmpp.example": {"im:xmpp=alice@xmpp.example", "xmpp:alice@xmpp.example", "acct:alice@xmpp.example"},
	} {
		phone := newDevice(t)
		code := s.code(t, "alice", url.Values{"client_id": {manyApp.id}, "im_domain": {domain}, "scope": {"im:handle im:device account"}})
		held := wantTokens(t, s.token(t, manyApp, phone, codeForm(code, nil)))
		form := refreshForm(held.refresh)
		form.Set("resource", s.issuer)
		form.Set("scope", "account")
		own := wantTokens(t, s.token(t, manyApp, phone, form)).access
		for _, resource := range resources {
			if a := s.finger(t, resource); a.body != notFound {
				t.Errorf("answer about %s = %v, want 404", resource, a)
			}
		}
		if a := s.findableBy(t, phone, own, "handle"); a.status != http.StatusOK {
			t.Fatalf("answer = %v, want 200", a)
		}
		for _, resource := range resources {
			if a := s.finger(t, resource); a.status != http.StatusOK || a.text("subject") != resources[0] {
				t.Errorf("answer about %s = %v, want %s", resource, a, resources[0])
			}
		}
		if a := s.finger(t, held.set.Subject); held.set.Subject != resources[0] && a.body != notFound {
			t.Errorf("answer about %s = %v, want 404: it is an id", held.set.Subject, a)
		}
	}
}

// TestWebFingerAfterRename finds the new handle, and no longer the old one.
func TestWebFingerAfterRename(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	s.findableBy(t, phone, s.forIssuer(t, phone, held, "account").access, "handle")
	s.rename(t, deviceOf(t, held).Local(), "alex")
	if a := s.finger(t, "acct:alice@example.com"); a.body != notFound {
		t.Errorf("answer about the old handle = %v, want 404", a)
	}
	if a := s.finger(t, "acct:alex@example.com"); a.status != http.StatusOK {
		t.Errorf("answer about the new handle = %v, want 200", a)
	}
}

// TestWebFingerCost holds that questions about handles that nobody has cost as much as those about users who are not to be found, and as
// those about users who are.
func TestWebFingerCost(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	s.login(t, newDevice(t), "bob")
	s.findableBy(t, phone, s.forIssuer(t, phone, held, "account").access, "handle")
	counts := make(map[int][]string)
	for _, name := range []string{"alice", "bob", "nobody"} {
		for _, resource := range []string{"acct:" + name + "@example.com", "im:%40" + name + "@example.com"} {
			n := s.asked(func() { s.finger(t, resource) })
			counts[n] = append(counts[n], resource)
		}
	}
	if len(counts) != 1 {
		t.Errorf("look-ups = %v, want as many for each", counts)
	}
}

// TestPrivacyRefused holds that only users themselves decide, with a token for that.
func TestPrivacyRefused(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	for name, body := range map[string]any{
		"unknown value": object{"findable_by": "everybody"}, "no value": object{}, "empty": object{"findable_by": ""},
		"a number": object{"findable_by": 1}, "null": rawBody(`{"findable_by":null}`), "twice": rawBody(`{"findable_by":"handle","findable_by":"nobody"}`),
		"another member": object{"findable_by": "handle", "user": "x"}, "a list": rawBody(`["handle"]`), "cut off": rawBody(`{"findable_by":"handle"`),
	} {
		if a := s.held(t, phone, own, http.MethodPut, "/me/privacy", body); a.status != http.StatusBadRequest || a.text("error") != "invalid_request" {
			t.Errorf("%s: answer = %v, want 400", name, a)
		}
	}
	// A token without the scope, one for another audience, a service's, and no proof by the key.
	wantRefused(t, s.findableBy(t, phone, s.forIssuer(t, phone, held, "introspect").access, "handle"), http.StatusForbidden, "insufficient_scope")
	wantRefused(t, s.findableBy(t, phone, held.access, "handle"), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, s.findableBy(t, newDevice(t), own, "handle"), http.StatusUnauthorized, "invalid_token")
	if a := s.post(t, "/me/privacy", url.Values{}, nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("answer to POST = %v, want 405", a)
	}
	s.remove(t, held.set.Device)
	wantRefused(t, s.findableBy(t, phone, own, "handle"), http.StatusUnauthorized, "invalid_token")
	if a := s.finger(t, "acct:alice@example.com"); a.body != notFound {
		t.Errorf("answer = %v, want 404: nothing was decided", a)
	}
}

// TestWebFingerLimit holds that one address cannot ask about many handles, whatever the answers are.
func TestWebFingerLimit(t *testing.T) {
	fill := limits("off", "off", "off")
	fill["limits"] += ", lookups: 5/30s"
	s := start(t, fill)
	s.freeze(t)
	ask := func(name, address string) answer {
		req := s.request(t, http.MethodGet, "/.well-known/webfinger?resource=acct:"+name+"@example.com", "")
		req.Header = from(address)
		return s.send(t, s.http, req)
	}
	for n := range 5 {
		if a := ask(fmt.Sprint("user", n), "192.0.2.1"); a.status != http.StatusNotFound {
			t.Errorf("answer = %v, want 404", a)
		}
	}
	if wait := wantLimited(t, ask("alice", "192.0.2.1"), false); wait > 6*time.Second {
		t.Errorf("Retry-After = %v, want at most 6 seconds", wait)
	}
	wantLimited(t, ask("", "192.0.2.1"), false)
	for _, address := range []string{"192.0.2.2", "2001:db8:1:2::1"} {
		if a := ask("alice", address); a.status != http.StatusNotFound {
			t.Errorf("answer to %s = %v, want 404", address, a)
		}
	}
	if a := s.get(t, "/.well-known/im-issuer?domain=example.com"); a.status != http.StatusOK {
		t.Errorf("answer = %v, want 200: it has no such limit", a)
	}
	s.reload(t, map[string]string{"limits": strings.Replace(fill["limits"], "5/30s", "off", 1)})
	if a := ask("alice", "192.0.2.1"); a.status != http.StatusNotFound {
		t.Errorf("answer = %v, want 404: the limit is off", a)
	}
}

// privately decides who finds a user, and looks the user up.
func privately(t *testing.T, s *site) []step {
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	return []step{{
		name: "decision",
		ask:  func() answer { return s.findableBy(t, phone, own, "handle") },
		good: func(a answer) {
			if a.status != http.StatusOK || a.text("findable_by") != "handle" {
				t.Errorf("answer = %v, want the decision", a)
			}
		},
	}, {
		name: "look-up",
		ask:  func() answer { return s.finger(t, "acct:alice@example.com") },
		good: func(a answer) {
			if a.status != http.StatusOK || !slices.Contains(strings.Split(a.body, `"`), s.issuer) {
				t.Errorf("answer = %v, want the issuer", a)
			}
		},
	}, {
		name: "decision shown",
		ask:  func() answer { return s.held(t, phone, own, http.MethodGet, "/me/privacy", nil) },
		good: func(a answer) {
			if a.status != http.StatusOK {
				t.Errorf("answer = %v, want the decision", a)
			}
		},
	}}
}
