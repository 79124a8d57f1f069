package keys_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

var newKEK = [32]byte{4, 5, 6}

// A resealed node has a cluster and a ring with the same sealer.
type resealed struct {
	*keys.Cluster
	ring *keys.Ring
}

func openResealed(t testing.TB, store storage.Store, c *clock, kek [32]byte, others ...[32]byte) (resealed, error) {
	t.Helper()
	sealer := keys.NewSealer(kek, others...)
	cluster, err := keys.OpenCluster(ctx, store, sealer, keys.ClusterConfig{Keep: keep, Now: c.now})
	if err != nil {
		return resealed{}, err
	}
	cfg := scheduled("EdDSA")
	cfg.Now = c.now
	ring, err := keys.OpenRing(ctx, store, sealer, cfg)
	return resealed{cluster, ring}, err
}

func mustOpenResealed(t testing.TB, store storage.Store, c *clock, kek [32]byte, others ...[32]byte) resealed {
	t.Helper()
	n, err := openResealed(t, store, c, kek, others...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sealedUnder returns how many secrets are sealed under a key, as a node says.
func sealedUnder(t testing.TB, n resealed, kek [32]byte) int {
	t.Helper()
	list, err := n.KEKs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if k.ID == keys.KEKID(kek) {
			return k.Secrets
		}
	}
	return 0
}

// TestRotateKEK takes three nodes from one key-encryption key to another: all get both, one seals anew, and all get the new one alone.
func TestRotateKEK(t *testing.T) {
	store, c := openStore(t), newClock()
	// Signing keys of an earlier release, whose form does not name the key.
	cfg := scheduled("EdDSA")
	first := openWith(t, store, c, cfg)
	for range 20 {
		rotate(t, first, true)
	}
	old := mustOpenResealed(t, store, c, kek)
	if err := old.RotateKEK(ctx); !errors.Is(err, keys.ErrOneKey) {
		t.Errorf("RotateKEK with one key = %v, want %v", err, keys.ErrOneKey)
	}
	if _, err := old.Rotate(ctx, false); err != nil {
		t.Fatal(err)
	}
	a, b := mustOpenResealed(t, store, c, kek, newKEK), mustOpenResealed(t, store, c, kek, newKEK)
	lasting, token := a.Lasting("x"), a.Derive("token", keep).Keys()[0]
	if n := sealedUnder(t, a, kek); n != 23 || sealedUnder(t, a, newKEK) != 0 {
		t.Errorf("%d secrets are sealed under the old key, want 23", n)
	}
	for range 2 { // the second changes nothing
		if err := a.RotateKEK(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := sealedUnder(t, a, newKEK); n != 23 || sealedUnder(t, a, kek) != 0 {
		t.Errorf("%d secrets are sealed under the new key, want all 23", n)
	}

	// A node with both seals under the new key once it has read the database, and one with the old key alone reads on and seals nothing.
	follow(t, b.Cluster, old.Cluster)
	rotate(t, b.ring, true)
	if sealedUnder(t, a, newKEK) != 24 || sealedUnder(t, b, kek) != 0 {
		t.Error("a new signing key is not sealed under the new key")
	}
	if old.Lasting("x") != lasting || old.Fresh(c.now()) != nil || sign(t, old.ring) == "" {
		t.Error("a node without the new key does not go on with what it has opened")
	}
	if _, err := old.Rotate(ctx, true); !errors.Is(err, keys.ErrWrongKey) || !strings.Contains(err.Error(), keys.KEKID(newKEK)) {
		t.Errorf("a node without the new key seals: %v, want %v", err, keys.ErrWrongKey)
	}
	if err := old.Reseal(ctx); err != nil || sealedUnder(t, a, newKEK) != 24 {
		t.Errorf("Reseal by a node without the new key = %v, want that it does nothing", err)
	}

	_, err := openResealed(t, store, c, kek)
	if !errors.Is(err, keys.ErrWrongKey) || !strings.Contains(err.Error(), keys.KEKID(newKEK)) || !strings.Contains(err.Error(), keys.KEKID(kek)) {
		t.Errorf("a start without the new key = %v, want %v with the ids of both", err, keys.ErrWrongKey)
	}
	last := mustOpenResealed(t, store, c, newKEK)
	if last.Lasting("x") != lasting || last.Derive("token", keep).Keys()[0] != token {
		t.Error("the secrets changed with the key that they are sealed under")
	}
	for _, k := range first.List() {
		if _, _, ok := last.ring.Public(k.KID); !ok {
			t.Errorf("the signing key %s does not open any more", k.KID)
		}
	}
}

// TestRotateKEKInterrupted stops a rotation at each of its operations. Nodes with both keys work at any point, and one of them completes it.
func TestRotateKEKInterrupted(t *testing.T) {
	fire := errors.New("killed")
	for at := 0; ; at += 6 {
		real, c := openStore(t), newClock()
		ring := openWith(t, real, c, scheduled("EdDSA"))
		for range 20 {
			rotate(t, ring, true)
		}
		n := -1
		store := storagetest.Faulty{Store: real, Fail: func(string) error {
			if n >= 0 {
				if n++; n > at {
					return fire
				}
			}
			return nil
		}}
		a := mustOpenResealed(t, store, c, kek, newKEK)
		lasting := a.Lasting("x")
		n = 0
		err := a.RotateKEK(ctx)
		if err == nil {
			if at < 40 {
				t.Errorf("the rotation takes less than %d operations, want more", at)
			}
			return
		}
		if !errors.Is(err, fire) {
			t.Fatalf("RotateKEK stopped at operation %d = %v, want %v", at, err, fire)
		}
		b := mustOpenResealed(t, real, c, kek, newKEK)
		if b.Lasting("x") != lasting || len(b.ring.List()) != 21 {
			t.Errorf("stopped at operation %d, the secrets do not open with both keys", at)
		}
		switched := slices.ContainsFunc(must(b.KEKs(ctx)), func(k keys.KEKInfo) bool { return k.Used && k.ID == keys.KEKID(newKEK) })
		if err := b.Reseal(ctx); err != nil || switched && sealedUnder(t, b, kek) != 0 {
			t.Errorf("Reseal after a stop at operation %d = %v, want that nothing is left under the old key", at, err)
		}
		if err := b.RotateKEK(ctx); err != nil || sealedUnder(t, b, kek) != 0 {
			t.Errorf("RotateKEK after a stop at operation %d = %v, want that nothing is left under the old key", at, err)
		}
		mustOpenResealed(t, real, c, newKEK)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestRotateKEKRaces lets nodes rotate the key-encryption key, the cluster secret and signing keys at once.
func TestRotateKEKRaces(t *testing.T) {
	store, c := openStore(t), newClock()
	nodes := make([]resealed, 3)
	for i := range nodes {
		nodes[i] = mustOpenResealed(t, store, c, kek, newKEK)
	}
	ends, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			for range 5 {
				if err := errors.Join(n.RotateKEK(ends), n.Reseal(ends)); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 5 {
				if _, _, err := n.ring.Rotate(ends, true); err != nil {
					t.Error(err)
				}
				if _, err := n.Rotate(ends, i == 0); err != nil && !errors.As(err, new(*keys.RotatingError)) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := nodes[0].Reseal(ctx); err != nil || sealedUnder(t, nodes[0], kek) != 0 {
		t.Errorf("Reseal = %v, want that nothing is left under the old key", err)
	}
	mustOpenResealed(t, store, c, newKEK)
}

// TestResealLeavesWhatItCannotOpen holds that a secret under a key that is lost stops nothing else.
func TestResealLeavesWhatItCannotOpen(t *testing.T) {
	store, c := openStore(t), newClock()
	a := mustOpenResealed(t, store, c, kek, newKEK)
	revoked, _, err := a.ring.Revoke(ctx, kidOf(t, sign(t, a.ring)), "lost")
	if err != nil {
		t.Fatal(err)
	}
	edit(t, store, revoked.KID, func(k *storage.SigningKey) {
		k.Sealed = must(keys.NewSealer([32]byte{9}).Seal("signing-key/"+k.KID, []byte("x")))
	})
	if err := a.RotateKEK(ctx); !errors.Is(err, keys.ErrWrongKey) || !strings.Contains(err.Error(), revoked.KID) {
		t.Errorf("RotateKEK = %v, want %v", err, keys.ErrWrongKey)
	}
	if sealedUnder(t, a, kek) != 0 || sealedUnder(t, a, newKEK) != 2 {
		t.Errorf("keys = %+v, want all others under the new one", must(a.KEKs(ctx)))
	}
	mustOpenResealed(t, store, c, newKEK)
}

// FuzzOpen holds that nothing opens but what was sealed, in any form.
func FuzzOpen(f *testing.F) {
	s := keys.NewSealer(kek, newKEK)
	sealed := must(s.Seal("a", []byte("secret")))
	f.Add(sealed)
	f.Add([]byte{2, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, text []byte) {
		plain, err := s.Open("a", text)
		if err == nil && string(plain) != "secret" {
			t.Errorf("Open(%x) = %q", text, plain)
		}
	})
}
