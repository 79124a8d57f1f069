package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

const mediaBatch = "application/im-introspection-batch+jwt"

// batch is the form of a question about several tokens.
func batch(tokens ...string) url.Values {
	return url.Values{"tokens": {string(encode(tokens))}}
}

// answers are the elements of an answer about several tokens, without what changes with the time.
func answers(t *testing.T, a answer) (list []string) {
	t.Helper()
	if a.status != http.StatusOK || len(a.json) != 1 {
		t.Fatalf("answer = %v, want 200 with answers alone", a)
	}
	wantNotStored(t, a)
	all, _ := a.json["answers"].([]any)
	for _, one := range all {
		list = append(list, timeless(one))
	}
	return list
}

func timeless(answer any) string {
	members, _ := answer.(object)
	delete(members, "expires_in")
	return string(encode(members))
}

// TestBatch holds that a question about several tokens is answered like a question about each, for every kind of caller.
func TestBatch(t *testing.T) {
	home, far := startTwo(t, "")
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	abroad := wantTokens(t, home.token(t, app, newDevice(t), codeForm(code, nil))).access
	here, gone := home.login(t, newDevice(t), "alice"), home.login(t, newDevice(t), "bob")
	home.remove(t, gone.set.Device)
	tokens := []string{here.access, "never-issued", abroad, gone.access, here.access, here.refresh}
	bobs, machine := newDevice(t), newDevice(t)
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	own := home.service(t, auditor, machine, url.Values{"resource": {home.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	for name, ask := range map[string]func(path string, form url.Values) answer{
		"client": func(path string, form url.Values) answer { return home.asking(t, peer, path, form) },
		"token": func(path string, form url.Values) answer {
			return home.held(t, machine, own, http.MethodPost, path, form)
		},
		"peer's token": func(path string, form url.Values) answer {
			return home.held(t, bobs, bob.access, http.MethodPost, path, form)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			active := 0
			for _, token := range tokens {
				a := ask("/introspect", url.Values{"token": {token}})
				if a.json["active"] == true {
					active++
				}
				want = append(want, timeless(a.json))
			}
			if got := answers(t, ask("/introspect/batch", batch(tokens...))); !slices.Equal(got, want) || active == 0 {
				t.Errorf("answers =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	t.Run("signed", func(t *testing.T) {
		claims := home.openedJWT(t, home.heldAccepting(t, machine, own, "/introspect/batch", batch(here.access, gone.access), mediaBatch), mediaBatch, "im-introspection-batch+jwt", "ES256")
		list, _ := claims["answers"].([]any)
		if claims["iss"] != home.issuer || claims["aud"] != auditor.id || claims["iat"] == nil || len(list) != 2 || len(claims) != 4 {
			t.Fatalf("claims = %v, want iss, aud, iat and two answers", claims)
		}
		if inner, _ := list[0].(object)["token_introspection"].(object); inner["active"] != true || inner["sub"] != here.set.Subject {
			t.Errorf("first answer = %v, want active", list[0])
		}
		if got, want := string(encode(list[1])), `{"im_detail":{"reason":"device_removed"},"token_introspection":{"active":false}}`; got != want {
			t.Errorf("second answer = %s, want %s", got, want)
		}
	})
	t.Run("as many as there may be", func(t *testing.T) {
		if got := answers(t, home.asking(t, peer, "/introspect/batch", batch(slices.Repeat([]string{here.access}, 100)...))); len(got) != 100 || !strings.Contains(got[99], here.set.Subject) {
			t.Errorf("answers = %d, the last %v, want 100", len(got), got[len(got)-1])
		}
	})
}

// TestBatchRefused holds what is no question about several tokens.
func TestBatchRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	own := s.service(t, peer, d, url.Values{"resource": {s.issuer}})
	with := func(name, value string) url.Values {
		form := batch("never-issued")
		form.Set(name, value)
		return form
	}
	for name, test := range map[string]struct {
		form   url.Values
		status int
		says   string
	}{
		"no tokens":               {url.Values{}, 400, "tokens must be"},
		"an empty array":          {batch(), 400, "tokens must be"},
		"101 tokens":              {batch(slices.Repeat([]string{"x"}, 101)...), 400, "There are 101 tokens"},
		"one token, no array":     {url.Values{"tokens": {"x"}}, 400, "tokens must be"},
		"objects":                 {url.Values{"tokens": {`[{"token":"x"}]`}}, 400, "tokens must be"},
		"an array that goes on":   {url.Values{"tokens": {`["x"]["y"]`}}, 400, "tokens must be"},
		"an array without an end": {url.Values{"tokens": {`["x"`}}, 400, "tokens must be"},
		"an empty token":          {batch("x", ""), 400, "Token 2 is empty"},
		"two arrays":              {url.Values{"tokens": {`["x"]`, `["y"]`}}, 400, "repeated"},
		"one token beside them":   {with("token", "x"), 400, "parameter token "},
		"a proof":                 {with("proof", "x"), 400, "parameter proof "},
		"a presentation":          {with("presentation", "x"), 400, "parameter presentation "},
		"tokens sent along":       {with("im_along", "[]"), 400, "parameter im_along "},
		"a token of 1 MiB":        {batch(strings.Repeat("a", 1<<20)), 413, "too long"},
		"another long parameter":  {with("state", strings.Repeat("a", 100<<10)), 413, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, a := range []answer{s.asking(t, peer, "/introspect/batch", test.form), s.held(t, d, own, http.MethodPost, "/introspect/batch", test.form)} {
				if wantError(t, a, test.status, "invalid_request"); !strings.Contains(a.text("error_description"), test.says) {
					t.Errorf("answer = %v, want %q", a, test.says)
				}
			}
		})
	}
	for name, a := range map[string]answer{
		"a name that is encoded twice over": s.asking(t, peer, "/introspect/batch", url.Values{"%74okens": {`["x"]`}}),
		"JSON":                              s.held(t, d, own, http.MethodPost, "/introspect/batch", object{"tokens": []string{"x"}}),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, a, http.StatusBadRequest, "invalid_request") })
	}
	wantError(t, s.post(t, "/introspect/batch", batch("x"), nil), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.asking(t, app, "/introspect/batch", batch("x")), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.asking(t, caller{peer.id, "wrong"}, "/introspect/batch", batch("x")), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.asking(t, mute, "/introspect/batch", batch("x")), http.StatusForbidden, "unauthorized_client")
	wantError(t, s.held(t, d, own, http.MethodPost, "/introspect/batch", with("client_secret", secret)), http.StatusBadRequest, "invalid_request")
	wantRefused(t, s.post(t, "/introspect/batch", batch("x"), http.Header{"Authorization": {"DPoP " + own}}), http.StatusUnauthorized, "invalid_dpop_proof")
	if got := answers(t, s.held(t, d, own, http.MethodPost, "/introspect/batch", batch(own, s.service(t, peer, d, nil)))); got[0] != `{"active":false}` || got[1] == got[0] {
		t.Errorf("answers = %v, want the caller's own token to be inactive, and another one active", got)
	}
	if a := s.asking(t, peer, "/introspect/batch", batch("x"), "application/token-introspection+jwt"); a.json["answers"] == nil {
		t.Errorf("answer = %v, want JSON: a signed batch has a type of its own", a)
	}
	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	wantError(t, s.asking(t, peer, "/introspect/batch", batch("x", "y")), http.StatusServiceUnavailable, "temporarily_unavailable")
}

