package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/devidp/devidptest"
	"github.com/imidentity/issuer/introspect"
)

// A victim is an issuer with a settings file, at an address that it keeps, which is killed and started again.
type victim struct {
	issuer   string // its URL
	database string
	admin    string
	listen   string // where it is served, also if a proxy stands in front

	folder string
	data   string // its data folder
	kills  int
	cmd    *exec.Cmd

	program string // empty for the program under test

	sockets     []*os.File // that a service manager passes; nil if it passes none
	socketNames string     // their names, with a colon between them
}

// secretHash is the SHA-256 of the secret of services, "test".
const secretHash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

const victimSettings = `
issuer: %[1]s
listen: %[2]s
data: %[4]q
development: true
outbound: {allow_networks: [127.0.0.0/8]}
domains:
  - name: example.com
    providers:
      - {id: dev, issuer: %[3]q, client_id: issuer, authoritative_handles: true}
clients:
  - id: im-app
    auth: none
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    domains: [example.com]
  - id: rooms
    auth: secret
    secret_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    scopes: [introspect, "introspect:domain"]
    domains: [example.com]
`

// people are how many there are at the provider.
const people = 16

func person(i int) string { return devidptest.Person(i) }

// newVictim makes the settings of an issuer, with further lines if there are any, and starts the provider of its people.
func newVictim(t *testing.T, further ...string) *victim {
	t.Helper()
	listen := freeAddress(t)
	v := &victim{issuer: "http://" + listen, listen: listen, folder: t.TempDir()}
	v.data = filepath.Join(v.folder, "data")
	v.database = filepath.Join(v.data, "issuer.db")

	provider := devidptest.Start(t, v.issuer+"/login/callback/dev", people)
	text := fmt.Sprintf(victimSettings, v.issuer, listen, provider, v.data) + strings.Join(further, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(v.folder, "issuer.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

// taken holds the addresses that freeAddress returned.
var taken sync.Map

// freeAddress returns an address that nobody listens at, and that no other test was given. It is outside the range from which
// the system assigns ports.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(10000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			if _, used := taken.LoadOrStore(address, true); !used {
				return address
			}
		}
	}
	t.Fatal("found no free port")
	return ""
}

// start starts the issuer on its data, with further flags if there are any, and waits until it serves.
func (v *victim) start(t *testing.T, flags ...string) {
	t.Helper()
	address := filepath.Join(v.folder, "addr")
	if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(v.folder, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v.cmd = exec.Command(cmp.Or(v.program, "issuer"), append([]string{"serve", "--config", v.config(), "--addr-file", address}, flags...)...)
	if v.sockets != nil { // as systemd does
		v.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, v.cmd.Args...)...)
		v.cmd.ExtraFiles = v.sockets
		v.cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(v.sockets)), "LISTEN_FDNAMES="+v.socketNames)
	}
	v.cmd.Stderr = log
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := v.cmd
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test fails before it does
	addr, err := readAddresses(address)
	if err != nil {
		t.Fatalf("%v\n%s", err, v.log(t))
	}
	v.admin, v.listen = addr["admin"], addr["listen"]
}

// kill ends the issuer as a loss of power would, but for what the system has not written yet.
func (v *victim) kill(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatalf("%v\n%s", err, v.log(t))
	}
	_ = v.cmd.Wait() // it tells of the signal
	v.kills++
}

// stop ends the issuer in good order and reads its log, in which no error has a place.
func (v *victim) stop(t *testing.T) {
	t.Helper()
	v.end(t, "level=ERROR")
}

// end is stop for an issuer that had to do with errors.
func (v *victim) end(t *testing.T, bad ...string) {
	t.Helper()
	if err := errors.Join(v.cmd.Process.Signal(os.Interrupt), v.cmd.Wait()); err != nil {
		t.Errorf("the issuer ended with %v", err)
	}
	log := v.log(t)
	for _, bad := range append(bad, "DATA RACE", "panic") {
		if strings.Contains(log, bad) {
			t.Errorf("the issuer's log has %s:\n%s", bad, log)
		}
	}
}

// config is the settings file.
func (v *victim) config() string { return filepath.Join(v.folder, "issuer.yaml") }

// introspected returns the answer about a token to the service rooms.
func (v *victim) introspected(token string) (introspect.Answer, error) {
	return answerTo(v, "rooms", "test", token)
}

// answerTo returns the answer about a token to a service.
func answerTo(v *victim, id, secret, token string) (introspect.Answer, error) {
	c, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: v.issuer, AllowLoopback: true, ClientID: id, Secret: secret, AllowUnproven: true, Timeout: time.Minute,
	})
	if err != nil {
		return introspect.Answer{}, err
	}
	result, err := c.Introspect(context.Background(), introspect.Question{Token: token})
	return result.Answer, err
}

// status returns how a GET request to the issuer is answered.
func (v *victim) status(t *testing.T, path string) int {
	t.Helper()
	resp, err := http.Get(v.issuer + path)
	if err != nil {
		t.Errorf("%v\n%s", err, v.log(t))
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// becomes waits until a GET request is answered with that status.
func (v *victim) becomes(t *testing.T, path string, status int) {
	t.Helper()
	got := 0
	for range 1500 {
		if got = v.status(t, path); got == status {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s = %d, want %d\n%s", path, got, status, v.log(t))
}

func (v *victim) log(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(v.folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}
