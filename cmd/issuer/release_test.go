package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A release is a commit of this repository from which tests build the program as it was. The tag makes every clone fetch the commit.
type release struct{ tag, commit string }

var (
	// beforePostgres is the state before PostgreSQL came, with the schema of SQLite as it was then, number 32.
	beforePostgres = release{"upgrade-base-sqlite", "9c77f031fd265f795a4893b4a1db57b5b442b5b6"}
	// firstPostgres is the last state with the schema with which the program first ran on PostgreSQL, number 3.
	firstPostgres = release{"upgrade-base-postgres", "eb50335dc32068c237a122a8d0cb2faa10194853"}
)

// build returns the program of a release, as make build makes it.
func (r release) build(t *testing.T) string {
	t.Helper()
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := exec.Command("git", "-C", repository, "rev-parse", "--verify", "--quiet", r.tag+"^{commit}").Output(); err == nil &&
		strings.TrimSpace(string(at)) != r.commit {
		t.Fatalf("the tag %s is at %s, want %s", r.tag, at, r.commit)
	}
	if out, err := exec.Command("git", "-C", repository, "cat-file", "-e", r.commit+"^{commit}").CombinedOutput(); err != nil {
		t.Fatalf("there is no commit %s, the tag %s: this test needs the history of the repository. In a shallow clone, run "+
			"`git fetch --unshallow --tags`.\n%s", r.commit, r.tag, out)
	}
	folder := t.TempDir()
	unpack := exec.Command("bash", "-eu", "-o", "pipefail", "-c", `git -C "$1" archive "$2" | tar -x -C "$3"`, "bash", repository, r.commit, folder)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("git archive %s: %v\n%s", r.commit, err, out)
	}
	binary := filepath.Join(folder, "bin", "issuer")
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/issuer")
	build.Dir, build.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return binary
}
