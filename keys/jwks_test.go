package keys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/imidentity/issuer/keys"
)

// entry writes the JWK of the key that signs, as the key set should have it.
func entry(t *testing.T, r *keys.Ring) string {
	t.Helper()
	kid, alg, signer := r.Signer()
	b64 := base64.RawURLEncoding.EncodeToString
	switch pub := signer.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"alg":"%s","crv":"P-256","kid":"%s","kty":"EC","use":"sig","x":"%s","y":"%s"}`,
			alg, kid, b64(point[1:33]), b64(point[33:]))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"alg":"%s","crv":"Ed25519","kid":"%s","kty":"OKP","use":"sig","x":"%s"}`, alg, kid, b64(pub))
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"alg":"%s","e":"%s","kid":"%s","kty":"RSA","n":"%s","use":"sig"}`,
			alg, b64(big.NewInt(int64(pub.E)).Bytes()), kid, b64(pub.N.Bytes()))
	}
	t.Fatalf("the signer is a %T", signer)
	return ""
}

// TestKeySetBytes checks the bytes of a key set with a key of each kind: clients and caches compare them.
func TestKeySetBytes(t *testing.T) {
	c, store := newClock(), openStore(t)
	var r *keys.Ring
	var entries []string
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		r = openWith(t, store, c, scheduled(alg)) // another algorithm makes another key take over
		entries = append(entries, entry(t, r))
	}
	wantSet := func(entries []string) {
		t.Helper()
		if set, _ := r.JWKS(); string(set) != `{"keys":[`+strings.Join(entries, ",")+`]}` {
			t.Errorf("JWKS = %s, want %s", set, entries)
		}
	}
	wantSet(entries)

	// Reading the same keys again makes no new set, and the same tag.
	set, etag := r.JWKS()
	if err := r.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if again, tag := r.JWKS(); &again[0] != &set[0] || tag != etag {
		t.Errorf("JWKS after a read = %s, %s, want the bytes of before", again, tag)
	}

	// Without its oldest key the set is another one, and so is its tag.
	revoke(t, r, r.List()[0].KID)
	wantSet(entries[1:])
	if _, tag := r.JWKS(); tag == etag {
		t.Errorf("the tag %s stays when a key leaves the set", tag)
	}

	// The clock alone takes retired keys out of the set.
	c.advance(life)
	wantSet(entries[2:])
}
