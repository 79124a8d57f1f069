package server_test

import (
	"crypto"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/xsign"
)

const aspe = "/.well-known/aspe/id/"

// profile returns a profile of the user with one place, by a key.
func (u *crossSigner) profile(key crypto.Signer, change ...func(*places.Profile)) string {
	u.t.Helper()
	place, err := places.ParsePlace("dns:alice.example")
	if err != nil {
		u.t.Fatal(err)
	}
	p := &places.Profile{Name: "Alice", User: u.id, Places: []places.Place{place}}
	for _, f := range change {
		f(p)
	}
	text, err := p.Sign(key)
	return signed(u.t, text, err)
}

func (u *crossSigner) fingerprint() string {
	u.t.Helper()
	text, err := places.Fingerprint(u.master.Public())
	return signed(u.t, text, err)
}

// places sends a request about the profile of the user.
func (u *crossSigner) places(method string, body any) answer {
	u.t.Helper()
	return u.site.held(u.t, u.device, u.own, method, "/me/profile", body)
}

// publishes stores a profile.
func (u *crossSigner) publishes(text string) answer {
	u.t.Helper()
	a := u.places(http.MethodPut, object{"profile": text})
	wantStatus(u.t, a, http.StatusOK)
	return a
}

// wantProfile wants a profile at a path, and no other answer.
func (s *site) wantProfile(t *testing.T, path, text string) {
	t.Helper()
	a := s.get(t, path)
	h := a.header
	if a.status != http.StatusOK || a.body != text || h.Get("Content-Type") != "application/asp+jwt" || h.Get("Cache-Control") != "no-cache" ||
		h.Get("DPoP-Nonce") != "" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s = %v with %v, want the profile", path, a, h)
	}
	wantShared(t, a)
	for _, tag := range []string{a.header.Get("ETag"), "*", `W/` + a.header.Get("ETag") + `, "other"`} {
		req := s.request(t, http.MethodGet, path, "")
		req.Header.Set("If-None-Match", tag)
		if a := s.send(t, s.http, req); a.status != http.StatusNotModified || a.body != "" || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s with If-None-Match: %s = %v, want 304", path, tag, a)
		}
	}
	req := s.request(t, http.MethodHead, path, "")
	if head := s.send(t, s.http, req); head.status != http.StatusOK || head.body != "" || head.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("HEAD %s = %v, want the same without the body", path, head)
	}
}

// wantNoProfile wants the answer that a fingerprint gets by which there never was a profile.
func (s *site) wantNoProfile(t *testing.T, path string) {
	t.Helper()
	a, never := s.get(t, path), s.get(t, aspe+"AAAAAAAAAAAAAAAAAAAAAAAAAA")
	wantRefused(t, a, http.StatusNotFound, "not_found")
	if a.body != never.body || a.header.Get("Cache-Control") != "no-store" || a.header.Get("ETag") != "" {
		t.Errorf("%s = %v with %v, want what any other fingerprint gets: %v", path, a, a.header, never)
	}
}

// TestOwnPlaces holds how a user stores a profile, and how others get it.
func TestOwnPlaces(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	text, path := u.profile(u.master), aspe+u.fingerprint()
	wantRefused(t, u.places(http.MethodGet, nil), http.StatusNotFound, "not_found")
	wantRefused(t, u.places(http.MethodDelete, nil), http.StatusNotFound, "not_found")
	wantRefused(t, u.places(http.MethodPut, object{"profile": text}), http.StatusConflict, "no_keys")
	u.puts(object{"keys": u.keys(1)})
	s.wantNoProfile(t, path)

	put := u.publishes(text)
	// The issuer of the tests is at an IP address, which no address of a profile can name.
	if shown := u.places(http.MethodGet, nil); shown.body != put.body || shown.text("profile") != text || shown.text("url") != s.issuer+path || shown.text("address") != "" {
		t.Errorf("GET /me/profile = %v, PUT = %v", shown, put)
	}
	s.wantProfile(t, path, text)
	s.wantProfile(t, aspe+strings.ToLower(u.fingerprint()), text)
	s.wantProfile(t, path+"?of=whom", text)
	for _, other := range []string{
		"A", u.fingerprint()[1:], u.fingerprint() + "A", u.fingerprint() + "%00", u.fingerprint() + "%20", u.thumbprint(), "%ff", "..%2fid",
		"%C4%B1AAAAAAAAAAAAAAAAAAAAAAAA", // a letter that becomes an ASCII one in upper case
	} {
		s.wantNoProfile(t, aspe+other)
	}
	for _, other := range []string{u.fingerprint() + "/", "", "../id/" + u.fingerprint(), "%2f" + u.fingerprint()} {
		if a := s.get(t, aspe+other); a.status != http.StatusNotFound {
			t.Errorf("%s%s = %v, want 404", aspe, other, a)
		}
	}
	if a := s.send(t, s.http, s.request(t, http.MethodPost, path, text)); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST = %v, want 405", a)
	}

	// Another profile replaces it. An earlier one can come back: profiles have no number. A deletion ends it.
	second := u.profile(u.master, func(p *places.Profile) { p.Places = nil })
	for _, text := range []string{second, text, second} {
		u.publishes(text)
		s.wantProfile(t, path, text)
	}
	wantStatus(t, u.places(http.MethodDelete, nil), http.StatusNoContent)
	s.wantNoProfile(t, path)
	wantRefused(t, u.places(http.MethodGet, nil), http.StatusNotFound, "not_found")
}

