package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// unsigned returns header and claims with a signature that verifies with no key. A proof that has another fault is
// refused for that fault only if nobody tried to verify the signature.
func unsigned(t testing.TB, header, claims any) string {
	t.Helper()
	var parts []string
	for _, v := range []any{header, claims} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	return strings.Join(parts, ".") + "." + base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{1}, 64))
}

func publicJWK(t testing.TB, key crypto.PublicKey) json.RawMessage {
	t.Helper()
	jwk, err := jose.MarshalJWK(key)
	if err != nil {
		t.Fatal(err)
	}
	return jwk
}

func TestReviewA3SignatureIsVerifiedLast(t *testing.T) {
	s, key := newServer(t, true), p256(t)
	header := map[string]any{"typ": jose.TypeProof, "alg": "ES256", "jwk": publicJWK(t, key.Public())}
	claims := map[string]any{
		"jti": "1", "htm": "POST", "htu": endpoint, "iat": s.clock.now().Unix(), "nonce": s.nonce(t), "ath": dpop.ATH("token"),
	}
	for _, tt := range []struct {
		name string
		edit func(c map[string]any)
		part string
		kind error
	}{
		{"nothing else", func(c map[string]any) {}, "signature", dpop.ErrInvalidProof},
		{"no nonce", func(c map[string]any) { delete(c, "nonce") }, "nonce", dpop.ErrUseNonce},
		{"stale nonce", func(c map[string]any) { c["nonce"] = "stale" }, "nonce", dpop.ErrUseNonce},
		{"long nonce", func(c map[string]any) { c["nonce"] = strings.Repeat("n", 256) }, "nonce", dpop.ErrInvalidProof},
		{"htm", func(c map[string]any) { c["htm"] = "GET" }, "htm", dpop.ErrInvalidProof},
		{"htu", func(c map[string]any) { c["htu"] = endpoint + "/other" }, "htu", dpop.ErrInvalidProof},
		{"iat", func(c map[string]any) { c["iat"] = 1 }, "iat", dpop.ErrInvalidProof},
		{"ath", func(c map[string]any) { c["ath"] = dpop.ATH("other") }, "ath", dpop.ErrInvalidProof},
		{"jti", func(c map[string]any) { delete(c, "jti") }, "jti", dpop.ErrInvalidProof},
	} {
		c := maps.Clone(claims)
		tt.edit(c)
		_, err := s.Check(t.Context(), dpop.Request{
			Method: "POST", URL: endpoint, Proofs: []string{unsigned(t, header, c)}, AccessToken: "token",
		})
		wantRefused(t, tt.name, err, tt.part, tt.kind)
	}
}

func TestReviewA3PresentationSignatureIsVerifiedLast(t *testing.T) {
	s, key := newServer(t, false), p256(t)
	signer := newSigner(t, key)
	r, _ := shown(s, signer)
	header := map[string]any{"typ": jose.TypePresentation, "alg": "ES256", "jwk": publicJWK(t, key.Public())}
	claims := map[string]any{
		"jti": "1", "aud": room, "nonce": "challenge", "iat": s.clock.now().Unix(), "ath": dpop.ATH("token"),
	}
	for part, edit := range map[string]func(h, c map[string]any){
		"signature": func(h, c map[string]any) {},
		"jwk":       func(h, c map[string]any) { h["jwk"] = publicJWK(t, p256(t).Public()) },
		"aud":       func(h, c map[string]any) { c["aud"] = "im:other.example" },
		"nonce":     func(h, c map[string]any) { c["nonce"] = "other" },
		"ath":       func(h, c map[string]any) { c["ath"] = dpop.ATH("other") },
		"iat":       func(h, c map[string]any) { c["iat"] = s.clock.now().Add(-time.Hour).Unix() },
		"jti":       func(h, c map[string]any) { delete(c, "jti") },
	} {
		h, c := maps.Clone(header), maps.Clone(claims)
		edit(h, c)
		r.Presentation = unsigned(t, h, c)
		_, err := s.CheckPresentation(t.Context(), r)
		wantRefused(t, part, err, part, dpop.ErrInvalidProof)
	}
}

