package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/imidentity/issuer/keys"
)

// setKEK has the settings name files of key-encryption keys, in the folder of the settings.
func (v *victim) setKEK(t *testing.T, files ...string) {
	t.Helper()
	text, err := os.ReadFile(v.config())
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^kek_file.*\n`).ReplaceAll(text, nil)
	for i, file := range files {
		text = fmt.Appendf(text, "%s: %s\n", []string{"kek_file", "kek_file_new"}[i], file)
	}
	if err := os.WriteFile(v.config(), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKEKRotation takes an issuer from one key-encryption key to another by its commands: with the old one, with both, and with the new
// one alone. It is killed during the rotation, again and again.
func TestKEKRotation(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	var ids []string
	for _, name := range []string{"one", "two"} {
		var key [32]byte
		rand.Read(key[:])
		ids = append(ids, keys.KEKID(key))
		if err := os.WriteFile(filepath.Join(v.folder, name), fmt.Appendf(nil, "%x\n", key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.setKEK(t, "one")
	v.start(t)
	l := v.session(t, person(0))
	for range 8 {
		v.run(t, 0, "", "keys", "rotate", "--now", "--data", v.data)
	}
	v.run(t, 1, `Name the file of the new one in kek_file_new on every node`, "keys", "rotate-kek", "--data", v.data)
	v.run(t, 0, `^`+ids[0]+` +current +10$`, "keys", "keks", "--data", v.data)
	backup := filepath.Join(v.folder, "backup")
	v.run(t, 0, "", "backup", "--data", v.data, "--to", backup)
	v.stop(t)

	v.setKEK(t, "one", "one")
	v.run(t, 2, `kek_file_new: this is the file in kek_file`, "config", "check", v.config())
	v.setKEK(t, "one", "none")
	v.run(t, 2, `kek_file_new: \S+none cannot be read`, "config", "check", v.config())

	v.setKEK(t, "one", "two")
	v.start(t)
	v.run(t, 0, `^`+ids[1]+` +configured +0$`, "keys", "keks", "--data", v.data)
	for i := range 6 {
		cmd := exec.CommandContext(t.Context(), "issuer", "keys", "rotate-kek", "--data", v.data)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(15+10*i) * time.Millisecond) // at any moment, also before it has begun or after it has ended
		v.kill(t)
		_ = cmd.Wait()
		v.start(t)
	}
	v.run(t, 0, `^`+ids[1]+` +current +10$`, "keys", "rotate-kek", "--data", v.data)
	v.run(t, 0, `^`+ids[0]+` +configured +0$`, "keys", "keks", "--data", v.data)
	l.refresh(t)
	v.stop(t)

	v.setKEK(t, "one")
	v.refused(t, 2, `/one does not open what \S+issuer\.db holds: .* belongs to the key with the id `+ids[1]+`, and this issuer has `+ids[0])
	v.setKEK(t, "two")
	v.start(t)
	v.run(t, 0, `^`+ids[1]+` +current +10$`, "keys", "keks", "--data", v.data)
	v.stop(t)

	// A backup that was made before needs the old key.
	v.run(t, 2, `/two cannot decrypt the keys in the backup`, "restore", "--config", v.config(), "--from", backup)
	v.setKEK(t, "one", "two")
	v.run(t, 0, `^Restored `, "restore", "--config", v.config(), "--from", backup)
	v.start(t)
	v.run(t, 0, `^`+ids[1]+` +current +\d+$`, "keys", "rotate-kek", "--data", v.data)
	v.stop(t)
}
