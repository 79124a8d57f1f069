package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hasCPUTime tells whether [cpuTime] reports CPU time. Elsewhere it reports elapsed time.
const hasCPUTime = true

// separate pins this process to one core and returns where the measured processes run: on another core, if there is one.
func separate() placement {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil || allowed.Count() < 2 {
		return placement{measured: -1, load: -1}
	}
	// The first and the last, which are hardly two threads of one core.
	p := placement{measured: -1}
	for core, left := 0, allowed.Count(); left > 0; core++ {
		if allowed.IsSet(core) {
			if p.measured < 0 {
				p.measured = core
			}
			p.load = core
			left--
		}
	}
	// New threads take over the affinity of the thread that starts them.
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil || len(tasks) == 0 {
		return placement{measured: -1, load: -1}
	}
	for _, task := range tasks {
		if id, err := strconv.Atoi(filepath.Base(task)); err == nil {
			_ = pin(id, p.load) // fails for a thread that has ended
		}
	}
	runtime.GOMAXPROCS(1)
	return p
}

// start starts a process on the core of the measured processes.
func (p placement) start(cmd *exec.Cmd) error {
	if p.measured < 0 {
		return cmd.Start()
	}
	runtime.LockOSThread() // a process takes over the affinity of the thread that starts it
	defer runtime.UnlockOSThread()
	if err := pin(0, p.measured); err != nil {
		return fmt.Errorf("pin to core %d: %w", p.measured, err)
	}
	err := cmd.Start()
	if again := pin(0, p.load); err == nil && again != nil {
		err = fmt.Errorf("pin to core %d: %w", p.load, again)
	}
	return err
}

func pin(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(thread, &set)
}

// cpuTime returns the CPU time of all threads of a process so far.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, file := range files {
		line, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		if err != nil {
			return 0, err
		}
		d, err := parseSchedstat(string(line))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += d
	}
	if sum == 0 {
		return 0, fmt.Errorf("process %d has no CPU time: it has ended, or the kernel keeps no schedstat", pid)
	}
	return sum, nil
}

// inMemory reports whether a folder is in a file system without a disk.
func inMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}

// running reports whether a child process has not ended.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") // ended, and not waited for
}

// residentSet returns the bytes of memory that a process holds.
func residentSet(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kilobytes * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmRSS in its status", pid)
}

// forgetFile drops the pages of a file from the page cache, so that the next reader reads from the disk.
func forgetFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
