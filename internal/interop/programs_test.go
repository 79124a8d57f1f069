package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is the folder of the programs that the tests build.
var built string

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "interop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

// programs holds a function for each folder that program was asked for.
var programs sync.Map

// program returns a program of the module around this one, named by its folder. It is built once for all tests.
func program(t *testing.T, folder string) string {
	t.Helper()
	build, _ := programs.LoadOrStore(folder, sync.OnceValues(func() (string, error) { return compile("../..", folder) }))
	binary, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// compile builds a program of the module that dir is in, with the flags of make build.
func compile(dir, folder string) (string, error) {
	binary := filepath.Join(built, filepath.Base(folder))
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary, folder)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return binary, nil
}
