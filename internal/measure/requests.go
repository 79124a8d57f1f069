package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// A work is a kind of request: its cost at each subject, and the floor below it.
type work struct {
	name         string
	verify, sign int     // verifications and signatures in the floor
	above        int     // verifications in the request that are not in the floor, because the goal contains them
	exchanges    bool    // it is one HTTP exchange
	callers      int     // that exchange sent by this many
	goal         float64 // the highest cost above the floor, in V
	at           func(*subject, *exchange) *series

	cost   []*series // by subject
	sample exchange  // one of its exchanges
	bare   *series   // the exchange with the same cryptography, at the floor
}

// floor writes the floor as a sum.
func (w *work) floor() string {
	var parts []string
	for _, part := range []struct {
		times int
		name  string
	}{{w.verify, "V"}, {w.sign, "S"}} {
		if part.times > 0 {
			parts = append(parts, part.name)
		}
	}
	if w.exchanges {
		parts = append(parts, "H")
	}
	return strings.Join(parts, " + ")
}

// works are the requests that are measured. Their goals are those of docs/performance.md.
func works() []*work {
	refresh := func(callers int) func(*subject, *exchange) *series {
		return func(u *subject, e *exchange) *series { return u.refresh(e, divide(u.sessions[:callers], callers)) }
	}
	introspect := func(unseen bool) func(*subject, *exchange) *series {
		return func(u *subject, e *exchange) *series { return u.introspect(e, unseen) }
	}
	return []*work{
		{name: "client_credentials, 16 connections", verify: 1, sign: 1, exchanges: true, callers: callers, goal: 0.56,
			at: (*subject).clientCredentials},
		{name: "refresh, 16 callers", verify: 1, sign: 1, exchanges: true, callers: callers, goal: 1.75, at: refresh(callers)},
		{name: oneRefresh, verify: 1, sign: 1, exchanges: true, callers: 1, at: refresh(1)},
		{name: "introspect, token seen", exchanges: true, callers: callers, goal: 0.25, at: introspect(false)},
		{name: "introspect, token unseen", above: 1, exchanges: true, callers: callers, goal: 1.45, at: introspect(true)},
		{name: "GET /me/links", above: 1, exchanges: true, callers: callers, goal: 1.75, at: (*subject).links},
		// The goal is V + S + H + 150 µs, and a verification was 47 µs when it was set.
		{name: "credential", verify: 1, sign: 1, above: 1, exchanges: true, callers: callers, goal: 3.2, at: (*subject).credentials},
		{name: loginWork, goal: 45, at: func(u *subject, _ *exchange) *series { return u.logins() }},
	}
}

// Works that have further rows.
const (
	oneRefresh = "refresh, 1 caller"
	loginWork  = "a whole login"
)

// goals that are not in V.
const (
	readyGoal = 50 // ms, small database
	fsyncGoal = 3  // the latency of one refresh, in durable writes
	loginGoal = 3  // durable commits of a login
)

// measureRequests measures what requests cost, and how long a start takes.
func measureRequests(ctx context.Context, o options, c conditions, place placement, dir string, stdout, stderr io.Writer) (err error) {
	c.Rounds, c.Window, c.Starts = o.rounds, o.window.String(), o.starts
	binaries := []string{o.binary}
	if o.against != "" {
		binaries = append(binaries, o.against)
	}
	floor, err := startFloor(ctx, place, stderr)
	if err != nil {
		return err
	}
	defer floor.close()
	disk, err := newDisk(dir)
	if err != nil {
		return err
	}
	defer disk.close()
	fmt.Fprintln(stderr, "Starting the issuer, and signing users in.")
	issuers, provider, err := newIssuers(ctx, binaries, dir, place)
	if err != nil {
		return err
	}
	defer provider.close()
	ready, err := measureStarts(ctx, issuers, o.starts)
	if err != nil {
		return err
	}
	subjects := make([]*subject, len(issuers))
	for i, s := range issuers {
		if subjects[i], err = newSubject(ctx, s); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, subjects[i].close()) }()
	}

	m := &measured{floor: floor, disk: disk, subjects: subjects}
	m.plan(o.only)
	progress := func(round int) { fmt.Fprintf(stderr, "\rRound %d of %d.", round, o.rounds) }
	err = rotate(ctx, m.all, o.rounds, o.window, progress)
	fmt.Fprintln(stderr)
	if err != nil {
		for _, u := range subjects {
			err = errors.Join(err, u.lastWords())
		}
		return err
	}
	out := report{conditions: c, Rows: m.rows()}
	if o.only.MatchString(loginWork) {
		commits, err := subjects[0].commitsOfLogin(ctx)
		if err != nil {
			return err
		}
		out.Rows = append(out.Rows, commits)
	}
	if o.starts > 0 {
		out.Rows = append(out.Rows, readyRow(ready))
	}
	return out.write(stdout, o.json)
}

// measured is everything that takes turns in a run.
type measured struct {
	floor    *floorProcess
	disk     *disk
	subjects []*subject

	works                           []*work
	verify, sign, append, overwrite *series
	all                             []*series
}

// plan makes the series of the works whose names match.
func (m *measured) plan(only *regexp.Regexp) {
	m.planFloor()
	m.append, m.overwrite = m.disk.append(), m.disk.overwrite()
	for _, w := range works() {
		if !only.MatchString(w.name) {
			continue
		}
		for _, u := range m.subjects {
			w.cost = append(w.cost, w.at(u, &w.sample))
		}
		m.add(w)
		if w.name == oneRefresh {
			m.all = append(m.all, m.append, m.overwrite)
		}
	}
}

