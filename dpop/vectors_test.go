package dpop_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/vectortest"
)

// A vector is a proof, and a server with nonces off that it is sent to.
type vector struct {
	Comment     string
	Method, URL string
	Now         int64
	AccessToken string `json:"access_token"`
	Proof       string
	Thumbprint  string // of the key, if the proof is good
	Refused     string // the part that is refused, if it is not
}

// vectors reads the files of testdata that match pattern, by name.
func vectors(t testing.TB, pattern string) map[string]*vector {
	t.Helper()
	return vectortest.ReadAll[vector](t, pattern, 1)
}

// check holds v against a verifier at the time of v.
func (v vector) check(t testing.TB) (*dpop.Verifier, *dpop.Proof, error) {
	t.Helper()
	now := time.Unix(v.Now, 0)
	store := newMemory(t, 0, func() time.Time { return now.Add(-time.Hour) })
	verifier, err := dpop.NewVerifier(dpop.Config{
		Replay: store, Now: func() time.Time { return now },
		Algorithms: []string{"ES256", "EdDSA", "ES384", "ES512", "PS256"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verifier.Check(context.Background(), dpop.Request{
		Method: v.Method, URL: v.URL, Proofs: []string{v.Proof}, AccessToken: v.AccessToken,
	})
	return verifier, p, err
}

func TestVectors(t *testing.T) {
	for _, pattern := range []string{"rfc9449/*-proof.json", "accepted/*.json"} {
		for name, v := range vectors(t, pattern) {
			t.Run(name, func(t *testing.T) {
				verifier, p, err := v.check(t)
				if err != nil {
					t.Fatalf("Check = %v, want no error: %s", err, v.Comment)
				}
				if p.JKT != v.Thumbprint {
					t.Errorf("JKT = %s, want %s", p.JKT, v.Thumbprint)
				}
				if !p.NonceTime.IsZero() {
					t.Errorf("NonceTime = %v with nonces off, want zero", p.NonceTime)
				}
				if err := verifier.Spend(context.Background(), p, netip.Addr{}); err != nil {
					t.Errorf("Spend = %v", err)
				}
				wantRefused(t, "second Spend", verifier.Spend(context.Background(), p, netip.Addr{}), "jti", dpop.ErrReplayed)
			})
		}
	}
}

func TestRefusedVectors(t *testing.T) {
	for name, v := range vectors(t, "refused/*.json") {
		t.Run(name, func(t *testing.T) {
			_, _, err := v.check(t)
			wantRefused(t, v.Comment, err, v.Refused, dpop.ErrInvalidProof)
			if part, _, _ := strings.Cut(name, "-"); part != v.Refused {
				t.Errorf("the vector is named for %s and refused for %s", part, v.Refused)
			}
		})
	}
}

// The token of RFC 9449 §6.1 is bound to the key of the proof of §4.1.
func TestConfirmationVector(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc9449/section-6.1-token.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Token, Thumbprint string }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(v.Token, jose.Limits{})
	if err != nil {
		t.Fatalf("ParseCompact = %v", err)
	}
	var claims struct{ Cnf struct{ JKT string } }
	if err := json.Unmarshal(jws.Payload, &claims); err != nil {
		t.Fatal(err)
	}
	proof := vectors(t, "rfc9449/section-4.1-proof.json")["section-4.1-proof"]
	if claims.Cnf.JKT != proof.Thumbprint || claims.Cnf.JKT != v.Thumbprint {
		t.Errorf("cnf.jkt = %s, want %s", claims.Cnf.JKT, proof.Thumbprint)
	}
}

// RFC 9449 §7.1: the hash of the access token of Figure 13 is in the proof of that figure.
func TestATH(t *testing.T) {
	const token, want = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
	if got := dpop.ATH(token); got != want {
		t.Errorf("ATH = %s, want %s", got, want)
	}
}
