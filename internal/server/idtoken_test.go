package server_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const typeIDToken = "urn:ietf:params:oauth:token-type:id_token"

var nativeApp = caller{id: "native-app"}

// An appLogin is a login of nativeApp at the provider, for the key of a device.
type appLogin struct {
	s        *site
	device   *device
	verifier string
	claims   object
}

// appLogin begins a login of a person by their subject and name. The provider issues the ID token with token.
func (s *site) appLogin(d *device, subject, name string) *appLogin {
	now := s.clock.now().Unix()
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier + "." + d.JKT()))
	return &appLogin{s, d, verifier, object{
		"iss": s.provider.url, "aud": "native-at-provider", "sub": subject, "iat": now, "exp": now + 3600, "auth_time": now - 5,
		"nonce": base64.RawURLEncoding.EncodeToString(sum[:]), "preferred_username": name, "acr": "phr", "amr": []string{"pwd"},
	}}
}

// token is the ID token by a key of the provider, with changes. A nil value removes a claim.
func (l *appLogin) token(change object) string {
	claims := maps.Clone(l.claims)
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return sign(l.s.provider.key, object{"alg": "ES256", "typ": "JWT", "kid": "proxy"}, claims)
}

// form exchanges the ID token in example.com.
func (l *appLogin) form(change object) url.Values {
	return url.Values{
		"grant_type": {grantExchange}, "subject_token": {l.token(change)}, "subject_token_type": {typeIDToken},
		"im_nonce_verifier": {l.verifier}, "im_domain": {"example.com"}, "im_device_name": {"Alice\u2019s phone"},
		"im_device_platform": {"ios"},
	}
}

// TestIDToken holds that an ID token begins a session as a login through the browser does.
func TestIDToken(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	l := s.appLogin(d, aliceSubject, "alice")
	var a answer
	events := s.audited(func() { a = s.token(t, nativeApp, d, l.form(nil)) })
	held := wantTokens(t, a)
	wantNotStored(t, a)
	if a.text("token_type") != "DPoP" || a.text("issued_token_type") != typeAccess || a.text("scope") != "im:handle im:device" {
		t.Errorf("answer = %v, want an access token", a)
	}
	kinds := make([]string, len(events))
	for i, line := range events {
		kinds[i], _, _ = strings.Cut(strings.TrimPrefix(line, "event="), " ")
	}
	if got := strings.Join(kinds, " "); got != "user.created user.signed_in device.added" {
		t.Errorf("audit events = %q, want those of a first login", events)
	}
	if set := held.set; set.Handle != "im:%40alice@example.com" || set.ACR != "phr" || set.AuthTime.Unix() != l.claims["auth_time"] ||
		set.JKT != d.JKT() {
		t.Errorf("claims = %+v, want those of the login", set)
	}
	if a := s.introspect(t, peer, held.access); a.json["active"] != true {
		t.Errorf("introspection = %v, want active", a)
	}
	held = s.refreshedAs(t, nativeApp, d, held.refresh)

	// The same user and device by the browser, and again by an ID token.
	if browser := s.login(t, d, "alice"); deviceOf(t, browser) != deviceOf(t, held) {
		t.Errorf("devices %s and %s, want one", deviceOf(t, browser), deviceOf(t, held))
	}
	again := wantTokens(t, s.token(t, nativeApp, d, s.appLogin(d, aliceSubject, "").form(nil)))
	if deviceOf(t, again) != deviceOf(t, held) {
		t.Errorf("devices %s and %s, want one", deviceOf(t, again), deviceOf(t, held))
	}

	// The scope and the resource that the app asks for, and the provider in place of the domain.
	form := s.appLogin(d, aliceSubject, "").form(nil)
	form.Del("im_domain")
	maps.Copy(form, url.Values{"im_provider": {"dev"}, "scope": {"im:handle account"}, "resource": {"https://rooms.example.com"}})
	narrow := wantTokens(t, s.token(t, nativeApp, d, form)).set
	if narrow.Scope != "im:handle account" || !slices.Equal(narrow.Audience, []string{"https://rooms.example.com"}) || narrow.Device != "" {
		t.Errorf("claims = %+v, want those asked for", narrow)
	}
}

