package trace_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/trace/tracetest"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

func openSQLite(t *testing.T) storage.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// traced runs a function within a traced request, and returns the spans below the request as a tree.
func (r *rig) traced(t *testing.T, do func(ctx context.Context)) ([]tracetest.Span, string) {
	t.Helper()
	ctx, span := r.Request(httptest.NewRequest(http.MethodGet, "/x", nil), "/x")
	do(ctx)
	span.Answered(200)
	r.Flush(t.Context())
	var below []tracetest.Span
	for _, s := range r.collector.Spans() {
		if s.Trace == span.ID() {
			below = append(below, s)
		}
	}
	return below, tracetest.Tree(below, span.ID())
}

// failed returns the names of the spans that failed, with the reason.
func failed(spans []tracetest.Span) (list []string) {
	for _, s := range spans {
		if s.Failed {
			list = append(list, s.Name+" "+s.Attributes["error.type"])
		}
	}
	return list
}

// TestTracedStore holds a store with traces to the contract of stores, within a traced request.
func TestTracedStore(t *testing.T) {
	r := newRig(t, nil)
	ctx, _ := r.Request(httptest.NewRequest(http.MethodGet, "/x", nil), "/x")
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s := r.Store(openSQLite(t), "sqlite")
		return storage.Intercepted{Store: s, Trace: func(own context.Context, _ string) (context.Context, func(error)) {
			return inTrace{own, ctx}, nil
		}}
	})
	if r.count("queue_full")+len(r.collector.Spans()) == 0 {
		t.Error("nothing was traced")
	}
}

// inTrace is a context with the values of another one beside its own.
type inTrace struct {
	context.Context
	trace context.Context
}

func (c inTrace) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.trace.Value(key)
}

// TestStoreSpans holds which spans the operations of a store have, and which of them count as failed: outages, and no answers.
func TestStoreSpans(t *testing.T) {
	refused, fire := errors.New("refused alice"), errors.New("disk on fire, alice")
	failing := ""
	real := openSQLite(t)
	r := newRig(t, nil)
	s := r.Store(storagetest.Faulty{Store: real, Fail: func(op string) error {
		if op == failing {
			return fire
		}
		return nil
	}}, "sqlite")
	update := func(ctx context.Context, end error) error {
		return s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if _, err := tx.Secret(ctx, "none"); err != storage.ErrNotFound {
				return err
			}
			if err := tx.PutSecret(ctx, "alice", []byte("a")); err != nil {
				return err
			}
			return end
		})
	}
	const whole = "GET /x\n  storage Update\n    storage Run\n      storage Secret\n      storage PutSecret\n"
	for name, test := range map[string]struct {
		failing string
		do      func(ctx context.Context) error
		want    error
		tree    string
		failed  string
	}{
		"read":              {"", func(ctx context.Context) error { _, err := s.Newest(ctx); return err }, nil, "GET /x\n  storage Newest\n", ""},
		"read finds none":   {"", func(ctx context.Context) error { _, err := s.Secret(ctx, "none"); return err }, storage.ErrNotFound, "GET /x\n  storage Secret\n", ""},
		"read fails":        {"Secret", func(ctx context.Context) error { _, err := s.Secret(ctx, "none"); return err }, fire, "GET /x\n  storage Secret\n", "storage Secret unavailable"},
		"update":            {"", func(ctx context.Context) error { return update(ctx, nil) }, nil, whole, ""},
		"update is refused": {"", func(ctx context.Context) error { return update(ctx, refused) }, refused, whole, ""},
		"write fails": {"PutSecret", func(ctx context.Context) error { return update(ctx, nil) }, fire, whole,
			"storage PutSecret unavailable, storage Run unavailable, storage Update unavailable"},
		"commit fails":   {"Commit", func(ctx context.Context) error { return update(ctx, nil) }, fire, whole, "storage Update unavailable"},
		"answer is lost": {"Committed", func(ctx context.Context) error { return update(ctx, nil) }, fire, whole, "storage Update unavailable"},
		"no update":      {"Update", func(ctx context.Context) error { return update(ctx, nil) }, fire, "GET /x\n  storage Update\n", "storage Update unavailable"},
		"view": {"", func(ctx context.Context) error {
			return s.View(ctx, func(ctx context.Context, r storage.Reader) error { _, err := r.SigningKeys(ctx); return err })
		}, nil, "GET /x\n  storage View\n    storage SigningKeys\n", ""},
		"view fails": {"SigningKeys", func(ctx context.Context) error {
			return s.View(ctx, func(ctx context.Context, r storage.Reader) error { _, _ = r.SigningKeys(ctx); return nil })
		}, fire, "GET /x\n  storage View\n    storage SigningKeys\n", "storage SigningKeys unavailable, storage View unavailable"},
		"the caller is gone": {"", func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return update(ctx, nil)
		}, context.Canceled, "GET /x\n  storage Update\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			failing = test.failing
			spans, tree := r.traced(t, func(ctx context.Context) {
				if err := test.do(ctx); !errors.Is(err, test.want) {
					t.Errorf("error = %v, want %v", err, test.want)
				}
			})
			if got := strings.Join(failed(spans), ", "); tree != test.tree || got != test.failed {
				t.Errorf("failed = %q in\n%swant %q in\n%s", got, tree, test.failed, test.tree)
			}
			for _, s := range spans {
				op, ok := strings.CutPrefix(s.Name, "storage ")
				if ok && (s.Attributes["db.system.name"] != "sqlite" || s.Attributes["db.operation.name"] != op) {
					t.Errorf("%s has the attributes %v", s.Name, s.Attributes)
				}
			}
		})
	}
	failing = ""
	before := len(r.collector.Spans())
	if err := update(t.Context(), nil); err != nil {
		t.Error(err)
	}
	r.Flush(t.Context())
	if n := len(r.collector.Spans()); n != before || strings.Contains(r.collector.Raw(), "alice") {
		t.Errorf("%d spans of no request, or a text of an error or an argument", n-before)
	}
}

