package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

var start = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func openRing(t testing.TB, store storage.Store, now time.Time) *keys.Ring {
	t.Helper()
	r, err := keys.OpenRing(context.Background(), store, keys.NewSealer(kek), keys.RingConfig{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// edit changes the row of a key.
func edit(t *testing.T, store storage.Store, kid string, change func(k *storage.SigningKey)) {
	t.Helper()
	err := store.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
		rows, err := tx.SigningKeys(ctx)
		for _, row := range rows {
			if row.KID == kid {
				change(&row)
				return tx.UpdateSigningKey(ctx, row)
			}
		}
		return errors.Join(err, storage.ErrNotFound)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A clock is moved by hand. Several goroutines may look at it.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := new(clock)
	c.set(start)
	return c
}

func (c *clock) now() time.Time          { return *c.at.Load() }
func (c *clock) set(t time.Time)         { c.at.Store(&t) }
func (c *clock) advance(d time.Duration) { c.set(c.now().Add(d)) }

// openWith opens a ring that lives by c.
func openWith(t testing.TB, store storage.Store, c *clock, cfg keys.RingConfig) *keys.Ring {
	t.Helper()
	cfg.Now = c.now
	r, err := keys.OpenRing(context.Background(), store, keys.NewSealer(kek), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sign signs something that is never the same.
func sign(t testing.TB, r *keys.Ring) string {
	t.Helper()
	token, err := r.Sign(jose.TypeAccessToken, fmt.Appendf(nil, `{"jti":%q}`, rand.Text()))
	if err != nil {
		t.Fatalf("Sign = %v, want a token", err)
	}
	return token
}

// kidOf reads which key signed a token.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Header.Kid
}

// knows reports whether the ring verifies a token as its own.
func knows(t testing.TB, r *keys.Ring, token string) bool {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	key, alg, ok := r.Public(jws.Header.Kid)
	return ok && jws.Verify(alg, key) == nil
}

// checks reports whether jwx verifies a token with a key set.
func checks(t testing.TB, set []byte, token string) bool {
	t.Helper()
	parsed, err := jwk.Parse(set)
	if err != nil {
		t.Fatalf("JWKS = %s: %v", set, err)
	}
	_, err = jws.Verify([]byte(token), jws.WithKeySet(parsed))
	return err == nil
}

func TestRingSigns(t *testing.T) {
	for alg, members := range map[string][]string{
		"ES256": {"kty", "EC", "crv", "P-256", "x", "", "y", ""},
		"EdDSA": {"kty", "OKP", "crv", "Ed25519", "x", ""},
		"RS256": {"kty", "RSA", "e", "AQAB", "n", ""},
	} {
		t.Run(alg, func(t *testing.T) {
			store := openStore(t)
			r := openWith(t, store, newClock(), keys.RingConfig{Alg: alg})
			token, err := r.Sign(jose.TypeAccessToken, []byte(`{"sub":"a"}`))
			if err != nil {
				t.Fatal(err)
			}
			jws, err := jose.ParseCompact(token, jose.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			kid, got, signer := r.Signer()
			if h := jws.Header; h.Typ != jose.TypeAccessToken || h.Alg != alg || h.Kid != kid || string(jws.Payload) != `{"sub":"a"}` {
				t.Errorf("Sign = %+v, %s", h, jws.Payload)
			}
			if thumbprint, err := jose.Thumbprint(signer.Public()); err != nil || kid != thumbprint || got != alg {
				t.Errorf("Signer = %v, %v, want the thumbprint %v of its key and %v", kid, got, thumbprint, alg)
			}
			if key, ok := signer.Public().(*rsa.PublicKey); ok && key.N.BitLen() != 3072 {
				t.Errorf("RSA key of %d bits, want 3072", key.N.BitLen())
			}

			// What is published is the public key, with what tells verifiers how to use it.
			set, etag := r.JWKS()
			var parsed struct {
				Keys []map[string]string `json:"keys"`
			}
			if err := json.Unmarshal(set, &parsed); err != nil || len(parsed.Keys) != 1 {
				t.Fatalf("JWKS = %s, %v, want one key", set, err)
			}
			k := parsed.Keys[0]
			members = append(members, "kid", kid, "alg", alg, "use", "sig")
			for i := 0; i < len(members); i += 2 {
				if value, ok := k[members[i]]; !ok || members[i+1] != "" && value != members[i+1] {
					t.Errorf("%s = %q, want %q", members[i], value, members[i+1])
				}
			}
			if len(k) != len(members)/2 {
				t.Errorf("JWKS = %s, want no other members than %q", set, members)
			}
			raw, _ := json.Marshal(k)
			if key, err := jose.ParseJWK(raw); err != nil || !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public) {
				t.Errorf("ParseJWK = %v, want the public key", err)
			}
			if !checks(t, set, token) || checks(t, set, token[:len(token)-4]+"AAAA") {
				t.Error("jwx does not tell a token from a forged one by the key set")
			}
			if len(etag) < 10 || etag[0] != '"' || strings.HasPrefix(etag, "W/") {
				t.Errorf("entity tag = %s, want a strong one", etag)
			}

			// The next start has the same key.
			c := newClock()
			c.advance(time.Hour)
			again := openWith(t, store, c, keys.RingConfig{Alg: alg})
			if got, _, _ := again.Signer(); got != kid || !knows(t, again, token) {
				t.Errorf("Signer after a restart = %v, want %v, which checks what it signed", got, kid)
			}
			if other, same := again.JWKS(); same != etag || !bytes.Equal(other, set) {
				t.Errorf("JWKS after a restart = %s, want %s", other, set)
			}
			if _, _, ok := again.Public("unknown"); ok {
				t.Error("Public(unknown) = true, want false")
			}
		})
	}
}

func TestOpenRingInParallel(t *testing.T) {
	store := openStore(t)
	parallel(t, 8, func() (string, error) {
		r, err := keys.OpenRing(context.Background(), store, keys.NewSealer(kek), keys.RingConfig{Now: func() time.Time { return start }})
		if err != nil {
			return "", err
		}
		kid, _, _ := r.Signer()
		return kid, nil
	})
	if rows, err := store.SigningKeys(context.Background()); err != nil || len(rows) != 1 {
		t.Errorf("SigningKeys = %d rows, %v, want one", len(rows), err)
	}
}

func TestOpenRingRefuses(t *testing.T) {
	ctx := context.Background()
	store := openStore(t)
	kid, _, _ := openRing(t, store, start).Signer()
	open := func(sealer *keys.Sealer, alg string) error {
		_, err := keys.OpenRing(ctx, store, sealer, keys.RingConfig{Alg: alg, Now: func() time.Time { return start }})
		return err
	}
	if err := open(keys.NewSealer([32]byte{9}), ""); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("OpenRing under another key = %v, want %v", err, keys.ErrWrongKey)
	}
	if err := open(keys.NewSealer(kek), "HS256"); err == nil || !strings.Contains(err.Error(), "HS256") {
		t.Errorf("OpenRing(HS256) = %v, want an error about it", err)
	}

	// A row that was added without the key-encryption key is not trusted.
	err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		rows, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		forged := rows[0]
		forged.KID = "forged"
		return tx.InsertSigningKey(ctx, forged)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := open(keys.NewSealer(kek), ""); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("OpenRing with a forged row = %v, want %v", err, keys.ErrWrongKey)
	}
	edit(t, store, "forged", func(k *storage.SigningKey) { k.RevokedAt = start })
	edit(t, store, kid, func(k *storage.SigningKey) { k.Alg = "ES384"; k.RetiredAt = start })
	if err := open(keys.NewSealer(kek), ""); err == nil || !strings.Contains(err.Error(), "not one for ES384") {
		t.Errorf("OpenRing with a key of another algorithm = %v, want an error about it", err)
	}
	store.Close()
	if err := open(keys.NewSealer(kek), ""); err == nil || errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("OpenRing without a store = %v, want the store's error", err)
	}
}

// TestAllocations bounds what every request costs; 63 are those of a signature (see internal/jose).
func TestAllocations(t *testing.T) {
	r := openRing(t, openStore(t), start)
	kid, _, _ := r.Signer()
	claims := []byte(`{"sub":"a"}`)
	for name, test := range map[string]struct {
		most float64
		work func()
	}{
		"Sign":   {76, func() { _, _ = r.Sign(jose.TypeAccessToken, claims) }},
		"Public": {0, func() { r.Public(kid) }},
		"JWKS":   {0, func() { r.JWKS() }},
	} {
		if got := testing.AllocsPerRun(100, test.work); got > test.most {
			t.Errorf("%s makes %v allocations, want at most %v", name, got, test.most)
		}
	}
}

func BenchmarkPublic(b *testing.B) {
	r := openRing(b, openStore(b), start)
	kid, _, _ := r.Signer()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := r.Public(kid); !ok {
			b.Fatal("the key is not there")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	r := openRing(b, openStore(b), start)
	claims := []byte(strings.Repeat(" ", 600) + `{"sub":"a"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Sign(jose.TypeAccessToken, claims); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature is the bare signature within [BenchmarkSign].
func BenchmarkSignature(b *testing.B) {
	_, _, signer := openRing(b, openStore(b), start).Signer()
	digest := make([]byte, 32)
	for b.Loop() {
		if _, err := signer.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}