// TestOwnPlacesRefused holds what is not stored.
func TestOwnPlacesRefused(t *testing.T) {
	s := start(t, nil)
	u, bob := s.newCrossSigner(t, "alice"), s.newCrossSigner(t, "bob")
	u.puts(object{"keys": u.keys(1)})
	bobsOwn := bob.master
	bob.master = u.master // as if bob had got her key
	bob.puts(object{"keys": bob.keys(1)})
	text := u.profile(u.master)
	u.publishes(text)
	ends := func(at time.Time) func(*places.Profile) {
		return func(p *places.Profile) { p.Expires = at.Truncate(time.Second) }
	}
	// by signs another payload, or with another header, by her master key.
	by := func(header, payload string) string {
		t.Helper()
		jws, err := jose.ParseCompact(text, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[0])
		if err != nil {
			t.Fatal(err)
		}
		change := strings.NewReplacer(strings.Split(header, "=>")[0], strings.Split(header, "=>")[1])
		made, err := jose.Sign(u.master, jws.Header.Alg, []byte(change.Replace(string(raw))), []byte(payload))
		return signed(t, made, err)
	}
	const same = "=>"
	claims := `"http://ariadne.id/claims":["` + u.id.String() + `"]`
	head := `{"http://ariadne.id/version":0,"http://ariadne.id/type":"profile","http://ariadne.id/name":"A",`
	for name, c := range map[string]struct {
		user   *crossSigner
		body   any
		code   string
		status int
	}{
		"another key":             {u, object{"profile": u.profile(newOwnKey(t))}, "invalid_profile", http.StatusBadRequest},
		"a key below the master":  {u, object{"profile": u.profile(u.vouches)}, "invalid_profile", http.StatusBadRequest},
		"another user":            {bob, object{"profile": text}, "invalid_profile", http.StatusBadRequest},
		"by another user's key":   {u, object{"profile": u.profile(bobsOwn)}, "invalid_profile", http.StatusBadRequest},
		"of another user":         {u, object{"profile": bob.profile(u.master)}, "invalid_profile", http.StatusBadRequest},
		"one key for two users":   {bob, object{"profile": bob.profile(u.master)}, "profile_conflict", http.StatusConflict},
		"expired":                 {u, object{"profile": u.profile(u.master, ends(s.clock.now()))}, "invalid_profile", http.StatusBadRequest},
		"altered":                 {u, object{"profile": text[:len(text)-3] + "AAA"}, "invalid_profile", http.StatusBadRequest},
		"cut":                     {u, object{"profile": text[:len(text)-1]}, "invalid_profile", http.StatusBadRequest},
		"a line end":              {u, object{"profile": text + "\n"}, "invalid_profile", http.StatusBadRequest},
		"padded":                  {u, object{"profile": text + "="}, "invalid_profile", http.StatusBadRequest},
		"another typ":             {u, object{"profile": by(`"typ":"JWT"=>"typ":"at+jwt"`, head+claims+"}")}, "invalid_profile", http.StatusBadRequest},
		"another kid":             {u, object{"profile": by(u.fingerprint()+"=>"+strings.ToLower(u.fingerprint()), head+claims+"}")}, "invalid_profile", http.StatusBadRequest},
		"a repeated parameter":    {u, object{"profile": by(`"typ":"JWT"=>"typ":"JWT","typ":"JWT"`, head+claims+"}")}, "invalid_profile", http.StatusBadRequest},
		"a repeated member":       {u, object{"profile": by(same, head+claims+","+claims+"}")}, "invalid_profile", http.StatusBadRequest},
		"no user":                 {u, object{"profile": by(same, head+`"http://ariadne.id/claims":[]}`)}, "invalid_profile", http.StatusBadRequest},
		"another version":         {u, object{"profile": by(same, strings.Replace(head, ":0", ":1", 1)+claims+"}")}, "invalid_profile", http.StatusBadRequest},
		"expired in 1970":         {u, object{"profile": by(same, head+claims+`,"exp":0}`)}, "invalid_profile", http.StatusBadRequest},
		"a time that is none":     {u, object{"profile": by(same, head+claims+`,"exp":1e400}`)}, "invalid_profile", http.StatusBadRequest},
		"a token":                 {u, object{"profile": u.own}, "invalid_profile", http.StatusBadRequest},
		"keys":                    {u, object{"profile": u.keys(2)}, "invalid_profile", http.StatusBadRequest},
		"more than 8 KiB":         {u, object{"profile": text + strings.Repeat("A", places.MaxProfile)}, "invalid_profile", http.StatusBadRequest},
		"no profile":              {u, object{}, "invalid_request", http.StatusBadRequest},
		"an empty profile":        {u, object{"profile": ""}, "invalid_request", http.StatusBadRequest},
		"a number":                {u, object{"profile": 7}, "invalid_request", http.StatusBadRequest},
		"a further member":        {u, object{"profile": text, "address": "x"}, "invalid_request", http.StatusBadRequest},
		"a member twice":          {u, rawBody(`{"profile":"` + text + `","profile":"` + text + `"}`), "invalid_request", http.StatusBadRequest},
		"no JSON":                 {u, rawBody(text), "invalid_request", http.StatusBadRequest},
		"another type of content": {u, url.Values{"profile": {text}}, "invalid_request", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.user.places(http.MethodPut, c.body)
			wantRefused(t, a, c.status, c.code)
			if strings.Contains(a.body, u.id.Local()) {
				t.Errorf("answer = %v, which repeats the profile", a)
			}
		})
	}
	wantStatus(t, u.places(http.MethodPut, rawBody(`{"profile":"`+strings.Repeat("x", 1<<17)+`"}`)), http.StatusRequestEntityTooLarge)
	s.wantProfile(t, aspe+u.fingerprint(), text)
	wantRefused(t, bob.places(http.MethodGet, nil), http.StatusNotFound, "not_found")

	// Only by a token for the issuer alone, with the scope account and the proof of its device, and of a live session.
	for _, token := range []string{u.held.access, s.forIssuer(t, u.device, u.held, "introspect").access} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			if a := s.held(t, u.device, token, method, "/me/profile", object{"profile": text}); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				t.Errorf("%s = %v, want a refusal", method, a)
			}
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		wantStatus(t, s.held(t, newDevice(t), u.own, method, "/me/profile", object{"profile": text}), http.StatusUnauthorized)
	}
	s.remove(t, u.held.set.Device)
	wantStatus(t, u.places(http.MethodDelete, nil), http.StatusUnauthorized)
	s.wantProfile(t, aspe+u.fingerprint(), text)
}

