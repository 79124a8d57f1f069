package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestRefusedDatabase starts an issuer on what is no database of its own, or no longer whole: it says what is wrong,
// where, and what to do, ends with the code for that, and has changed nothing.
func TestRefusedDatabase(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	stopped, killed := v.made(t)
	const damaged = `issuer\.db is damaged or not a database: restore it from a backup, or move it and the files beside it away`
	for _, test := range []struct {
		name string
		from string // data folder to begin with
		harm func(t *testing.T)
		code int
		want string
	}{
		{"cut short", stopped, func(t *testing.T) { v.truncate(t, 40_000) }, 2, damaged},
		{"cut within a page", stopped, func(t *testing.T) { v.truncate(t, 40_001) }, 2, damaged},
		{"cut within the head", stopped, func(t *testing.T) { v.truncate(t, 50) }, 2, damaged},
		{"cut short, with a log", killed, func(t *testing.T) { v.truncate(t, 0) }, 2, damaged},
		{"garbage", stopped, func(t *testing.T) { v.overwrite(t, "issuer.db", 0, 1<<30) }, 2, damaged},
		{"garbage head", stopped, func(t *testing.T) { v.overwrite(t, "issuer.db", 0, 100) }, 2, damaged},
		{"head of a page", stopped, func(t *testing.T) { v.overwrite(t, "issuer.db", 5*4096, 8) }, 2, damaged},
		{"a page", stopped, func(t *testing.T) { v.overwrite(t, "issuer.db", 3*4096, 4096) }, 2, damaged},
		{"pages", stopped, func(t *testing.T) { v.overwrite(t, "issuer.db", 4096, 10*4096) }, 2, damaged},
		{"two pages exchanged", stopped, v.exchange, 2, damaged},
		{"garbage in the log", killed, func(t *testing.T) { v.overwrite(t, "issuer.db-wal", 32+24+1000, 4096) }, 2, `issuer\.db-wal away to go on without what was written last`},
		{"garbage head of the log", killed, func(t *testing.T) { v.overwrite(t, "issuer.db-wal", 0, 32) }, 2, `issuer\.db-wal away to go on without what was written last`},
		{"an octet of the log", killed, func(t *testing.T) { v.overwrite(t, "issuer.db-wal", 32+2*(24+4096)+2000, 1) }, 2, `issuer\.db-wal away to go on without what was written last`},
		{"newer schema", stopped, func(t *testing.T) {
			sqlitetest.Exec(t, v.database, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		}, 2, `issuer\.db: storage: the database is of a newer release: its schema is 999, this release knows \d+: install that release again`},
		{"another program's", stopped, func(t *testing.T) { v.foreign(t, "DELETE") }, 2, `issuer\.db: the database belongs to another program: it is left as it is; set storage to another file`},
		{"another program's, with a log", stopped, func(t *testing.T) { v.foreign(t, "WAL") }, 2, `issuer\.db: the database belongs to another program`},
		{"a text", stopped, func(t *testing.T) { v.write(t, "issuer.db", "my notes: do not delete\n") }, 2, damaged},
		{"a folder", stopped, func(t *testing.T) {
			if err := errors.Join(os.Remove(v.database), os.Mkdir(v.database, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, 2, `issuer\.db is not a file: set storage to another one, or move it away`},
		{"wrong key-encryption key", stopped, func(t *testing.T) { v.write(t, "kek", strings.Repeat("5a", 32)) }, 2, `data/kek does not open what \S+issuer\.db holds: set kek_file to the key that it was made under`},
		{"wrong key-encryption key, no key that signs", stopped, func(t *testing.T) {
			v.write(t, "kek", strings.Repeat("5a", 32))
			sqlitetest.Exec(t, v.database, "UPDATE signing_keys SET revoked_at = 1")
		}, 2, `data/kek does not open what \S+issuer\.db holds: set kek_file to the key that it was made under`},
		{"half a key-encryption key", stopped, func(t *testing.T) { v.write(t, "kek", "5a5a") }, 2, `kek does not hold 32 bytes`},
	} {
		t.Run(test.name, func(t *testing.T) {
			v.copyData(t, test.from)
			test.harm(t)
			before := v.files(t)
			for range 2 { // the first refusal changes nothing for the second
				v.refused(t, test.code, test.want)
				if after := v.files(t); !maps.Equal(before, after) {
					t.Errorf("the files are %v, want them as before: %v", after, before)
				}
			}
		})
	}
	for name, from := range map[string]string{"stopped": stopped, "killed": killed} { // not by the copying alone
		t.Run("as it was "+name, func(t *testing.T) {
			v.copyData(t, from)
			v.start(t)
			v.stop(t)
		})
	}
}

// TestRefusedWhileLocked starts an issuer on a database that another program has locked, which is not for ever.
func TestRefusedWhileLocked(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t)
	v.stop(t)
	db, err := sql.Open("sqlite", v.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, lock := range []string{"PRAGMA locking_mode = exclusive", "BEGIN EXCLUSIVE", "CREATE TABLE held (n)"} {
		if _, err := db.ExecContext(t.Context(), lock); err != nil {
			t.Fatal(err)
		}
	}
	v.refused(t, 3, `issuer\.db is locked by another process: let that finish or end it`)
	if _, err := db.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v.start(t)
	v.stop(t)
}

// made makes a database with some people's sessions, and returns copies of the data folder after an orderly end, and
// after a kill that leaves a log.
func (v *victim) made(t *testing.T) (stopped, killed string) {
	t.Helper()
	v.start(t)
	for i := range 8 {
		s := v.session(t, person(i))
		s.refresh(t)
	}
	v.stop(t)
	stopped = v.saveData(t, "stopped")
	v.start(t)
	s := v.session(t, person(0))
	for range 10 {
		s.refresh(t)
	}
	v.kill(t)
	return stopped, v.saveData(t, "killed")
}

// refused starts the issuer and wants it to end with that code and such words.
func (v *victim) refused(t *testing.T, code int, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "issuer", "serve", "--config", v.config())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !regexp.MustCompile(want).Match(out) {
		t.Errorf("issuer serve = %v, %q; want exit code %d and %q", err, out, code, want)
	}
	if !bytes.HasPrefix(out, []byte("issuer: start: ")) || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("issuer serve says %q, want one line", out)
	}
	t.Logf("exit code %d: %s", exit.ExitCode(), strings.TrimSpace(strings.ReplaceAll(string(out), v.folder, "…")))
}

// files returns what the files of the data folder hold, but for those that mean nothing to the next start.
func (v *victim) files(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(v.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"issuer.db.lock", "issuer.db-shm", "admin.sock"}, e.Name()) || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(v.data, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		files[e.Name()] = fmt.Sprintf("%d octets %s", len(data), hex.EncodeToString(sum[:4]))
	}
	return files
}

// saveData copies the data folder aside, copyData brings it back.
func (v *victim) saveData(t *testing.T, name string) string {
	t.Helper()
	to := filepath.Join(v.folder, name)
	copyFolder(t, to, v.data)
	return to
}

func (v *victim) copyData(t *testing.T, from string) {
	t.Helper()
	if err := os.RemoveAll(v.data); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, v.data, from)
}

