package gateway_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

// TestAllowed holds that the tokens of both providers pass with a proof, for the first time and later, and who the sender is.
func TestAllowed(t *testing.T) {
	w := newWorld(t)
	for _, s := range []struct {
		provider *provider
		device   *device
	}{{w.a, w.alice}, {w.b, w.bob}} {
		token := s.provider.issue(t, s.device)
		for _, seen := range []bool{false, true} {
			d := w.ask(t, s.device, token, nil)
			want(t, d, gateway.ReasonAllowed)
			if d.Seen != seen || d.Nonce == "" || d.Challenge != "" || d.Code != "" || d.Status() != 200 {
				t.Errorf("Decide = %+v, want Seen %v, a nonce and no challenge", d, seen)
			}
			set := s.provider.claimsOf(s.device)
			id := d.Identity
			if id == nil {
				t.Fatal("Identity = nil, want the sender")
			}
			if id.User != set.Subject || id.Handle != set.Handle || id.Device != set.Device || id.Domain != s.provider.domain ||
				id.Issuer != s.provider.URL || id.ClientID != "app" || strings.Join(id.Scope, " ") != set.Scope || id.JKT != s.device.JKT() {
				t.Errorf("Identity = %+v, want that of %s", id, set.Subject)
			}
		}
	}
	if w.a.fetches() != 1 || w.b.fetches() != 1 {
		t.Errorf("keys were fetched %d and %d times, want once each", w.a.fetches(), w.b.fetches())
	}
}