// TestBatchKnowsSome holds that a token which the issuer cannot judge now is marked, and the others are answered.
func TestBatchKnowsSome(t *testing.T) {
	c := startCast(t)
	enclosing := c.nested(t, c.her(c.member(t, nil)), asValue).token
	c.wantActive(t, enclosing)
	c.reload(t, map[string]string{"peers": fmt.Sprintf("peers:\n  - {domain: school.example, issuer: %q}\n", c.school.issuer)}) // nobody is there
	a := c.asking(t, peer, "/introspect/batch", batch("never-issued", enclosing, c.alice.access))
	got := answers(t, a)
	if len(got) != 3 || got[0] != `{"active":false}` || got[1] != `{"error":"temporarily_unavailable"}` || !strings.Contains(got[2], `"active":true`) {
		t.Errorf("answers =\n%s\nwant the one in the middle to be unknown", strings.Join(got, "\n"))
	}
	wantError(t, c.asking(t, peer, "/introspect/batch", batch(enclosing, enclosing)), http.StatusServiceUnavailable, "temporarily_unavailable")
}

// FuzzBatchBody: whatever the body, the answer is 400, 413, or 200 with one answer for each token.
func FuzzBatchBody(f *testing.F) {
	h := newBench(f)
	for _, body := range []string{
		"tokens=%5B%22a%22%5D", "tokens=[\"a\",\"b\"]&client_id=peer", "%74okens=%5B%22a%22%5D", "tokens=&tokens=", "tokens=[\"\\u0041\"]",
		"&&&=&tokens", "tokens=%zz", "tokens=[\"a\"];x=y", "tokens=[\"a\"]&tokens=[\"b\"]",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/introspect/batch", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("peer", benchSecret)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge:
			return
		default:
			t.Fatalf("body %q = %d %s", body, w.Code, w.Body)
		}
		var answer struct{ Answers []struct{ Active *bool } }
		var tokens []string
		form, err := url.ParseQuery(body)
		if err != nil || json.Unmarshal([]byte(form.Get("tokens")), &tokens) != nil || json.Unmarshal(w.Body.Bytes(), &answer) != nil || len(answer.Answers) != len(tokens) {
			t.Fatalf("body %q = %s, want an answer for each of %q", body, w.Body, tokens)
		}
		for _, a := range answer.Answers {
			if a.Active == nil || *a.Active {
				t.Fatalf("body %q = %s, want inactive", body, w.Body)
			}
		}
	})
}

// BenchmarkIntrospectBatch asks about 100 tokens that were not seen before. The ratio is for one token.
func BenchmarkIntrospectBatch(b *testing.B) {
	const many = 100
	h := newBench(b)
	verify, _ := floor(b)
	forms := make([]url.Values, b.N)
	for i := range forms {
		tokens := h.proofs(b, newSigner(b), many)
		for n, proof := range tokens {
			var issued client.Tokens
			h.post(b, "/token", proof, url.Values{"grant_type": {"client_credentials"}}, &issued)
			tokens[n] = issued.AccessToken
		}
		forms[i] = batch(tokens...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, form := range forms {
		var answer struct{ Answers []struct{ Active bool } }
		h.post(b, "/introspect/batch", "", form, &answer)
		if len(answer.Answers) != many || !answer.Answers[many-1].Active {
			b.Fatalf("%d answers, the last %v", len(answer.Answers), answer.Answers[many-1])
		}
	}
	reportRatio(b, many*verify)
}
