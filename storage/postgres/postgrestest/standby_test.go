package postgrestest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

func start(t *testing.T) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// run runs statements on a connection of their own, and returns the text of the last value.
func run(t *testing.T, url string, statements ...string) (text string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer c.Close(t.Context())
	for _, sql := range statements {
		results, err := c.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return "", err
		}
		for _, r := range results {
			for _, row := range r.Rows {
				text = string(row[0])
			}
		}
	}
	return text, nil
}

func want(t *testing.T, url, sql, want string) {
	t.Helper()
	if got, err := run(t, url, sql); err != nil || got != want {
		t.Errorf("%s = %q, %v, want %q", sql, got, err, want)
	}
}

// TestStandby: a standby that is promoted has what it replicated, and not what was committed after it was detached. A URL of both servers
// leads to the one that takes updates.
func TestStandby(t *testing.T) {
	primary := start(t)
	if _, err := run(t, primary.URL("postgres"), "CREATE TABLE rows (n integer)", "INSERT INTO rows VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	both := postgrestest.URLOf("postgres", standby, primary)
	if _, err := run(t, both, "INSERT INTO rows VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	if err := standby.CatchUp(primary); err != nil {
		t.Fatal(err)
	}
	want(t, standby.URL("postgres"), "SELECT count(*) FROM rows", "2")
	if _, err := run(t, standby.URL("postgres"), "INSERT INTO rows VALUES (3)"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("an update on a standby = %v, want an error", err)
	}
	if err := standby.Detach(); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, both, "INSERT INTO rows VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	primary.Signal(postgrestest.Immediate)
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	want(t, both, "SELECT count(*) FROM rows", "2")
	if _, err := run(t, both, "INSERT INTO rows VALUES (4)"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Restart(postgrestest.Fast); err != nil {
		t.Fatal(err)
	}
	want(t, both, "SELECT count(*) FROM rows", "3")
}

// TestLink: a link that is cut ends connections and takes none, one that is silent passes nothing on, and both work once they are mended.
func TestLink(t *testing.T) {
	server := start(t)
	link, err := postgrestest.NewLink(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	url := link.URL("postgres")
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	link.Silence()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx); err == nil {
		t.Error("Ping through a silent link = nil")
	}
	link.Mend()
	want(t, url, "SELECT 1", "1")
	if c, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	link.Cut()
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping through a link that is cut = nil")
	}
	if _, err := run(t, url, "SELECT 1"); err == nil {
		t.Error("a link that is cut takes a connection")
	}
	link.Mend()
	want(t, url, "SELECT 1", "1")
}