// TestHeaders holds that there must be exactly one Authorization line and one DPoP line, and how the challenge looks.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	token := w.a.issue(t, w.alice)
	good := func() gateway.Request { return w.request(t, w.alice, "GET", token) }
	for name, test := range map[string]struct {
		change func(*gateway.Request)
		reason gateway.Reason
		code   string
	}{
		"none":               {func(r *gateway.Request) { r.Authorization, r.DPoP = nil, nil }, gateway.ReasonNoToken, ""},
		"no token":           {func(r *gateway.Request) { r.Authorization = nil }, gateway.ReasonNoToken, ""},
		"another scheme":     {func(r *gateway.Request) { r.Authorization[0] = "Basic YTpi" }, gateway.ReasonNoToken, ""},
		"two tokens":         {func(r *gateway.Request) { r.Authorization = append(r.Authorization, r.Authorization[0]) }, gateway.ReasonTwoTokens, "invalid_request"},
		"two tokens in one":  {func(r *gateway.Request) { r.Authorization[0] += ", DPoP " + token }, gateway.ReasonMalformed, "invalid_token"},
		"Bearer":             {func(r *gateway.Request) { r.Authorization[0] = "Bearer " + token }, gateway.ReasonWrongScheme, "invalid_token"},
		"Bearer alone":       {func(r *gateway.Request) { r.Authorization[0], r.DPoP = "Bearer "+token, nil }, gateway.ReasonWrongScheme, "invalid_token"},
		"Bearer and DPoP":    {func(r *gateway.Request) { r.Authorization = []string{"Bearer " + token, "DPoP " + token} }, gateway.ReasonTwoTokens, "invalid_request"},
		"empty token":        {func(r *gateway.Request) { r.Authorization[0] = "DPoP " }, gateway.ReasonMalformed, "invalid_token"},
		"token with spaces":  {func(r *gateway.Request) { r.Authorization[0] += " " + token }, gateway.ReasonMalformed, "invalid_token"},
		"no proof":           {func(r *gateway.Request) { r.DPoP = nil }, gateway.ReasonNoProof, "invalid_dpop_proof"},
		"two proofs":         {func(r *gateway.Request) { r.DPoP = append(r.DPoP, r.DPoP[0]) }, gateway.ReasonTwoProofs, "invalid_dpop_proof"},
		"two proofs in one":  {func(r *gateway.Request) { r.DPoP[0] += ", " + r.DPoP[0] }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"empty proof":        {func(r *gateway.Request) { r.DPoP[0] = "" }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"huge token":         {func(r *gateway.Request) { r.Authorization[0] = "DPoP " + strings.Repeat("a", 1<<20) }, gateway.ReasonMalformed, "invalid_token"},
		"huge proof":         {func(r *gateway.Request) { r.DPoP[0] = strings.Repeat("a", 1<<20) }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"huge scheme":        {func(r *gateway.Request) { r.Authorization[0] = strings.Repeat("a", 1<<20) }, gateway.ReasonNoToken, ""},
		"proof without ath":  {func(r *gateway.Request) { r.DPoP[0] = w.proof(t, w.alice, "GET", "") }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"of another token":   {func(r *gateway.Request) { r.DPoP[0] = w.proof(t, w.alice, "GET", w.a.issue(t, w.alice)) }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"for another method": {func(r *gateway.Request) { r.DPoP[0] = w.proof(t, w.alice, "PUT", token) }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"for another URL":    {func(r *gateway.Request) { r.URL += "0" }, gateway.ReasonBadProof, "invalid_dpop_proof"},
		"by another key":     {func(r *gateway.Request) { r.DPoP[0] = w.proof(t, w.bob, "GET", token) }, gateway.ReasonOtherKey, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			test.change(&r)
			r.MetadataURL = "https://chat.a.example/.well-known/oauth-protected-resource"
			d := w.Decide(t.Context(), r, nil)
			want(t, d, test.reason)
			if d.Code != test.code || d.Status() != 401 || d.Nonce == "" || d.Identity != nil {
				t.Errorf("Decide = %+v, want the code %s, a nonce and no identity", d, test.code)
			}
			for _, part := range []string{`DPoP `, `algs="ES256 EdDSA Ed25519 ES384"`, `resource_metadata="` + r.MetadataURL + `"`} {
				if !strings.Contains(d.Challenge, part) {
					t.Errorf("Challenge = %s, want %s in it", d.Challenge, part)
				}
			}
			if strings.Contains(d.Challenge, "Bearer") || strings.Contains(d.Challenge, "error=") != (test.code != "") || len(d.Challenge) > 1000 {
				t.Errorf("Challenge = %s, want DPoP alone, and an error if there is a token", d.Challenge)
			}
			if strings.Contains(d.Explanation, token[:20]) || strings.Contains(d.Challenge, token[:20]) {
				t.Error("the decision contains the token")
			}
		})
	}
	want(t, w.Decide(t.Context(), good(), nil), gateway.ReasonAllowed)
}

// TestNonceAndReplay holds that a proof needs a nonce of the verifier and is good once, also after a refusal for another reason.
func TestNonceAndReplay(t *testing.T) {
	w := newWorld(t)
	token := w.a.issue(t, w.alice)
	for name, nonce := range map[string]string{"none": "", "made up": "abc"} {
		proof, err := w.alice.Proof(dpop.ProofParams{Method: "GET", URL: chat, AccessToken: token, Nonce: nonce, IssuedAt: w.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		d := w.Decide(t.Context(), gateway.Request{Method: "GET", URL: chat, Authorization: []string{"DPoP " + token}, DPoP: []string{proof}}, nil)
		want(t, d, gateway.ReasonUseNonce)
		if d.Code != "use_dpop_nonce" || d.Nonce == "" || !strings.Contains(d.Challenge, `error="use_dpop_nonce"`) {
			t.Errorf("%s: Decide = %+v, want use_dpop_nonce", name, d)
		}
	}
	r := w.request(t, w.alice, "GET", token)
	want(t, w.Decide(t.Context(), r, policy(t, gateway.PolicyConfig{Scopes: []string{"more"}})), gateway.ReasonScope)
	want(t, w.Decide(t.Context(), r, nil), gateway.ReasonAllowed)
	want(t, w.Decide(t.Context(), r, nil), gateway.ReasonReplayed)
	w.clock.advance(10 * time.Minute)
	want(t, w.Decide(t.Context(), r, nil), gateway.ReasonUseNonce)
}

// TestTokens holds which tokens are refused that a trusted issuer has signed, or that seem so.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	stranger := newProvider(t, "c.example", w.clock.now)
	good := w.a.claimsOf(w.alice)
	with := func(change func(*claims.Set)) func() string {
		return func() string { return w.a.issue(t, w.alice, change) }
	}
	as := func(typ string) func() string {
		return func() string { return w.a.sign(t, typ, "k1", good.AppendJSON(nil)) }
	}
	for name, test := range map[string]struct {
		token  func() string
		reason gateway.Reason
	}{
		"ID token":             {as("JWT"), gateway.ReasonWrongType},
		"no type":              {as(""), gateway.ReasonWrongType},
		"logout token":         {as("logout+jwt"), gateway.ReasonWrongType},
		"staple":               {as(jose.TypeStaple), gateway.ReasonWrongType},
		"introspection answer": {as(jose.TypeIntrospection), gateway.ReasonWrongType},
		"batch answer":         {as(jose.TypeIntrospectionBatch), gateway.ReasonWrongType},
		"status list":          {as(jose.TypeStatusList), gateway.ReasonWrongType},
		"statement":            {as(jose.TypeActor), gateway.ReasonWrongType},
		"chaining grant":       {as(jose.TypeAuthorizationGrant), gateway.ReasonWrongType},
		"internal identity":    {as(jose.TypeIdentity), gateway.ReasonWrongType},
		"proof":                {as(jose.TypeProof), gateway.ReasonWrongType},
		"presentation":         {as(jose.TypePresentation), gateway.ReasonWrongType},
		"type in capitals":     {as("AT+JWT"), gateway.ReasonWrongType},
		"no JWS":               {func() string { return "abc" }, gateway.ReasonMalformed},
		"cut":                  {func() string { token := w.a.issue(t, w.alice); return token[:len(token)-1] }, gateway.ReasonMalformed},
		"without signature": {func() string {
			token := w.a.issue(t, w.alice)
			return token[:strings.LastIndex(token, ".")+1]
		}, gateway.ReasonBadSignature},
		"unsecured": {func() string { return "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoiazEifQ.e30." }, gateway.ReasonWrongAlgorithm},
		"HMAC": {func() string {
			return strings.Replace(w.a.issue(t, w.alice), "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0", "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0", 1)
		}, gateway.ReasonWrongAlgorithm},
		"algorithm of another key": {func() string {
			return strings.Replace(w.a.issue(t, w.alice), "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0", "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0", 1)
		}, gateway.ReasonBadSignature},
		"repeated claim": {func() string {
			payload := string(good.AppendJSON(nil))
			return w.a.sign(t, jose.TypeAccessToken, "k1", []byte(strings.Replace(payload, `{`, `{"sub":"im:mallory@a.example",`, 1)))
		}, gateway.ReasonMalformed},
		"claim in another case": {func() string {
			payload := string(good.AppendJSON(nil))
			return w.a.sign(t, jose.TypeAccessToken, "k1", []byte(strings.Replace(payload, `{`, `{"SUB":"im:mallory@a.example",`, 1)))
		}, gateway.ReasonMalformed},
		"no kid": {func() string { return signWith(t, newKey(t), jose.TypeAccessToken, "", good.AppendJSON(nil)) }, gateway.ReasonMalformed},
		"key in the header": {func() string {
			key := newKey(t)
			jwk, err := jose.MarshalJWK(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			token, err := jose.Sign(key, jose.ES256, fmt.Appendf(nil, `{"typ":"at+jwt","alg":"ES256","kid":"k1","jwk":%s}`, jwk), good.AppendJSON(nil))
			if err != nil {
				t.Fatal(err)
			}
			return token
		}, gateway.ReasonMalformed},
		"another key":      {func() string { return signWith(t, newKey(t), jose.TypeAccessToken, "k1", good.AppendJSON(nil)) }, gateway.ReasonBadSignature},
		"key of the other": {func() string { return w.b.sign(t, jose.TypeAccessToken, "k1", good.AppendJSON(nil)) }, gateway.ReasonBadSignature},
		"stranger":         {func() string { return stranger.issue(t, w.alice) }, gateway.ReasonUntrusted},
		"service of a stranger": {func() string {
			set := stranger.serviceClaims(w.alice.JKT())
			return stranger.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
		}, gateway.ReasonUntrusted},
		"b.example signed by a.example": {with(func(s *claims.Set) {
			s.Subject, s.Handle, s.Device = "im:bob@b.example;id-type=user", "im:%40bob@b.example", "im:bob/d1@b.example"
		}), gateway.ReasonForeignDomain},
		"handle of another domain": {with(func(s *claims.Set) { s.Handle = "im:%40alice@b.example" }), gateway.ReasonBadClaims},
		"device of another domain": {with(func(s *claims.Set) { s.Device = "im:alice/d1@b.example" }), gateway.ReasonBadClaims},
		"device of another user":   {with(func(s *claims.Set) { s.Device = "im:carol/d1@a.example" }), gateway.ReasonBadClaims},
		"another audience":         {with(func(s *claims.Set) { s.Audience = []string{"im:b.example"} }), gateway.ReasonWrongAudience},
		"audience with a slash":    {with(func(s *claims.Set) { s.Audience = []string{"im:a.example/"} }), gateway.ReasonWrongAudience},
		"no audience":              {with(func(s *claims.Set) { s.Audience = nil }), gateway.ReasonBadClaims},
		"no issuer":                {with(func(s *claims.Set) { s.Issuer = "" }), gateway.ReasonBadClaims},
		"no jti":                   {with(func(s *claims.Set) { s.JTI = "" }), gateway.ReasonBadClaims},
		"no exp":                   {with(func(s *claims.Set) { s.Expires = time.Time{} }), gateway.ReasonBadClaims},
		"expired":                  {with(func(s *claims.Set) { s.IssuedAt, s.Expires = start.Add(-time.Hour), w.clock.now() }), gateway.ReasonExpired},
		"from the future":          {with(func(s *claims.Set) { s.IssuedAt = w.clock.now().Add(31 * time.Second) }), gateway.ReasonNotYetValid},
		"not before":               {with(func(s *claims.Set) { s.NotBefore = w.clock.now().Add(31 * time.Second) }), gateway.ReasonNotYetValid},
		"with a status of no uri":  {with(func(s *claims.Set) { s.Status = &claims.Status{} }), gateway.ReasonMalformed},
		"home_iss of another":      {with(func(s *claims.Set) { s.HomeIss = w.b.URL }), gateway.ReasonForeignHome},
		"of milliseconds": {func() string {
			payload := strings.Replace(string(good.AppendJSON(nil)), fmt.Sprint(good.Expires.Unix()), fmt.Sprint(good.Expires.UnixMilli()), 1)
			return w.a.sign(t, jose.TypeAccessToken, "k1", []byte(payload))
		}, gateway.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if test.reason == gateway.ReasonBadSignature {
				w.clock.advance(time.Minute) // the keys may be fetched again: see TestUnknownKeyFlood
			}
			d := w.ask(t, w.alice, test.token(), nil)
			want(t, d, test.reason)
			if d.Status() != 401 || d.Identity != nil || d.Issuer != "" {
				t.Errorf("Decide = %+v, want 401 without an identity", d)
			}
		})
	}
	if w.b.fetches() != 0 {
		t.Error("the keys of b.example were fetched for tokens of others")
	}
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
}

// TestClockSkew holds that the clock of an issuer may be ahead by the leeway, and that no token passes after its expiry.
func TestClockSkew(t *testing.T) {
	w := newWorld(t)
	ahead := w.a.issue(t, w.alice, func(s *claims.Set) { s.IssuedAt = start.Add(30 * time.Second) })
	want(t, w.ask(t, w.alice, ahead, nil), gateway.ReasonAllowed)
	w.clock.advance(-time.Second) // the clock is set back: a kept token is not valid yet
	want(t, w.ask(t, w.alice, ahead, nil), gateway.ReasonNotYetValid)
	w.clock.advance(time.Second)
	token := w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	w.clock.advance(10*time.Minute - time.Second)
	d := w.ask(t, w.alice, token, nil)
	want(t, d, gateway.ReasonAllowed)
	if !d.Seen {
		t.Error("Seen = false, want true")
	}
	w.clock.advance(time.Second)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonExpired)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonExpired)
	strict := newWorld(t, func(c *gateway.Config) { c.Leeway = -1 })
	ahead = strict.a.issue(t, strict.alice, func(s *claims.Set) { s.IssuedAt = start.Add(time.Second) })
	want(t, strict.ask(t, strict.alice, ahead, nil), gateway.ReasonNotYetValid)
}

// TestHome holds that a token for a user of another domain is accepted from an issuer of our own alone, while the home issuer speaks for
// the domain.
func TestHome(t *testing.T) {
	own := newProviders(t)
	own.use(t, gateway.Config{
		Trust: own.table, Audience: []string{"im:a.example"}, OwnIssuers: []string{own.a.URL}, Now: own.clock.now, Development: true,
	})
	chained := func(home string, changes ...func(*claims.Set)) string {
		set := own.b.claimsOf(own.bob)
		set.Issuer, set.HomeIss = own.a.URL, home
		for _, change := range changes {
			change(&set)
		}
		return own.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	}
	d := own.ask(t, own.bob, chained(own.b.URL), nil)
	want(t, d, gateway.ReasonAllowed)
	if id := d.Identity; id == nil || id.HomeIssuer != own.b.URL || id.Issuer != own.a.URL || id.Domain != "b.example" {
		t.Errorf("Identity = %+v, want bob of b.example, by a token of a.example", d.Identity)
	}
	want(t, own.ask(t, own.bob, chained(own.a.URL), nil), gateway.ReasonBadClaims)
	want(t, own.ask(t, own.bob, chained("https://c.example"), nil), gateway.ReasonUntrusted)
	want(t, own.ask(t, own.bob, chained(""), nil), gateway.ReasonForeignDomain)
	want(t, own.ask(t, own.bob, chained(own.b.URL, func(s *claims.Set) { s.Tokens = []byte(`[{}]`) }), nil), gateway.ReasonBadClaims)
	want(t, own.ask(t, own.bob, chained(own.b.URL, func(s *claims.Set) { s.Audience = append(s.Audience, "im:b.example") }), nil), gateway.ReasonBadClaims)
	want(t, own.ask(t, own.alice, own.a.issue(t, own.alice, func(s *claims.Set) { s.HomeIss = own.b.URL }), nil), gateway.ReasonBadClaims)
	set := own.a.serviceClaims(own.bob.JKT())
	set.HomeIss = own.b.URL
	want(t, own.ask(t, own.bob, own.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil)), nil), gateway.ReasonBadClaims)
	foreign := own.a.claimsOf(own.alice) // b.example is not an issuer of our own
	foreign.Issuer, foreign.HomeIss = own.b.URL, own.a.URL
	want(t, own.ask(t, own.alice, own.b.sign(t, jose.TypeAccessToken, "k1", foreign.AppendJSON(nil)), nil), gateway.ReasonForeignHome)
}

// TestExplain holds that the steps of a decision end with the check that refused the request, and contain neither token nor proof.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	token := w.a.issue(t, w.alice)
	r := w.request(t, w.alice, "GET", token)
	r.Explain = true
	d := w.Decide(t.Context(), r, nil)
	want(t, d, gateway.ReasonAllowed)
	if len(d.Steps) < 8 {
		t.Errorf("Steps = %v, want all checks", d.Steps)
	}
	for _, s := range d.Steps {
		if !s.Passed || s.Check == "" || s.Detail == "" || strings.Contains(s.Detail, token[:20]) {
			t.Errorf("step %+v, want one that passed, in words", s)
		}
	}
	r = w.request(t, w.alice, "GET", w.a.issue(t, w.alice, func(s *claims.Set) { s.Audience = []string{"im:b.example"} }))
	r.Explain = true
	d = w.Decide(t.Context(), r, nil)
	last := d.Steps[len(d.Steps)-1]
	if last.Passed || last.Check != "claims" || last.Detail != d.Explanation || !strings.Contains(last.Detail, "aud") {
		t.Errorf("last step = %+v, want the audience", last)
	}
	if d := w.ask(t, w.alice, token, nil); d.Steps != nil {
		t.Errorf("Steps = %v, want none unless they are asked for", d.Steps)
	}
}

