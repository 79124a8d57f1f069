package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Topic names what a committed transaction has changed.
type Topic string

// The topics. Only transactions that change one of these announce it: PostgreSQL commits transactions that notify one after the other, over
// all databases of the server.
const (
	Revocations Topic = "revocations"
	Clients     Topic = "clients"
	SigningKeys Topic = "signing_keys"
)

const (
	listen = "LISTEN issuer_changes"
	// notify announces a topic at COMMIT; PostgreSQL leaves out the second of two equal ones in a transaction.
	notify = "SELECT pg_notify('issuer_changes', $1)"
)

const (
	// probeEvery is how long a listener waits before it asks the server whether the connection still works.
	probeEvery = 5 * time.Second
	// firstRetry and lastRetry bound the time after which a listener connects again.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// announce announces that the transaction changes something that nodes follow.
func (t *tx) announce(ctx context.Context, topic Topic) error {
	_, err := t.exec(ctx, notify, string(topic))
	return err
}

// Listen calls heard for each topic that a transaction of any node has changed, right after its commit, until ctx ends. Notifications may
// be lost: when the connection breaks, and while there is none. So heard is called for every topic once a connection is there, and who
// follows a table must also read it from time to time. heard must not block.
//
// The connection is not one of the pools. The log gets a line when it breaks and one when it is there again.
func (s *Store) Listen(ctx context.Context, log *slog.Logger, heard func(Topic)) {
	failing := false
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		err := s.listenOnce(ctx, func() {
			wait = firstRetry
			if failing {
				failing = false
				log.WarnContext(ctx, "listening for changes of other nodes", slog.Bool("failing", false))
			}
			for _, topic := range []Topic{Revocations, Clients, SigningKeys} {
				heard(topic)
			}
		}, heard)
		if ctx.Err() != nil {
			return
		}
		if !failing {
			failing = true
			log.WarnContext(ctx, "listening for changes of other nodes", slog.Bool("failing", true), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// listenOnce listens on one connection until it breaks. It calls ready when it listens.
func (s *Store) listenOnce(ctx context.Context, ready func(), heard func(Topic)) error {
	connecting, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c, err := pgx.ConnectConfig(connecting, s.config.ConnConfig)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(closing)
	}()
	if err := s.config.AfterConnect(connecting, c); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if _, err := c.Exec(connecting, listen); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	ready()
	for {
		waiting, cancel := context.WithTimeout(ctx, probeEvery)
		n, err := c.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			heard(Topic(n.Payload))
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case !pgconn.Timeout(err):
			return fmt.Errorf("postgres: %w", err)
		}
		probing, cancel := context.WithTimeout(ctx, probeEvery)
		err = c.Ping(probing)
		cancel()
		if err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
}
