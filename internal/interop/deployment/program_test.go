package deployment

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// root is the folder of the sources.
const root = "../../.."

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "deployment")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = sync.OnceValues(func() (string, error) {
		binary := filepath.Join(folder, "issuer")
		build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/issuer")
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", build, err, out)
		}
		return binary, nil
	})
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// program returns the issuer, which is built once.
var program func() (string, error)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "packaging", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkSettings has `issuer config check` read settings, with real names and with the secrets in a folder that they name.
func checkSettings(t *testing.T, text, secrets string, env ...string) {
	t.Helper()
	issuer, err := program()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range map[string]string{
		"kek": strings.Repeat("5a", 32), "corp-secret": "s3cret", "storage-url": "postgres://issuer:s3cret@/issuer?host=/run/postgresql",
		"redis-url":   "redis://:s3cret@10.0.0.20:6379/0",
		"issuer.yaml": strings.NewReplacer(secrets+"/", folder+"/", "your-domain.tld", "acme.im").Replace(text),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range regexp.MustCompile(`(?m)^\s*\w+_file: (\S+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(file[1], secrets+"/") {
			t.Errorf("the settings name %s, which is not in %s", file[1], secrets)
		}
	}
	cmd := exec.Command(issuer, "config", "check", filepath.Join(folder, "issuer.yaml"))
	for i, variable := range env {
		env[i] = strings.ReplaceAll(variable, secrets, folder)
	}
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("config check = %v\n%s", err, out)
	}
}
