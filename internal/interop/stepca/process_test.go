package stepca_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// modules is the folder with the packages of npm.
const modules = ".."

// built is the folder of the program, which TestMain makes.
var built string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "stepca"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(built, "issuer"), "./cmd/issuer")
	build.Dir, build.Env = "../../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return m.Run()
}

// issuerCommand runs the issuer's command line.
func issuerCommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(built, "issuer"), args...)
}

// node returns a command that runs a script of this folder.
func node(t *testing.T, ctx context.Context, script string, env ...string) *exec.Cmd {
	t.Helper()
	folder, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	binary := filepath.Join(folder, "node_modules", "node-"+runtime.GOOS+"-"+arch, "bin", "node")
	if _, err := os.Stat(binary); err != nil {
		if binary, err = exec.LookPath("node"); err != nil {
			t.Fatalf("%v; make setup installs one", err)
		}
	}
	cmd := exec.CommandContext(ctx, binary, script)
	cmd.Env = append(append(os.Environ(), "MODULES="+folder), env...)
	return cmd
}

// ready starts a program that serves until the test ends. It returns the value of member in the first line of its output that is a JSON
// object with it. All output is in the log of the test.
func ready(t *testing.T, cmd *exec.Cmd, member string) string {
	t.Helper()
	output, input := io.Pipe()
	cmd.Stdout, cmd.Stderr = input, input
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(found)
		sent := false
		for lines := bufio.NewScanner(output); lines.Scan(); {
			t.Log(lines.Text())
			var object map[string]any
			if sent || json.Unmarshal(lines.Bytes(), &object) != nil {
				continue
			}
			if value, ok := object[member].(string); ok {
				found <- value
				sent = true
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = input.Close()
		<-ended
	})
	value, ok := <-found
	if !ok {
		t.Fatalf("%v ended", cmd)
	}
	return value
}

// freeAddress returns an address of this machine at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// write writes a file into dir and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// key returns the public key of the issuer for step-ca, as ca.json has it.
func key(t *testing.T, ctx context.Context, settings string) string {
	t.Helper()
	out, err := issuerCommand(ctx, "wire", "key", "--base64", "--config", settings).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
