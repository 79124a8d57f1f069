package interop_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDeploy does what docs/deploy.md says, word for word: a node under systemd's unit, three nodes with PostgreSQL behind HAProxy, and
// their upgrade, during which a client sees no error but 503. The machines are mount namespaces in a network of their own; the package,
// PostgreSQL and HAProxy are real, and a script starts the units instead of systemd. It needs root, or sudo.
func TestDeploy(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // of what hangs
	defer cancel()
	text, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "deploy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elevated(context.Background(), "rm", "-rf", dir).Run() })
	parts := 0
	for _, m := range fences.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "sh" {
			continue
		}
		kind := regexp.MustCompile(`^# on ([a-z ]+)`).FindStringSubmatch(m[2])
		if kind == nil {
			t.Fatalf("a block of docs/deploy.md does not say on which machine:\n%s", m[2])
		}
		parts++
		write(t, dir, map[string]string{fmt.Sprintf("part-%02d", parts): m[2], fmt.Sprintf("kind-%02d", parts): kind[1]})
	}
	if parts < 7 {
		t.Fatalf("docs/deploy.md has %d blocks, want 7", parts)
	}
	if out, err := exec.Command("../../packaging/deb/build", program(t, "./cmd/issuer"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	front, key := selfSigned(t, "im-id."+strange)
	db, dbKey := selfSigned(t, "db."+strange)
	write(t, dir, map[string]string{"cert.pem": db, "key.pem": dbKey, "db-ca.pem": db, "certificate-and-key.pem": front + key, "ca.pem": front,
		"kek": strings.Repeat("5a", 32) + "\n"})
	stand, err := os.ReadFile("testdata/systemctl")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"systemctl": string(stand)})
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL and the nodes have users of their own
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := elevated(ctx, "env", "T="+dir, "ROOT="+root, "DOMAIN="+strange, "PROVIDER_SECRET="+secret, "DB_PASSWORD=s3cretOfTheDatabase",
		"CURL_CA_BUNDLE="+dir+"/ca.pem", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
		"unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-eu", "-o", "pipefail", mustAbs(t, "testdata/deploy.sh"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	_, answers, _ := strings.Cut(string(out), "== answers\n")
	counted := regexp.MustCompile(`(?m)^ *\d+ (\S+)$`).FindAllStringSubmatch(answers, -1)
	if len(counted) == 0 {
		t.Error("the client had no answers")
	}
	for _, m := range counted {
		if m[1] != "200" && m[1] != "503" {
			t.Errorf("the client saw %s", strings.TrimSpace(m[0]))
		}
	}
	if n := strings.Count(string(out), `{"active":false}`); n != 3 {
		t.Errorf("%d answers of introspection, want 3", n)
	}
	if n := strings.Count(string(out), `{"status":"ready"}`); n != 8 {
		t.Errorf("%d times ready, want 8", n)
	}
}

// elevated returns a command that runs as root.
func elevated(ctx context.Context, args ...string) *exec.Cmd {
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	return exec.CommandContext(ctx, args[0], args[1:]...)
}