// TestReasons holds that each reason is listed once, and has the texts that answers need.
func TestReasons(t *testing.T) {
	seen := make(map[gateway.Reason]bool)
	for _, r := range gateway.Reasons() {
		if seen[r] || r == "" || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("reason %q is listed twice, or not a word", r)
		}
		seen[r] = true
		w := newWorldOnce(t)
		d := w.Refuse(t.Context(), gateway.Request{}, r)
		if d.Explanation == "" || d.Outcome != r.Outcome() || d.Nonce == "" {
			t.Errorf("Refuse(%s) = %+v, want an explanation and a nonce", r, d)
		}
		if (d.Challenge != "") != (d.Outcome == gateway.Unauthenticated || r == gateway.ReasonScope) {
			t.Errorf("Refuse(%s): challenge %q", r, d.Challenge)
		}
		if (d.RetryAfter > 0) != (d.Outcome == gateway.Unknown) {
			t.Errorf("Refuse(%s): RetryAfter %v", r, d.RetryAfter)
		}
	}
	if len(seen) < 40 {
		t.Errorf("%d reasons, want all", len(seen))
	}
}

var once *world

// newWorldOnce returns a verifier without providers, which is made once.
func newWorldOnce(t *testing.T) *world {
	if once == nil {
		once = newWorld(t)
	}
	return once
}

