package revocation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

var (
	start = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	cause = revocation.Cause{Reason: "revoked", At: start, TokenLife: time.Hour}
)

func openStore(t testing.TB) storage.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// commit revokes, and returns the rows as the store keeps them.
func commit(t testing.TB, store storage.Store, rows ...storage.Revocation) []storage.Revocation {
	t.Helper()
	kept := make([]storage.Revocation, len(rows))
	err := store.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
		var err error
		for i, r := range rows {
			if kept[i], err = tx.Revoke(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func read(t *testing.T, m *revocation.Mirror) {
	t.Helper()
	if err := m.Read(context.Background()); err != nil {
		t.Fatalf("Read = %v, want nil", err)
	}
}

// newMirror returns a mirror whose clock stands still at *now.
func newMirror(source revocation.Source, now *time.Time) *revocation.Mirror {
	return revocation.NewMirror(revocation.Config{Source: source, Now: func() time.Time { return *now }})
}

// row is a revocation of a kind that this package has no function for.
func row(kind storage.RevocationKind, key string) storage.Revocation {
	return storage.Revocation{Kind: kind, Key: key, Reason: cause.Reason, At: cause.At, ExpiresAt: cause.At.Add(time.Hour)}
}

func TestFind(t *testing.T) {
	token := introspect.Token{
		JTI: "token", SID: "session", Domain: "example.com", User: "alice", Device: "1f", ClientID: "app", KID: "key", Gen: 3,
	}
	for name, test := range map[string]struct {
		row  storage.Revocation
		want bool
	}{
		"token":                  {revocation.RevokeToken("token", cause), true},
		"another token":          {revocation.RevokeToken("other", cause), false},
		"grant":                  {revocation.RevokeGrant("session", cause), true},
		"another kind's id":      {revocation.RevokeGrant("token", cause), false},
		"device":                 {revocation.RevokeDevice("example.com", "1f", cause), true},
		"another domain's":       {revocation.RevokeDevice("example.org", "1f", cause), false},
		"user":                   {row(storage.RevokeUser, "example.com/alice"), true},
		"another domain's user":  {row(storage.RevokeUser, "example.org/alice"), false},
		"client":                 {revocation.RevokeClient("app", cause), true},
		"key":                    {row(storage.RevokeKey, "key"), true},
		"below a later one":      {revocation.RevokeBelow("example.com", "alice", 4, cause), true},
		"below its own":          {revocation.RevokeBelow("example.com", "alice", 3, cause), false},
		"another user's below":   {revocation.RevokeBelow("example.com", "bob", 9, cause), false},
		"a user with no id":      {row(storage.RevokeUser, "example.com/"), false},
		"a user of a slashed id": {row(storage.RevokeUser, "example.com/alice/1f"), false},
	} {
		t.Run(name, func(t *testing.T) {
			store, now := openStore(t), start
			m := newMirror(store, &now)
			if row, ok := m.Find(token); ok {
				t.Fatalf("Find in an empty mirror = %v, want none", row)
			}
			want := commit(t, store, test.row)[0]
			read(t, m)
			got, ok := m.Find(token)
			if ok != test.want || ok && (got.Seq != want.Seq || got.Kind != want.Kind || got.Reason != "revoked") {
				t.Errorf("Find = %+v, %v, want %+v, %v", got, ok, want, test.want)
			}
			if row, ok := m.Find(introspect.Token{}); ok {
				t.Errorf("Find of a token that has nothing = %+v, want none", row)
			}
		})
	}
}

func TestApplyKeepsTheLaterRow(t *testing.T) {
	store, now := openStore(t), start
	m := newMirror(store, &now)
	first := commit(t, store, revocation.RevokeBelow("example.com", "alice", 5, cause))[0]
	second := commit(t, store, revocation.RevokeBelow("example.com", "alice", 7, cause))[0]
	m.Apply(second)
	m.Apply(first) // comes late
	read(t, m)     // and once more
	token := introspect.Token{Domain: "example.com", User: "alice", Gen: 6}
	if got, ok := m.Find(token); !ok || got.Gen != 7 {
		t.Errorf("Find = %+v, %v, want the row of generation 7", got, ok)
	}
	if m.Len() != 1 {
		t.Errorf("Len = %d, want 1", m.Len())
	}
}

func TestRowsExpire(t *testing.T) {
	store, now := openStore(t), start
	m := newMirror(store, &now)
	longer := cause
	longer.TokenLife = 2 * time.Hour
	commit(t, store, revocation.RevokeToken("a", cause), revocation.RevokeToken("b", cause))
	read(t, m)
	commit(t, store, revocation.RevokeToken("b", longer), storage.Revocation{Kind: storage.RevokeKey, Key: "for ever", At: start})
	read(t, m)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{
		{time.Hour, 3},                   // within a clock's skew of the life of the last token
		{time.Hour + 6*time.Minute, 2},   // a is gone
		{2*time.Hour + 6*time.Minute, 1}, // b, whose row was replaced by a longer one
		{1000 * time.Hour, 1},            // what has no end
	} {
		now = start.Add(step.after)
		read(t, m)
		if got := m.Len(); got != step.want {
			t.Errorf("Len after %v = %d, want %d", step.after, got, step.want)
		}
	}
}

func TestFresh(t *testing.T) {
	store, now := openStore(t), start
	m := newMirror(store, &now)
	check := func(when string, want error) {
		t.Helper()
		if err := m.Fresh(now); !errors.Is(err, want) {
			t.Errorf("Fresh %s = %v, want %v", when, err, want)
		}
	}
	check("before the first read", revocation.ErrStale)
	read(t, m)
	check("after a read", nil)
	now = start.Add(2 * time.Second)
	check("at the limit", nil)
	now = start.Add(2*time.Second + 1)
	check("beyond the limit", revocation.ErrStale)
	read(t, m)
	check("after another read", nil)
	now = start.Add(-4 * time.Minute)
	check("after the clock was set back", revocation.ErrStale)
	read(t, m)
	check("after a read since", nil)
	store.Close()
	now = start.Add(time.Minute)
	if err := m.Read(context.Background()); err == nil {
		t.Error("Read of a closed store = nil, want an error")
	}
	check("after a read that failed", revocation.ErrStale)
}

// Freshness counts from the beginning of a read: what commits while it runs may be missing from it.
func TestFreshCountsFromTheBeginning(t *testing.T) {
	now := start
	m := newMirror(sourceFunc(func(context.Context, int64, int) ([]storage.Revocation, int64, error) {
		now = now.Add(3 * time.Second)
		return nil, 0, nil
	}), &now)
	read(t, m)
	if err := m.Fresh(now); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("Fresh = %v, want %v", err, revocation.ErrStale)
	}
}

type sourceFunc func(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error)

func (f sourceFunc) Revocations(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error) {
	return f(ctx, after, limit)
}

// run starts m and returns what stops it and waits.
func run(m *revocation.Mirror) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestRun(t *testing.T) {
	for name, interval := range map[string]time.Duration{"by polling": time.Millisecond, "by nudges": time.Hour} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			m := revocation.NewMirror(revocation.Config{Source: store, Interval: interval})
			defer run(m)()
			eventually(t, "the first read", func() bool { return m.Fresh(time.Now()) == nil })
			now := cause
			now.At = time.Now()
			for i := range 3 {
				jti := fmt.Sprint(i)
				commit(t, store, revocation.RevokeToken(jti, now))
				m.Nudge()
				eventually(t, "revocation "+jti, func() bool {
					_, ok := m.Find(introspect.Token{JTI: jti})
					return ok
				})
			}
		})
	}
}

