package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

var backupTime = time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)

// issued fills a store with one of all that a restore has to decide on, under a name of its own.
func issued(t *testing.T, s storage.Store, name string) {
	t.Helper()
	at := backupTime
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		var revocation error
		if name == "before" {
			_, revocation = tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: "jti", At: at, ExpiresAt: at.Add(time.Hour)})
		}
		return errors.Join(revocation,
			tx.SetNewest(ctx, at),
			tx.InsertSigningKey(ctx, storage.SigningKey{KID: "kid-" + name, Alg: "ES256", Sealed: []byte("s"), Public: []byte("{}"), CreatedAt: at, ActiveAt: at, Life: 90 * 24 * time.Hour}),
			tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: "user-" + name, Handle: name, Gen: 1, CreatedAt: at}),
			tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: "device-" + name, User: "user-before", JKT: "jkt-" + name, CreatedAt: at}),
			tx.InsertGrant(ctx, storage.Grant{ID: "grant-" + name, Domain: "example.com", User: "user-before", Device: "device-" + name, JKT: "jkt-" + name, Gen: 1, CreatedAt: at}),
			tx.InsertCode(ctx, storage.Code{Hash: [32]byte{byte(len(name))}, Domain: "example.com", ExpiresAt: at.Add(time.Minute)}),
			tx.InsertLogin(ctx, storage.Login{State: [32]byte{byte(len(name))}, Domain: "example.com", ExpiresAt: at.Add(time.Minute)}),
			tx.InsertPushed(ctx, storage.Pushed{URI: [32]byte{byte(len(name))}, ExpiresAt: at.Add(time.Minute)}),
			tx.InsertStatement(ctx, storage.Statement{JTI: "statement-" + name, Domain: "example.com", User: "user-before", Claims: []byte("{}"), CreatedAt: at, ExpiresAt: at.Add(time.Hour)}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func epoch(t *testing.T, s *sqlite.Store) dpop.Epoch {
	t.Helper()
	e, err := s.Replay(sqlite.ReplayOptions{}).Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestRestore holds that nothing issued before a restore lives on, whether the backup knows it or not, and that what was
// taken away since the backup stays so.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	issued(t, s, "before")
	begun := epoch(t, s)
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatalf("Backup = %v, want nil", err)
	}
	issued(t, s, "since")
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		var errs []error
		for _, id := range []string{"device-before", "device-since"} {
			d, err := tx.Device(ctx, "example.com", id)
			d.RemovedAt, d.RemovedReason = backupTime, "stolen"
			errs = append(errs, err, tx.UpdateDevice(ctx, d))
		}
		u, err := tx.User(ctx, "example.com", "user-before")
		u.DisabledAt = backupTime
		errs = append(errs, err, tx.UpdateUser(ctx, u))
		for i := range 10 {
			_, err := tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: fmt.Sprint(i), At: backupTime, ExpiresAt: backupTime.Add(time.Hour)})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, last, err := s.Revocations(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	now := backupTime.Add(24 * time.Hour)
	r, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("Restore = %v, want nil", err)
	}
	if r.Sessions != 1 || r.Keys != 1 || r.Statements != 1 || !r.Carried || r.Devices != 2 || r.Users != 1 || !r.Taken.Equal(backupTime) {
		t.Errorf("Restore = %+v", r)
	}
	if kept, err := os.ReadFile(r.Kept); err != nil || !bytes.Equal(kept, was) {
		t.Errorf("the database of before, kept at %s, differs: %v", r.Kept, err)
	}
	s = open(t, path)
	if e := epoch(t, s); e == begun {
		t.Error("the epoch of spent proofs is that of before")
	}
	for name, want := range map[string]error{"before": nil, "since": storage.ErrNotFound} {
		g, _, _, err := s.Session(t.Context(), "grant-"+name)
		if !errors.Is(err, want) || err == nil && (g.EndedAt != now || g.EndedReason != "restored") {
			t.Errorf("Session %s = %+v, %v, want it ended, or %v", name, g, err, want)
		}
		if _, err := s.Code(t.Context(), [32]byte{byte(len(name))}); err != storage.ErrNotFound {
			t.Errorf("Code %s = %v, want none", name, err)
		}
		if _, err := s.Login(t.Context(), [32]byte{byte(len(name))}); err != storage.ErrNotFound {
			t.Errorf("Login %s = %v, want none", name, err)
		}
		if _, err := s.Pushed(t.Context(), [32]byte{byte(len(name))}); err != storage.ErrNotFound {
			t.Errorf("Pushed %s = %v, want none", name, err)
		}
		if st, err := s.Statement(t.Context(), "statement-"+name); !errors.Is(err, want) || err == nil && st.WithdrawnAt != now {
			t.Errorf("Statement %s = %+v, %v, want it withdrawn, or %v", name, st, err, want)
		}
		if d, err := s.DeviceByKey(t.Context(), "example.com", "jkt-"+name); err != nil || d.RemovedAt.IsZero() {
			t.Errorf("device %s = %+v, %v, want it removed", name, d, err)
		}
	}
	if u, err := s.User(t.Context(), "example.com", "user-before"); err != nil || u.DisabledAt.IsZero() {
		t.Errorf("User = %+v, %v, want her disabled", u, err)
	}
	keys, err := s.SigningKeys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].RevokedAt != now {
		t.Errorf("SigningKeys = %+v, %v, want the one key revoked", keys, err)
	}
	rows, highest, err := s.Revocations(t.Context(), last, 0)
	if err != nil || len(rows) != 1 || rows[0].Key != "kid-before" || !rows[0].ExpiresAt.Equal(now.Add(90*24*time.Hour)) || highest <= last {
		t.Errorf("Revocations after %d = %+v up to %d, %v, want that of the key alone", last, rows, highest, err)
	}
	if at, err := s.Newest(t.Context()); err != nil || !at.Equal(now) {
		t.Errorf("Newest = %v, %v, want %v", at, err, now)
	}
}

