package keys_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

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

func TestRingSigns(t *testing.T) {
	store := openStore(t)
	r := openRing(t, store, start)
	token, err := r.Sign(jose.TypeAccessToken, []byte(`{"sub":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	kid, alg, signer := r.Signer()
	if h := jws.Header; h.Typ != jose.TypeAccessToken || h.Alg != "ES256" || h.Kid != kid || string(jws.Payload) != `{"sub":"a"}` {
		t.Errorf("Sign = %+v, %s", h, jws.Payload)
	}
	if thumbprint, err := jose.Thumbprint(signer.Public()); err != nil || kid != thumbprint || alg != "ES256" {
		t.Errorf("Signer = %v, %v, want the thumbprint %v of its key and ES256", kid, alg, thumbprint)
	}

	// The next start has the same key.
	again := openRing(t, store, start.Add(time.Hour))
	public, alg, ok := again.Public(kid)
	if !ok {
		t.Fatalf("Public(%s) = false, want the key", kid)
	}
	if err := jws.Verify(alg, public); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}
	if got, _, _ := again.Signer(); got != kid {
		t.Errorf("Signer = %v, want %v", got, kid)
	}
	if _, _, ok := again.Public("unknown"); ok {
		t.Error("Public(unknown) = true, want false")
	}
}

func TestRingJWKS(t *testing.T) {
	store := openStore(t)
	r := openRing(t, store, start)
	kid, _, signer := r.Signer()
	body, etag := r.JWKS()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("JWKS = %s, %v, want one key", body, err)
	}
	k := set.Keys[0]
	if k["kid"] != kid || k["alg"] != "ES256" || k["use"] != "sig" || k["kty"] != "EC" || len(k) != 7 {
		t.Errorf("JWKS = %s, want kid, alg, use and the public members", body)
	}
	raw, _ := json.Marshal(k)
	if key, err := jose.ParseJWK(raw); err != nil || !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public) {
		t.Errorf("ParseJWK = %v, want the public key", err)
	}
	if len(etag) < 10 || etag[0] != '"' || strings.HasPrefix(etag, "W/") {
		t.Errorf("entity tag = %s, want a strong one", etag)
	}
	if _, again := openRing(t, store, start).JWKS(); again != etag {
		t.Errorf("entity tag of the same keys = %s, want %s", again, etag)
	}
	edit(t, store, kid, func(k *storage.SigningKey) { k.RetiredAt = start })
	if _, other := openRing(t, store, start).JWKS(); other == etag {
		t.Errorf("entity tag of other keys = %s, want another", other)
	}
}

func TestRingLifeOfAKey(t *testing.T) {
	store := openStore(t)
	first, _, _ := openRing(t, store, start).Signer()
	edit(t, store, first, func(k *storage.SigningKey) { k.RetiredAt = start.Add(time.Hour) })

	if kid, _, _ := openRing(t, store, start.Add(time.Minute)).Signer(); kid != first {
		t.Errorf("Signer before the key retires = %v, want %v", kid, first)
	}
	retired := openRing(t, store, start.Add(2*time.Hour))
	second, _, _ := retired.Signer()
	if second == first {
		t.Error("Signer after the key retired = the same, want another")
	}
	if _, _, ok := retired.Public(first); !ok {
		t.Error("Public of a retired key = false, want true")
	}
	if body, _ := retired.JWKS(); strings.Count(string(body), `"kid"`) != 2 {
		t.Errorf("JWKS = %s, want both keys", body)
	}

	edit(t, store, first, func(k *storage.SigningKey) { k.RevokedAt = start.Add(3 * time.Hour) })
	revoked := openRing(t, store, start.Add(3*time.Hour))
	if _, _, ok := revoked.Public(first); ok {
		t.Error("Public of a revoked key = true, want false")
	}
	if body, _ := revoked.JWKS(); strings.Contains(string(body), first) || !strings.Contains(string(body), second) {
		t.Errorf("JWKS = %s, want the second key alone", body)
	}
	list := revoked.List()
	if len(list) != 2 || list[0].KID != first || list[0].RevokedAt.IsZero() || list[0].Signing || !list[1].Signing {
		t.Errorf("List = %+v, want both keys, the second signing", list)
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

	// A row that somebody adds who does not have the key-encryption key is not believed.
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
