package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestRestore goes back to a backup after much has happened since: nothing that was issued before is active or can be
// used again, whether the backup knows it or not, nobody who was thrown out is back, and everybody else logs in anew.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		lost    func(t *testing.T, v *victim) // what happened to the database of before
		carried bool
	}{
		{"by choice", func(*testing.T, *victim) {}, true},
		{"after kill -9", func(t *testing.T, v *victim) { v.start(t); v.session(t, person(3)); v.kill(t) }, true},
		{"after damage", func(t *testing.T, v *victim) { v.overwrite(t, "issuer.db", 4096, 20*4096) }, false},
		{"after loss", func(t *testing.T, v *victim) {
			if err := os.Remove(v.database); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newVictim(t, "replay: storage")
			v.start(t)
			phone, stolen := v.session(t, person(0)), v.session(t, person(0))
			gone := []client.Tokens{phone.Tokens, stolen.Tokens}
			half, err := newApp(v.issuer)
			if err != nil {
				t.Fatal(err)
			}
			flow, answer, err := half.begin(person(1)) // a code that nobody has redeemed yet
			if err != nil {
				t.Fatal(err)
			}
			backup := filepath.Join(v.folder, "backup.db")
			v.run(t, 0, `^Wrote \d+ bytes to \S+/backup\.db\.$`, "backup", "--config", v.config(), "--to", backup)
			if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the backup: %v, %v, want mode 0600", info, err)
			}
			v.run(t, 1, `a backup takes the place of none`, "backup", "--config", v.config(), "--to", backup)
			v.run(t, 1, `cannot write there: no such file or directory`, "backup", "--config", v.config(), "--to", filepath.Join(v.folder, "nowhere/b"))

			phone.refresh(t) // all this the backup does not know
			gone = append(gone, phone.Tokens)
			phone.refresh(t)
			later := v.session(t, person(2))
			gone = append(gone, phone.Tokens, later.Tokens)
			v.run(t, 0, "Removed device", "devices", "remove", stolen.device(t), "--reason", "stolen", "--config", v.config())
			kids := v.kids(t)

			v.run(t, 2, `in use by another process`, "restore", "--config", v.config(), "--from", backup)
			v.stop(t)
			if _, err := os.Stat(v.database); err != nil {
				t.Fatal(err)
			}
			v.refusedBackup(t, backup)
			test.lost(t, v)
			restored := v.run(t, 0, `Ended 2 sessions, revoked [12] signing keys?, withdrew 0 statements\. All users must log in again\.`,
				"restore", "--config", v.config(), "--from", backup)
			if n := strings.Count(restored, " audit=true event=backup.restored actor=admin\n"); n != 1 || strings.Count(restored, "audit=true") != n {
				t.Errorf("issuer restore says %q, want one audit event", restored)
			}
			if carried := strings.Contains(restored, "1 device removed"); carried != test.carried {
				t.Errorf("issuer restore says %q, want the removed device carried along: %t", restored, test.carried)
			}
			if again := strings.Contains(restored, "Repeat what you did since the backup"); again == test.carried {
				t.Errorf("issuer restore says %q, want what to do about the removed device: %t", restored, !test.carried)
			}

			v.start(t)
			v.becomes(t, "/readyz", http.StatusOK)
			for kid := range v.kids(t) {
				if kids[kid] {
					t.Errorf("the key %s is published as before", kid)
				}
			}
			for _, tokens := range gone {
				if a, err := v.introspected(tokens.AccessToken); err != nil || a.Active || a.Reason != "" {
					t.Errorf("introspection of what was issued before = %+v, %v; want inactive", a, err)
				}
			}
			for i, tokens := range gone {
				owner := phone
				switch i {
				case 1:
					owner = stolen
				case len(gone) - 1:
					owner = later
				}
				_, err := owner.Client.Refresh(t.Context(), tokens.RefreshToken)
				wantCode(t, "a refresh token from before", err, "invalid_grant")
			}
			_, err = half.Finish(t.Context(), flow, answer)
			wantCode(t, "a code from before", err, "invalid_grant")

			device := phone.device(t)
			if phone.Tokens, err = phone.login(person(0)); err != nil || phone.device(t) != device {
				t.Errorf("new login = the device %s, %v; want %s", phone.device(t), err, device)
			}
			phone.refresh(t)
			if a, err := v.introspected(phone.AccessToken); err != nil || !a.Active {
				t.Errorf("introspection of a new token = %+v, %v; want active", a, err)
			}
			if _, err := stolen.login(person(0)); (err != nil) != test.carried {
				t.Errorf("login by the key of the removed device = %v, want it refused: %t", err, test.carried)
			}
			again := v.session(t, person(2)) // whom the backup does not know at all
			again.refresh(t)
			v.stop(t)
			sqlitetest.Whole(t, v.database)
			t.Logf("%d access tokens inactive, %d refresh tokens and 1 code refused; issuer restore said:\n%s", len(gone), len(gone), strings.ReplaceAll(restored, v.folder, "…"))
		})
	}
}

// refusedBackup starts an issuer on a backup that somebody has copied to where the database was, and restores with
// another key-encryption key: neither is done, and nothing is changed.
func (v *victim) refusedBackup(t *testing.T, backup string) {
	t.Helper()
	data := v.saveData(t, "aside")
	defer func() { v.copyData(t, data) }()
	copied, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	v.write(t, "issuer.db", string(copied))
	v.refused(t, 2, `issuer\.db: it is a backup, which does not know what was revoked since: .* restore it with .issuer restore --from`)
	v.copyData(t, data)
	v.write(t, "kek", strings.Repeat("5a", 32))
	before := v.files(t)
	v.run(t, 2, `kek cannot decrypt the keys in the backup: set kek_file to the key that it was made under`, "restore", "--config", v.config(), "--from", backup)
	v.run(t, 2, `issuer\.yaml is damaged or no backup: take another one`, "restore", "--config", v.config(), "--from", v.config())
	if after := v.files(t); len(after) != len(before) || after["issuer.db"] != before["issuer.db"] {
		t.Errorf("the files are %v, want them as before: %v", after, before)
	}
}

// run runs a command of the issuer's and returns what it says.
func (v *victim) run(t *testing.T, code int, want string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "issuer", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code || !regexp.MustCompile("(?m)"+want).Match(out.Bytes()) {
		t.Errorf("issuer %s = exit code %d, %q; want %d, %q", strings.Join(args, " "), got, out.String(), code, want)
	}
	return out.String()
}

// kids are the ids of the keys that the issuer publishes.
func (v *victim) kids(t *testing.T) map[string]bool {
	t.Helper()
	resp, err := http.Get(v.issuer + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	kids := make(map[string]bool)
	for _, found := range regexp.MustCompile(`"kid":"([^"]+)"`).FindAllSubmatch(body, -1) {
		kids[string(found[1])] = true
	}
	if len(kids) == 0 {
		t.Fatalf("keys = %s, want some", body)
	}
	return kids
}