// TestOwnPlacesEnd holds when a profile is not served any more, and that no answer tells why.
func TestOwnPlacesEnd(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	user := u.id.Local()
	u.puts(object{"keys": u.keys(1)})
	path := aspe + u.fingerprint()
	publish := func(change ...func(*places.Profile)) string {
		t.Helper()
		text := u.profile(u.master, change...)
		u.publishes(text)
		s.wantProfile(t, path, text)
		return text
	}
	ends := publish(func(p *places.Profile) { p.Expires = s.clock.now().Add(time.Minute).Truncate(time.Second) })
	s.advance(t, 2*time.Minute)
	s.wantNoProfile(t, path)
	if a := u.places(http.MethodGet, nil); a.text("profile") != ends {
		t.Errorf("GET /me/profile = %v, want the one that has expired", a)
	}

	// Keys below the same master key, another handle and a removed device leave it there, and another master key ends it.
	text := publish()
	u.puts(object{"keys": u.keys(2)})
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {"alicia"}}), http.StatusOK)
	u.held = s.refreshedBy(t, accounts, u.device, u.held) // the rename has ended the tokens
	u.own = s.forIssuer(t, u.device, u.held, "account").access
	s.wantProfile(t, path, text)
	former := u.master
	succession := &xsign.Succession{User: u.id, IssuedAt: s.clock.now().Truncate(time.Second)}
	u.master = newOwnKey(t)
	succession.Next = u.thumbprint()
	succeeds, err := succession.Sign(former)
	u.puts(object{"keys": u.keys(3, func(k *xsign.Keys) { k.Succeeds = signed(t, succeeds, err) })})
	s.wantNoProfile(t, path)
	wantRefused(t, u.places(http.MethodPut, object{"profile": text}), http.StatusBadRequest, "invalid_profile")
	path = aspe + u.fingerprint()
	text = publish()

	// That of a disabled user is hidden, and that of a removed user is gone.
	if rows := s.exportOf(t, user)["signed_documents"]; len(rows) != 2 || !strings.Contains(string(rows[0])+string(rows[1]), text) {
		t.Errorf("the export has %s, want keys and the profile", rows)
	}
	wantStatus(t, s.disable(t, user), http.StatusOK)
	s.wantNoProfile(t, path)
	wantStatus(t, s.enable(t, user), http.StatusOK)
	s.wantProfile(t, path, text)
	wantStatus(t, s.removeUser(t, user), http.StatusOK)
	s.wantNoProfile(t, path)
}

