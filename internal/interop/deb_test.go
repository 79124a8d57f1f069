package interop_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDebianPackage builds the Debian package, installs it into a folder as dpkg does, and starts the issuer that it has installed.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s = %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	folder := t.TempDir()
	file := run("../../packaging/deb/build", program(t, "./cmd/issuer"), folder)

	root := filepath.Join(folder, "root")
	for _, dir := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// The root has no other packages, and the user of the test may not be root.
	dpkg := []string{"--root=" + root, "--force-depends", "--force-not-root", "--force-script-chrootless", "--log=/dev/null"}
	run("dpkg", append(dpkg, "--install", file)...)
	if changed := run("dpkg", append(dpkg, "--verify", "issuer")...); changed != "" {
		t.Errorf("dpkg --verify = %s, want nothing", changed)
	}
	for path, mode := range map[string]os.FileMode{
		"etc/issuer": 0o750 | os.ModeDir, "etc/issuer-gateway": 0o750 | os.ModeDir, "usr/lib/sysusers.d/issuer.conf": 0o644,
		"usr/share/bash-completion/completions/issuer": 0o644, "usr/share/doc/issuer/docs/operate.md": 0o644,
		"usr/share/doc/issuer/packaging/prometheus/issuer.rules.yml": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(root, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s is %v, %v, want %v", path, info, err, mode)
		}
	}
	program := filepath.Join(root, "usr/bin/issuer")
	units := t.TempDir()
	for _, unit := range []string{"issuer.service", "issuer-gateway.service", "issuer.socket"} {
		text, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system", unit))
		if err != nil {
			t.Fatal(err)
		}
		// systemd looks for the program, which is in the root here.
		here := strings.ReplaceAll(string(text), "ExecStart=/usr/bin/issuer ", "ExecStart="+program+" ")
		if strings.HasSuffix(unit, ".service") && here == string(text) {
			t.Errorf("%s does not start /usr/bin/issuer", unit)
		}
		path := filepath.Join(units, unit)
		if err := os.WriteFile(path, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		run("systemd-analyze", "verify", path)
	}

	if v := run(program, "version"); !strings.HasPrefix(v, "issuer 0.") {
		t.Errorf("issuer version = %s", v)
	}
	settings := filepath.Join(root, "etc/issuer/issuer.yaml")
	text := fmt.Sprintf("issuer: http://127.0.0.1:8080\nlisten: 127.0.0.1:0\ndata: %q\ndevelopment: true\n"+
		"domains: [{name: example.com, providers: [{id: corp, issuer: \"http://127.0.0.1:1\", client_id: issuer}]}]\n", filepath.Join(root, "var/lib/issuer"))
	if err := os.WriteFile(settings, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	at := ready(t, exec.CommandContext(t.Context(), program, "serve", "--config", settings, "--log-format", "json"), "listen")
	resp, err := http.Get("http://" + at + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz = %s, want 200", resp.Status)
	}
	// A removal and a purge leave keys and data. The issuer ends with the test, in good order.
	run("dpkg", append(dpkg, "--purge", "issuer")...)
	if _, err := os.Stat(program); !os.IsNotExist(err) {
		t.Errorf("the program after a purge: %v, want none", err)
	}
	for _, path := range []string{"etc/issuer/issuer.yaml", "var/lib/issuer/issuer.db"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("%s after a purge: %v, want it kept", path, err)
		}
	}
}
