package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestNewSecrets does what docs/keys.md says to do when the key-encryption key is lost, or has leaked with the database:
// what was signed before is void, everybody logs in again, and people and devices are who they were.
func TestNewSecrets(t *testing.T) {
	statements := blocks(t, root+"/docs/keys.md", "sql")
	if len(statements) != 1 {
		t.Fatalf("docs/keys.md has %d blocks of SQL, want 1", len(statements))
	}
	v := newVictim(t)
	v.start(t)
	app, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	before, err := app.login(person(0))
	if err != nil {
		t.Fatal(err)
	}
	v.stop(t)

	kek := make([]byte, 32)
	_, _ = rand.Read(kek) // never fails
	if err := os.WriteFile(filepath.Join(v.data, "kek"), fmt.Appendf(nil, "%x\n", kek), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, statement := range strings.Split(strings.TrimSpace(statements[0]), "\n") {
		sqlitetest.Exec(t, v.database, statement)
	}
	v.start(t)
	active := func(token string) bool {
		t.Helper()
		answer, err := v.introspected(token)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Active
	}
	if active(before.AccessToken) {
		t.Error("a token of before is active")
	}
	_, err = app.Refresh(t.Context(), before.RefreshToken)
	wantCode(t, "a refresh token of before", err, "invalid_grant")
	after, err := app.login(person(0))
	if err != nil {
		t.Fatal(err)
	}
	if !active(after.AccessToken) {
		t.Error("a new token is not active")
	}
	old, err1 := readToken(before.AccessToken)
	set, err2 := readToken(after.AccessToken)
	if err1 != nil || err2 != nil || set.Subject != old.Subject || set.Handle != old.Handle || set.Device != old.Device {
		t.Errorf("after = %+v, %v, want the same person and device as in %+v, %v", set, err2, old, err1)
	}
	sqlitetest.Whole(t, v.database)
	v.stop(t)
}
