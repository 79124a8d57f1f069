package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pod is a folder with settings and a volume of secrets, as Kubernetes lays it out, and the user that may read them.
type pod struct {
	folder  string // also that of the binary
	secrets string
	user    *syscall.Credential // nil: that of the test
	gid     int                 // the group of the secrets
}

// newPod makes a volume whose files the group of the issuer can read. Run as root, the issuer has a user of its own, and
// the files are of root; else they are of the user that the test runs as.
func newPod(t *testing.T) *pod {
	t.Helper()
	folder, err := os.MkdirTemp("", "issuer-pod") // not TempDir: another user must get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := &pod{folder: folder, secrets: filepath.Join(folder, "secrets"), gid: os.Getegid()}
	data := filepath.Join(folder, "data")
	err = errors.Join(os.Chmod(folder, 0o755), os.Mkdir(p.secrets, 0o755), os.Mkdir(data, 0o700))
	if os.Geteuid() == 0 {
		p.gid = 23456
		p.user = &syscall.Credential{Uid: 12345, Gid: 12345, Groups: []uint32{23456}}
		err = errors.Join(err, os.Chown(data, 12345, 12345))
	}
	from, err2 := exec.LookPath("issuer")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	copyFile(t, from, filepath.Join(folder, "issuer"))
	version := filepath.Join(p.secrets, "..2026_11_27")
	err = errors.Join(os.Mkdir(version, 0o755), os.Symlink("..2026_11_27", filepath.Join(p.secrets, "..data")))
	for name, text := range map[string]string{"kek": strings.Repeat("5a", 32), "corp": "s3cret"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(version, name), []byte(text), 0o600), os.Symlink("..data/"+name, filepath.Join(p.secrets, name)))
	}
	p.mode(t, 0o440)
	settings := fmt.Sprintf("issuer: http://127.0.0.1:8080\nlisten: 127.0.0.1:0\ndevelopment: true\ndata: %s\nkek_file: secrets/kek\n"+
		"domains:\n  - name: acme.im\n    providers:\n"+
		"      - {id: corp, issuer: \"https://login.acme.im\", client_id: x, client_secret_file: secrets/corp, authoritative_handles: true}\n", data)
	if err := errors.Join(err, os.WriteFile(filepath.Join(folder, "issuer.yaml"), []byte(settings), 0o644)); err != nil {
		t.Fatal(err)
	}
	return p
}

// mode gives the secrets these permissions.
func (p *pod) mode(t *testing.T, mode os.FileMode) {
	t.Helper()
	for _, name := range []string{"kek", "corp"} {
		file := filepath.Join(p.secrets, name)
		err := os.Chmod(file, mode)
		if p.user != nil {
			err = errors.Join(err, os.Chown(file, 0, p.gid))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// command prepares the issuer to run as the user of the pod.
func (p *pod) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.folder, "issuer"), args...)
	cmd.Dir = p.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	return cmd
}

func (p *pod) run(args ...string) string {
	out, _ := p.command(args...).CombinedOutput() // what it says is what counts
	return string(out)
}

// TestReviewE7ProjectedVolume runs the issuer on secrets that only its group lets it read, through the links of a projected
// volume. Config check, doctor and serve agree, also on files that everybody can read.
func TestReviewE7ProjectedVolume(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	if out := p.run("config", "check", "issuer.yaml"); !strings.Contains(out, "issuer.yaml is valid") {
		t.Errorf("config check = %s", out)
	}
	address := filepath.Join(p.folder, "data", "addr.json")
	cmd := p.command("serve", "--config", "issuer.yaml", "--addr-file", address)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if _, err := readAddressesOf(address, ended); err != nil {
		t.Fatalf("serve: %v\n%s", err, log.String())
	}
	out := p.run("doctor", "--config", "issuer.yaml")
	if !strings.Contains(out, "ok       files:") || strings.Contains(out, "fail     files:") || strings.Contains(out, "fail     settings:") {
		t.Errorf("doctor = %s", out)
	}
	if err := errors.Join(cmd.Process.Signal(os.Interrupt), <-ended); err != nil {
		t.Errorf("serve ended with %v\n%s", err, log.String())
	}

	p.mode(t, 0o444)
	for _, command := range []string{"config check issuer.yaml", "serve --config issuer.yaml", "doctor --config issuer.yaml"} {
		for _, name := range []string{"kek", "corp"} {
			if out := p.run(strings.Fields(command)...); !strings.Contains(out, "secrets/"+name+" is open to every user (mode 0444): run `ch") {
				t.Errorf("issuer %s says nothing of %s that everybody can read:\n%s", command, name, out)
			}
		}
	}
}

// readAddressesOf is readAddresses for a process that may end before it writes its addresses.
func readAddressesOf(file string, ended <-chan error) (map[string]string, error) {
	got := make(chan error, 1)
	var addr map[string]string
	go func() {
		var err error
		addr, err = readAddresses(file)
		got <- err
	}()
	select {
	case err := <-got:
		return addr, err
	case err := <-ended:
		return nil, fmt.Errorf("ended: %w", errors.Join(err, errors.New("before it served")))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
