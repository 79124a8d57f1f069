package oauth_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
)

// TestTokenRefused holds the refusals that all grants share: of the grant type, the client and the proof.
func TestTokenRefused(t *testing.T) {
	const wrong = "The client is unknown or its credentials are wrong."
	for name, test := range map[string]struct {
		change url.Values
		header http.Header
		before func(i *issuer)
		want   refusal
	}{
		"no grant type": {change: url.Values{"grant_type": nil},
			want: refusal{code: "invalid_request", description: "The parameter grant_type is missing."}},
		"empty grant type": {change: url.Values{"grant_type": {""}},
			want: refusal{code: "invalid_request", description: "The parameter grant_type is missing."}},
		"two grant types": {change: url.Values{"grant_type": {"refresh_token", "client_credentials"}},
			want: refusal{code: "invalid_request", description: "The parameter grant_type is missing."}},
		"unknown grant type": {change: url.Values{"grant_type": {"password"}},
			want: refusal{code: "unsupported_grant_type",
				description: "The grant_type 'password' is not supported. These are: authorization_code, refresh_token, "}},
		"two known grant types in one": {change: url.Values{"grant_type": {"refresh_token client_credentials"}},
			want: refusal{code: "unsupported_grant_type"}},
		"grant of other clients": {change: url.Values{"grant_type": {"refresh_token"}},
			want: refusal{code: "unauthorized_client", description: "The client is not registered for the grant type 'refresh_token'."}},
		"no client": {change: url.Values{"client_id": nil},
			want: refusal{code: "invalid_client", description: "The request names no client: send client_id, or authenticate."}},
		"unknown client": {change: url.Values{"client_id": {"nobody"}},
			want: refusal{code: "invalid_client", description: wrong}},
		"wrong secret": {change: url.Values{"client_secret": {secret + "x"}},
			want: refusal{code: "invalid_client", description: wrong}},
		"no secret": {change: url.Values{"client_secret": nil},
			want: refusal{code: "invalid_client", description: wrong}},
		"public client with a secret": {change: url.Values{"client_id": {"app"}, "grant_type": {"refresh_token"}},
			want: refusal{code: "invalid_client", description: wrong}},
		"two ways of authentication": {header: http.Header{"Authorization": {"Basic eDp5"}},
			want: refusal{code: "invalid_request", description: "The client authenticates twice"}},
		"the client asks too often": {before: func(i *issuer) { i.limits.client = errLimit }, want: refusal{err: errLimit}},
		"two proofs":                {header: http.Header{"Dpop": {"x", "y"}}, want: refusal{err: dpop.ErrInvalidProof}},
		"garbage for a proof":       {header: http.Header{"Dpop": {"x"}}, want: refusal{err: dpop.ErrInvalidProof}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			if test.before != nil {
				test.before(i)
			}
			r := i.request(t, "service", newDevice(t), serviceForm)
			r.Form = with(r.Form, test.change)
			for name, values := range test.header {
				r.Header[name] = values
			}
			i.refuses(t, r, test.want)
		})
	}
}

// TestTokenProof holds that a proof is good once, for its method, its URL and a fresh nonce, and only with its own signature.
func TestTokenProof(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	proof := func(p dpop.ProofParams) string {
		t.Helper()
		nonce, err := i.proofs.Nonce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Nonce == "" {
			p.Nonce = nonce
		}
		if p.Method == "" {
			p.Method = http.MethodPost
		}
		p.IssuedAt = i.clock.now()
		text, err := d.Proof(p)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	r := i.request(t, "service", d, serviceForm)
	good := r.Header.Get("DPoP")
	for name, test := range map[string]struct {
		proof string
		want  error
	}{
		"another URL":       {proof(dpop.ProofParams{URL: issuerURL + "/par"}), dpop.ErrInvalidProof},
		"another method":    {proof(dpop.ProofParams{URL: issuerURL + "/token", Method: http.MethodGet}), dpop.ErrInvalidProof},
		"another nonce":     {proof(dpop.ProofParams{URL: issuerURL + "/token", Nonce: "another"}), dpop.ErrUseNonce},
		"another signature": {good[:len(good)-8] + "AAAAAAAA", dpop.ErrInvalidProof},
	} {
		t.Run(name, func(t *testing.T) {
			r.Header.Set("DPoP", test.proof)
			i.refuses(t, r, refusal{err: test.want})
		})
	}
	r.Header.Set("DPoP", good)
	if _, err := i.Token(t.Context(), r); err != nil {
		t.Fatalf("Token = %v, want a token", err)
	}
	if _, err := i.Token(t.Context(), r); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("Token = %v, want %v", err, dpop.ErrReplayed)
	}
	i.advance(t, time.Hour)
	r.Header.Set("DPoP", good)
	i.refuses(t, r, refusal{err: dpop.ErrUseNonce})
}

// TestTokenSigning holds that a code, which is spent with the token, is good again if the token cannot be signed, and that a
// refresh can be repeated.
func TestTokenSigning(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	alice := i.user(t, "alice")
	held := i.login(t, alice, d)
	i.clock.advance(3 * time.Minute) // the keys were not read for too long
	code := i.code(t, alice, nil)
	for name, form := range map[string]url.Values{"code": codeForm(code), "refresh": refreshForm(held.RefreshToken)} {
		var e *oauth.Error
		if _, err := i.Token(t.Context(), i.request(t, "app", d, form)); err == nil || errors.As(err, &e) {
			t.Errorf("%s: Token = %v, want an error that decides nothing", name, err)
		}
	}
	i.advance(t, 0)
	i.token(t, "app", d, codeForm(code))
	first := i.token(t, "app", d, refreshForm(held.RefreshToken))
	if second := i.token(t, "app", d, refreshForm(held.RefreshToken)); second.RefreshToken != first.RefreshToken {
		t.Error("a repeat got another refresh token")
	}
}