// TestOwnPlacesRaced holds that no profile of a former master key is left, however its upload and the change of the keys meet, and that of
// two profiles one is stored.
func TestOwnPlacesRaced(t *testing.T) {
	for name, test := range map[string]struct {
		fill    func(t *testing.T) map[string]string
		further int
	}{
		"one node on SQLite":      {func(*testing.T) map[string]string { return nil }, 0},
		"two nodes on PostgreSQL": {onPostgres, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.fill(t))
			s.balance(t, test.further)
			u := s.newCrossSigner(t, "alice")
			for seq := range int64(4) {
				u.master = newOwnKey(t)
				u.puts(object{"keys": u.keys(seq + 1)})
				first, second, path := u.profile(u.master), u.profile(u.master, func(p *places.Profile) { p.Places = nil }), aspe+u.fingerprint()
				u.master = newOwnKey(t)
				next := u.keys(seq + 1)
				var racing sync.WaitGroup
				for _, text := range []string{first, second} {
					racing.Go(func() {
						if a := u.places(http.MethodPut, object{"profile": text}); a.status != http.StatusOK && a.status != http.StatusBadRequest {
							t.Errorf("PUT = %v, want that it is stored, or refused as by another master key", a)
						}
					})
				}
				racing.Go(func() { u.put(object{"keys": next}) })
				racing.Wait()
				u.puts(object{"keys": next}) // if it has lost
				s.wantNoProfile(t, path)
				wantRefused(t, u.places(http.MethodGet, nil), http.StatusNotFound, "not_found")
			}
		})
	}
}

// TestAddressOfProfile holds which address a profile has, and that it is found there, also where the issuer's URL has a path.
func TestAddressOfProfile(t *testing.T) {
	for name, test := range map[string]struct {
		fill map[string]string
		want string // what the address begins with
	}{
		"host":          {map[string]string{"origin": "https://id.example.com"}, "aspe:id.example.com:"},
		"host and path": {map[string]string{"origin": "https://id.example.com", "prefix": "/chat/id-1.0"}, "aspe:id.example.com:"},
		"port":          {map[string]string{"origin": "https://id.example.com:8443"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.fill)
			u := s.newCrossSigner(t, "alice")
			u.puts(object{"keys": u.keys(1)})
			text := u.profile(u.master)
			a := u.publishes(text)
			at := test.fill["origin"] + aspe + u.fingerprint()
			if a.text("url") != at || test.want == "" && a.text("address") != "" || test.want != "" && a.text("address") != test.want+u.fingerprint() {
				t.Errorf("answer = %v, want the URL %s and the address %s…", a, at, test.want)
			}
			if address, err := places.ParseAddress(a.text("address")); test.want != "" && (err != nil || address.URL() != at) {
				t.Errorf("the address = %+v, %v, want that of %s", address, err, at)
			}
			got := s.get(t, at)
			if got.status != http.StatusOK || got.body != text {
				t.Errorf("%s = %v, want the profile", at, got)
			}
			for _, other := range []string{"/.well-known/aspe/", "/.well-known/aspe/id", "/.well-known/aspe/post", aspe + u.fingerprint() + "/x", aspe + "..%2F..%2F..%2Fjwks"} {
				wantStatus(t, s.get(t, test.fill["origin"]+other), http.StatusNotFound)
			}
		})
	}
}
