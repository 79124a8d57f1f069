package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A devIssuer is a running issuer serve --dev in a folder of its own.
type devIssuer struct {
	folder, greeting, log string
	addr                  map[string]string
}

// serveDev starts a development issuer with these variables and flags, and ends it with the test.
func serveDev(t *testing.T, env []string, flags ...string) *devIssuer {
	t.Helper()
	d := &devIssuer{folder: t.TempDir()}
	d.greeting, d.log = filepath.Join(d.folder, "greeting"), filepath.Join(d.folder, "log")
	file := func(path string) *os.File {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	cmd := exec.Command("issuer", append([]string{"serve", "--dev", "--dev-idp-listen", "127.0.0.1:0", "--addr-file", "addr"}, flags...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = d.folder, append(os.Environ(), env...), file(d.greeting), file(d.log)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	addr, err := readAddressesOf(filepath.Join(d.folder, "addr"), ended)
	if err != nil {
		ended <- nil
		t.Fatalf("%v\n%s", err, d.read(t, d.log))
	}
	d.addr = addr
	return d
}

func (d *devIssuer) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReviewD4DevHonoursSettings holds that variables, an overlay and flags change the development issuer as they change any.
func TestReviewD4DevHonoursSettings(t *testing.T) {
	t.Parallel()
	overlay := filepath.Join(t.TempDir(), "mine.yaml")
	text := "limits: {devices_per_user: 7}\nclients:\n  - {id: im-app, name: Renamed}\n" +
		"  - {id: mine, auth: none, grants: [authorization_code], domains: [example.com], redirect_uris: [\"http://127.0.0.1/cb\"]}\n"
	if err := os.WriteFile(overlay, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := serveDev(t, []string{"ISSUER_LISTEN=127.0.0.1:0", "ISSUER_LIFETIMES__ACCESS=3m"}, "--config", overlay, "--log-level", "debug")
	app, err := newApp(d.addr["issuer"])
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.login("alice")
	if err != nil {
		t.Fatal(err)
	}
	if tokens.ExpiresIn > 180 { // 600 without the variable; the seconds are whole
		t.Errorf("the access token lives %d s, want the 180 of the variable at most", tokens.ExpiresIn)
	}
	list := exec.Command("issuer", "clients", "list")
	list.Dir = d.folder
	out, err := list.CombinedOutput()
	for _, want := range []string{"im-app ", "mine ", "peer ", "bot "} {
		if err != nil || !strings.Contains(string(out), "\n"+want) {
			t.Errorf("clients list = %v, want %s\n%s", err, want, out)
		}
	}
	if log := d.read(t, d.log); !strings.Contains(log, "level=DEBUG") {
		t.Errorf("--log-level debug logs nothing at that level:\n%s", log)
	}
	bad := exec.Command("issuer", "serve", "--dev", "--listen", "127.0.0.1:0", "--dev-idp-listen", "127.0.0.1:0", "--config", overlay)
	bad.Dir = t.TempDir()
	if err := os.WriteFile(overlay, []byte("limits:\n  devices_per_user: 0\nlog: {level: loud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad.Env = append(os.Environ(), "ISSUER_LIFETIMES__CODE=1h")
	out, _ = bad.CombinedOutput()
	for _, want := range []string{overlay + ":2: limits.devices_per_user: must be", overlay + ":3: log.level: ", "environment ISSUER_LIFETIMES__CODE: lifetimes.code: must be"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("serve --dev with faults = %s, want %s", out, want)
		}
	}
}

// TestReviewD4DevGreets holds that the greeting names URL, people and commands, and that what it says to paste works.
func TestReviewD4DevGreets(t *testing.T) {
	t.Parallel()
	d := serveDev(t, nil, "--listen", "127.0.0.1:0", "--data", "my data")
	greeting := ""
	for range 500 { // it is written after the addresses
		if greeting = d.read(t, d.greeting); strings.Contains(greeting, "issuer introspect") {
			break
		}
		if err := exec.Command("sleep", "0.02").Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"runs at " + d.addr["issuer"] + ",", "alice (password alice)", "bob (password bob)",
		"\n  . 'my data/dev.env'\n", "\n  issuer login\n", "\n  issuer introspect \"$(issuer token)\"\n"} {
		if !strings.Contains(greeting, want) {
			t.Errorf("no %q in the greeting\n%s", want, greeting)
		}
	}
	app, err := newApp(d.addr["issuer"])
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.login("bob")
	if err != nil {
		t.Fatal(err)
	}
	// Exported: a program that the shell starts has the variables.
	ask := exec.Command("bash", "-c", `. 'my data/dev.env' && issuer introspect "$TOKEN"`)
	ask.Dir, ask.Env = d.folder, append(os.Environ(), "TOKEN="+tokens.AccessToken)
	if out, err := ask.CombinedOutput(); err != nil || !strings.Contains(string(out), `"username": "@bob@example.com"`) {
		t.Errorf("introspect = %v\n%s", err, out)
	}
}

// TestReviewD4PortClash holds that an address in use is reported with the flag that chooses another one.
func TestReviewD4PortClash(t *testing.T) {
	t.Parallel()
	d := serveDev(t, nil, "--listen", "127.0.0.1:0")
	idp := strings.TrimPrefix(d.addr["idp"], "http://")
	for flag, args := range map[string][]string{
		"--listen":         {"--listen", d.addr["listen"], "--dev-idp-listen", "127.0.0.1:0"},
		"--dev-idp-listen": {"--listen", "127.0.0.1:0", "--dev-idp-listen", idp},
	} {
		cmd := exec.Command("issuer", append([]string{"serve", "--dev"}, args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "address already in use: choose another address with "+flag+" HOST:PORT") {
			t.Errorf("serve at an address in use = %v, %s, want the flag %s", err, out, flag)
		}
	}
}