// A slow algorithm or a large key is refused before the signature, unless the server was configured for it.
func TestReviewA3SlowKeysAreRefused(t *testing.T) {
	s := newServer(t, true)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := func(bits uint, e int) crypto.PublicKey { // an odd number will do: nobody signs with it
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: e}
	}
	all := []string{"ES256", "EdDSA", "ES384", "ES512", "PS256", "RS256"}
	for _, tt := range []struct {
		name       string
		alg        string
		key        crypto.PublicKey
		algorithms []string
		part       string
	}{
		{"P-521", "ES512", p521.Public(), nil, "alg"},
		{"RSA", "PS256", rsaKey(2048, 65537), nil, "alg"},
		{"P-521 by setting", "ES512", p521.Public(), all, "signature"},
		{"RSA by setting", "PS256", rsaKey(2048, 65537), all, "signature"},
		{"RSA of 4096 bits", "RS256", rsaKey(4096, 65537), all, "signature"},
		{"RSA of 2040 bits", "RS256", rsaKey(2040, 65537), all, "jwk"},
		{"RSA of 4097 bits", "RS256", rsaKey(4097, 65537), all, "jwk"},
		{"RSA of 8192 bits", "PS256", rsaKey(8192, 65537), all, "jwk"},
		{"another exponent", "PS256", rsaKey(2048, 65539), all, "jwk"},
		{"a large exponent", "RS256", rsaKey(2048, 1<<31-1), all, "jwk"},
	} {
		s.configure(t, dpop.Config{Algorithms: tt.algorithms})
		_, err := s.check(unsigned(t,
			map[string]any{"typ": jose.TypeProof, "alg": tt.alg, "jwk": publicJWK(t, tt.key)},
			map[string]any{"jti": "1", "htm": "POST", "htu": endpoint, "iat": s.clock.now().Unix(), "nonce": s.nonce(t)}))
		wantRefused(t, tt.name, err, tt.part, dpop.ErrInvalidProof)
	}
}

