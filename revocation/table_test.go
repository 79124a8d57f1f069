package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// nothing is a source without rows.
var nothing = sourceFunc(func(context.Context, int64, int) ([]storage.Revocation, int64, error) { return nil, 0, nil })

// tokenRows returns n revocations of tokens "1" to "n", with these numbers, that expire at end.
func tokenRows(n int, end time.Time) []storage.Revocation {
	rows := make([]storage.Revocation, n)
	for i := range rows {
		rows[i] = storage.Revocation{
			Seq: int64(i) + 1, Kind: storage.RevokeToken, Key: fmt.Sprint(i + 1), Reason: "revoked", At: start, ExpiresAt: end,
		}
	}
	return rows
}

// TestFindIsThatOfRows compares a mirror with a plain list of rows: what is found, and what is left when time goes by.
func TestFindIsThatOfRows(t *testing.T) {
	kinds := []storage.RevocationKind{
		storage.RevokeKey, storage.RevokeClient, storage.RevokeUser, storage.RevokeDevice, storage.RevokeGrant, storage.RevokeToken,
		storage.RevokeGen,
	}
	inDomain := map[storage.RevocationKind]bool{storage.RevokeUser: true, storage.RevokeDevice: true, storage.RevokeGen: true}
	id := rapid.SampledFrom([]string{"a", "b", "c", "a/b"})
	domain := rapid.SampledFrom([]string{"x.example", "y.example"})
	rapid.Check(t, func(t *rapid.T) {
		now := start
		m := newMirror(nothing, &now)
		type name struct {
			kind storage.RevocationKind
			key  string
		}
		model := make(map[name]storage.Revocation)
		for seq := range int64(rapid.IntRange(1, 60).Draw(t, "steps")) {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
				if err := m.Read(context.Background()); err != nil {
					t.Fatal(err)
				}
			default:
				r := storage.Revocation{Seq: seq + 1, Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Key: id.Draw(t, "id"), Reason: fmt.Sprint(seq)}
				if inDomain[r.Kind] {
					r.Key = domain.Draw(t, "domain") + "/" + r.Key
				}
				r.Gen = int64(rapid.IntRange(0, 3).Draw(t, "gen"))
				have := model[name{r.Kind, r.Key}]
				// As a store has it, a row that replaces another ends at least as much.
				r.Gen = max(r.Gen, have.Gen)
				if rapid.Bool().Draw(t, "expires") && (have.Seq == 0 || !have.ExpiresAt.IsZero()) {
					r.ExpiresAt = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "life")) * time.Millisecond)
					if r.ExpiresAt.Before(have.ExpiresAt) {
						r.ExpiresAt = have.ExpiresAt
					}
				}
				m.Apply(r)
				if have.Seq > 0 && rapid.Bool().Draw(t, "late") {
					m.Apply(have) // comes once more, too late
				}
				model[name{r.Kind, r.Key}] = r
			}
			token := introspect.Token{
				KID: id.Draw(t, "kid"), ClientID: id.Draw(t, "client"), SID: id.Draw(t, "sid"), JTI: id.Draw(t, "jti"),
				Domain: domain.Draw(t, "domain"), User: id.Draw(t, "user"), Device: id.Draw(t, "device"),
				Gen: int64(rapid.IntRange(0, 3).Draw(t, "gen")),
			}
			var want, late storage.Revocation // a row that must be found, and one that may: it has expired, and was not yet deleted
			for _, n := range []name{
				{storage.RevokeKey, token.KID}, {storage.RevokeClient, token.ClientID},
				{storage.RevokeUser, token.Domain + "/" + token.User}, {storage.RevokeDevice, token.Domain + "/" + token.Device},
				{storage.RevokeGrant, token.SID}, {storage.RevokeToken, token.JTI}, {storage.RevokeGen, token.Domain + "/" + token.User},
			} {
				r := model[n]
				switch {
				case r.Seq == 0 || r.Kind == storage.RevokeGen && token.Gen >= r.Gen:
				case !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(now):
					late = r
				case want.Seq == 0:
					want = r
				}
			}
			got, ok := m.Find(token)
			if want.Seq > 0 && !ok || ok && want.Seq == 0 && late.Seq == 0 {
				t.Fatalf("Find(%+v) = %+v, %t, want %+v", token, got, ok, want)
			}
			if row := model[name{got.Kind, keyIn(token, got.Kind)}]; ok && (got.Seq != row.Seq || got.Gen != row.Gen || got.Reason != row.Reason) {
				t.Fatalf("Find(%+v) = %+v, want what %+v says", token, got, row)
			}
		}
		now = now.Add(time.Hour)
		if err := m.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, r := range model {
			if r.ExpiresAt.IsZero() {
				left++
			}
		}
		if m.Len() != left {
			t.Fatalf("Len = %d when all has expired but %d rows that do not", m.Len(), left)
		}
	})
}

// keyIn returns the key of the row of that kind that ends token.
func keyIn(token introspect.Token, kind storage.RevocationKind) string {
	switch kind {
	case storage.RevokeKey:
		return token.KID
	case storage.RevokeClient:
		return token.ClientID
	case storage.RevokeDevice:
		return token.Domain + "/" + token.Device
	case storage.RevokeGrant:
		return token.SID
	case storage.RevokeToken:
		return token.JTI
	}
	return token.Domain + "/" + token.User
}