// copyFolder copies the files of a folder, but for sockets, to one that is not there.
func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *victim) truncate(t *testing.T, size int64) {
	t.Helper()
	if err := os.Truncate(v.database, size); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes n random octets, as far as the file goes, none of them what was there.
func (v *victim) overwrite(t *testing.T, name string, at, n int) {
	t.Helper()
	path := filepath.Join(v.data, name)
	data, err := os.ReadFile(path)
	if err != nil || len(data) <= at {
		t.Fatalf("%s has %d octets, want more than %d: %v", name, len(data), at, err)
	}
	for i := at; i < min(at+n, len(data)); i++ {
		data[i] ^= byte(1 + rand.IntN(255))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// exchange lets two pages of different tables change places.
func (v *victim) exchange(t *testing.T) {
	t.Helper()
	const page = 4096
	a := sqlitetest.Count(t, v.database, "SELECT rootpage FROM sqlite_schema WHERE name = 'users'") - 1
	b := sqlitetest.Count(t, v.database, "SELECT rootpage FROM sqlite_schema WHERE name = 'grants'") - 1
	data, err := os.ReadFile(v.database)
	if err != nil {
		t.Fatal(err)
	}
	if size := binary.BigEndian.Uint16(data[16:]); size != page {
		t.Fatalf("pages of %d octets, want %d", size, page)
	}
	first := slices.Clone(data[a*page : (a+1)*page])
	copy(data[a*page:], data[b*page:(b+1)*page])
	copy(data[b*page:], first)
	if err := os.WriteFile(v.database, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// foreign puts another program's database in the place of the issuer's.
func (v *victim) foreign(t *testing.T, journal string) {
	t.Helper()
	if err := os.Remove(v.database); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", v.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{"PRAGMA journal_mode = " + journal, "CREATE TABLE songs (title TEXT)", "INSERT INTO songs VALUES ('Imagine')"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *victim) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(v.data, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A login is a person's session on one device, and the tokens that it holds now.
type login struct {
	*app
	client.Tokens
}

// session logs a person in on a new device.
func (v *victim) session(t *testing.T, person string) *login {
	t.Helper()
	app, err := newApp(v.issuer)
	if err != nil {
		t.Fatalf("%v\n%s", err, v.log(t))
	}
	tokens, err := app.login(person)
	if err != nil {
		t.Fatalf("%v\n%s", err, v.log(t))
	}
	return &login{app, tokens}
}

// refresh refreshes and must succeed.
func (l *login) refresh(t *testing.T) {
	t.Helper()
	if err := l.tryRefresh(t); err != nil {
		t.Fatalf("refresh = %v, want tokens", err)
	}
}

// take notes the tokens of an answer.
func (l *login) take(body []byte) error {
	var tokens client.Tokens
	if err := json.Unmarshal(body, &tokens); err != nil || tokens.RefreshToken == "" {
		return fmt.Errorf("answer = %q, want tokens", body)
	}
	l.Tokens = tokens
	return nil
}

// device is the URI of the device.
func (l *login) device(t *testing.T) string {
	t.Helper()
	set, err := readToken(l.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return set.Device
}

func (l *login) tryRefresh(t *testing.T) error {
	t.Helper()
	tokens, err := l.Client.Refresh(t.Context(), l.RefreshToken)
	if err == nil {
		l.Tokens = tokens
	}
	return err
}
