package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// measureStores compares the databases: durable refreshes per second by 1, 8 and 32 callers, in turn in the same run.
func measureStores(
	ctx context.Context, o options, c conditions, place placement, server *postgrestest.Server, dir string, stdout, stderr io.Writer,
) (err error) {
	c.Rounds, c.Window = o.rounds, o.window.String()
	fmt.Fprintln(stderr, "Starting the issuers, and signing users in.")
	issuers, provider, err := newIssuers(ctx, []string{o.binary, o.binary}, dir, place, nil, server)
	if err != nil {
		return err
	}
	defer provider.close()
	var all []*series
	for i, name := range []string{"SQLite", "PostgreSQL"} {
		u, err := newSubject(ctx, issuers[i])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, u.close()) }()
		for _, n := range []int{1, 8, most} {
			s := u.refresh(new(exchange), divide(u.sessions, n))
			if s.name = fmt.Sprintf("refresh, %s, %d callers", name, n); n == 1 {
				s.name = fmt.Sprintf("refresh, %s, 1 caller", name)
			}
			all = append(all, s)
		}
	}
	err = rotate(ctx, all, o.rounds, o.window, func(round int) { fmt.Fprintf(stderr, "\rRound %d of %d.", round, o.rounds) })
	fmt.Fprintln(stderr)
	if err != nil {
		return err
	}
	out := report{conditions: c}
	for _, s := range all {
		out.Rows = append(out.Rows,
			row{Work: s.name, Unit: "per second", Cost: spreadOf(s.rate)},
			row{Work: "the same, median latency", Unit: "µs", Cost: spreadOf(s.latency)},
			row{Work: "the same, CPU time of the issuer", Unit: "µs", Cost: spreadOf(s.cpu)})
	}
	return out.write(stdout, o.json)
}