// TestUnknownKeyFlood holds that made-up kids cause one fetch a minute, and 503 in between, while good tokens pass.
func TestUnknownKeyFlood(t *testing.T) {
	w := newWorld(t)
	good := w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, good, nil), gateway.ReasonAllowed)
	set := w.a.claimsOf(w.alice)
	forged := func() string {
		return signWith(t, newKey(t), jose.TypeAccessToken, rand.Text(), set.AppendJSON(nil))
	}
	want(t, w.ask(t, w.alice, forged(), nil), gateway.ReasonUnknownKey)
	for range 20 {
		d := w.ask(t, w.alice, forged(), nil)
		want(t, d, gateway.ReasonNoKeys)
		if d.Status() != 503 || d.RetryAfter <= 0 || d.Err == nil {
			t.Errorf("Decide = %+v, want 503 with Retry-After and a cause", d)
		}
	}
	if got := w.a.fetches(); got != 2 {
		t.Errorf("the keys were fetched %d times, want 2", got)
	}
	want(t, w.ask(t, w.alice, good, nil), gateway.ReasonAllowed)
	w.clock.advance(time.Minute)
	want(t, w.ask(t, w.alice, forged(), nil), gateway.ReasonUnknownKey)
	if got := w.a.fetches(); got != 3 {
		t.Errorf("the keys were fetched %d times, want 3", got)
	}
}