// TestIDTokenRefused holds every refusal of an ID token, and that a refused one is not used up.
func TestIDTokenRefused(t *testing.T) {
	s := start(t, map[string]string{"devices": "1"})
	d := newDevice(t)
	l := s.appLogin(d, aliceSubject, "alice")
	const invalid = "invalid_request"
	type change = func(form url.Values)
	set := func(name, value string) change { return func(form url.Values) { form.Set(name, value) } }
	del := func(names ...string) change {
		return func(form url.Values) {
			for _, name := range names {
				form.Del(name)
			}
		}
	}
	strange := newKey(t)
	for name, test := range map[string]struct {
		claims object
		form   change
		client caller // zero is nativeApp
		device *device
		code   string
		says   string
	}{
		"another app's":            {claims: object{"aud": "other"}, code: invalid, says: "aud and azp"},
		"the issuer's own login":   {claims: object{"aud": "issuer"}, code: invalid, says: "aud and azp"},
		"azp of another app":       {claims: object{"azp": "other"}, code: invalid, says: "aud and azp"},
		"another provider's":       {claims: object{"iss": "https://idp.example.net"}, code: invalid, says: "not registered for ID tokens of this issuer"},
		"a key of nobody":          {form: set("subject_token", sign(strange, object{"alg": "ES256", "kid": "proxy"}, l.claims)), code: invalid, says: "not valid"},
		"expired":                  {claims: object{"exp": s.clock.now().Unix() - 300}, code: invalid, says: "expired"},
		"six minutes old":          {claims: object{"iat": s.clock.now().Unix() - 360}, code: invalid, says: "more than five minutes ago"},
		"another nonce":            {claims: object{"nonce": "AAAA"}, code: invalid, says: "nonce"},
		"no nonce":                 {claims: object{"nonce": nil}, code: invalid, says: "nonce"},
		"another key":              {device: newDevice(t), code: invalid, says: "thumbprint"},
		"another verifier":         {form: set("im_nonce_verifier", rand.Text()+rand.Text()), code: invalid, says: "nonce"},
		"no verifier":              {form: del("im_nonce_verifier"), code: invalid, says: "im_nonce_verifier"},
		"a short verifier":         {form: set("im_nonce_verifier", "AAAA"), code: invalid, says: "43 to 128"},
		"no token":                 {form: del("subject_token"), code: invalid, says: "subject_token is missing"},
		"not a token":              {form: set("subject_token", "a.b.c"), code: invalid, says: "ID tokens of this issuer"},
		"as an access token":       {form: set("subject_token_type", typeAccess), code: invalid, says: "not valid"},
		"a logout token":           {form: set("subject_token", s.logoutToken(nil)), code: invalid, says: "typ"},
		"an actor":                 {form: set("actor_token", "a.b.c"), code: invalid, says: "leave out actor_token"},
		"along":                    {form: set("im_along", "[]"), code: invalid, says: "leave out"},
		"a refresh token wanted":   {form: set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), code: invalid, says: "requested_token_type"},
		"a device name too long":   {form: set("im_device_name", strings.Repeat("a", 65)), code: invalid, says: "im_device_name"},
		"a platform of nobody":     {form: set("im_device_platform", "iPhone"), code: invalid, says: "im_device_platform"},
		"no domain":                {form: del("im_domain"), code: invalid, says: "im_provider"},
		"a domain of nobody":       {form: set("im_domain", "nowhere.example"), code: invalid, says: "im_domain"},
		"a provider of nobody":     {form: set("im_provider", "nowhere"), code: invalid, says: "im_provider"},
		"the provider of another":  {form: set("im_provider", "other"), code: invalid, says: "im_provider"},
		"a scope too many":         {form: set("scope", "introspect"), code: "invalid_scope", says: "introspect"},
		"a resource too many":      {form: set("resource", "https://elsewhere.example.com"), code: "invalid_target", says: "resource"},
		"a client without entries": {client: accounts, code: invalid, says: "id_tokens"},
		"a client without grant":   {client: app, code: "unauthorized_client", says: "grant type"},
		"new, without a handle":    {claims: object{"preferred_username": nil}, code: invalid, says: "through the browser once"},
		"new, handle not allowed":  {claims: object{"preferred_username": "admin"}, code: invalid, says: "not allowed"},
		"new, handle a proposal":   {form: set("im_domain", "example.org"), code: invalid, says: "through the browser once"},
	} {
		t.Run(name, func(t *testing.T) {
			form, client, by := l.form(test.claims), nativeApp, d
			if test.form != nil {
				test.form(form)
			}
			if test.client.id != "" {
				client = test.client
			}
			if test.device != nil {
				by = test.device
			}
			a := s.token(t, client, by, form)
			if wantError(t, a, http.StatusBadRequest, test.code); !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("answer = %v, want one that says %q", a, test.says)
			}
		})
	}
	wantError(t, s.token(t, nativeApp, nil, l.form(nil)), http.StatusBadRequest, "invalid_dpop_proof")
	held := wantTokens(t, s.token(t, nativeApp, d, l.form(nil)))

	refused := func(d *device, l *appLogin, change object, says string) {
		t.Helper()
		a := s.token(t, nativeApp, d, l.form(change))
		if wantError(t, a, http.StatusBadRequest, invalid); !strings.Contains(a.text("error_description"), says) {
			t.Errorf("answer = %v, want one that says %q", a, says)
		}
	}
	refused(d, l, nil, "used before")
	refused(d, l, object{"auth_time": 1}, "used before") // another token with the nonce
	bobs := newDevice(t)
	refused(bobs, s.appLogin(bobs, bobSubject, "alice"), nil, "is taken")
	refused(d, s.appLogin(d, bobSubject, "bob"), nil, "belongs to another device")
	second := newDevice(t)
	refused(second, s.appLogin(second, aliceSubject, ""), nil, "as many devices as allowed")

	before := s.appLogin(d, aliceSubject, "")
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
	refused(d, before, nil, "has ended the login")
	wantError(t, s.token(t, nativeApp, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.restart(t, nil)
	refused(d, l, nil, "used before")
	s.advance(t, 10*time.Second)
	again := wantTokens(t, s.token(t, nativeApp, d, s.appLogin(d, aliceSubject, "").form(nil)))
	s.disable(t, deviceOf(t, again).Local())
	refused(d, s.appLogin(d, aliceSubject, ""), nil, "disabled")
}

// TestIDTokenRaces holds that of many exchanges of one ID token one gets tokens, and that of many first logins of a user one makes the
// user.
func TestIDTokenRaces(t *testing.T) {
	s := start(t, nil)
	race := func(forms []url.Values, by []*device) (good int, others []answer) {
		answers := make([]answer, len(forms))
		var wg sync.WaitGroup
		for i := range forms {
			wg.Go(func() { answers[i] = s.token(t, nativeApp, by[i], forms[i]) })
		}
		wg.Wait()
		for _, a := range answers {
			if a.status == http.StatusOK {
				good++
			} else {
				others = append(others, a)
			}
		}
		return good, others
	}
	const n = 16
	d := newDevice(t)
	l := s.appLogin(d, aliceSubject, "alice")
	var forms []url.Values
	var devices []*device
	for range n {
		forms, devices = append(forms, l.form(nil)), append(devices, d)
	}
	good, others := race(forms, devices)
	for _, a := range others {
		if code := a.text("error"); code != "invalid_request" && code != "temporarily_unavailable" {
			t.Errorf("answer = %v, want the loser to be told", a)
		}
	}
	if good != 1 {
		t.Errorf("%d of %d exchanges of one ID token got tokens, want 1", good, n)
	}

	forms, devices = nil, nil
	for range n {
		d := newDevice(t)
		forms, devices = append(forms, s.appLogin(d, bobSubject, "bob").form(nil)), append(devices, d)
	}
	good, others = race(forms, devices)
	for _, a := range others {
		if code := a.text("error"); code != "temporarily_unavailable" && code != "invalid_request" {
			t.Errorf("answer = %v, want the loser to be told", a)
		}
	}
	users := make(map[string]bool)
	rows, err := s.store.Devices(t.Context(), "example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.JKT != d.JKT() {
			users[row.User] = true
		}
	}
	if good == 0 || good+len(others) != n || len(users) != 1 {
		t.Errorf("%d of %d first logins got tokens, for users %v, want one user", good, n, users)
	}
}

