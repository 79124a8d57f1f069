package main

import (
	"bytes"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestDiskFull fills the disk under a running issuer, time and again, while people refresh and log in. Nothing is
// acknowledged then that is not kept, what needs no disk goes on, nobody is logged out, and all is well as soon as
// there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if !mayMount(t) {
		return
	}
	v := newVictim(t)
	mount(t, v.data, "8m")
	v.start(t)
	sessions := make([]*login, 8)
	for i := range sessions {
		sessions[i] = v.session(t, person(i))
	}
	var refreshes, refusals int
	const rounds = 3
	for range rounds {
		ballast := v.fill(t)
		refusals += v.outage(t, sessions)
		v.becomes(t, "/readyz", http.StatusServiceUnavailable)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		v.becomes(t, "/readyz", http.StatusOK)
		for _, s := range sessions {
			s.refresh(t)
			refreshes++
		}
		sqlitetest.Whole(t, v.database)
	}
	v.restarted(t, sessions)
	t.Logf("the disk was full %d times: %d requests were answered 503, %d refreshes with the same tokens succeeded afterwards, %d sessions lived on",
		rounds, refusals, refreshes, len(sessions))
}

// TestDiskFullAtStart holds that an issuer which finds no room to begin says so, and begins when there is.
func TestDiskFullAtStart(t *testing.T) {
	t.Parallel()
	if !mayMount(t) {
		return
	}
	v := newVictim(t)
	mount(t, v.data, "256k")
	v.write(t, "kek", strings.Repeat("5a", 32))
	ballast := v.fill(t)
	v.refused(t, 3, `issuer\.db.* is (its )?(disk )?full`)
	if err := os.Truncate(ballast, 100<<10); err != nil { // too little for all tables
		t.Fatal(err)
	}
	v.refused(t, 3, `issuer\.db.* is (its )?(disk )?full`)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", v.data, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	v.start(t)
	v.session(t, person(0)).refresh(t)
	v.stop(t)
	t.Log("started on a full disk twice, without room at all and with too little for the tables: refused both times; with room it began, " +
		"and 1 login and 1 refresh succeeded")
}

// TestReadOnlyMount holds that an issuer whose data cannot be written says so and changes nothing.
func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	if !mayMount(t) {
		return
	}
	v := newVictim(t)
	mount(t, v.data, "8m")
	v.start(t)
	s := v.session(t, person(0))
	v.stop(t)
	before := v.files(t)
	remount(t, v.data, true)
	v.refused(t, 2, `folder \S+/data must let the issuer write: .*read-only file system`)
	remount(t, v.data, false)
	if after := v.files(t); len(after) != len(before) || after["issuer.db"] != before["issuer.db"] {
		t.Errorf("the files are %v, want them as before: %v", after, before)
	}
	v.start(t)
	s.refresh(t)
	v.stop(t)
	t.Logf("started on a read-only file system: refused, %d files as they were; writable again, the session lived on", len(before))
}

// TestDataGone moves the data folder away under a running issuer: it acknowledges nothing then, for nobody would find
// it, and goes on when the folder is back. The issuer that is killed meanwhile begins where that one stopped.
func TestDataGone(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t)
	sessions := []*login{v.session(t, person(0)), v.session(t, person(1))}
	aside := v.data + ".aside"
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(v.data, aside)
	refusals := v.outage(t, sessions)
	v.becomes(t, "/readyz", http.StatusServiceUnavailable)
	if !strings.Contains(v.log(t), "issuer.db was removed or replaced while it is open: bring it back, or restart") {
		t.Errorf("the log does not say what to do:\n%s", v.log(t))
	}
	if _, err := os.Stat(v.data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder is there again: %v", err)
	}
	move(aside, v.data)
	v.becomes(t, "/readyz", http.StatusOK)
	for _, s := range sessions {
		s.refresh(t)
	}
	move(v.data, aside)
	refusals += v.outage(t, sessions)
	v.kill(t)
	move(aside, v.data)
	v.start(t)
	v.restarted(t, sessions)
	t.Logf("the data folder was away twice: %d requests were answered 503, %d sessions lived on", refusals, len(sessions))
}