// sourcedTable notes for whom the table of trust was asked.
type sourcedTable struct {
	*trust.Table
	sources []string
}

func (s *sourcedTable) SpeaksFor(ctx context.Context, source, issuer, domain string) error {
	s.sources = append(s.sources, source)
	return s.Table.SpeaksFor(ctx, source, issuer, domain)
}

// TestSources holds that what a new token has the table discover is counted for the network of the client.
func TestSources(t *testing.T) {
	w := newProviders(t)
	table := &sourcedTable{Table: w.table}
	w.use(t, gateway.Config{Trust: table, Audience: []string{"im:a.example"}, Now: w.clock.now, Development: true})
	token := w.a.issue(t, w.alice)
	for range 2 {
		r := w.request(t, w.alice, "GET", token)
		r.Source = netip.MustParseAddr("2001:db8::1:2:3:4")
		want(t, w.Decide(t.Context(), r, nil), gateway.ReasonAllowed)
	}
	if len(table.sources) != 1 || table.sources[0] != "2001:db8::" {
		t.Errorf("sources = %v, want the network of the client, once", table.sources)
	}
}

// A failingReplay is a store of spent proofs that fails when a test says so.
type failingReplay struct {
	dpop.Replay
	spend error // of Spend
	then  bool  // Epoch fails after a proof was spent
	down  bool  // Epoch fails
}

