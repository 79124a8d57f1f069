package introspect_test

import (
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// A token under a key that another node made just before is active. If the node cannot read the keys, it does not call the token
// inactive, while a token of a foreign issuer is none of its own, whatever key it names.
func TestKeyOfAnotherNode(t *testing.T) {
	store, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := func() time.Time { return start }
	open := func() *keys.Ring {
		r, err := keys.OpenRing(t.Context(), store, keys.NewSealer([32]byte{1}), keys.RingConfig{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := open(), open()
	mirror := revocation.NewMirror(revocation.Config{Source: store, Now: now})
	if err := mirror.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, err := introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: two, Revocations: mirror, Records: &issuing{}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(iss string) string {
		if _, _, err := one.Rotate(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		set := alice()
		set.Issuer = iss
		token, err := one.Sign(jose.TypeAccessToken, set.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for iss, active := range map[string]bool{issuer: true, "https://other.example.com": false} {
		if _, ok, err := i.Own(t.Context(), sign(iss)); err != nil || ok != active {
			t.Errorf("a token of %s under a new key: active %v, %v, want %v", iss, ok, err, active)
		}
	}
	token, foreign := sign(issuer), sign("https://other.example.com")
	store.Close()
	if _, ok, err := i.Own(t.Context(), token); err == nil {
		t.Errorf("a token under a new key, without the store: active %v, want an error", ok)
	}
	if _, ok, err := i.Own(t.Context(), foreign); err != nil || ok {
		t.Errorf("a token of another issuer, without the store: active %v, %v, want inactive", ok, err)
	}
}
