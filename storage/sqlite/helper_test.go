package sqlite_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// helpers are what the test binary does in a process of its own when the environment names one. They get the path of
// a database and tell the test what they have done line by line.
var helpers = map[string]func(path string) error{
	"hold":     hold,
	"write":    writeUntilKilled,
	"unwanted": openWithoutRights,
	"full":     fillDisk,
	"log":      fillLog,
	"end":      endUntilKilled,
}

const helperVar, pathVar = "SQLITE_TEST_HELPER", "SQLITE_TEST_PATH"

func TestMain(m *testing.M) {
	if helper, ok := helpers[os.Getenv(helperVar)]; ok {
		if err := helper(os.Getenv(pathVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A process is a helper that runs.
type process struct {
	*exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

// start starts a helper, which ends with the test at the latest.
func start(t *testing.T, helper, path string) process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), helperVar+"="+helper, pathVar+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return process{cmd, stdin, bufio.NewScanner(stdout)}
}

// line returns the next line that the helper prints.
func (p process) line(t *testing.T) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the helper ended early: %v, %v", p.lines.Err(), p.Wait())
	}
	return p.lines.Text()
}
