//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// hasCPUTime tells whether [cpuTime] reports CPU time. Here it reports elapsed time.
const hasCPUTime = false

var begin = time.Now()

func separate() placement { return placement{measured: -1, load: -1} }

func (p placement) start(cmd *exec.Cmd) error { return cmd.Start() }

func cpuTime(int) (time.Duration, error) { return time.Since(begin), nil }

func inMemory(string) bool { return false }

func running(int) bool { return true }

func residentSet(int) (int64, error) {
	return 0, errors.New("the memory of a process is read on Linux only")
}

func forgetFile(string) error { return errors.New("the page cache is emptied on Linux only") }
