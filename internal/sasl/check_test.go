package sasl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/sasl"
	"github.com/imidentity/issuer/introspect"
)

const issuerURL = "https://id.example.com"

// answers is an issuer that gives one answer about every token, or none.
type answers struct {
	members map[string]any
	err     error // of questions
	down    error // of every request
	asked   atomic.Int64
}

// RoundTrip answers a request to the issuer.
func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.down != nil {
		return nil, a.down
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		_, _ = io.WriteString(w, `{"issuer":"`+issuerURL+`","introspection_endpoint":"`+issuerURL+`/introspect"}`)
	default:
		a.asked.Add(1)
		if a.err != nil {
			return nil, a.err
		}
		if err := json.NewEncoder(w).Encode(a.members); err != nil {
			return nil, err
		}
	}
	return w.Result(), nil
}

// asker returns a client that asks an issuer.
func asker(t testing.TB, issuer http.RoundTripper) *introspect.Client {
	t.Helper()
	c, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: issuerURL, HTTP: &http.Client{Transport: issuer}, ClientID: "xmpp", Secret: "secret", AllowUnproven: true, MaxAge: -1, RefusalAge: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newSigner(t *testing.T) *dpop.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A desk is a checker of the domain example.com with a clock, whose issuer knows one token of alice.
type desk struct {
	*sasl.Checker
	issuer *answers
	alice  *dpop.Signer
	now    time.Time
}

func newDesk(t *testing.T, change func(*sasl.Config)) *desk {
	t.Helper()
	d := &desk{alice: newSigner(t), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	d.issuer = &answers{members: map[string]any{
		"active": true, "iss": issuerURL, "sub": "im:xmpp=alice@example.com", "handle": "im:xmpp=alice@example.com",
		"device": "im:xmpp=alice/a1@example.com", "aud": "im:example.com", "token_type": "DPoP", "scope": "im:handle im:device",
		"expires_in": 600.0, "max_age": 5.0, "holder": "unverified", "cnf": map[string]any{"jkt": d.alice.JKT()},
	}}
	cfg := sasl.Config{
		Issuer: asker(t, d.issuer), Domains: []string{"example.com", "Bücher.example"}, Now: func() time.Time { return d.now },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if d.Checker, err = sasl.NewChecker(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

const token = "alices.access.token"

// present returns a challenge and the message with which alice answers it.
func (d *desk) present(t *testing.T, change func(*dpop.PresentationParams)) (sasl.Challenge, sasl.Message) {
	t.Helper()
	c, err := d.Challenge("example.com")
	if err != nil {
		t.Fatal(err)
	}
	p := dpop.PresentationParams{Audience: c.Audience, Nonce: c.Nonce, AccessToken: token, IssuedAt: d.now}
	if change != nil {
		change(&p)
	}
	text, err := d.alice.Presentation(p)
	if err != nil {
		t.Fatal(err)
	}
	return c, sasl.Message{Scheme: "dpop", Token: token, Presentation: text}
}

// refused checks that err is a refusal of this kind.
func refused(t *testing.T, err error, condition, code, says string) {
	t.Helper()
	var no *sasl.Refusal
	if !errors.As(err, &no) || no.Condition != condition || no.Code != code || !strings.Contains(no.Text, says) {
		t.Errorf("Check = %v, want %s, %s: %s", err, condition, code, says)
	}
}

func TestCheck(t *testing.T) {
	d := newDesk(t, nil)
	for name, test := range map[string]struct{ authzid, account string }{
		"no account":         {},
		"authzid":            {authzid: "alice@example.com"},
		"authzid in capital": {authzid: "Alice@EXAMPLE.com"},
		"account":            {account: "alice@example.com"},
		"both":               {"alice@example.com", "alice@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := d.present(t, nil)
			m.Authzid = test.authzid
			id, err := d.Check(t.Context(), c.Nonce, m, test.account)
			want := sasl.Identity{
				Account: "alice@example.com", Username: "alice", User: "im:xmpp=alice@example.com", Handle: "im:xmpp=alice@example.com",
				Device: "im:xmpp=alice/a1@example.com", Scope: "im:handle im:device", ExpiresIn: 600,
			}
			if err != nil || *id != want {
				t.Fatalf("Check = %+v, %v, want %+v", id, err, want)
			}
			_, err = d.Check(t.Context(), c.Nonce, m, test.account)
			refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "answered before")
		})
	}
}

// TestAccountRefused checks that a token opens its own account only.
func TestAccountRefused(t *testing.T) {
	d := newDesk(t, nil)
	const malformed, another = "not well-formed", "another account"
	for account, test := range map[string]struct{ code, says string }{
		"bob@example.com":             {"invalid_token", another},
		"alice@example.org":           {"invalid_token", another},
		"alice@xn--bcher-kva.example": {"invalid_token", another},
		"alicе@example.com":           {"invalid_token", another}, // a Cyrillic e
		"example.com":                 {"invalid_request", malformed},
		"alice":                       {"invalid_request", malformed},
		"alice@example.com/phone":     {"invalid_request", malformed},
		"@example.com":                {"invalid_request", malformed},
		"alice@":                      {"invalid_request", malformed},
		"a lice@example.com":          {"invalid_request", malformed},
		"alice@example.com\x00":       {"invalid_request", malformed},
		"im:xmpp=alice@example.com":   {"invalid_request", malformed},
	} {
		for _, asked := range [][2]string{{account, ""}, {"alice@example.com", account}} {
			c, m := d.present(t, nil)
			m.Authzid = asked[0]
			_, err := d.Check(t.Context(), c.Nonce, m, asked[1])
			refused(t, err, sasl.InvalidAuthzid, test.code, test.says)
		}
	}
}

// TestPresentationRefused checks that only the holder of the key signs in, for this server, exchange and token.
func TestPresentationRefused(t *testing.T) {
	d := newDesk(t, nil)
	const invalid = "invalid_dpop_proof"
	for name, test := range map[string]struct {
		params func(*dpop.PresentationParams)
		change func(*sasl.Message)
		cond   string
		code   string
		says   string
	}{
		"token alone":  {nil, func(m *sasl.Message) { m.Presentation = "" }, sasl.NotAuthorized, invalid, "a token alone does not show"},
		"bearer":       {nil, func(m *sasl.Message) { m.Scheme = "bearer" }, sasl.NotAuthorized, invalid, "must be DPoP"},
		"bearer alone": {nil, func(m *sasl.Message) { m.Scheme, m.Presentation = "bearer", "" }, sasl.NotAuthorized, invalid, "must be DPoP"},
		"other scheme": {nil, func(m *sasl.Message) { m.Scheme = "mac" }, sasl.MalformedRequest, "invalid_request", "must be DPoP"},
		"no token":     {nil, func(m *sasl.Message) { m.Token = "" }, sasl.MalformedRequest, "invalid_request", "no access token"},
		"wild token":   {nil, func(m *sasl.Message) { m.Token = "a b" }, sasl.MalformedRequest, "invalid_request", "not well-formed"},
		"other domain": {func(p *dpop.PresentationParams) { p.Audience = "im:example.org" }, nil, sasl.NotAuthorized, invalid, "aud"},
		"other domain of the server": {func(p *dpop.PresentationParams) { p.Audience = "im:xn--bcher-kva.example" }, nil,
			sasl.NotAuthorized, invalid, "aud"},
		"other challenge": {func(p *dpop.PresentationParams) { p.Nonce = "another" }, nil, sasl.NotAuthorized, invalid, "nonce"},
		"other token":     {func(p *dpop.PresentationParams) { p.AccessToken = "another" }, nil, sasl.NotAuthorized, invalid, "ath"},
		"old":             {func(p *dpop.PresentationParams) { p.IssuedAt = d.now.Add(-2 * time.Minute) }, nil, sasl.NotAuthorized, invalid, "iat"},
		"of the future":   {func(p *dpop.PresentationParams) { p.IssuedAt = d.now.Add(time.Minute) }, nil, sasl.NotAuthorized, invalid, "iat"},
		"cut": {nil, func(m *sasl.Message) { m.Presentation = m.Presentation[:len(m.Presentation)-2] }, sasl.NotAuthorized, invalid,
			"signature"},
		"no JWT": {nil, func(m *sasl.Message) { m.Presentation = "x" }, sasl.NotAuthorized, invalid, "not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := d.present(t, test.params)
			if test.change != nil {
				test.change(&m)
			}
			_, err := d.Check(t.Context(), c.Nonce, m, "")
			refused(t, err, test.cond, test.code, test.says)
			_, good := d.present(t, func(p *dpop.PresentationParams) { p.Nonce = c.Nonce })
			_, err = d.Check(t.Context(), c.Nonce, good, "")
			refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "begin again") // a challenge allows one attempt
		})
	}
	t.Run("thief with another key", func(t *testing.T) {
		c, _ := d.present(t, nil)
		text, err := newSigner(t).Presentation(dpop.PresentationParams{
			Audience: c.Audience, Nonce: c.Nonce, AccessToken: token, IssuedAt: d.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Check(t.Context(), c.Nonce, sasl.Message{Scheme: "dpop", Token: token, Presentation: text}, "")
		refused(t, err, sasl.NotAuthorized, invalid, "jwk")
	})
	t.Run("proof instead of a presentation", func(t *testing.T) {
		c, m := d.present(t, nil)
		proof, err := d.alice.Proof(dpop.ProofParams{
			Method: "POST", URL: "https://id.example.com/token", Nonce: c.Nonce, AccessToken: token, IssuedAt: d.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Presentation = proof
		_, err = d.Check(t.Context(), c.Nonce, m, "")
		refused(t, err, sasl.NotAuthorized, invalid, "typ")
	})
	t.Run("presentation of another exchange", func(t *testing.T) {
		_, seen := d.present(t, nil)
		c, _ := d.present(t, nil)
		_, err := d.Check(t.Context(), c.Nonce, seen, "")
		refused(t, err, sasl.NotAuthorized, invalid, "nonce")
	})
	t.Run("late", func(t *testing.T) {
		c, m := d.present(t, nil)
		d.now = d.now.Add(time.Minute)
		before := d.issuer.asked.Load()
		_, err := d.Check(t.Context(), c.Nonce, m, "")
		refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "has expired")
		if d.issuer.asked.Load() != before {
			t.Error("the issuer was asked without a challenge")
		}
	})
	t.Run("made-up challenge", func(t *testing.T) {
		_, m := d.present(t, func(p *dpop.PresentationParams) { p.Nonce = "made-up" })
		_, err := d.Check(t.Context(), "made-up", m, "")
		refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "begin again")
	})
}

// TestTokenRefused checks what the answer of the issuer must say.
func TestTokenRefused(t *testing.T) {
	const gone = "\x00"
	type members = map[string]any
	for name, test := range map[string]struct {
		change members
		cfg    func(*sasl.Config)
		code   string
		says   string
	}{
		"inactive":             {members{"active": false}, nil, "invalid_token", "not valid"},
		"bearer":               {members{"token_type": "Bearer", "cnf": gone}, nil, "invalid_token", "not bound"},
		"another audience":     {members{"aud": "im:example.org"}, nil, "invalid_token", "another audience"},
		"audience of a prefix": {members{"aud": "im:example.com.evil.example"}, nil, "invalid_token", "another audience"},
		"no audience of all":   {members{"aud": []any{}}, nil, "invalid_token", "another audience"},
		"actor":                {members{"act": members{"sub": "bot"}}, nil, "invalid_token", "actor"},
		"missing scope": {nil, func(c *sasl.Config) { c.Scopes = []string{"im:handle", "chat"} }, "insufficient_scope",
			"lacks the scope chat"},
		"user of another domain": {members{"sub": "im:xmpp=alice@example.org", "handle": "im:xmpp=alice@example.org"}, nil, "invalid_token",
			"another domain"},
		"handle of another domain": {members{"handle": "im:xmpp=alice@example.org"}, nil, "invalid_token", "another domain"},
		"two accounts":             {members{"handle": "im:xmpp=bob@example.com"}, nil, "invalid_token", "not one account"},
		"device":                   {members{"handle": "im:xmpp=alice/a1@example.com"}, nil, "invalid_token", "not one account"},
		"domain":                   {members{"handle": "im:xmpp=example.com", "sub": "u1"}, nil, "invalid_token", "not one account"},
		"no URI":                   {members{"handle": "alice"}, nil, "invalid_token", "not a URI"},
		"service":                  {members{"handle": gone, "sub": "peer"}, nil, "insufficient_scope", "names no handle"},
		"another system": {members{"handle": "im:%40alice@example.com", "sub": "im:u1@example.com;id-type=user"}, nil, "invalid_token",
			"not an account of this server"},
		"no account of that name": {members{"handle": "im:%40a%26b@example.com", "sub": "u1"}, func(c *sasl.Config) { c.FollowHandles = true },
			"invalid_token", "handle"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.cfg)
			maps.Copy(d.issuer.members, test.change)
			maps.DeleteFunc(d.issuer.members, func(_ string, v any) bool { return v == gone })
			c, m := d.present(t, nil)
			id, err := d.Check(t.Context(), c.Nonce, m, "")
			if id != nil {
				t.Errorf("Check = %+v, want none", id)
			}
			refused(t, err, sasl.NotAuthorized, test.code, test.says)
		})
	}
}

// TestTokenAccepted checks the forms of a token that name an account.
func TestTokenAccepted(t *testing.T) {
	type members = map[string]any
	for name, test := range map[string]struct {
		change members
		follow bool
		asks   string
		want   string
	}{
		"several audiences":    {members{"aud": []any{"https://chat.example.com", "im:example.com"}}, false, "", "alice@example.com"},
		"mimi audience":        {members{"aud": "mimi://example.com"}, false, "", "alice@example.com"},
		"user alone":           {members{"handle": nil}, false, "", "alice@example.com"},
		"pairwise user":        {members{"sub": "pw_3q2-7wAAAAAAAAAAAAAAAA"}, false, "", "alice@example.com"},
		"SIP":                  {members{"handle": "im:sip=alice@example.com", "sub": "im:sip=alice@example.com"}, false, "sip:alice@example.com", "sip:alice@example.com"},
		"handle of any system": {members{"handle": "im:%40alice@example.com", "sub": "im:U1@example.com;id-type=user"}, true, "alice@example.com", "alice@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, func(c *sasl.Config) { c.FollowHandles = test.follow })
			maps.Copy(d.issuer.members, test.change)
			c, m := d.present(t, nil)
			m.Authzid = test.asks
			if id, err := d.Check(t.Context(), c.Nonce, m, ""); err != nil || id.Account != test.want {
				t.Errorf("Check = %+v, %v, want %s", id, err, test.want)
			}
		})
	}
}

