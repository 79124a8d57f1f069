package keys_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

const fixedName = "some-signing-key"

// change runs Make or Replace in a transaction.
func change(t testing.TB, store storage.Store, do func(ctx context.Context, tx storage.Tx) (keys.FixedKey, error)) keys.FixedKey {
	t.Helper()
	var k keys.FixedKey
	err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		k, err = do(ctx, tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestFixed makes a key on one of several nodes, and replaces it. All sign with it, and it is resealed with the cluster secrets.
func TestFixed(t *testing.T) {
	store, c := openStore(t), newClock()
	n := mustOpenResealed(t, store, c, kek, newKEK)
	sealer := keys.NewSealer(kek, newKEK)
	f := keys.NewFixed(sealer, fixedName)
	if _, err := f.Read(ctx, store); !errors.Is(err, keys.ErrNoFixedKey) {
		t.Errorf("Read of none = %v, want %v", err, keys.ErrNoFixedKey)
	}
	var nodes sync.WaitGroup
	made, kids := make([]bool, 5), make([]string, 5)
	for i := range made {
		nodes.Go(func() {
			change(t, store, func(ctx context.Context, tx storage.Tx) (k keys.FixedKey, err error) {
				k, made[i], err = keys.NewFixed(keys.NewSealer(kek, newKEK), fixedName).Make(ctx, tx)
				kids[i] = k.KID
				return k, err
			})
		})
	}
	nodes.Wait()
	first, err := f.Read(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	n1 := 0
	for i := range made {
		if made[i] {
			n1++
		}
		if kids[i] != first.KID {
			t.Errorf("node %d has %s, want %s", i, kids[i], first.KID)
		}
	}
	if n1 != 1 {
		t.Errorf("%d nodes made the key, want 1", n1)
	}
	token, err := first.Sign(jose.TypeWireToken, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil || jws.Header.Kid != first.KID || jws.Header.Typ != jose.TypeWireToken || jws.Header.Alg != first.Alg() {
		t.Errorf("token = %+v, %v", jws, err)
	}
	if err := n.RotateKEK(ctx); err != nil || sealedUnder(t, n, kek) != 0 {
		t.Fatalf("RotateKEK = %v, want that all is sealed anew", err)
	}
	alone := keys.NewFixed(keys.NewSealer(newKEK), fixedName)
	if k, err := alone.Read(ctx, store); err != nil || k.KID != first.KID {
		t.Errorf("Read under the new key-encryption key = %v, %v, want %s", k.KID, err, first.KID)
	}
	if _, err := keys.NewFixed(keys.NewSealer(kek), fixedName).Read(ctx, store); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("Read under the old one = %v, want %v", err, keys.ErrWrongKey)
	}
	second := change(t, store, alone.Replace)
	if k, err := alone.Read(ctx, store); err != nil || k.KID != second.KID || second.KID == first.KID {
		t.Errorf("key after Replace = %v, %v, want %v", k.KID, err, second.KID)
	}
	// A sealed secret opens under its own name alone.
	sealed, err := store.Secret(ctx, fixedName)
	if err != nil {
		t.Fatal(err)
	}
	change(t, store, func(ctx context.Context, tx storage.Tx) (keys.FixedKey, error) {
		return keys.FixedKey{}, tx.PutSecret(ctx, "other", sealed)
	})
	if _, err := keys.NewFixed(keys.NewSealer(newKEK), "other").Read(ctx, store); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("Read of a key under another name = %v, want %v", err, keys.ErrWrongKey)
	}
}
