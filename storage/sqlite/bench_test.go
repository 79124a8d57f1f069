package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// benchGrants is how many sessions the benchmarks work on.
const benchGrants = 20_000

// filled returns a store with n sessions, named by grantID.
func filled(b testing.TB, n int) *sqlite.Store {
	b.Helper()
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "issuer.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	at := time.Now()
	err = s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range n {
			id := grantID(i)
			u := storage.User{Domain: "example.com", ID: "u" + id, Handle: "h" + id, CreatedAt: at}
			d := storage.Device{Domain: u.Domain, ID: "d" + id, User: u.ID, JKT: "k" + id, Client: "im-app", CreatedAt: at}
			g := storage.Grant{ID: id, Domain: u.Domain, Client: "im-app", User: u.ID, Device: d.ID, JKT: d.JKT,
				Scopes: []string{"im:handle", "im:device"}, Audience: []string{"im:example.com"},
				Issuer: "https://login.example.com", AuthTime: at, CreatedAt: at, IdleAt: at.Add(24 * time.Hour),
				ExpiresAt: at.Add(48 * time.Hour)}
			if err := tx.InsertUser(ctx, u); err != nil {
				return err
			}
			if err := tx.InsertDevice(ctx, d); err != nil {
				return err
			}
			if err := tx.InsertGrant(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// grantID spreads the grants over the index as random ids would.
func grantID(i int) string { return fmt.Sprintf("%016x", uint64(i+1)*0x9e3779b97f4a7c15) }

// BenchmarkRotate is a refresh in the store: one durable compare-and-set, by callers that each wait for theirs.
func BenchmarkRotate(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := filled(b, benchGrants)
			at := time.Now()
			var done atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for {
						i := done.Add(1) - 1
						if i >= int64(b.N) {
							return
						}
						id, gen := grantID(int(i*7919%benchGrants)), i/benchGrants
						err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
							return tx.RotateGrant(ctx, id, gen, at, at.Add(time.Hour))
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// BenchmarkRefresh is what a refresh asks of the store: one update that reads a session and moves it on. It reports the CPU time,
// which depends less than the duration on what else the machine does.
func BenchmarkRefresh(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := filled(b, benchGrants)
			at := time.Now()
			var done atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := done.Add(1) - 1; i < int64(b.N); i = done.Add(1) - 1 {
						id := grantID(int(i * 7919 % benchGrants))
						err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
							g, _, _, err := tx.Session(ctx, id)
							if err != nil {
								return err
							}
							return tx.RotateGrant(ctx, id, g.Gen, at, at.Add(time.Hour))
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			q := s.Queue()
			commits := uint64(0)
			for _, n := range q.Batches {
				commits += n
			}
			b.ReportMetric(float64(q.Updates)/float64(commits), "updates/commit")
		})
	}
}

// BenchmarkCredential is what the issue of a credential asks of the store: one update that reads the session, counts what the device and
// the key have, and adds a credential and a record of the audit log. Each is for another user.
func BenchmarkCredential(b *testing.B) {
	const callers = 16
	s := filled(b, benchGrants)
	at := time.Now().Truncate(time.Millisecond)
	list := storage.StatusList{Kind: storage.CredentialStatuses, ID: 1 << 20, Domain: "example.com", Size: 1 << 20,
		Available: 1 << 20, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	if err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertStatusList(ctx, list) }); err != nil {
		b.Fatal(err)
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := done.Add(1) - 1; i < int64(b.N); i = done.Add(1) - 1 {
				err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
					return issue(ctx, tx, int(i), list.ID, at)
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// issue makes credential i, with a key of its own and an entry of a list, as if they were random.
func issue(ctx context.Context, tx storage.Tx, i int, list int64, at time.Time) error {
	_, u, d, err := tx.Session(ctx, grantID(i*7919%benchGrants))
	if err != nil {
		return err
	}
	jkt := grantID(i + benchGrants)
	if _, err := tx.DeviceByKey(ctx, d.Domain, jkt); err != storage.ErrNotFound {
		return fmt.Errorf("DeviceByKey = %w", err)
	}
	if _, err := tx.CredentialsByKey(ctx, d.Domain, jkt, at, 6); err != nil {
		return err
	}
	if _, err := tx.CountCredentials(ctx, d.Domain, d.ID, "dc+sd-jwt", at, storage.CredentialCount{Live: 5, All: 500}); err != nil {
		return err
	}
	c := storage.Credential{ID: fmt.Sprintf("%032x", i), Domain: u.Domain, User: u.ID, Device: d.ID, Format: "dc+sd-jwt", JKT: jkt,
		Handle: u.Handle, Status: storage.StatusEntry{List: list, Index: i * 7919 % (1 << 20)}, IssuedAt: at, ExpiresAt: at.Add(30 * 24 * time.Hour)}
	if err := tx.InsertCredential(ctx, c); err != nil {
		return err
	}
	head, err := tx.AuditHead(ctx, "node")
	if err != nil {
		return err
	}
	return tx.AppendAudit(ctx, storage.AuditRecord{Node: "node", Seq: head.Seq + 1, At: at, Domain: u.Domain, User: u.ID,
		Record: strings.Repeat("r", 300), Private: make([]byte, 200)})
}

// cpuTime is the CPU time of the process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSession is the read that every refresh and introspection makes.
func BenchmarkSession(b *testing.B) {
	s := filled(b, benchGrants)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, _, err := s.Session(b.Context(), grantID(i*7919%benchGrants)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTwoReads is a session and one page of a list, as a request for one's own account reads them.
func BenchmarkTwoReads(b *testing.B) {
	s := filled(b, benchGrants)
	at := time.Now()
	read := func(ctx context.Context, r storage.Reader, i int) error {
		id := grantID(i * 7919 % benchGrants)
		if _, _, _, err := r.Session(ctx, id); err != nil {
			return err
		}
		_, err := r.StandingStatements(ctx, "example.com", "u"+id, "link", at, storage.StatementCursor{}, 20)
		return err
	}
	b.Run("apart", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := read(b.Context(), s, i); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("view", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			err := s.View(b.Context(), func(ctx context.Context, r storage.Reader) error { return read(ctx, r, i) })
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The limits are above the usual numbers, because they must hold under the race detector, too.
func TestAllocations(t *testing.T) {
	s := filled(t, 1)
	id, at := grantID(0), time.Now()
	read := testing.AllocsPerRun(100, func() {
		if _, _, _, err := s.Session(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	})
	if read > 40 {
		t.Errorf("Session allocates %v times, want at most 40", read)
	}
	gen := int64(0)
	rotate := testing.AllocsPerRun(100, func() {
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.RotateGrant(ctx, id, gen, at, at.Add(time.Hour))
		})
		if err != nil {
			t.Fatal(err)
		}
		gen++
	})
	if rotate > 25 {
		t.Errorf("RotateGrant allocates %v times, want at most 25", rotate)
	}
}
