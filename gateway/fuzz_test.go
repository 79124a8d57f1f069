package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// fixedKey returns the same key in every process.
func fixedKey(f *testing.F, fill byte) *ecdsa.PrivateKey {
	f.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		f.Fatal(err)
	}
	return key
}

// A zeros reads zeros: the epoch of the replay store is the same in every process.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fixedWorld returns a verifier that is the same in every process, of an issuer whose keys are configured, the claims of a service of it,
// and its key. Nothing is sent.
func fixedWorld(f *testing.F) (*world, claims.Set, *ecdsa.PrivateKey) {
	f.Helper()
	w := &world{clock: new(clock)}
	key := fixedKey(f, 1)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys":[%s,"kid":"k1","alg":"ES256"}]}`, strings.TrimSuffix(string(jwk), "}"))
	w.table, err = trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "a.example", Issuer: "https://id.a.example", JWKS: []byte(jwks)}}, Now: w.clock.now, Development: true,
	})
	if err != nil {
		f.Fatal(err)
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: w.clock.now, Rand: zeros{}})
	if err != nil {
		f.Fatal(err)
	}
	nonces, err := dpop.NewNonces(make([][32]byte, 1), w.clock.now)
	if err != nil {
		f.Fatal(err)
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay, Now: w.clock.now})
	if err != nil {
		f.Fatal(err)
	}
	w.use(f, gateway.Config{Trust: w.table, Audience: []string{"im:a.example"}, Proofs: proofs, Now: w.clock.now, Development: true})
	set := (&provider{Server: new(httptest.Server), now: w.clock.now}).serviceClaims("")
	set.Issuer, set.JTI = "https://id.a.example", "j1"
	return w, set, key
}

// FuzzToken holds that no text passes that the issuer has not signed, and that every text has a decision without the text in it.
func FuzzToken(f *testing.F) {
	w, set, key := fixedWorld(f)
	token := signWith(f, key, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	allow := policy(f, gateway.PolicyConfig{Bots: true, AllowBearer: true})
	signed := token[:strings.LastIndex(token, ".")+1]
	for _, text := range []string{
		token, token[:len(token)-1], strings.ToUpper(token), token + "." + token, signed,
		signWith(f, key, jose.TypeAccessToken, "k1", []byte(`{}`)),
		signWith(f, key, jose.TypeStatusList, "k1", set.AppendJSON(nil)),
		"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoiazEifQ.e30.", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := w.Decide(t.Context(), gateway.Request{Method: "GET", URL: chat, Authorization: []string{"Bearer " + text}}, allow)
		if d.Outcome == gateway.Allowed {
			jws, err := jose.ParseCompact(strings.Trim(text, " "), jose.Limits{})
			if err != nil || jws.Verify(jose.ES256, key.Public()) != nil || jws.Header.Typ != jose.TypeAccessToken {
				t.Errorf("Decide = %+v, want a refusal of %q", d, text)
			}
		}
		if d.Outcome == gateway.Unknown || d.Nonce == "" || d.Explanation == "" || len(text) > 20 && strings.Contains(d.Explanation+d.Challenge, text) {
			t.Errorf("Decide = %+v", d)
		}
	})
}

// FuzzHeaders holds that no pair of header values passes but the good one, once, and that nothing but visible ASCII is in a challenge.
func FuzzHeaders(f *testing.F) {
	w, set, key := fixedWorld(f)
	signer, err := dpop.NewSigner(fixedKey(f, 2), "")
	if err != nil {
		f.Fatal(err)
	}
	set.JKT = signer.JKT()
	token := signWith(f, key, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	proof := w.proof(f, &device{signer, ""}, "GET", token)
	f.Add("DPoP "+token, proof)
	f.Add("Bearer "+token, proof)
	f.Add("DPoP  "+token, "")
	f.Add("dpop "+token+",", proof+", "+proof)
	f.Add("DPoP "+token, token)
	f.Add("", "")
	allow := policy(f, gateway.PolicyConfig{Bots: true, AllowBearer: true})
	f.Fuzz(func(t *testing.T, authorization, proof string) {
		r := gateway.Request{Method: "GET", URL: chat, Authorization: []string{authorization}, DPoP: []string{proof}}
		d := w.Decide(t.Context(), r, allow)
		if d.Outcome == gateway.Allowed {
			again := w.Decide(t.Context(), r, allow)
			if again.Reason != gateway.ReasonReplayed {
				t.Errorf("Decide = %+v for the second time, want replayed", again)
			}
			if d.Identity == nil || d.Identity.JKT != signer.JKT() {
				t.Errorf("Identity = %+v, want the holder of the key", d.Identity)
			}
		}
		if d.Outcome == gateway.Unauthenticated && !strings.HasPrefix(d.Challenge, "DPoP ") ||
			strings.ContainsFunc(d.Challenge, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("Challenge = %q", d.Challenge)
		}
	})
}