// TestUpdateRuns holds that an update which overlaps with another one on PostgreSQL has a span for each run, and says how many there were.
func TestUpdateRuns(t *testing.T) {
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := postgres.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), server.URL("postgres"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	add := func(ctx context.Context, tx storage.Tx, name string) error {
		old, err := tx.Secret(ctx, name)
		if err != nil && err != storage.ErrNotFound {
			return err
		}
		return tx.PutSecret(ctx, name, append(old, 'x'))
	}
	r := newRig(t, nil)
	s := r.Store(db, "postgresql")
	spans, tree := r.traced(t, func(ctx context.Context) {
		runs := 0
		err := s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if runs++; runs <= 2 { // another update comes between the reading and the writing
				if _, err := tx.Secret(ctx, "a"); err != nil && err != storage.ErrNotFound {
					return err
				}
				if err := db.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return add(ctx, tx, "a") }); err != nil {
					return err
				}
			}
			return add(ctx, tx, "a")
		})
		if got, _ := db.Secret(t.Context(), "a"); err != nil || string(got) != "xxx" {
			t.Errorf("Update = %v, secret %q, want that of three updates", err, got)
		}
	})
	if n := strings.Count(tree, "    storage Run\n"); n != 3 || strings.Count(tree, "  storage Update\n") != 1 {
		t.Errorf("%d runs, want three:\n%s", n, tree)
	}
	for _, s := range spans {
		if s.Name == "storage Update" && (s.Attributes["issuer.storage_runs"] != "3" || s.Failed || s.Attributes["db.system.name"] != "postgresql") {
			t.Errorf("update = %+v, want three runs on postgresql", s)
		}
	}
}

// A slowReplay is a store of spent proofs whose epoch comes from afar.
type slowReplay struct {
	dpop.Replay
	spend error
	epoch func() error
}

func (r *slowReplay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if err := r.epoch(); err != nil {
		return dpop.Epoch{}, err
	}
	return r.Replay.Epoch(ctx)
}

func (r *slowReplay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if r.spend != nil {
		return r.spend
	}
	return r.Replay.Spend(ctx, e, key, until, source)
}

// TestReplaySpans holds which spans a store of spent proofs has.
func TestReplaySpans(t *testing.T) {
	memory, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: 1000})
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("redis alice")
	r := newRig(t, nil)
	for name, test := range map[string]struct {
		spend, epoch error
		tree, failed string
	}{
		"spent":         {nil, nil, "GET /x\n  replay Spend\n", ""},
		"replayed":      {fmt.Errorf("x: %w", dpop.ErrReplayed), nil, "GET /x\n  replay Spend\n", ""},
		"stale":         {dpop.ErrStaleEpoch, nil, "GET /x\n  replay Spend\n", ""},
		"full":          {dpop.ErrReplayFull, nil, "GET /x\n  replay Spend\n", ""},
		"down":          {down, nil, "GET /x\n  replay Spend\n", "replay Spend unavailable"},
		"slow":          {fmt.Errorf("x: %w", context.DeadlineExceeded), nil, "GET /x\n  replay Spend\n", "replay Spend timeout"},
		"without epoch": {nil, down, "GET /x\n  replay Epoch\n  replay Spend\n", "replay Epoch unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			store := r.Replay(&slowReplay{memory, test.spend, func() error { return test.epoch }}, "redis")
			spans, tree := r.traced(t, func(ctx context.Context) {
				epoch, err := store.Epoch(ctx)
				if !errors.Is(err, test.epoch) {
					t.Errorf("Epoch = %v, want %v", err, test.epoch)
				}
				err = store.Spend(ctx, epoch, [32]byte{1}, time.Now(), netip.Addr{})
				if test.spend != nil && !errors.Is(err, test.spend) {
					t.Errorf("Spend = %v, want %v", err, test.spend)
				}
			})
			if got := strings.Join(failed(spans), ", "); tree != test.tree || got != test.failed {
				t.Errorf("failed = %q in\n%swant %q in\n%s", got, tree, test.failed, test.tree)
			}
		})
	}
}
