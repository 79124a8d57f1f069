package server_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// The initial access tokens of withRegistration.
var (
	partnerToken = rand.Text() + rand.Text()
	fewToken     = rand.Text() + rand.Text()
)

// withRegistration are settings with initial access tokens: for partners, and one for two clients.
func withRegistration() map[string]string {
	return map[string]string{"more": fmt.Sprintf(`registration:
  initial_tokens:
    - name: partners
      sha256: %s
      domains: [example.com, example.org]
      scopes: ["im:handle", "im:device", introspect]
      grants: [authorization_code, refresh_token, client_credentials, "urn:ietf:params:oauth:grant-type:device_code"]
      resources: ["https://partner.example.com"]
    - {name: few, sha256: %s, domains: [example.com], clients: 2}
`, hashedToken(partnerToken), hashedToken(fewToken))}
}

func hashedToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// registration sends a request about registrations, with a bearer token unless that is empty.
func (s *site) registration(t *testing.T, method, path, token, body string) answer {
	t.Helper()
	req := s.request(t, method, path, body)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return s.send(t, s.http, req)
}

// wantUnmanaged wants the refusal of an access token for registrations (RFC 6750 §3.1).
func wantUnmanaged(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusUnauthorized || a.text("error") != "invalid_token" ||
		!strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("answer = %v, want 401 invalid_token with a challenge", a)
	}
	wantNotStored(t, a)
}

const appMetadata = `{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none",` +
	`"grant_types":["authorization_code","refresh_token"],"client_name":"Partner","im_domains":["example.com"]}`