// One Read takes all pages, and the mirror is fresh only after the last.
func TestReadTakesAllPages(t *testing.T) {
	store, now := openStore(t), start
	rows := tokenRows(2500, start.Add(time.Hour))
	commit(t, store, rows...)
	fail, reads := errors.New("disk on fire"), 0
	var m *revocation.Mirror
	m = newMirror(sourceFunc(func(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error) {
		if m.Fresh(now) == nil {
			t.Errorf("Fresh = nil before page %d was read", reads)
		}
		if reads++; reads == 2 {
			return nil, 0, fail
		}
		found, last, err := store.Revocations(ctx, after, limit)
		if limit <= 0 || len(found) > limit {
			t.Errorf("a page of %d rows, at most %d were asked for", len(found), limit)
		}
		return found, last, err
	}), &now)
	if err := m.Read(t.Context()); !errors.Is(err, fail) || m.Fresh(now) == nil {
		t.Errorf("Read = %v, want %v and a stale mirror", err, fail)
	}
	if first := m.Len(); first == 0 || first >= len(rows) {
		t.Errorf("Len = %d after the first page, want some of %d", first, len(rows))
	}
	read(t, m)
	if m.Len() != len(rows) || m.Fresh(now) != nil {
		t.Errorf("Len = %d, Fresh = %v, want %d and nil", m.Len(), m.Fresh(now), len(rows))
	}
	for _, r := range rows {
		if _, ok := m.Find(introspect.Token{JTI: r.Key}); !ok {
			t.Fatalf("Find(%s) = false, want true", r.Key)
		}
	}
}

// While many rows expire at once, tokens are looked up: those of live rows are found throughout.
func TestManyExpireWhileLookedUp(t *testing.T) {
	const n = 100_000
	var clock atomic.Int64
	m := revocation.NewMirror(revocation.Config{Source: nothing, Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	m.Apply(tokenRows(n, start.Add(time.Minute))...)
	live := storage.Revocation{Seq: n + 1, Kind: storage.RevokeToken, Key: "live", ExpiresAt: start.Add(time.Hour)}
	m.Apply(live)
	clock.Store(int64(10 * time.Minute))
	var done atomic.Bool
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for !done.Load() {
				if _, ok := m.Find(introspect.Token{JTI: live.Key}); !ok {
					t.Error("Find of the live row = false, want true")
					return
				}
			}
		})
	}
	read(t, m)
	done.Store(true)
	looking.Wait()
	if m.Len() != 1 {
		t.Errorf("Len = %d, want the live row alone", m.Len())
	}
}

// However many reasons operators write, those that callers may know stay known.
func TestManyReasons(t *testing.T) {
	now := start
	m := newMirror(nothing, &now)
	read(t, m)
	rows := tokenRows(1000, start.Add(time.Hour))
	for i := range rows {
		rows[i].Reason = fmt.Sprint("reason ", i)
	}
	m.Apply(rows...)
	m.Apply(storage.Revocation{Seq: 1001, Kind: storage.RevokeGrant, Key: "session", Reason: "device_removed"})
	for token, want := range map[introspect.Token]introspect.Reason{
		{JTI: "1"}: introspect.Revoked, {JTI: "1000"}: introspect.Revoked, {SID: "session"}: introspect.DeviceRemoved, {JTI: "none"}: "",
	} {
		if got, err := m.Revoked(t.Context(), token); got != want || err != nil {
			t.Errorf("Revoked(%+v) = %q, %v, want %q", token, got, err, want)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A revocation takes at most 110 bytes of memory, so that a million take 110 MB.
func TestMemoryOfRevocations(t *testing.T) {
	const n, page = 200_000, 1000
	m := revocation.NewMirror(revocation.Config{})
	before := heap()
	for i := 0; i < n; i += page {
		rows := tokenRows(i+page, start.Add(time.Duration(i)*10*time.Millisecond))[i:]
		m.Apply(rows...)
	}
	if each := float64(heap()-before) / n; each > 110 {
		t.Errorf("%.0f bytes for each revocation, want at most 110", each)
	}
	if m.Len() != n {
		t.Errorf("Len = %d, want %d", m.Len(), n)
	}
}

// BenchmarkStart reads 100,000 revocations of a database into an empty mirror.
func BenchmarkStart(b *testing.B) {
	const n = 100_000
	store, now := openStore(b), start
	rows := tokenRows(n, start.Add(time.Hour))
	for i := 0; i < n; i += 10_000 {
		commit(b, store, rows[i:i+10_000]...)
	}
	b.ReportAllocs()
	for b.Loop() {
		m := newMirror(store, &now)
		if err := m.Read(b.Context()); err != nil || m.Len() != n {
			b.Fatalf("Read = %v, Len = %d, want nil, %d", err, m.Len(), n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}

// BenchmarkExpire lets a million revocations expire at once, and reports how long a look-up had to wait meanwhile.
func BenchmarkExpire(b *testing.B) {
	const n = 1_000_000
	rows := tokenRows(n, start.Add(time.Minute))
	var longest time.Duration
	for b.Loop() {
		now := start.Add(time.Hour)
		m := newMirror(nothing, &now)
		m.Apply(rows...)
		var done atomic.Bool
		var looking sync.WaitGroup
		looking.Go(func() {
			for !done.Load() {
				begun := time.Now()
				m.Find(introspect.Token{JTI: "live"})
				longest = max(longest, time.Since(begun))
			}
		})
		if err := m.Read(b.Context()); err != nil || m.Len() != 0 {
			b.Fatalf("Read = %v, Len = %d, want nil, 0", err, m.Len())
		}
		done.Store(true)
		looking.Wait()
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-wait")
}