// A token that names another key than that of the proof is refused before the signature of either is verified.
func TestReviewA3TokenOfAnotherKey(t *testing.T) {
	asked := 0
	g := newGuarded(t, true, nil)
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: g.Verifier, PublicURL: public,
		Token: func(_ context.Context, token string) (dpop.Confirmation, error) {
			asked++
			return dpop.Confirmation{JKT: "unknown"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Handler = resource.Protect(http.NotFoundHandler())
	key := p256(t)
	own := newSigner(t, key).JKT()
	for name, tt := range map[string]struct {
		cnf   any
		code  string
		asked int
	}{
		"another key":  {map[string]any{"jkt": "other"}, "invalid_token", 0},
		"the same key": {map[string]any{"jkt": own}, "invalid_dpop_proof", 0},
		"no key":       {nil, "invalid_dpop_proof", 0},
	} {
		asked = 0
		token := unsigned(t, map[string]any{"typ": "at+jwt", "alg": "ES256"}, map[string]any{"cnf": tt.cnf})
		proof := unsigned(t, map[string]any{"typ": jose.TypeProof, "alg": "ES256", "jwk": publicJWK(t, key.Public())},
			map[string]any{
				"jti": "1", "htm": "GET", "htu": public + "/thing", "iat": g.clock.now().Unix(),
				"nonce": g.nonce(t), "ath": dpop.ATH(token),
			})
		w := g.ask(t, "DPoP "+token, proof)
		if w.Code != 401 || !strings.Contains(w.Body.String(), `"error":"`+tt.code+`"`) || asked != tt.asked {
			t.Errorf("%s: answer = %d %s after %d questions about the token, want %s after %d",
				name, w.Code, w.Body, asked, tt.code, tt.asked)
		}
	}
}

// A token that is bound to another key is refused wherever else it mentions the key of the proof.
func TestTokenOfAnotherKeyMentionsTheKey(t *testing.T) {
	g := newGuarded(t, true, nil)
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: g.Verifier, PublicURL: public,
		Token: func(context.Context, string) (dpop.Confirmation, error) { return dpop.Confirmation{JKT: "other"}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Handler = resource.Protect(http.NotFoundHandler())
	signer := newSigner(t, p256(t))
	for name, claims := range map[string]map[string]any{
		"as a value":        {"cnf": map[string]any{"jkt": "other"}, "sub": signer.JKT()},
		"as a name":         {"cnf": map[string]any{"jkt": "other"}, signer.JKT(): true},
		"in act":            {"cnf": map[string]any{"jkt": "other"}, "act": map[string]any{"cnf": map[string]any{"jkt": signer.JKT()}}},
		"in place of other": {"cnf": map[string]any{"jkt": signer.JKT()}},
	} {
		token := unsigned(t, map[string]any{"typ": "at+jwt", "alg": "ES256"}, claims)
		proof, err := signer.Proof(dpop.ProofParams{
			Method: "GET", URL: public + "/thing", Nonce: g.nonce(t), AccessToken: token, IssuedAt: g.clock.now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if w := g.ask(t, "DPoP "+token, proof); w.Code != 401 || !strings.Contains(w.Body.String(), `"error":"invalid_token"`) {
			t.Errorf("%s: answer = %d %s, want invalid_token", name, w.Code, w.Body)
		}
	}
}

// BenchmarkRefused refuses proofs for each part and, in the same run, verifies bare P-256 signatures: x-bare-verify is
// what a refusal costs. By default the most expensive one is a bad ES384 signature; ES512 shows what the setting costs.
func BenchmarkRefused(b *testing.B) {
	s, key := newServer(b, true), p256(b)
	s.configure(b, dpop.Config{Algorithms: []string{"ES256", "EdDSA", "ES384", "ES512"}})
	claims := map[string]any{
		"jti": "1", "htm": "POST", "htu": endpoint, "iat": s.clock.now().Unix(), "nonce": s.nonce(b),
	}
	proof := func(signer crypto.Signer, alg string, edit func(c map[string]any)) string {
		c := maps.Clone(claims)
		edit(c)
		header, err := json.Marshal(map[string]any{"typ": jose.TypeProof, "alg": alg, "jwk": publicJWK(b, signer.Public())})
		if err != nil {
			b.Fatal(err)
		}
		payload, err := json.Marshal(c)
		if err != nil {
			b.Fatal(err)
		}
		text, err := jose.Sign(signer, alg, header, payload)
		if err != nil {
			b.Fatal(err)
		}
		return text
	}
	forged := func(curve elliptic.Curve, alg string) string { // the signature is of other claims
		signer, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		good := proof(signer, alg, func(map[string]any) {})
		other := proof(signer, alg, func(c map[string]any) { c["jti"] = "2" })
		return good[:strings.LastIndexByte(good, '.')] + other[strings.LastIndexByte(other, '.'):]
	}
	digest := sha256.Sum256([]byte("payload"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for _, tt := range []struct{ name, proof string }{
		{"size", strings.Repeat("A", 9<<10)},
		{"htm", proof(key, "ES256", func(c map[string]any) { c["htm"] = "GET" })},
		{"stale nonce", proof(key, "ES256", func(c map[string]any) { c["nonce"] = "stale" })},
		{"signature ES256", forged(elliptic.P256(), "ES256")},
		{"signature ES384", forged(elliptic.P384(), "ES384")},
		{"signature ES512", forged(elliptic.P521(), "ES512")},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var refusing, verifying time.Duration
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if _, err := s.check(tt.proof); err == nil {
					b.Fatal("the proof was accepted")
				}
				refusing += time.Since(start)

				b.StopTimer()
				start = time.Now()
				if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
					b.Fatal("the bare signature does not verify")
				}
				verifying += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(refusing)/float64(verifying), "x-bare-verify")
		})
	}
}