// TestRegistration holds that a registered client works at once, can be read and changed by its token, and is gone with all that it
// was given when it is removed.
func TestRegistration(t *testing.T) {
	s := start(t, withRegistration())
	if got := s.get(t, "/.well-known/oauth-authorization-server").text("registration_endpoint"); got != s.issuer+"/register" {
		t.Errorf("registration_endpoint = %q, want that of the issuer", got)
	}
	var a answer
	events := s.audited(func() { a = s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata) })
	wantStatus(t, a, http.StatusCreated)
	wantNotStored(t, a)
	id, token, uri := a.text("client_id"), a.text("registration_access_token"), a.text("registration_client_uri")
	if id == "" || len(token) < 43 || uri != s.issuer+"/register/"+id || a.json["client_secret"] != nil || a.json["client_id_issued_at"] == nil ||
		a.json["dpop_bound_access_tokens"] != true || a.text("scope") != "im:handle im:device" || a.text("client_name") != "Partner" {
		t.Errorf("answer = %v, want the registered client", a)
	}
	if len(events) != 1 || !strings.Contains(events[0], "event=client.added") || !strings.Contains(events[0], id) || strings.Contains(events[0], token) {
		t.Errorf("audit events = %q, want one of the new client", events)
	}

	// It works at once: consent is asked for, since it is not the operator's own.
	d, c := newDevice(t), caller{id: id}
	b, _, state := s.consented(t, "alice", url.Values{"client_id": {id}})
	decided := s.decide(t, b, state, "allow")
	held := wantTokens(t, s.token(t, c, d, codeForm(codeIn(t, decided), nil)))

	read := s.registration(t, http.MethodGet, "/register/"+id, token, "")
	if wantStatus(t, read, http.StatusOK); read.json["registration_access_token"] != nil || read.text("client_name") != "Partner" ||
		read.text("token_endpoint_auth_method") != "none" {
		t.Errorf("answer = %v, want the registration without its token", read)
	}

	// Another name, and fewer scopes: tokens have no more from now on. What is left out is not kept.
	var changed answer
	events = s.audited(func() {
		changed = s.registration(t, http.MethodPut, "/register/"+id, token, `{"client_id":"`+id+`","redirect_uris":["https://partner.example.com/callback"],`+
			`"token_endpoint_auth_method":"client_secret_post","grant_types":["authorization_code","refresh_token"],"scope":"im:handle"}`)
	})
	if len(events) != 1 || !strings.Contains(events[0], "event=client.changed") {
		t.Errorf("audit events = %q, want one of the change", events)
	}
	if wantStatus(t, changed, http.StatusOK); changed.text("client_secret") == "" || changed.json["client_secret_expires_at"] != float64(0) ||
		changed.json["client_name"] != nil || fmt.Sprint(changed.json["im_domains"]) != "[example.com example.org]" {
		t.Errorf("answer = %v, want the new registration with a secret", changed)
	}
	wantError(t, s.token(t, c, d, refreshForm(held.refresh)), http.StatusUnauthorized, "invalid_client")
	c.secret = changed.text("client_secret")
	wantError(t, s.token(t, c, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_scope")
	form := refreshForm(held.refresh)
	form.Set("scope", "im:handle")
	held = wantTokens(t, s.token(t, c, d, form))

	// It stays across a restart.
	s.restart(t, nil)
	held = wantTokens(t, s.token(t, c, d, form))

	events = s.audited(func() { a = s.registration(t, http.MethodDelete, "/register/"+id, token, "") })
	wantStatus(t, a, http.StatusNoContent)
	if len(events) != 1 || !strings.Contains(events[0], "event=client.removed") {
		t.Errorf("audit events = %q, want one of the removal", events)
	}
	wantError(t, s.token(t, c, d, refreshForm(held.refresh)), http.StatusUnauthorized, "invalid_client")
	if a := s.introspect(t, peer, held.access); a.json["active"] != false {
		t.Errorf("introspection = %v, want inactive", a)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		wantUnmanaged(t, s.registration(t, method, "/register/"+id, token, ""))
	}
}

// TestRegistrationOfScreen holds that an app for devices without a browser registers itself with that grant alone, gets the scopes of a
// login, and logs in; and that an initial access token without the grant gives none.
func TestRegistrationOfScreen(t *testing.T) {
	s := start(t, withRegistration())
	metadata := `{"grant_types":["` + deviceGrant + `","refresh_token"],"token_endpoint_auth_method":"none","client_name":"Partner TV","im_domains":["example.com"]`
	a := s.registration(t, http.MethodPost, "/register", partnerToken, metadata+`}`)
	if wantStatus(t, a, http.StatusCreated); a.text("scope") != "im:handle im:device" || fmt.Sprint(a.json["response_types"]) != "[]" {
		t.Errorf("answer = %v, want the scopes of a login and no response types", a)
	}
	id, token := a.text("client_id"), a.text("registration_access_token")
	if read := s.registration(t, http.MethodGet, "/register/"+id, token, ""); fmt.Sprint(read.json["grant_types"]) != "["+deviceGrant+" refresh_token]" {
		t.Errorf("answer = %v, want the grants", read)
	}
	c, screen, phone := caller{id: id}, newDevice(t), newDevice(t)
	own := s.forIssuer(t, phone, s.account(t, phone, "alice"), "account").access
	asked := s.askDevice(t, c, screen, url.Values{"scope": {"im:handle im:device"}})
	wantStatus(t, asked, http.StatusOK)
	if asks := s.showWaiting(t, phone, own, asked.text("user_code")); asks.text("client_name") != "Partner TV" {
		t.Errorf("what waits = %v, want the name of the client", asks)
	}
	wantStatus(t, s.decideDevice(t, phone, own, asked.text("user_code"), "allow"), http.StatusNoContent)
	held := wantTokens(t, s.token(t, c, screen, pollForm(asked.text("device_code"))))
	if !strings.Contains(held.set.Handle, "alice") || held.set.Device == "" {
		t.Errorf("token = %+v, want one of alice's device", held.set)
	}
	wantTokens(t, s.token(t, c, screen, refreshForm(held.refresh)))

	for initial, more := range map[string]string{fewToken: `}`, partnerToken: `,"redirect_uris":["https://partner.example.com/callback"]}`} {
		if a := s.registration(t, http.MethodPost, "/register", initial, metadata+more); a.status != http.StatusBadRequest {
			t.Errorf("answer = %v, want 400", a)
		}
	}
	if a := s.askDevice(t, app, screen, nil); a.status != http.StatusBadRequest || a.text("error") != "unauthorized_client" {
		t.Errorf("a client without the grant = %v, want unauthorized_client", a)
	}
}

// TestRegistrationOfService holds that a service can register itself with keys, and gets bound tokens only.
func TestRegistrationOfService(t *testing.T) {
	s := start(t, withRegistration())
	a := s.registration(t, http.MethodPost, "/register", partnerToken, `{"grant_types":["client_credentials"],"scope":"introspect",`+
		`"im_domains":["example.com"],"im_resources":["https://partner.example.com"],"tos_uri":"https://partner.example.com/tos","x":[1]}`)
	wantStatus(t, a, http.StatusCreated)
	if a.text("token_endpoint_auth_method") != "client_secret_basic" || fmt.Sprint(a.json["response_types"]) != "[]" || a.json["tos_uri"] != nil {
		t.Errorf("answer = %v, want the defaults, and nothing without a meaning", a)
	}
	c := caller{id: a.text("client_id"), secret: a.text("client_secret")}
	form := url.Values{"grant_type": {"client_credentials"}}
	wantError(t, s.token(t, c, nil, form), http.StatusBadRequest, "invalid_dpop_proof")
	wantStatus(t, s.token(t, c, newDevice(t), form), http.StatusOK)
	signer := s.registration(t, http.MethodPost, "/register", partnerToken, `{"grant_types":["client_credentials"],"im_domains":["example.com"],`+
		`"token_endpoint_auth_method":"private_key_jwt","jwks":`+signerKeys+`}`)
	if wantStatus(t, signer, http.StatusCreated); signer.json["client_secret"] != nil || signer.json["jwks"] == nil {
		t.Errorf("answer = %v, want a client with keys", signer)
	}
}

// TestRegisteredKeysStayOutside holds that the issuer never fetches the keys of a client that registered itself from a network that the
// settings allow for URLs of their own.
func TestRegisteredKeysStayOutside(t *testing.T) {
	key := newKey(t)
	k := startKeyServer(t, keySet(key.Public(), "one"))
	s := start(t, withRegistration())
	a := s.registration(t, http.MethodPost, "/register", partnerToken, `{"grant_types":["client_credentials"],"im_domains":["example.com"],`+
		`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+k.URL+`"}`)
	wantStatus(t, a, http.StatusCreated)
	wantInvalidClient(t, s.post(t, "/token", joined(serviceForm, s.assert(t, key, "one", a.text("client_id"), nil)), nil))
	if k.times() != 0 {
		t.Errorf("asked %d times, want 0", k.times())
	}
}

// TestRegistrationRefused holds every refusal, and that nothing is registered by it.
func TestRegistrationRefused(t *testing.T) {
	s := start(t, withRegistration())
	const metadata, redirect = "invalid_client_metadata", "invalid_redirect_uri"
	with := func(change string) string { // the members of change come last, in place of those before
		m, n := object{}, object{}
		if json.Unmarshal([]byte(appMetadata), &m) != nil || json.Unmarshal([]byte(change), &n) != nil {
			t.Fatal(change)
		}
		for name, value := range n {
			m[name] = value
		}
		text, _ := json.Marshal(m)
		return string(text)
	}
	for name, test := range map[string]struct{ body, code, says string }{
		"not JSON":                    {"{", metadata, "not one JSON object"},
		"an array":                    {"[]", metadata, "not one JSON object"},
		"repeated members":            {`{"scope":"im:handle","scope":"introspect"}`, metadata, "repeated"},
		"tokens without a key":        {with(`{"dpop_bound_access_tokens":false}`), metadata, "dpop_bound_access_tokens must be true"},
		"no flag":                     {with(`{"dpop_bound_access_tokens":"yes"}`), metadata, "dpop_bound_access_tokens must be true or false"},
		"an id of its own":            {with(`{"client_id":"app"}`), metadata, "set by the issuer"},
		"a secret of its own":         {with(`{"client_secret":"abc"}`), metadata, "set by the issuer"},
		"a token of its own":          {with(`{"registration_access_token":"abc"}`), metadata, "set by the issuer"},
		"a software statement":        {with(`{"software_statement":"a.b.c"}`), "unapproved_software_statement", "software_statement"},
		"another domain":              {with(`{"im_domains":["two.example"]}`), metadata, "im_domains"},
		"no domain":                   {with(`{"im_domains":[]}`), metadata, "im_domains"},
		"a scope not allowed":         {with(`{"scope":"account"}`), metadata, "scope: account"},
		"an unknown scope":            {with(`{"scope":"everything"}`), metadata, "scope: everything"},
		"a grant not allowed":         {with(`{"grant_types":["urn:ietf:params:oauth:grant-type:token-exchange"]}`), metadata, "grant_types"},
		"a resource not allowed":      {with(`{"im_resources":["https://rooms.example.com"]}`), metadata, "im_resources"},
		"refresh alone":               {with(`{"grant_types":["refresh_token"],"redirect_uris":[]}`), metadata, "grant_types"},
		"another response type":       {with(`{"response_types":["token"]}`), metadata, "response_types"},
		"a method of nobody":          {with(`{"token_endpoint_auth_method":"tls_client_auth"}`), metadata, "token_endpoint_auth_method"},
		"keys of a public client":     {with(`{"jwks_uri":"https://partner.example.com/jwks"}`), metadata, "jwks_uri"},
		"no keys":                     {with(`{"token_endpoint_auth_method":"private_key_jwt"}`), metadata, "jwks"},
		"a name with a line feed":     {with(`{"client_name":"a\nb"}`), metadata, "client_name"},
		"a public service":            {with(`{"grant_types":["client_credentials"],"redirect_uris":[]}`), metadata, "grant_types"},
		"no redirect URI":             {with(`{"redirect_uris":[]}`), redirect, "redirect_uris"},
		"plain http":                  {with(`{"redirect_uris":["http://partner.example.com/cb"]}`), redirect, "plain http"},
		"localhost":                   {with(`{"redirect_uris":["http://localhost/cb"]}`), redirect, "localhost"},
		"a scheme without a dot":      {with(`{"redirect_uris":["partner:/cb"]}`), redirect, "private-use scheme"},
		"a fragment":                  {with(`{"redirect_uris":["https://partner.example.com/cb#x"]}`), redirect, "fragment"},
		"a wildcard":                  {with(`{"redirect_uris":["https://*.example.com/cb"]}`), redirect, "redirect_uris"},
		"javascript":                  {with(`{"redirect_uris":["javascript:alert(1)"]}`), redirect, "redirect_uris"},
		"redirect URIs no array":      {with(`{"redirect_uris":"https://partner.example.com/cb"}`), redirect, "array"},
		"many redirect URIs":          {with(`{"redirect_uris":["a"` + strings.Repeat(`,"a"`, 20) + `]}`), redirect, "more than 20"},
		"web on the user's machine":   {with(`{"application_type":"web"}`), redirect, "application_type web"},
		"web by a scheme of its own":  {with(`{"application_type":"web","redirect_uris":["com.example.app:/cb"]}`), redirect, "application_type web"},
		"a type of nobody":            {with(`{"application_type":"desktop"}`), metadata, "application_type"},
		"another algorithm of answer": {with(`{"introspection_signed_response_alg":"HS256"}`), metadata, "introspection_signed_response_alg"},
	} {
		a := s.registration(t, http.MethodPost, "/register", partnerToken, test.body)
		if wantError(t, a, http.StatusBadRequest, test.code); !strings.Contains(a.text("error_description"), test.says) {
			t.Errorf("%s: answer = %v, want one that says %q", name, a, test.says)
		}
	}
	for _, token := range map[string]string{"no token": "", "another token": rand.Text(), "its hash": hashedToken(partnerToken)} {
		a := s.registration(t, http.MethodPost, "/register", token, appMetadata)
		wantUnmanaged(t, a)
	}
	wantStatus(t, s.registration(t, http.MethodPost, "/register", partnerToken, with(`{"x":"`+strings.Repeat("a", 64<<10)+`"}`)), http.StatusRequestEntityTooLarge)

	mine := s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata)
	other := s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata)
	id, token := mine.text("client_id"), mine.text("registration_access_token")
	if rows, err := s.store.Clients(t.Context(), 0); err != nil || len(rows) != 2 {
		t.Errorf("%d clients are stored, %v, want 2", len(rows), err)
	}
	body := func(change string) string { return with(`{"client_id":"` + id + `",` + change[1:]) }
	for _, test := range map[string]struct{ id, token, body string }{
		"another client's token": {id, other.text("registration_access_token"), body(`{"x":1}`)},
		"the initial token":      {id, partnerToken, body(`{"x":1}`)},
		"no token":               {id, "", body(`{"x":1}`)},
		"a client of nobody":     {rand.Text(), token, body(`{"x":1}`)},
		"of the settings":        {"app", token, body(`{"x":1}`)},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			wantUnmanaged(t, s.registration(t, method, "/register/"+test.id, test.token, test.body))
		}
	}
	for name, test := range map[string]struct{ body, says string }{
		"no id":           {appMetadata, "client_id"},
		"another id":      {with(`{"client_id":"app"}`), "client_id"},
		"another secret":  {body(`{"client_secret":"abc"}`), "client_secret"},
		"a time of issue": {body(`{"client_id_issued_at":1}`), "set by the issuer"},
		"a wider scope":   {body(`{"scope":"account"}`), "scope"},
	} {
		a := s.registration(t, http.MethodPut, "/register/"+id, token, test.body)
		if wantError(t, a, http.StatusBadRequest, metadata); !strings.Contains(a.text("error_description"), test.says) {
			t.Errorf("%s: answer = %v, want one that says %q", name, a, test.says)
		}
	}
	// Nothing of that has changed anything.
	if a := s.registration(t, http.MethodGet, "/register/"+id, token, ""); a.text("client_name") != "Partner" {
		t.Errorf("answer = %v, want the registration as it was", a)
	}
	// A withdrawn initial access token: the client works on, and can be read and removed.
	s.restart(t, map[string]string{"more": strings.Replace(s.fill["more"], "name: partners", "name: others", 1)})
	wantError(t, s.registration(t, http.MethodPut, "/register/"+id, token, body(`{"x":1}`)), http.StatusBadRequest, metadata)
	wantStatus(t, s.registration(t, http.MethodDelete, "/register/"+id, token, ""), http.StatusNoContent)
	s.restart(t, map[string]string{"more": ""})
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if a := s.registration(t, method, "/register/"+other.text("client_id"), token, ""); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("answer = %v, want nothing there", a)
		}
	}
	wantError(t, s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata), http.StatusNotFound, "not_found")
}