// TestIDTokenOutage holds that an outage of the provider is told as one, and uses nothing up.
func TestIDTokenOutage(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	l := s.appLogin(d, aliceSubject, "alice")
	s.provider.tamper(t, tampering{answer: down})
	a := s.token(t, nativeApp, d, l.form(nil))
	if wantStatus(t, a, http.StatusServiceUnavailable); a.header.Get("Retry-After") == "" {
		t.Errorf("answer = %v, want Retry-After", a)
	}
	s.provider.set(tampering{})
	s.advance(t, 2*time.Minute)
	wantTokens(t, s.token(t, nativeApp, d, l.form(nil)))
}

// exchangingIDToken is a flow of TestStoreFails: the first login of a user, by an ID token.
func exchangingIDToken(t *testing.T, s *site) []step {
	d := newDevice(t)
	l := s.appLogin(d, aliceSubject, "alice"+strings.ToLower(rand.Text()[:8]))
	l.claims["sub"] = rand.Text()
	ask := func() answer { return s.token(t, nativeApp, d, l.form(nil)) }
	return []step{{
		name: "ID token", ask: ask,
		good: func(a answer) { wantTokens(t, a) },
		again: func(durable bool) answer {
			if durable {
				wantError(t, ask(), http.StatusBadRequest, "invalid_request")
				l = s.appLogin(d, l.claims["sub"].(string), "")
			}
			return ask()
		},
	}}
}
