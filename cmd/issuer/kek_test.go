package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
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

// TestKEKRotationOfNodes takes three processes on one PostgreSQL from one key-encryption key to another, as docs/keys.md says, while a user
// is signed in. The rotation begins at two of them at once. The third one does not get the new key in time: until it has it, it answers 503
// about what is made since.
func TestKEKRotationOfNodes(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	v := newVictim(t, "storage: postgres", "storage_url_file: url", "replay: storage")
	var one, two [32]byte
	rand.Read(one[:])
	rand.Read(two[:])
	if err := os.Mkdir(v.data, 0o700); err != nil {
		t.Fatal(err)
	}
	v.write(t, "kek", fmt.Sprintf("%x\n", one))
	v.write(t, "../url", server.URL("postgres")+"\n")
	v.run(t, 0, "^Took step 1 ", "migrate", "up", "--config", v.config())
	v.start(t)
	nodes := []*victim{v, anotherNode(t, v), anotherNode(t, v)}
	for _, node := range nodes {
		node.write(t, "new", fmt.Sprintf("%x\n", two))
		node.becomes(t, "/readyz", http.StatusOK)
	}
	late := nodes[2]
	l := v.session(t, person(0))
	for range 8 {
		v.run(t, 0, "", "keys", "rotate", "--now", "--data", v.data)
	}
	knows := func(when string, nodes ...*victim) {
		t.Helper()
		l.refresh(t)
		for _, node := range nodes {
			node.becomes(t, "/readyz", http.StatusOK)
			if !activeAt(t, node, l.AccessToken) {
				t.Errorf("%s, a token is not active at node %s", when, node.issuer)
			}
		}
	}
	restart := func(node *victim, files ...string) {
		t.Helper()
		node.stop(t)
		node.setKEK(t, files...)
		node.start(t)
	}
	for _, node := range nodes[:2] {
		restart(node, "data/kek", "data/new")
		knows("with the new key at some nodes", nodes...)
	}

	var begun sync.WaitGroup
	for _, node := range nodes[:2] {
		begun.Go(func() {
			node.run(t, 0, `^`+keys.KEKID(two)+` +current +10$`, "keys", "rotate-kek", "--data", node.data)
		})
	}
	begun.Wait()
	for _, node := range nodes[:2] {
		node.run(t, 0, `^`+keys.KEKID(one)+` +configured +0$`, "keys", "keks", "--data", node.data)
	}
	knows("after the rotation", nodes[:2]...)
	v.run(t, 0, "", "keys", "rotate", "--now", "--data", v.data) // sealed under the new key alone
	if !activeAt(t, late, l.AccessToken) {
		t.Error("a token of before is not active at the node without the new key")
	}
	l.refresh(t)
	if status, _ := answerAt(t, late, l.AccessToken); status != http.StatusServiceUnavailable {
		t.Errorf("introspection of a new token at the node without the new key = %d, want 503", status)
	}
	late.end(t)
	if err := os.Remove(filepath.Join(late.folder, "log")); err != nil { // it has the errors of that time
		t.Fatal(err)
	}
	late.refused(t, 2, `belongs to the key with the id `+keys.KEKID(two)+`, and this issuer has `+keys.KEKID(one))

	late.setKEK(t, "data/kek", "data/new")
	late.start(t)
	knows("when the late node has the key", nodes...)
	for _, node := range nodes {
		restart(node, "data/new")
		node.run(t, 0, `^`+keys.KEKID(two)+` +current +11$`, "keys", "keks", "--data", node.data)
	}
	knows("with the new key alone", nodes...)
	for _, node := range nodes {
		node.stop(t)
	}
}
