package server_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// TestCodeRefused holds that what does not fit a code is refused, and that the code is as good as before.
func TestCodeRefused(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		client caller
		begin  func(d *device) url.Values // of the authorization request; nil for the usual
		change url.Values                 // of the form
		other  bool                       // another key makes the proof
		status int
		code   string
	}{
		{name: "other client", client: otherApp, code: "invalid_grant"},
		{name: "other redirect URI", change: url.Values{"redirect_uri": {"http://127.0.0.1:7778/callback"}}, code: "invalid_grant"},
		{name: "no redirect URI", change: url.Values{"redirect_uri": nil}, code: "invalid_grant"},
		{name: "empty redirect URI", change: url.Values{"redirect_uri": {""}}, code: "invalid_grant"},
		{name: "wrong verifier", change: url.Values{"code_verifier": {"another-verifier-that-is-as-long-as-it-must-be-"}}, code: "invalid_grant"},
		{name: "no verifier", change: url.Values{"code_verifier": nil}, code: "invalid_grant"},
		{name: "short verifier", change: url.Values{"code_verifier": {"short"}}, code: "invalid_grant"},
		{name: "challenge as verifier", change: url.Values{"code_verifier": {challenge(verifier)}}, code: "invalid_grant"},
		{name: "other key than dpop_jkt", begin: func(d *device) url.Values { return url.Values{"dpop_jkt": {d.JKT()}} }, other: true, code: "invalid_grant"},
		{name: "no such code", change: url.Values{"code": {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}, code: "invalid_grant"},
		{name: "no code", change: url.Values{"code": nil}, code: "invalid_request"},
		{name: "wider scope", change: url.Values{"scope": {"im:handle introspect"}}, code: "invalid_scope"},
		{name: "other resource", change: url.Values{"resource": {"https://rooms.example.com"}}, code: "invalid_target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDevice(t)
			var begin url.Values
			if test.begin != nil {
				begin = test.begin(d)
			}
			code, by, as := s.code(t, "alice", begin), d, app
			if test.other {
				by = newDevice(t)
			}
			if test.client.id != "" {
				as = test.client
			}
			wantError(t, s.token(t, as, by, codeForm(code, test.change)), http.StatusBadRequest, test.code)
			wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
		})
	}
}

// TestCodeAgain holds what becomes of the session when its code comes again (docs/divergences.md, RFC 6749 §4.1.2).
func TestCodeAgain(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		begin  func(d *device) url.Values
		client caller
		change url.Values
		other  bool
		ended  bool
	}{
		{name: "same key", client: app},
		{name: "other key", client: app, other: true, ended: true},
		{name: "other key than dpop_jkt", client: app, other: true, ended: true,
			begin: func(d *device) url.Values { return url.Values{"dpop_jkt": {d.JKT()}} }},
		{name: "other key with a wrong verifier", client: app, other: true,
			change: url.Values{"code_verifier": {"another-verifier-that-is-as-long-as-it-must-be-"}}},
		{name: "other key without a verifier", client: app, other: true, change: url.Values{"code_verifier": nil}},
		{name: "other key and other redirect URI", client: app, other: true,
			change: url.Values{"redirect_uri": {"http://127.0.0.1:1/callback"}}},
		{name: "other client with other key", client: otherApp, other: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDevice(t)
			var begin url.Values
			if test.begin != nil {
				begin = test.begin(d)
			}
			code, by := s.code(t, "alice", begin), d
			if test.other {
				by = newDevice(t)
			}
			held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
			wantError(t, s.token(t, test.client, by, codeForm(code, test.change)), http.StatusBadRequest, "invalid_grant")
			if test.ended {
				s.wantEnded(t, d, held)
			} else {
				s.wantAlive(t, d, held)
			}
		})
	}
}

func TestCodeInParallel(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", nil)
	answers := parallel(8, func() answer { return s.token(t, app, d, codeForm(code, nil)) })
	var held []tokens
	for _, a := range answers {
		if a.status == http.StatusOK {
			held = append(held, wantTokens(t, a))
		} else {
			wantError(t, a, http.StatusBadRequest, "invalid_grant")
		}
	}
	if len(held) != 1 {
		t.Fatalf("%d of 8 requests got tokens for one code, want 1", len(held))
	}
	s.wantAlive(t, d, held[0])
}

