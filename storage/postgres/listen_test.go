package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// revoke revokes a token and waits for the commit.
func revoke(t *testing.T, s storage.Store, jti string) {
	t.Helper()
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.Revoke(ctx, revocation.RevokeToken(jti, revocation.Cause{At: time.Now(), TokenLife: time.Hour}))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds, for at most a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// follower runs a mirror that reads only when it is nudged, and listens on a store of its own, until the test ends.
func follower(t *testing.T, read storage.Store, listen *postgres.Store, interval time.Duration) *revocation.Mirror {
	t.Helper()
	m := revocation.NewMirror(revocation.Config{Source: read, Interval: interval})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	running.Go(func() {
		listen.Listen(ctx, slog.New(slog.DiscardHandler), func(topic postgres.Topic) {
			if topic == postgres.Revocations {
				m.Nudge()
			}
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return m
}

func knows(m *revocation.Mirror, jti string) func() bool {
	return func() bool {
		_, found := m.Find(introspect.Token{JTI: jti})
		return found
	}
}

// TestListen: a revocation that one node has committed is known to another one that does not poll, also after its listening connection was
// ended by the server or by the network, with those that were committed while there was none.
func TestListen(t *testing.T) {
	url := database(t)
	server := shared(t)
	link, err := postgrestest.NewLink(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	name := strings.TrimPrefix(url[:strings.Index(url, "?")], "postgres://issuer@/")
	one, other := open(t, url), open(t, url)
	m := follower(t, other, open(t, link.URL(name)), time.Hour)
	for round := range 3 {
		jti := fmt.Sprint("first ", round)
		revoke(t, one, jti)
		eventually(t, jti, knows(m, jti))
	}

	execute(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
	revoke(t, one, "terminated")
	eventually(t, "terminated", knows(m, "terminated"))

	link.Cut()
	revoke(t, one, "cut")
	link.Mend()
	eventually(t, "cut", knows(m, "cut"))
	revoke(t, one, "mended")
	eventually(t, "mended", knows(m, "mended"))
}

// TestWithoutListening: without notifications, polling alone keeps a mirror fresh and complete.
func TestWithoutListening(t *testing.T) {
	url := database(t)
	link, err := postgrestest.NewLink(shared(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	name := strings.TrimPrefix(url[:strings.Index(url, "?")], "postgres://issuer@/")
	listener := open(t, link.URL(name))
	link.Cut()
	one, other := open(t, url), open(t, url)
	m := follower(t, other, listener, 5*time.Millisecond)
	revoke(t, one, "polled")
	eventually(t, "polled", knows(m, "polled"))
	if err := m.Fresh(time.Now()); err != nil {
		t.Errorf("Fresh = %v, want nil", err)
	}
}

// TestHeard: topics are heard once the connection is there, and then only what was committed.
func TestHeard(t *testing.T) {
	url := database(t)
	one, other := open(t, url), open(t, url)
	var revocations, clients, signingKeys atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		other.Listen(ctx, slog.New(slog.NewTextHandler(io.Discard, nil)), func(topic postgres.Topic) {
			switch topic {
			case postgres.Revocations:
				revocations.Add(1)
			case postgres.Clients:
				clients.Add(1)
			case postgres.SigningKeys:
				signingKeys.Add(1)
			}
		})
	})
	defer running.Wait()
	defer cancel()
	eventually(t, "the connection", func() bool { return signingKeys.Load() == 1 })
	undone := errors.New("undone")
	for _, want := range []error{undone, nil} {
		if err := one.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			for i := range 3 { // they are announced once
				if _, err := tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: fmt.Sprint(i)}); err != nil {
					return err
				}
			}
			return want
		}); err != want {
			t.Fatalf("Update = %v, want %v", err, want)
		}
	}
	// A transaction that changes nothing of this announces nothing, and notifications come in the order of the commits.
	if err := one.Update(t.Context(), addUser("somebody")); err != nil {
		t.Fatal(err)
	}
	if err := one.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertClient(ctx, storage.Client{ID: "c", Registration: []byte("{}")}), tx.InsertSigningKey(ctx, storage.SigningKey{KID: "k", Public: []byte("public"), Sealed: []byte("sealed")}))
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key", func() bool { return signingKeys.Load() == 2 })
	if r, c := revocations.Load(), clients.Load(); r != 2 || c != 2 {
		t.Errorf("revocations were heard %d times, clients %d times, want twice each", r, c)
	}
}