// TestCannotKnow checks that an issuer that gives no usable answer is never a refusal. The changes are to the answer about Alice.
func TestCannotKnow(t *testing.T) {
	type members = map[string]any
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		change members
		err    error
	}{
		"error":                {nil, down},
		"no verdict":           {members{"active": nil}, nil},
		"active is a string":   {members{"active": "true"}, nil},
		"handle is a number":   {members{"handle": 7.0}, nil},
		"aud holds a number":   {members{"aud": []any{"im:example.com", 7.0}}, nil},
		"token_type is a list": {members{"token_type": []any{}}, nil},
		"another issuer":       {members{"iss": "https://other.example.com"}, nil},
		"no key":               {members{"cnf": members{}}, nil},
		"iss withheld":         {members{"iss": nil}, nil},
		"aud withheld":         {members{"aud": nil}, nil},
		"sub withheld":         {members{"sub": nil}, nil},
		"pairwise user":        {members{"sub": "pw_x", "handle": nil}, nil},
	} {
		d := newDesk(t, nil)
		maps.Copy(d.issuer.members, test.change)
		maps.DeleteFunc(d.issuer.members, func(_ string, v any) bool { return v == nil })
		d.issuer.err = test.err
		c, m := d.present(t, nil)
		id, err := d.Check(t.Context(), c.Nonce, m, "")
		if no := (*sasl.Refusal)(nil); id != nil || err == nil || errors.As(err, &no) || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: Check = %+v, %v, want an error that refuses nothing", name, id, err)
		}
	}
}

