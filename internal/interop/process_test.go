package interop_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// node returns the command that runs a script of this folder: by the Node of package-lock.json, or, where that has none
// for the platform, by the one on the path.
func node(t *testing.T, ctx context.Context, script string, env map[string]string) *exec.Cmd {
	t.Helper()
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	binary := "node_modules/node-" + runtime.GOOS + "-" + cmp.Or(arch, runtime.GOARCH) + "/bin/node"
	if _, err := os.Stat(binary); err != nil {
		if binary, err = exec.LookPath("node"); err != nil {
			t.Fatalf("%v; make setup installs one", err)
		}
	}
	cmd := exec.CommandContext(ctx, binary, script)
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// ready starts a program that serves until the test ends, then stops in good order. It returns the value of member in
// the first line of the program's output that is a JSON object with such a member. All output is in the test's log.
func ready(t *testing.T, cmd *exec.Cmd, member string) string {
	t.Helper()
	output, input := io.Pipe()
	cmd.Stdout, cmd.Stderr = input, input
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	go func() {
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
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := cmd.Wait() // tells of the end of the test, too; the exit code says how the program took it
		if !cmd.ProcessState.Success() {
			t.Errorf("%v: %v", cmd, err)
		}
		_ = input.Close()
	}()
	t.Cleanup(func() {
		<-ended // the test's context has asked it to end; asking twice would end it at once
		for range found {
		}
	})
	value, ok := <-found
	if !ok {
		t.Fatalf("%v ended before it was ready", cmd)
	}
	return value
}
