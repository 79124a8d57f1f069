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

const (
	keep         = 14 * 24 * time.Hour
	clusterAhead = 10 * time.Minute
	skew         = 5 * time.Minute
)

func openCluster(t testing.TB, store keys.Store, c *clock, keep time.Duration) *keys.Cluster {
	t.Helper()
	cluster, err := keys.OpenCluster(ctx, store, keys.NewSealer(kek), keys.ClusterConfig{Keep: keep, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

func follow(t testing.TB, clusters ...*keys.Cluster) {
	t.Helper()
	for _, c := range clusters {
		if err := errors.Join(c.Refresh(ctx), c.Maintain(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

func clusterStates(c *keys.Cluster) string {
	var list []string
	for _, s := range c.List() {
		list = append(list, string(s.State))
	}
	return strings.Join(list, " ")
}

// accepts reports whether node b accepts what node a makes now.
func accepts(a, b *keys.Derived) bool { return slices.Contains(b.Keys(), a.Keys()[0]) }

// TestRotateCluster follows a rotation on two nodes whose clocks differ by as much as they may, second by second at the switch: each
// accepts what the other makes. The old secret is accepted for the life of a purpose and no longer, and is then deleted.
func TestRotateCluster(t *testing.T) {
	store, early, late := openStore(t), newClock(), newClock()
	late.advance(-skew)
	a, b := openCluster(t, store, early, keep), openCluster(t, store, late, keep)
	nonceA, nonceB := a.Derive("nonce", 3*time.Minute), b.Derive("nonce", 3*time.Minute)
	tokenA, tokenB := a.Derive("token", keep), b.Derive("token", keep)
	if nonceA.Keys()[0] == tokenA.Keys()[0] || nonceA.Keys()[0] != a.Lasting("nonce") {
		t.Error("keys of two purposes are the same, or the first secret is not the lasting one")
	}
	old, oldToken, lasting := nonceA.Keys()[0], tokenA.Keys()[0], a.Lasting("tombstones")

	info, err := a.Rotate(ctx, false)
	if err != nil || info.State != keys.Published || !info.Until.Equal(early.now().Add(clusterAhead)) {
		t.Fatalf("Rotate = %+v, %v, want it published for %v", info, err, clusterAhead)
	}
	follow(t, b)
	began := early.now()
	used := false
	for early.now().Sub(began) < clusterAhead+2*skew {
		if !accepts(nonceA, nonceB) || !accepts(nonceB, nonceA) || !accepts(tokenA, tokenB) || !accepts(tokenB, tokenA) {
			t.Fatalf("%v after the rotation a node does not accept what the other makes", early.now().Sub(began))
		}
		if now := nonceA.Keys()[0] != old; now != used {
			if used = now; early.now().Sub(began) != clusterAhead {
				t.Errorf("the new secret is used after %v, want %v", early.now().Sub(began), clusterAhead)
			}
		}
		early.advance(time.Second)
		late.advance(time.Second)
	}
	if got := clusterStates(a); got != "retired signing" || nonceB.Keys()[0] == old {
		t.Errorf("states = %s, want that both nodes use the new secret", got)
	}

	early.set(began.Add(clusterAhead + skew + 3*time.Minute - time.Millisecond))
	if !slices.Contains(nonceA.Keys(), old) {
		t.Error("a nonce of the old secret is refused while another node may have made it")
	}
	early.advance(time.Millisecond)
	if slices.Contains(nonceA.Keys(), old) || !slices.Contains(tokenA.Keys(), oldToken) {
		t.Error("want that the old secret has ended for nonces, and not for refresh tokens")
	}

	_, err = b.Rotate(ctx, false)
	var rotating *keys.RotatingError
	if until := began.Add(clusterAhead + keep + skew); !errors.As(err, &rotating) || !rotating.Until.Equal(until) {
		t.Errorf("Rotate during a rotation = %v, want an error until %v", err, until)
	}
	early.set(began.Add(clusterAhead + keep + skew))
	late.set(early.now())
	if slices.Contains(tokenA.Keys(), oldToken) {
		t.Error("the old secret is accepted after its end")
	}
	follow(t, a, b)
	if got := clusterStates(b); got != "signing" || a.Lasting("tombstones") != lasting || b.Lasting("tombstones") != lasting {
		t.Errorf("states = %s, want the new secret alone, and the lasting keys as before", got)
	}

	// A longer life of refresh tokens does not bring the old secret back.
	longer := openCluster(t, store, early, 10*keep)
	if slices.Contains(longer.Derive("token", 10*keep).Keys(), oldToken) {
		t.Error("the old secret is accepted again after a change of the settings")
	}

	// The next rotation deletes the row of the secret before it.
	if _, err := b.Rotate(ctx, false); err != nil {
		t.Fatal(err)
	}
	early.advance(clusterAhead + keep + skew)
	late.set(early.now())
	follow(t, a, b)
	if rows, err := store.Secrets(ctx); err != nil || len(rows) != 2 {
		t.Errorf("secrets = %v, %v, want the lasting one and the current one", rows, err)
	}
	if again := openCluster(t, store, early, keep); again.Lasting("tombstones") != lasting || clusterStates(again) != "signing" {
		t.Error("a restart changes the secrets")
	}
}

// TestClusterWithoutStore holds that a node which has lost its database switches by the clock, and counts as stale.
func TestClusterWithoutStore(t *testing.T) {
	store, c := openStore(t), newClock()
	a := openCluster(t, store, c, keep)
	d := a.Derive("nonce", time.Minute)
	old := d.Keys()[0]
	if _, err := a.Rotate(ctx, false); err != nil {
		t.Fatal(err)
	}
	store.Close()
	c.advance(clusterAhead)
	if d.Keys()[0] == old || clusterStates(a) != "retired signing" {
		t.Error("the node does not switch without its database")
	}
	if _, err := d.Fresh(); !errors.Is(err, keys.ErrStale) || a.Refresh(ctx) == nil {
		t.Errorf("Fresh = %v, want %v", err, keys.ErrStale)
	}
}

func TestRotateClusterLeaked(t *testing.T) {
	store, c, behind := openStore(t), newClock(), newClock()
	behind.advance(-skew)
	a, b := openCluster(t, store, c, keep), openCluster(t, store, behind, keep)
	tokenA, tokenB := a.Derive("token", keep), b.Derive("token", keep)
	var gone [][32]byte
	for i := range 3 {
		gone = append(gone, tokenA.Keys()[0])
		if i == 1 { // also during a rotation
			if _, err := a.Rotate(ctx, false); err != nil {
				t.Fatal(err)
			}
			follow(t, b)
			gone = append(gone, tokenB.Keys()...)
		}
		if info, err := a.Rotate(ctx, true); err != nil || info.State != keys.Signing {
			t.Fatalf("Rotate = %+v, %v, want a secret that is used", info, err)
		}
		follow(t, b)
		for _, d := range []*keys.Derived{tokenA, tokenB} {
			if list := d.Keys(); len(list) != 1 || slices.Contains(gone, list[0]) {
				t.Errorf("rotation %d: %d secrets are accepted, or an old one is", i, len(list))
			}
		}
		if tokenA.Keys()[0] != tokenB.Keys()[0] {
			t.Error("a node whose clock is behind uses another secret")
		}
	}
	c.advance(100 * keep)
	behind.advance(100 * keep)
	follow(t, a, b)
	if clusterStates(a) != "signing" || len(tokenA.Keys()) != 1 {
		t.Errorf("states = %s, want one secret", clusterStates(a))
	}
	if _, err := b.Rotate(ctx, false); err != nil {
		t.Errorf("Rotate after a leak = %v, want nil", err)
	}
}

// TestRotateClusterRaces lets nodes rotate at once: one of them does.
func TestRotateClusterRaces(t *testing.T) {
	for range 5 {
		store, c := openStore(t), newClock()
		nodes := make([]*keys.Cluster, 4)
		for i := range nodes {
			nodes[i] = openCluster(t, store, c, keep)
		}
		var mu sync.Mutex
		var made []string
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() {
				info, err := n.Rotate(ctx, false)
				var rotating *keys.RotatingError
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made = append(made, info.ID)
				} else if !errors.As(err, &rotating) {
					t.Errorf("Rotate = %v, want nil or that it is being rotated", err)
				}
			})
		}
		all.Wait()
		follow(t, nodes...)
		for _, n := range nodes {
			if list := n.List(); len(made) != 1 || len(list) != 2 || list[1].ID != made[0] {
				t.Fatalf("%v were made, and a node lists %+v, want one", made, list)
			}
		}
	}
}

// TestClusterFaults holds that a rotation, and the end of one, happen as a whole or not at all.
func TestClusterFaults(t *testing.T) {
	for _, op := range []string{"Update", "Secrets", "DeleteSecret", "PutSecret", "Commit"} {
		t.Run(op, func(t *testing.T) {
			real, c, fire := openStore(t), newClock(), errors.New("disk on fire")
			failing := ""
			store := storagetest.Faulty{Store: real, Fail: func(op string) error {
				if op == failing {
					return fire
				}
				return nil
			}}
			a := openCluster(t, store, c, keep)
			rows := func() []storage.Secret {
				list, err := real.Secrets(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				return list
			}
			same := func(a, b storage.Secret) bool { return a.Name == b.Name && string(a.Sealed) == string(b.Sealed) }
			fails := func(do func() error) {
				t.Helper()
				before, states := rows(), clusterStates(a)
				failing = op
				err := do()
				failing = ""
				if !errors.Is(err, fire) || !slices.EqualFunc(before, rows(), same) || clusterStates(a) != states {
					t.Errorf("err = %v, want %v and everything as before", err, fire)
				}
				if err := do(); err != nil {
					t.Errorf("afterwards = %v, want nil", err)
				}
			}
			rotate := func() error { _, err := a.Rotate(ctx, false); return err }
			if op == "DeleteSecret" {
				if err := rotate(); err != nil {
					t.Fatal(err)
				}
			} else {
				fails(rotate)
			}
			c.advance(clusterAhead + keep + skew)
			fails(func() error { return a.Maintain(ctx) })
			fails(func() error { _, err := a.Rotate(ctx, op == "DeleteSecret"); return err })
		})
	}
}

func TestClusterRefuses(t *testing.T) {
	c := newClock()
	sealed, err := keys.NewSealer(kek).Seal("cluster-secret/2026-01-01T00:00:00.000Z", []byte("short"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, sealed []byte) storage.Store {
		store := openStore(t)
		openCluster(t, store, c, keep)
		err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, name, sealed) })
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	for name, test := range map[string]struct {
		store storage.Store
		want  string
	}{
		"other name":  {put("cluster-secret/tomorrow", sealed), "has a name that this release does not know"},
		"other size":  {put("cluster-secret/2026-01-01T00:00:00.000Z", sealed), "has 5 bytes, want 32"},
		"other key":   {put("cluster-secret/2026-01-02T00:00:00.000Z", sealed), "sealed under another key"},
		"not deleted": {put("other", sealed), ""},
	} {
		_, err := keys.OpenCluster(ctx, test.store, keys.NewSealer(kek), keys.ClusterConfig{Keep: keep, Now: c.now})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: OpenCluster = %v, want ...%s...", name, err, test.want)
		}
	}
	store := openStore(t)
	a := openCluster(t, store, c, keep)
	if err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.DeleteSecret(ctx, "cluster-secret") }); err != nil {
		t.Fatal(err)
	}
	if err := a.Refresh(ctx); err == nil || !strings.Contains(err.Error(), "was deleted from the database") {
		t.Errorf("Refresh = %v, want that the secret was deleted", err)
	}
	if _, err := keys.OpenCluster(ctx, store, keys.NewSealer(kek), keys.ClusterConfig{}); err == nil {
		t.Error("OpenCluster without Keep = nil, want an error")
	}
}

func TestDerivedAllocates(t *testing.T) {
	d := openCluster(t, openStore(t), newClock(), keep).Derive("nonce", time.Minute)
	if n := testing.AllocsPerRun(100, func() { _, _ = d.Fresh() }); n != 0 {
		t.Errorf("Fresh allocates %v times, want none", n)
	}
}