var errFire = errors.New("the store is on fire")

func (r *failingReplay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if r.down {
		return dpop.Epoch{}, errFire
	}
	return r.Replay.Epoch(ctx)
}

func (r *failingReplay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if r.spend != nil {
		return r.spend
	}
	r.down = r.then
	return r.Replay.Spend(ctx, e, key, until, source)
}

// TestReplayStoreFails holds that a store of spent proofs that fails or is full lets nothing through, and is never a refusal.
func TestReplayStoreFails(t *testing.T) {
	w := newProviders(t)
	memory, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	store := &failingReplay{Replay: memory}
	nonces, err := dpop.NewNonces([][32]byte{{1}}, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: store, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	w.use(t, gateway.Config{Trust: w.table, Audience: []string{"im:a.example"}, Proofs: proofs, Now: w.clock.now, Development: true})
	token := w.a.issue(t, w.alice)
	for name, test := range map[string]struct {
		fail   func()
		reason gateway.Reason
		wait   time.Duration
	}{
		"down":            {func() { store.down = true }, gateway.ReasonNoReplay, time.Second},
		"down at the end": {func() { store.then = true }, gateway.ReasonNoReplay, time.Second},
		"cannot spend":    {func() { store.spend = errFire }, gateway.ReasonNoReplay, time.Second},
		"full":            {func() { store.spend = dpop.ErrReplayFull }, gateway.ReasonBusy, time.Minute},
		"emptied":         {func() { store.spend = dpop.ErrStaleEpoch }, gateway.ReasonUseNonce, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request(t, w.alice, "GET", token)
			test.fail()
			d := w.Decide(t.Context(), r, nil)
			*store = failingReplay{Replay: memory}
			want(t, d, test.reason)
			if d.Identity != nil || d.RetryAfter != test.wait {
				t.Errorf("Decide = %+v, want no identity and Retry-After %v", d, test.wait)
			}
		})
	}
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
}

