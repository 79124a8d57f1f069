package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// claimsOf returns what a proof says.
func claimsOf(t *testing.T, proof string) (header, claims map[string]any) {
	t.Helper()
	jws, err := jose.ParseCompact(proof, jose.Limits{})
	if err != nil {
		t.Fatalf("ParseCompact = %v", err)
	}
	if err := json.Unmarshal(jws.Payload, &claims); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"typ": jws.Header.Typ, "alg": jws.Header.Alg, "jwk": string(jws.Header.JWK)}, claims
}

func TestSignerProof(t *testing.T) {
	signer := newSigner(t, p256(t))
	proof, err := signer.Proof(dpop.ProofParams{
		Method: "PUT", URL: "https://rs.example/a%2Fb?q=1&r=<>#f", Nonce: "n\"<&>", AccessToken: "token",
		IssuedAt: time.Unix(1562262616, 999), JTI: "\u2028",
	})
	if err != nil {
		t.Fatalf("Proof = %v", err)
	}
	header, claims := claimsOf(t, proof)
	if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" {
		t.Errorf("header = %v", header)
	}
	want := map[string]any{
		"htm": "PUT", "htu": "https://rs.example/a%2Fb", "nonce": "n\"<&>", "ath": dpop.ATH("token"),
		"iat": 1562262616.0, "jti": "\u2028",
	}
	if len(claims) != len(want) {
		t.Errorf("claims = %v, want %v", claims, want)
	}
	for name := range want {
		if claims[name] != want[name] {
			t.Errorf("%s = %v, want %v", name, claims[name], want[name])
		}
	}
}

// RFC 9449 §4.2: jti has 96 random bits at least; nonce and ath are there only if there is something to say.
func TestSignerDefaults(t *testing.T) {
	signer := newSigner(t, p256(t))
	seen := map[any]bool{}
	for range 100 {
		before := time.Now().Unix()
		proof, err := signer.Proof(dpop.ProofParams{Method: "GET", URL: "https://rs.example"})
		if err != nil {
			t.Fatalf("Proof = %v", err)
		}
		_, claims := claimsOf(t, proof)
		if jti, _ := claims["jti"].(string); len(jti) < 20 || seen[jti] {
			t.Errorf("jti = %q, want a new one of 20 octets and more", jti)
		}
		seen[claims["jti"]] = true
		if iat := claims["iat"].(float64); iat < float64(before) || iat > float64(time.Now().Unix()) {
			t.Errorf("iat = %v, want now", iat)
		}
		if len(claims) != 4 {
			t.Errorf("claims = %v, want jti, htm, htu and iat", claims)
		}
	}
}

type brokenKey struct {
	crypto.Signer
	err error
}

func (b brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, b.err }

func TestSignerRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		alg  string
	}{
		{"RSA of 1024 bits", small, ""}, {"P-224", p224, ""}, {"another curve", p256(t), "ES384"},
		{"HMAC", p256(t), "HS256"}, {"none", p256(t), "none"},
	} {
		if signer, err := dpop.NewSigner(tt.key, tt.alg); err == nil {
			t.Errorf("NewSigner for %s = %v, want an error", tt.name, signer)
		}
	}
	for _, url := range []string{"", "/token", "https://alice@as.example/", "ftp://as.example/"} {
		if proof, err := newSigner(t, p256(t)).Proof(dpop.ProofParams{Method: "GET", URL: url}); err == nil {
			t.Errorf("Proof for %q = %q, want an error", url, proof)
		}
	}
	gone := errors.New("the token was pulled out")
	_, err = newSigner(t, brokenKey{p256(t), gone}).Proof(dpop.ProofParams{Method: "GET", URL: endpoint})
	if !errors.Is(err, gone) {
		t.Errorf("Proof = %v, want %v", err, gone)
	}
}
