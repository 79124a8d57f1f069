package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const mayMountVar = "TEST_MAY_MOUNT"

// mayMount makes sure that the test may mount file systems. Who is not root runs it once more in a namespace where she
// is, and mayMount returns false when that is done. Where the system allows neither, the test fails.
func mayMount(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	if err == nil {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getenv(mayMountVar) != "" || !errors.Is(err, syscall.EPERM) {
		t.Fatalf("mount a tmpfs: %v; run the tests as root, or allow user namespaces", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mayMountVar+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a namespace of its own: %v\n%s\nrun the tests as root, or allow user namespaces", err, out)
	}
	t.Logf("in a namespace of its own:\n%s", out)
	return false
}

// mount mounts a small file system in memory at dir, which is made if it is not there.
func mount(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// remount makes what is mounted at dir read-only, or writable again.
func remount(t *testing.T, dir string, readOnly bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, ""); err != nil {
		t.Fatal(err)
	}
}