// TestRegistrationRaces holds that the number of clients of an initial access token is exact, and that a change that races a removal does
// not bring the client back.
func TestRegistrationRaces(t *testing.T) {
	s := start(t, withRegistration())
	body := strings.Replace(appMetadata, `"Partner"`, `"Few"`, 1)
	const n = 16
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = s.registration(t, http.MethodPost, "/register", fewToken, body) })
	}
	wg.Wait()
	var made []answer
	for _, a := range answers {
		if a.status == http.StatusCreated {
			made = append(made, a)
		} else {
			wantError(t, a, http.StatusForbidden, "access_denied")
		}
	}
	if len(made) != 2 {
		t.Fatalf("%d of %d registrations succeeded, want 2", len(made), n)
	}
	id, token := made[0].text("client_id"), made[0].text("registration_access_token")
	change := withID(body, id)
	for i := range n {
		wg.Go(func() {
			if i == n/2 {
				answers[i] = s.registration(t, http.MethodDelete, "/register/"+id, token, "")
			} else {
				answers[i] = s.registration(t, http.MethodPut, "/register/"+id, token, change)
			}
		})
	}
	wg.Wait()
	for i, a := range answers {
		if a.status != http.StatusOK && a.status != http.StatusNoContent && a.status != http.StatusUnauthorized {
			t.Errorf("answer %d = %v, want it done, or the client gone", i, a)
		}
	}
	wantUnmanaged(t, s.registration(t, http.MethodGet, "/register/"+id, token, ""))
	if a := s.get(t, "/authorize?"+authorization(url.Values{"client_id": {id}}).Encode()); a.status != http.StatusBadRequest {
		t.Errorf("answer = %v, want a client that is not known", a)
	}
	wantStatus(t, s.registration(t, http.MethodPost, "/register", fewToken, body), http.StatusCreated)
}

