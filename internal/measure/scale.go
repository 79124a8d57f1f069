package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	assembly "github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// Goals for a million users, devices, sessions and revocations.
const (
	coldGoal         = 1000 // ms until ready
	coldPostgresGoal = 200
	waitGoal         = 100  // ms that housekeeping holds a writer up
	memoryGoal       = 250  // MB with a million live revocations
	mirrorGoal       = 2000 // ms until ready with them
	largeGoal        = 1.10 // cost of a refresh or an introspection, in that of a small database
)

// A scaled is a database of n users under measurement. Beside it is a small one with the same sessions, for comparison.
type scaled struct {
	*subject
	small  *subject
	o      options
	n      int
	stderr io.Writer
	rows   []row
}

// measureScale measures what depends on the size of the database.
func measureScale(
	ctx context.Context, o options, c conditions, place placement, server *postgrestest.Server, dir string, stdout, stderr io.Writer,
) error {
	issuers, provider, err := newIssuers(ctx, []string{o.binary, o.binary}, dir, place, server, server)
	if err != nil {
		return err
	}
	defer provider.close()
	s := &scaled{
		subject: &subject{issuer: issuers[0]}, small: &subject{issuer: issuers[1]}, o: o, n: o.scale, stderr: stderr,
	}
	steps := []struct {
		says string
		do   func(context.Context) error
	}{
		{"Making the databases, and signing users in.", s.begin},
		{fmt.Sprintf("Adding %d users.", s.n), func(ctx context.Context) error { return s.addUsers(ctx, provider.url) }},
		{"Starting.", s.starts},
		{"Refreshing in the large and in the small database.", s.comparing},
		{"Refreshing without housekeeping, and listing devices.", s.running},
		{"Refreshing during housekeeping.", s.sweeping},
		{fmt.Sprintf("Adding %d revocations, and starting.", s.n), s.revocations},
	}
	for _, step := range steps {
		fmt.Fprintln(stderr, step.says)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return report{conditions: c, Rows: s.rows}.write(stdout, o.json)
}

func (s *scaled) add(work, unit string, value, goal float64) {
	s.rows = append(s.rows, row{Work: work, Unit: unit, Cost: spread{value, value, value}, Goal: goal})
}

// begin has both issuers make their databases, with the users who are signed in. Their rows are spread over the large one, because ids
// are random: one refresh hardly reads the pages of the next.
func (s *scaled) begin(ctx context.Context) error {
	signedIn := min(max(s.n/1000, callers), accounts)
	for _, u := range []*subject{s.subject, s.small} {
		var err error
		if u.service, err = newSigner(); err != nil {
			return err
		}
		err = u.during(ctx, func(time.Duration) error {
			for i := range signedIn {
				one, err := u.login(ctx, i)
				if err != nil {
					return err
				}
				u.sessions = append(u.sessions, one)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// during starts the issuer, does something, and stops it.
func (u *subject) during(ctx context.Context, do func(ready time.Duration) error) error {
	ready, err := u.start(ctx)
	if err != nil {
		return err
	}
	u.conns = pool{addr: u.addr}
	defer u.conns.close()
	return errors.Join(do(ready), u.stop())
}

// expired tells whether the session of the user i has expired: those of the last tenth.
func (s *scaled) expired(i int) bool { return i >= s.n-s.n/10 }

func (s *scaled) addUsers(ctx context.Context, provider string) error {
	err := withStore(ctx, s.issuer, func(store storage.Store) error {
		return fill(ctx, store, s.n, insertUser(provider, s.expired))
	})
	if err != nil {
		return err
	}
	found, err := s.db.tables(ctx)
	if err != nil {
		return err
	}
	var all int64
	for _, t := range found {
		all += t.bytes
	}
	s.add(fmt.Sprintf("database of %d users, each with a device and a session", s.n), "MB", float64(all)/1e6, 0)
	s.addSize("a user, with two names and a link to the OpenID provider", found, "users", "names", "links")
	s.addSize("a device", found, "devices")
	s.addSize("a session", found, "grants")
	return nil
}

// addSize adds what a record takes: a row of the first table, with all that is in the others.
func (s *scaled) addSize(record string, found map[string]table, tables ...string) {
	var bytes int64
	for _, name := range tables {
		bytes += found[name].bytes
	}
	s.add(record, "bytes", float64(bytes)/float64(max(found[tables[0]].rows, 1)), 0)
}

// coldGoal is in milliseconds until ready.
func (s *scaled) coldGoal() float64 {
	if s.o.on {
		return coldPostgresGoal
	}
	return coldGoal
}

// starts measures a start that reads the database from the disk, and one that finds it in the page cache.
func (s *scaled) starts(ctx context.Context) error {
	if err := s.db.forget(ctx); err != nil {
		return err
	}
	for _, start := range []struct {
		state string
		goal  float64
	}{{"cold", s.coldGoal()}, {"warm", 0}} {
		err := s.during(ctx, func(ready time.Duration) error {
			s.add(fmt.Sprintf("start until ready, %d users, %s", s.n, start.state), "ms", float64(ready.Nanoseconds())/1e6, start.goal)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scaled) running(ctx context.Context) error {
	return s.during(ctx, func(time.Duration) error {
		waits, err := s.refreshFor(ctx, s.slice())
		if err != nil {
			return err
		}
		s.add("refresh, 1 caller, median latency", "ms", median(waits)/1e3, 0)
		s.add("the same, longest wait", "ms", slices.Max(waits)/1e3, 0)
		return s.listDevices(ctx)
	})
}

// slice is how long refreshes are measured at a time: long enough for a sweep of all rows.
func (s *scaled) slice() time.Duration {
	return max(1500*time.Millisecond, time.Duration(s.n)*30*time.Microsecond)
}

// refreshFor refreshes one session after the other for a while and returns the latencies in microseconds.
func (s *scaled) refreshFor(ctx context.Context, long time.Duration) ([]float64, error) {
	var e exchange
	work := s.refresh(&e, divide(s.sessions, 1))
	var all []float64
	for begin := time.Now(); time.Since(begin) < long; {
		act, err := work.prepare(ctx, 100)
		if err != nil {
			return nil, err
		}
		waits, err := act(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, waits...)
	}
	return all, nil
}

// sweeping refreshes while an issuer sweeps once a second, until the expired sessions are gone.
func (s *scaled) sweeping(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	usual := *s.issuer
	defer func() { s.issuer.binary, s.issuer.args = usual.binary, usual.args }()
	s.issuer.binary, s.issuer.args = self, []string{sweepingArgument}
	var waits []float64
	for range 20 {
		err := s.during(ctx, func(time.Duration) error {
			more, err := s.refreshFor(ctx, s.slice())
			waits = append(waits, more...)
			return err
		})
		if err != nil {
			return err
		}
		left := 0
		err = withStore(ctx, s.issuer, func(store storage.Store) error {
			for _, i := range []int{s.n - s.n/10, s.n - 1} {
				grants, err := store.Grants(ctx, domainName, userID(i))
				if err != nil {
					return err
				}
				if s.expired(i) {
					left += len(grants)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if left == 0 {
			s.add(fmt.Sprintf("longest wait for a refresh while %d of %d sessions are swept", s.n/10, s.n), "ms", slices.Max(waits)/1e3,
				waitGoal)
			s.add("the same, median", "ms", median(waits)/1e3, 0)
			return nil
		}
	}
	return errors.New("the expired sessions are not gone: the sweep takes too long, or does not work")
}

// revocations measures the start, and the memory, with a live revocation for each user.
func (s *scaled) revocations(ctx context.Context) error {
	err := withStore(ctx, s.issuer, func(store storage.Store) error { return fill(ctx, store, s.n, insertRevocation) })
	if err != nil {
		return err
	}
	found, err := s.db.tables(ctx)
	if err != nil {
		return err
	}
	s.addSize("a revocation", found, "revocations")
	err = s.during(ctx, func(ready time.Duration) error {
		s.add(fmt.Sprintf("start until ready, %d live revocations", s.n), "ms", float64(ready.Nanoseconds())/1e6, mirrorGoal)
		if _, err := s.refreshFor(ctx, time.Second); err != nil {
			return err
		}
		return s.addMemory(fmt.Sprintf("memory with %d live revocations", s.n), memoryGoal)
	})
	if err != nil {
		return err
	}
	return s.inTurn(ctx, fmt.Sprintf("%d live revocations", s.n), []request{seenToken, unseenToken})
}

func (s *scaled) addMemory(work string, goal float64) error {
	bytes, err := residentSet(s.pid())
	if err != nil {
		return err
	}
	s.add(work, "MB", float64(bytes)/1e6, goal)
	return nil
}

// listDevices reads the operator's list of all devices, page by page.
func (s *scaled) listDevices(ctx context.Context) error {
	admin := client.Socket(s.adminSocket()).HTTP()
	if err := s.addMemory("memory before the list of devices", 0); err != nil {
		return err
	}
	var devices, largest, pages int
	var longest time.Duration
	begin := time.Now()
	for after := ""; ; {
		asked := time.Now()
		query := url.Values{"domain": {domainName}, "after": {after}}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/admin/devices?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		answer, err := admin.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return err
		}
		var list []struct{ ID string }
		if answer.StatusCode != http.StatusOK || json.Unmarshal(body, &list) != nil {
			return fmt.Errorf("GET /admin/devices: %s, %d bytes", answer.Status, len(body))
		}
		if len(list) == 0 {
			break
		}
		longest = max(longest, time.Since(asked))
		devices, largest, pages = devices+len(list), max(largest, len(body)), pages+1
		after = list[len(list)-1].ID
	}
	if devices < s.n {
		return fmt.Errorf("GET /admin/devices: %d devices, want at least %d", devices, s.n)
	}
	s.add(fmt.Sprintf("GET /admin/devices, %d answers for %d devices", pages, devices), "ms", float64(time.Since(begin).Nanoseconds())/1e6,
		0)
	s.add("the same, slowest answer", "ms", float64(longest.Nanoseconds())/1e6, 0)
	s.add("the same, largest answer", "kB", float64(largest)/1e3, 0)
	return s.addMemory("memory after it", 0)
}

const sweepingArgument = "sweeping"

// serveSweeping is an issuer that removes expired rows every second, as any issuer does every five minutes.
func serveSweeping(ctx context.Context, settings string) error {
	cfg, err := config.Load(settings, os.Environ())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	instance, err := assembly.Open(ctx, cfg, assembly.Options{Log: log, SweepEvery: time.Second})
	if err != nil {
		return err
	}
	l, err := assembly.Listen(cfg, assembly.Listeners{})
	if err != nil {
		return errors.Join(err, instance.Close())
	}
	return instance.Serve(ctx, l)
}