// planFloor makes the series of bare verifications and signatures.
func (m *measured) planFloor() {
	pid := m.floor.cmd.Process.Pid
	m.verify = &series{name: "V", pid: pid, least: 100, prepare: m.floor.repeat("verify")}
	m.sign = &series{name: "S", pid: pid, least: 100, prepare: m.floor.repeat("sign")}
	m.all = []*series{m.verify, m.sign}
}

// add adds a work that has its series, and that of the bare exchange beside it.
func (m *measured) add(w *work) {
	m.works = append(m.works, w)
	for _, s := range w.cost {
		s.name = w.name
		m.all = append(m.all, s)
	}
	if w.exchanges {
		w.bare = &series{name: "H of " + w.name, pid: m.floor.cmd.Process.Pid, least: 200, prepare: m.floor.exchange(w, &w.sample)}
		m.all = append(m.all, w.bare)
	}
}

// rows returns the lines of the report: the floors, the works, and latencies beside durable writes.
func (m *measured) rows() []row {
	rows := []row{
		{Work: "V: a P-256 verification", Unit: "µs", Cost: spreadOf(m.verify.cpu)},
		{Work: "S: a P-256 signature", Unit: "µs", Cost: spreadOf(m.sign.cpu)},
	}
	for _, w := range m.works {
		if w.exchanges {
			h := w.exchange(m.verify.cpu, m.sign.cpu)
			rows = append(rows, row{Work: "H: a bare exchange, as " + w.name, Unit: "µs", Cost: spreadOf(h)})
		}
	}
	for _, w := range m.works {
		rows = append(rows, w.row(m.verify.cpu, m.sign.cpu))
	}
	if i := slices.IndexFunc(m.works, func(w *work) bool { return w.name == oneRefresh }); i >= 0 {
		rows = append(rows, m.works[i].latencyRow(m.append.latency),
			row{Work: "write and fsync of a page, appending", Unit: "µs", Cost: spreadOf(m.append.latency)},
			row{Work: "write and fsync of a page, overwriting", Unit: "µs", Cost: spreadOf(m.overwrite.latency)})
	}
	return rows
}

// measureStarts starts each issuer several times and returns the times in milliseconds, by issuer. A first start, which
// makes the database, does not count.
func measureStarts(ctx context.Context, issuers []*issuer, starts int) ([][]float64, error) {
	ready := make([][]float64, len(issuers))
	for round := range starts + 1 {
		for i, s := range issuers {
			took, err := s.start(ctx)
			if err != nil {
				return nil, err
			}
			if err := s.stop(); err != nil {
				return nil, err
			}
			if round > 0 {
				ready[i] = append(ready[i], float64(took.Nanoseconds())/1e6)
			}
		}
	}
	return ready, nil
}

func readyRow(ready [][]float64) row {
	r := row{Work: "start until ready, small database", Unit: "ms", Cost: spreadOf(ready[0]), Goal: readyGoal}
	if len(ready) > 1 {
		r.Ratio = r.Cost.Median / median(ready[1])
	}
	return r
}

// newIssuers makes the settings of an issuer for each binary, and the provider of all. on says where the database of each is: nil, or no
// element, stands for a file.
func newIssuers(ctx context.Context, binaries []string, dir string, place placement, on ...*postgrestest.Server,
) ([]*issuer, *provider, error) {
	addrs := make([]string, len(binaries))
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddress(); err != nil {
			return nil, nil, err
		}
	}
	p, err := startProvider(addrs...)
	if err != nil {
		return nil, nil, err
	}
	issuers := make([]*issuer, len(binaries))
	for i, binary := range binaries {
		if binary, err = filepath.Abs(binary); err == nil {
			_, err = os.Stat(binary)
		}
		if err == nil {
			var server *postgrestest.Server
			if i < len(on) {
				server = on[i]
			}
			issuers[i], err = newIssuer(ctx, binary, filepath.Join(dir, fmt.Sprint("issuer-", i)), addrs[i], p.url, place, server)
		}
		if err != nil {
			p.close()
			return nil, nil, err
		}
	}
	return issuers, p, nil
}

// exchange returns H in each round: the bare exchange without its cryptography.
func (w *work) exchange(verify, sign []float64) []float64 {
	h := make([]float64, len(w.bare.cpu))
	for i, bare := range w.bare.cpu {
		h[i] = bare - float64(w.verify+w.above)*verify[i] - float64(w.sign)*sign[i]
	}
	return h
}

// row compares each window of the first subject with the floors of the same round.
func (w *work) row(verify, sign []float64) row {
	cost := w.cost[0].cpu
	over := make([]float64, len(cost))
	var exchange []float64
	if w.bare != nil {
		exchange = w.exchange(verify, sign)
	}
	for i := range cost {
		floor := float64(w.verify)*verify[i] + float64(w.sign)*sign[i]
		if exchange != nil {
			floor += exchange[i]
		}
		over[i] = (cost[i] - floor) / verify[i]
	}
	s := spreadOf(over)
	r := row{Work: w.name, Unit: "µs", Cost: spreadOf(cost), Floor: w.floor(), Over: &s, OverUnit: "V", Goal: w.goal}
	if len(w.cost) > 1 {
		r.Ratio = median(ratios(cost, w.cost[1].cpu))
	}
	return r
}

// latencyRow compares the time that a caller waits with that of a durable write in the same round.
func (w *work) latencyRow(durable []float64) row {
	waits := w.cost[0].latency
	beside := spreadOf(ratios(waits, durable))
	r := row{Work: w.name + ", median latency", Unit: "µs", Cost: spreadOf(waits), Over: &beside,
		OverUnit: "× write and fsync", Goal: fsyncGoal}
	if len(w.cost) > 1 {
		r.Ratio = median(ratios(waits, w.cost[1].latency))
	}
	return r
}

// ratios divides the measurements of each round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}