// TestOneOfTwoDomains holds that the suspension of one domain of an issuer ends the tokens of its users, and those that enclose a
// statement of the domain, while the issuer still speaks for another.
func TestOneOfTwoDomains(t *testing.T) {
	w := newProviders(t)
	table, err := trust.NewTable(trust.Config{
		Peers:  []trust.Peer{w.a.peer(), w.b.peer(), {Domain: "a2.example", Issuer: w.a.URL}, {Domain: "b2.example", Issuer: w.b.URL}},
		Client: w.a.Client(), ForeignClient: w.a.Client(), Now: w.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.use(t, gateway.Config{Trust: table, Audience: []string{"im:a.example"}, Now: w.clock.now, Development: true})
	accept := policy(t, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}})
	token := w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t)))
	plain := w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, token, accept), gateway.ReasonAllowed)
	want(t, w.ask(t, w.alice, plain, accept), gateway.ReasonAllowed)
	for domain, reason := range map[string]gateway.Reason{"b.example": gateway.ReasonBadNested, "a.example": gateway.ReasonSuspended} {
		if err := table.Suspend(domain, true); err != nil {
			t.Fatal(err)
		}
		want(t, w.ask(t, w.alice, token, accept), reason)
		if domain == "a.example" {
			want(t, w.ask(t, w.alice, plain, accept), reason)
		}
		if err := table.Suspend(domain, false); err != nil {
			t.Fatal(err)
		}
		want(t, w.ask(t, w.alice, token, accept), gateway.ReasonAllowed)
	}
}