func TestRunTellsOfFailure(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	var fail error = errors.New("disk on fire")
	m := revocation.NewMirror(revocation.Config{
		Interval: time.Millisecond,
		Log:      slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil)),
		Source: sourceFunc(func(context.Context, int64, int) ([]storage.Revocation, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			return nil, 0, fail
		}),
	})
	stop := run(m)
	logged := func(s string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(log.String(), s) }
	}
	eventually(t, "failure", logged("disk on fire"))
	mu.Lock()
	fail = nil
	mu.Unlock()
	eventually(t, "recovery", logged("failing=false"))
	stop()
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("log = %s, want a line for the failure and one for its end", log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// Two nodes revoke and ask at a time: what a node has revoked is revoked there at once, and at the other in the end.
func TestTwoNodes(t *testing.T) {
	const workers, each = 4, 25
	store := openStore(t)
	now := cause
	now.At = time.Now()
	nodes := []*revocation.Mirror{
		revocation.NewMirror(revocation.Config{Source: store, Interval: time.Millisecond}),
		revocation.NewMirror(revocation.Config{Source: store, Interval: time.Millisecond}),
	}
	var wg sync.WaitGroup
	for i, m := range nodes {
		defer run(m)()
		for w := range workers {
			wg.Go(func() {
				for n := range each {
					jti := fmt.Sprintf("%d-%d-%d", i, w, n)
					m.Apply(commit(t, store, revocation.RevokeToken(jti, now))...)
					m.Nudge()
					if _, ok := m.Find(introspect.Token{JTI: jti}); !ok {
						t.Errorf("Find(%s) at the node that revoked it = false, want true", jti)
					}
				}
			})
		}
	}
	wg.Wait()
	for i, m := range nodes {
		eventually(t, fmt.Sprintf("all rows at node %d", i), func() bool { return m.Len() == len(nodes)*workers*each })
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	m := revocation.NewMirror(revocation.Config{})
	m.Apply(storage.Revocation{Seq: 1, Kind: storage.RevokeUser, Key: "example.com/bob"})
	token := introspect.Token{JTI: "j", SID: "s", Domain: "example.com", User: "alice", Device: "1f", ClientID: "c", KID: "k"}
	if n := testing.AllocsPerRun(100, func() { m.Find(token) }); n != 0 {
		t.Errorf("Find allocates %v times, want 0", n)
	}
}

// BenchmarkFind looks up a token that is not revoked, among revocations of tokens alone and of each kind.
func BenchmarkFind(b *testing.B) {
	for _, kinds := range [][]storage.RevocationKind{
		{storage.RevokeToken},
		{
			storage.RevokeToken, storage.RevokeGrant, storage.RevokeDevice, storage.RevokeUser, storage.RevokeGen, storage.RevokeClient,
			storage.RevokeKey,
		},
	} {
		b.Run(fmt.Sprintf("kinds=%d", len(kinds)), func(b *testing.B) {
			m := revocation.NewMirror(revocation.Config{})
			for i := range 100_000 {
				kind := kinds[i%len(kinds)]
				m.Apply(storage.Revocation{Seq: int64(i + 1), Kind: kind, Key: fmt.Sprint(i), ExpiresAt: start})
			}
			token := introspect.Token{
				JTI: "not-revoked", SID: "session", Domain: "example.com", User: "alice", Device: "1f", ClientID: "app", KID: "key",
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m.Find(token)
				}
			})
		})
	}
}