// TestLockedByAnother lets another program lock the database for longer than the issuer waits.
func TestLockedByAnother(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t)
	sessions := []*login{v.session(t, person(0)), v.session(t, person(1))}
	db, err := sql.Open("sqlite", v.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	do := func(text string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	do("BEGIN IMMEDIATE")
	refusals := v.outage(t, sessions)
	do("ROLLBACK")
	for _, s := range sessions {
		s.refresh(t)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v.restarted(t, sessions)
	t.Logf("the database was locked by another program: %d requests were answered 503, %d sessions lived on", refusals, len(sessions))
}

// fill takes all the room that is left in the data folder, and returns the file that has it.
func (v *victim) fill(t *testing.T) string {
	t.Helper()
	path := filepath.Join(v.data, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for chunk := bytes.Repeat([]byte{1}, size); err == nil; {
			_, err = f.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	return path
}

// outage asks an issuer that cannot write for everything, on behalf of sessions, all at once. What would write is
// answered 503 with Retry-After, everything else as ever. It returns how many answers were 503.
func (v *victim) outage(t *testing.T, sessions []*login) int {
	t.Helper()
	var refused atomic.Int64
	var all sync.WaitGroup
	device := sessions[0].device(t)
	for i, s := range sessions {
		all.Go(func() {
			for range 20 { // a log that has room left takes a few more
				resp, err := s.HTTP.PostForm(s.Server.TokenEndpoint, url.Values{
					"grant_type": {"refresh_token"}, "refresh_token": {s.RefreshToken}, "client_id": {"im-app"},
				})
				if err != nil {
					t.Errorf("refresh = %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusServiceUnavailable {
					refused.Add(1)
					if resp.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte(`"temporarily_unavailable"`)) {
						t.Errorf("refresh = %d %s with Retry-After %q", resp.StatusCode, body, resp.Header.Get("Retry-After"))
					}
					return
				}
				if resp.StatusCode != http.StatusOK || err != nil {
					t.Errorf("refresh = %d %s, %v; want 503", resp.StatusCode, body, err)
					return
				}
				if err := s.take(body); err != nil { // acknowledged, so it is kept
					t.Error(err)
				}
			}
			t.Errorf("refreshes of %s go on", person(i))
		})
	}
	all.Go(func() {
		if status := v.status(t, "/authorize?"+authorizeQuery(v)); status == http.StatusServiceUnavailable {
			refused.Add(1)
		} else {
			t.Errorf("/authorize = %d, want 503", status)
		}
	})
	all.Go(func() {
		out, err := exec.Command("issuer", "devices", "remove", device, "--config", v.config()).CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("issuer devices remove = %v, %s; want exit code 3", err, out)
		}
	})
	all.Wait()
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/oauth-authorization-server"} {
		if status := v.status(t, path); status != http.StatusOK {
			t.Errorf("%s = %d, want 200", path, status)
		}
	}
	for i, s := range sessions {
		if a, err := v.introspected(s.AccessToken); err != nil || !a.Active {
			t.Errorf("introspection of %s = %+v, %v; want active", person(i), a, err)
		}
	}
	return int(refused.Load())
}

// restarted ends and starts the issuer, and wants all sessions to live on.
func (v *victim) restarted(t *testing.T, sessions []*login) {
	t.Helper()
	v.end(t)
	v.start(t)
	for i, s := range sessions {
		if a, err := v.introspected(s.AccessToken); err != nil || !a.Active {
			t.Errorf("introspection of %s = %+v, %v; want active", person(i), a, err)
		}
		s.refresh(t)
	}
	v.end(t)
	sqlitetest.Whole(t, v.database)
}

func authorizeQuery(v *victim) string {
	return url.Values{
		"response_type": {"code"}, "client_id": {"im-app"}, "redirect_uri": {redirectURI},
		"code_challenge": {strings.Repeat("a", 42) + "A"}, "code_challenge_method": {"S256"},
	}.Encode()
}
