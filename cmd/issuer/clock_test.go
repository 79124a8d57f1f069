package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// seen says how far time has come, as the database of a stopped issuer has it.
func (v *victim) seen(t *testing.T, ago time.Duration) {
	t.Helper()
	sqlitetest.Exec(t, v.database, "UPDATE clock SET newest = ?", time.Now().Add(-ago).UnixMilli())
}

// TestClockAgainstDatabase starts an issuer whose clock is behind what its database has seen. It ends no session for
// that and makes no key; it says what is wrong, and goes on once it is told that the clock is right.
func TestClockAgainstDatabase(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t)
	s := v.session(t, person(0))
	v.stop(t)
	v.seen(t, -time.Hour)
	before := sqlitetest.Rows(t, v.database)

	v.start(t)
	v.becomes(t, "/readyz", http.StatusServiceUnavailable)
	var refusal *client.Error
	if err := s.tryRefresh(t); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refresh = %v, want 503", err)
	}
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/oauth-authorization-server"} {
		if status := v.status(t, path); status != http.StatusOK {
			t.Errorf("%s = %d, want 200", path, status)
		}
	}
	v.end(t)
	const says = "behind the newest record of the database"
	if log := v.log(t); !strings.Contains(log, says) || !strings.Contains(log, "set it right, or if it is right, start with --accept-clock") {
		t.Errorf("the log does not say %q and what to do:\n%s", says, log)
	}
	if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, v.database)); len(changes) > 0 {
		t.Errorf("rows changed:\n%s", strings.Join(changes, "\n"))
	}

	v.start(t, "--accept-clock")
	v.becomes(t, "/readyz", http.StatusOK)
	s.refresh(t)
	v.end(t)
	v.start(t) // and that is the time from now on
	v.becomes(t, "/readyz", http.StatusOK)
	s.refresh(t)
	v.end(t)
	t.Log("started an hour before the newest record: not ready, 1 refresh answered 503, no row changed; with --accept-clock the session lived on")
}

const longStopped = `
issuer: https://id.acme.im
listen: 127.0.0.1:0
data: data
kek_file: kek
domains:
  - name: acme.im
    providers:
      - {id: corp, issuer: https://login.acme.im, client_id: issuer, authoritative_handles: true}
`

// TestClockAfterLongStop starts an issuer, which is for the Internet, a long time after its database has seen any: is it
// the clock, or was it stopped?
func TestClockAfterLongStop(t *testing.T) {
	t.Parallel()
	v := &victim{folder: t.TempDir()}
	v.data = filepath.Join(v.folder, "data")
	v.database = filepath.Join(v.data, "issuer.db")
	for name, text := range map[string]string{"issuer.yaml": longStopped, "kek": strings.Repeat("5a", 32)} {
		if err := os.WriteFile(filepath.Join(v.folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, life := range []struct {
		ago    time.Duration
		flags  []string
		status int
	}{
		{0, nil, http.StatusOK}, // the first start
		{29 * 24 * time.Hour, nil, http.StatusOK},
		{31 * 24 * time.Hour, nil, http.StatusServiceUnavailable},
		{31 * 24 * time.Hour, []string{"--accept-clock"}, http.StatusOK},
		{0, nil, http.StatusOK},
	} {
		if life.ago != 0 {
			v.seen(t, life.ago)
		}
		v.start(t, life.flags...)
		v.issuer = "http://" + v.listen
		v.becomes(t, "/readyz", life.status)
		v.end(t)
		t.Logf("started %v after the newest record, flags %q: /readyz %d", life.ago, life.flags, life.status)
	}
	if says := "ahead of the newest record of the database"; !strings.Contains(v.log(t), says) {
		t.Errorf("the log does not say %q:\n%s", says, v.log(t))
	}
}

// TestClockOffset holds that --clock-offset moves the clock by which the issuer dates its tokens.
func TestClockOffset(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t, "--clock-offset", "-45s")
	s := v.session(t, person(0))
	set, err := readToken(s.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if behind := time.Since(set.IssuedAt); behind < 45*time.Second || behind > 135*time.Second {
		t.Errorf("the token was issued %v ago, want 45 s and a little", behind)
	}
	v.end(t)
}
