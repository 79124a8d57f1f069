package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReviewD6Notify holds that the issuer tells a service manager when it serves and when it stops.
func TestReviewD6Notify(t *testing.T) {
	v := newVictim(t)
	dir, err := os.MkdirTemp("", "notify") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	told := func() string {
		t.Helper()
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute)) // of what never comes
		state := make([]byte, 256)
		n, err := manager.Read(state)
		if err != nil {
			t.Fatalf("%v\n%s", err, v.log(t))
		}
		return string(state[:n])
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	v.start(t)
	if got := told(); got != "READY=1" {
		t.Errorf("the issuer tells %q, want READY=1", got)
	}
	if got := v.status(t, "/healthz"); got != 200 {
		t.Errorf("/healthz = %d once it is ready", got)
	}
	v.stop(t)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("the issuer tells %q, want STOPPING=1", got)
	}
}

// TestReviewD6Unit holds the unit to a rating by systemd and to what docs/operate.md says of it.
func TestReviewD6Unit(t *testing.T) {
	unit, err := os.ReadFile(root + "/packaging/issuer.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", "UMask=0077", "StateDirectory=issuer", "User=issuer", "ExecReload=/bin/kill -HUP $MAINPID",
		"#LoadCredential=kek:/etc/issuer/kek", "ExecStart=/usr/local/bin/issuer serve --config /etc/issuer/issuer.yaml"} {
		if !slices.Contains(strings.Split(string(unit), "\n"), line) {
			t.Errorf("the unit has no line %s", line)
		}
	}
	file := filepath.Join(t.TempDir(), "issuer.service")
	for name, text := range map[string]string{
		"behind a proxy": string(unit),
		"on port 443": regexp.MustCompile(`(?m)^#(AmbientCapabilities|CapabilityBoundingSet|PrivateUsers)=`).ReplaceAllString(
			regexp.MustCompile(`(?m)^(AmbientCapabilities|CapabilityBoundingSet|PrivateUsers)=.*\n`).ReplaceAllString(string(unit), ""), "$1="),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Overall exposure level") {
			t.Errorf("%s: systemd-analyze (`make setup` installs it) = %v, want 2.0 at most\n%s", name, err, out)
		}
	}
}

// TestSocketUnit holds the unit of the public socket to the checks of systemd, and to the name that the issuer knows.
func TestSocketUnit(t *testing.T) {
	t.Parallel()
	if !strings.Contains(readDoc(t, "packaging/issuer.socket"), "\nFileDescriptorName=public\n") {
		t.Error("packaging/issuer.socket does not name its socket public")
	}
	out, err := exec.Command("systemd-analyze", "verify", root+"/packaging/issuer.socket").CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze verify (`make setup` installs it) = %v\n%s", err, out)
	}
}

// TestReviewD6BuildStrips holds that make build leaves the symbols out, which are a third of the program.
func TestReviewD6BuildStrips(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("make", "-n", "build")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `-ldflags "-s -w"`) {
		t.Errorf("make build = %v, %s, want it to strip", err, out)
	}
}