// TestIssuerComesLater checks that a checker works once its issuer does, which did not run when it was made.
func TestIssuerComesLater(t *testing.T) {
	d := newDesk(t, func(c *sasl.Config) { c.Scopes = []string{"im:handle"} })
	d.issuer.down = errors.New("connection refused")
	for range 2 {
		c, m := d.present(t, nil)
		id, err := d.Check(t.Context(), c.Nonce, m, "")
		if no := (*sasl.Refusal)(nil); id != nil || !errors.Is(err, introspect.ErrUnknown) || errors.As(err, &no) {
			t.Fatalf("Check = %+v, %v, want an error that refuses nothing", id, err)
		}
	}
	d.issuer.down = nil
	c, m := d.present(t, nil)
	if id, err := d.Check(t.Context(), c.Nonce, m, ""); err != nil || id.Account != "alice@example.com" {
		t.Errorf("Check = %+v, %v, want alice@example.com", id, err)
	}
}

// TestOnce races the answers to one challenge: exactly one is accepted.
func TestOnce(t *testing.T) {
	d := newDesk(t, nil)
	c, m := d.present(t, nil)
	const racers = 16
	results, start := make(chan error, racers), make(chan struct{})
	for range racers {
		go func() {
			<-start
			_, err := d.Check(t.Context(), c.Nonce, m, "")
			results <- err
		}()
	}
	close(start)
	accepted := 0
	for range racers {
		if err := <-results; err == nil {
			accepted++
		} else {
			refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "answered before")
		}
	}
	if accepted != 1 {
		t.Errorf("%d of %d answers were accepted, want 1", accepted, racers)
	}
}