// TestRestoreKeepsReplacedKeys holds that a device has the key after a restore that it had before, and no former one.
func TestRestoreKeepsReplacedKeys(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	rekey := func(from, to string) {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.RekeyDevice(ctx, storage.Rekey{Domain: "example.com", Device: "device-before", OldJKT: from, NewJKT: to, At: backupTime})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	issued(t, s, "before")
	rekey("jkt-before", "second")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatalf("Backup = %v, want nil", err)
	}
	rekey("second", "third")
	rekey("third", "fourth")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{}); err != nil {
		t.Fatalf("Restore = %v, want nil", err)
	}
	s = open(t, path)
	for _, jkt := range []string{"jkt-before", "second", "third", "fourth"} {
		if d, err := s.DeviceByKey(t.Context(), "example.com", jkt); err != nil || d.ID != "device-before" || d.JKT != "fourth" {
			t.Errorf("DeviceByKey of %s = %+v, %v, want the device with its fourth key", jkt, d, err)
		}
	}
	if list, err := s.Rekeys(t.Context(), "example.com", "device-before"); err != nil || len(list) != 3 {
		t.Errorf("Rekeys = %+v, %v, want three", list, err)
	}
}

// TestRestoreNumbersEvents holds that no event after a restore has a number that was given before, also one that the backup does not
// know: a device that has seen it misses none.
func TestRestoreNumbersEvents(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	add := func() {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.InsertUserEvent(ctx, storage.UserEvent{
				Domain: "example.com", User: "user-before", Kind: storage.DeviceAdded, Device: "d", At: backupTime,
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	issued(t, s, "before")
	add()
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatalf("Backup = %v, want nil", err)
	}
	add()
	seen, err := s.LastUserEvent(t.Context(), "example.com", "user-before")
	if err != nil || seen != 2 {
		t.Fatalf("LastUserEvent = %d, %v, want 2", seen, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{}); err != nil {
		t.Fatalf("Restore = %v, want nil", err)
	}
	s = open(t, path)
	add()
	if list, err := s.UserEvents(t.Context(), "example.com", "user-before", seen, 10); err != nil || len(list) != 1 {
		t.Errorf("UserEvents after %d = %+v, %v, want the one since the restore", seen, list, err)
	}
}

// TestRestoreOverDamage restores where the database of before is gone, or cannot be read any more.
func TestRestoreOverDamage(t *testing.T) {
	dir := t.TempDir()
	backup := filepath.Join(dir, "backup.db")
	s := open(t, filepath.Join(dir, "origin.db"))
	issued(t, s, "before")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]string{
		"gone":    nil,
		"garbage": {"issuer.db": "garbage", "issuer.db-wal": strings.Repeat("garbage", 1000)},
		"a log":   {"issuer.db": "", "issuer.db-wal": strings.Repeat("garbage", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "issuer.db")
			for file, text := range files {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{})
			if err != nil || r.Carried || (r.Kept != "") != (files != nil) {
				t.Fatalf("Restore = %+v, %v", r, err)
			}
			for file, text := range files {
				kept := r.Kept + strings.TrimPrefix(file, "issuer.db")
				if data, err := os.ReadFile(kept); err != nil || string(data) != text {
					t.Errorf("%s = %.20q, %v, want what was there", kept, data, err)
				}
			}
			if _, err := open(t, path).User(t.Context(), "example.com", "user-before"); err != nil {
				t.Errorf("User = %v, want nil", err)
			}
		})
	}
}

// TestRestoreRefuses holds what is no backup, and that a refusal changes nothing.
func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	issued(t, s, "before")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Restore under an open store = %v, want in use", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	copy(damaged[3*4096:], bytes.Repeat([]byte{0xa5}, 4096))
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	foreign := filepath.Join(dir, "foreign.db")
	raw(t, foreign, "CREATE TABLE songs (title TEXT)")
	newer := write("newer.db", whole)
	raw(t, newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	live := write("live.db", whole)
	write("live.db-wal", []byte("frames"))
	no := errors.New("not this one")
	before := sqlitetest.Rows(t, path)
	for _, test := range []struct {
		name, from, want string
		check            func(context.Context, storage.Store) error
	}{
		{"nothing", filepath.Join(dir, "nothing.db"), "no such file", nil},
		{"an empty file", write("empty.db", nil), "is damaged or no backup", nil},
		{"a text", write("text.db", []byte("my notes")), "is damaged or no backup", nil},
		{"half of one", write("half.db", whole[:len(whole)/2]), "is damaged or no backup", nil},
		{"a damaged one", write("damaged.db", damaged), "is damaged or no backup", nil},
		{"another program's", foreign, "is no backup of an issuer", nil},
		{"one of a newer release", newer, "install that release again", nil},
		{"a database with a log", live, "was not stopped in good order", nil},
		{"one that the check refuses", backup, "not this one", func(context.Context, storage.Store) error { return no }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := sqlite.Restore(t.Context(), path, test.from, sqlite.RestoreOptions{Check: test.check})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Restore = %v, want %q", err, test.want)
			}
			if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, path)); len(changes) > 0 {
				t.Errorf("rows changed:\n%s", strings.Join(changes, "\n"))
			}
			if left, err := filepath.Glob(path + ".re*"); err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

// TestBackup holds what a backup is: one moment of the database, for its owner alone, in whole or not at all, and
// nothing that a store opens.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "issuer.db"))
	put(t, s, "before", "a")
	var writing sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		writing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { // two halves of one thing
					return errors.Join(tx.PutSecret(ctx, fmt.Sprint("a-", i, "-", n), []byte("a")), tx.PutSecret(ctx, fmt.Sprint("b-", i, "-", n), []byte("b")))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 5 {
		to := filepath.Join(dir, fmt.Sprint("backup-", n))
		if err := s.Backup(t.Context(), to); err != nil {
			t.Fatalf("Backup = %v, want nil", err)
		}
		info, err := os.Stat(to)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the backup has mode %v, %v, want 0600", info.Mode(), err)
		}
		count := func(half string) int {
			return sqlitetest.Count(t, to, "SELECT count(*) FROM secrets WHERE name LIKE '"+half+"-%'")
		}
		if a, b := count("a"), count("b"); a != b {
			t.Errorf("the backup has %d first halves and %d second ones", a, b)
		}
		if err := s.Backup(t.Context(), to); !errors.Is(err, storage.ErrBackupExists) {
			t.Errorf("Backup over a file = %v, want %v", err, storage.ErrBackupExists)
		}
		if _, err := sqlite.Open(t.Context(), to, sqlite.Options{}); err == nil || !strings.Contains(err.Error(), "restore it with `issuer restore --from`") {
			t.Errorf("Open of a backup = %v, want what to do", err)
		}
	}
	close(stop)
	writing.Wait()
	if err := s.Backup(t.Context(), filepath.Join(dir, "nowhere", "backup")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Backup into no folder = %v, want %v", err, os.ErrNotExist)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ended, filepath.Join(dir, "ended")); err == nil {
		t.Error("Backup after its context = nil, want an error")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".issuer-backup-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
