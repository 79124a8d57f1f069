package main

import (
	"context"
	"fmt"
	"time"
)

// comparing refreshes and introspects in both databases in turn.
func (s *scaled) comparing(ctx context.Context) error {
	return s.inTurn(ctx, fmt.Sprintf("%d sessions of %d in turn", len(s.sessions), s.n), []request{
		{"refresh, 16 callers", func(u *subject) *series { return u.refresh(new(exchange), divide(u.sessions, callers)) }},
		seenToken, unseenToken,
	})
}

// settle waits until the issuer has done what it does after a start: the check of all pages reads the whole database beside the requests,
// and is no part of their cost.
func (s *scaled) settle(ctx context.Context) error {
	const window, quiet = 250 * time.Millisecond, 10 * time.Millisecond
	for begin := time.Now(); time.Since(begin) < settleLimit; {
		before, err := cpuTime(s.pid())
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(window):
		}
		after, err := cpuTime(s.pid())
		if err != nil || after-before < quiet {
			return err
		}
	}
	return fmt.Errorf("the issuer is still busy %v after its start", settleLimit)
}

// settleLimit is how long an issuer may take for its work after a start.
const settleLimit = 5 * time.Minute

// A request is a kind of request whose cost is compared.
type request struct {
	name string
	at   func(*subject) *series
}

var (
	seenToken   = request{"introspect, token seen", func(u *subject) *series { return u.introspectSessions(new(exchange)) }}
	unseenToken = request{"introspect, token unseen", func(u *subject) *series { return u.introspect(new(exchange), true) }}
)

// inTurn measures requests to the large and to the small issuer in turn. with says what is large.
func (s *scaled) inTurn(ctx context.Context, with string, requests []request) error {
	return s.during(ctx, func(time.Duration) error {
		return s.small.during(ctx, func(time.Duration) error {
			if err := s.settle(ctx); err != nil {
				return err
			}
			var all []*series
			for _, r := range requests {
				large, small := r.at(s.subject), r.at(s.small)
				large.name, small.name = r.name, r.name
				all = append(all, large, small)
			}
			if err := rotate(ctx, all, s.o.rounds, s.o.window, func(int) {}); err != nil {
				return err
			}
			for i, r := range requests {
				large, small := all[2*i].cpu, all[2*i+1].cpu
				s.rows = append(s.rows,
					row{Work: r.name + ", " + with, Unit: "µs", Cost: spreadOf(large)},
					row{Work: "the same in a small database", Unit: "µs", Cost: spreadOf(small)})
				s.add("the ratio of both", "times", median(ratios(large, small)), largeGoal)
			}
			return nil
		})
	})
}