// TestChallenges checks that challenges differ, belong to a domain, and are bounded: the oldest gives way.
func TestChallenges(t *testing.T) {
	d := newDesk(t, nil)
	for domain, want := range map[string]string{
		"example.com": "im:example.com", "EXAMPLE.com": "im:example.com", "bücher.example": "im:xn--bcher-kva.example",
		"": "", "example.org": "", "sub.example.com": "", "x y": "",
	} {
		if c, err := d.Challenge(domain); (err == nil) != (want != "") || c.Audience != want {
			t.Errorf("Challenge(%q) = %+v, %v, want the audience %q", domain, c, err, want)
		}
	}
	oldest, first := d.present(t, nil)
	newer, second := d.present(t, nil)
	seen := map[string]bool{oldest.Nonce: true, newer.Nonce: true}
	for range 1<<16 - 1 {
		c, err := d.Challenge("example.com")
		if err != nil || seen[c.Nonce] || len(c.Nonce) < 22 {
			t.Fatalf("Challenge = %+v, %v, want a new nonce of at least 128 bits", c, err)
		}
		seen[c.Nonce] = true
	}
	_, err := d.Check(t.Context(), oldest.Nonce, first, "")
	refused(t, err, sasl.NotAuthorized, "use_dpop_nonce", "begin again")
	if _, err := d.Check(t.Context(), newer.Nonce, second, ""); err != nil {
		t.Errorf("Check = %v, want nil for a challenge that is not the oldest", err)
	}
}

func TestNewChecker(t *testing.T) {
	whole := sasl.Config{Issuer: asker(t, &answers{}), Domains: []string{"example.com"}}
	for name, change := range map[string]func(*sasl.Config){
		"no issuer":      func(c *sasl.Config) { c.Issuer = nil },
		"no domain":      func(c *sasl.Config) { c.Domains = nil },
		"no such domain": func(c *sasl.Config) { c.Domains = []string{"example.com", "x y"} },
	} {
		cfg := whole
		change(&cfg)
		if _, err := sasl.NewChecker(cfg); err == nil {
			t.Errorf("%s: NewChecker = nil, want an error", name)
		}
	}
	if _, err := sasl.NewChecker(whole); err != nil {
		t.Errorf("NewChecker = %v, want nil", err)
	}
}