func TestCodeExpires(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	early, late := s.code(t, "alice", nil), s.code(t, "alice", nil)
	s.advance(t, 50*time.Second)
	wantTokens(t, s.token(t, app, d, codeForm(early, nil)))
	s.advance(t, 11*time.Second)
	wantError(t, s.token(t, app, d, codeForm(late, nil)), http.StatusBadRequest, "invalid_grant")
}

// TestRedirectURILeftOut holds that a redirect URI which the authorization request left out need not come later either
// (RFC 6749 §4.1.3), and that one that comes must be the registered one.
func TestRedirectURILeftOut(t *testing.T) {
	s := start(t, nil)
	b := s.browser()
	for name, test := range map[string]struct {
		change url.Values
		status int
	}{
		"left out again": {url.Values{"redirect_uri": nil}, http.StatusOK},
		"registered":     {url.Values{"redirect_uri": {"http://127.0.0.1/callback"}}, http.StatusOK},
		"other":          {nil, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			q := authorization(url.Values{"client_id": {otherApp.id}, "redirect_uri": nil})
			back, err := b.Login(t.Context(), s.issuer+"/authorize?"+q.Encode(),
				func(u *url.URL) bool { return u.Host == "127.0.0.1" }, map[string]string{"text": "alice", "password": "alice"})
			if err != nil {
				t.Fatal(err)
			}
			if a := s.token(t, otherApp, newDevice(t), codeForm(back.Query().Get("code"), test.change)); a.status != test.status {
				t.Errorf("answer = %v, want %d", a, test.status)
			}
		})
	}
}

// TestOtherPersonsKey holds that a key stands for one person's device for ever: bob cannot log in with alice's, and
// learns it before his code is spent.
func TestOtherPersonsKey(t *testing.T) {
	s := start(t, nil)
	alices, bobs := newDevice(t), newDevice(t)
	held := s.login(t, alices, "alice")

	t.Run("named at authorize", func(t *testing.T) {
		answer := s.signIn(t, "bob", url.Values{"dpop_jkt": {alices.JKT()}})
		if answer.Get("error") != "invalid_request" || answer.Has("code") {
			t.Errorf("authorization answer = %v, want invalid_request", answer)
		}
	})
	t.Run("at the token endpoint", func(t *testing.T) {
		code := s.code(t, "bob", nil)
		wantError(t, s.token(t, app, alices, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
		wantTokens(t, s.token(t, app, bobs, codeForm(code, nil)))
	})
	t.Run("her own again", func(t *testing.T) {
		again := s.login(t, alices, "alice")
		if again.set.Device != held.set.Device || again.set.SID == held.set.SID {
			t.Errorf("second login with a key is device %s, session %s; want %s and a new session", again.set.Device, again.set.SID, held.set.Device)
		}
	})
	held = s.wantAlive(t, alices, held)
	s.remove(t, held.set.Device)
	t.Run("of a removed device", func(t *testing.T) {
		code := s.code(t, "alice", nil)
		wantError(t, s.token(t, app, alices, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
		wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))
	})
}

// TestDeviceLimit holds that a person with as many devices as allowed gets no more until one is removed, also if they say
// that the device is one of them.
func TestDeviceLimit(t *testing.T) {
	s := start(t, map[string]string{"devices": "2"})
	first, second, third := newDevice(t), newDevice(t), newDevice(t)
	held := s.login(t, first, "alice")
	s.login(t, second, "alice")
	b, _, state := s.atLimit(t, "alice", nil)
	to, err := s.decide(t, b, state, "allow").to()
	if err != nil {
		t.Fatal(err)
	}
	code := to.Query().Get("code")
	wantError(t, s.token(t, app, third, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	again := s.code(t, "alice", url.Values{"dpop_jkt": {second.JKT()}}) // not a new one
	wantTokens(t, s.token(t, app, second, codeForm(again, nil)))
	s.login(t, third, "bob")
	s.remove(t, held.set.Device)
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))
}

// parallel runs what n times at once and returns all answers.
func parallel(n int, what func() answer) []answer {
	answers := make([]answer, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-start
			answers[i] = what()
		})
	}
	close(start)
	all.Wait()
	return answers
}
