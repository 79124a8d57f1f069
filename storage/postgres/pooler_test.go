package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// disguise makes each session of a pooler look as if it had the settings that its client asked for.
const disguise = "SET statement_timeout = 5000; SET lock_timeout = 3000; SET idle_in_transaction_session_timeout = 15000"

const ignoring = "ignore_startup_parameters = statement_timeout,lock_timeout,idle_in_transaction_session_timeout"

// TestPoolerIsRefused: a PgBouncer in any mode is refused with an error that says what to do, by everything that connects: whether it
// refuses the settings of a connection, drops them, or has sessions in which they hold already.
func TestPoolerIsRefused(t *testing.T) {
	direct := database(t)
	parsed, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/")
	for _, mode := range []string{"session", "transaction", "statement"} {
		for kind, with := range map[string]struct {
			onConnect string
			settings  []string
		}{
			"refuses settings": {},
			"drops settings":   {"", []string{ignoring}},
			"is disguised":     {disguise, []string{ignoring, "server_reset_query ="}},
			"has one session":  {disguise, []string{ignoring, "server_reset_query =", "default_pool_size = 1"}},
		} {
			t.Run(mode+" "+kind, func(t *testing.T) {
				pooler, err := postgrestest.NewPooler(shared(t), with.onConnect, append(with.settings, "pool_mode = "+mode)...)
				if err != nil {
					t.Fatal(err)
				}
				defer pooler.Close()
				at := pooler.URL(name)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if with.onConnect != "" {
					timeoutHolds(t, at)
				}
				for what, connect := range map[string]func() error{
					"Open": func() error {
						s, err := postgres.Open(ctx, at, postgres.Options{})
						if err == nil {
							s.Close()
						}
						return err
					},
					"OpenTransfer": func() error {
						d, err := postgres.OpenTransfer(ctx, at)
						if err == nil {
							d.Close()
						}
						return err
					},
					"EndRestored": func() error {
						_, err := postgres.EndRestored(ctx, at, time.Now())
						return err
					},
					"Migrate": func() error {
						_, err := postgres.Migrate(ctx, at)
						return err
					},
					"Migrations": func() error {
						_, err := postgres.Migrations(ctx, at)
						return err
					},
				} {
					err := connect()
					if err == nil || !strings.Contains(err.Error(), "PgBouncer") ||
						!strings.Contains(err.Error(), "use the address of PostgreSQL itself") || !strings.Contains(err.Error(), name) {
						t.Errorf("%s = %v, want an error about the pooler", what, err)
					}
				}
				d, err := postgres.OpenTransfer(ctx, direct) // no session of the pooler holds the lock
				if err != nil {
					t.Fatalf("OpenTransfer without the pooler = %v, want nil", err)
				}
				d.Close()
			})
		}
	}
}

// timeoutHolds checks that a connection through a pooler shows the timeout of a store, in one statement after another.
func timeoutHolds(t *testing.T, at string) {
	t.Helper()
	cfg, err := postgres.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgx.ConnectConfig(t.Context(), cfg.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for range 3 {
		answers, err := c.PgConn().Exec(t.Context(), "SELECT current_setting('statement_timeout')").ReadAll()
		if err != nil || string(answers[0].Rows[0][0]) != "5s" {
			t.Fatalf("statement_timeout through the pooler = %v, %v, want 5s", answers, err)
		}
	}
}