// withID adds the id of a client to its metadata.
func withID(metadata, id string) string { return `{"client_id":"` + id + `",` + metadata[1:] }

// registering is a flow of TestStoreFails: a client registers itself, changes and removes its registration.
func registering(t *testing.T, s *site) []step {
	var made answer
	path := func() string { return "/register/" + made.text("client_id") }
	token := func() string { return made.text("registration_access_token") }
	good := func(status int) func(answer) {
		return func(a answer) {
			if a.status != status {
				t.Errorf("answer = %v, want %d", a, status)
			}
		}
	}
	return []step{
		{name: "registration", ask: func() answer { return s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata) },
			good: func(a answer) { good(http.StatusCreated)(a); made = a }},
		{name: "reading", ask: func() answer { return s.registration(t, http.MethodGet, path(), token(), "") }, good: good(http.StatusOK)},
		{name: "change", ask: func() answer {
			return s.registration(t, http.MethodPut, path(), token(), withID(appMetadata, made.text("client_id")))
		}, good: good(http.StatusOK)},
		{name: "removal", ask: func() answer { return s.registration(t, http.MethodDelete, path(), token(), "") }, good: good(http.StatusNoContent),
			again: func(durable bool) answer {
				a := s.registration(t, http.MethodDelete, path(), token(), "")
				if durable {
					wantUnmanaged(t, a)
					return answer{status: http.StatusNoContent}
				}
				return a
			}},
	}
}
