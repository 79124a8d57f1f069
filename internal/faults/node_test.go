package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A node is a process of the issuer that is started again whenever it ends, as a service manager does.
type node struct {
	name   string
	listen string
	folder string
	ledger *ledger
	http   *http.Client // sends every request to this node, whatever its URL says

	mu     sync.Mutex
	cmd    *exec.Cmd
	lives  []*life
	offset time.Duration // of the clock, from the next start on
	pause  time.Duration // before the next start
	ending bool
	gone   chan struct{} // closed when the node does not start any more
}

// A life is one process of a node.
type life struct {
	served time.Time // when it took connections; the zero time if it did not
	ended  time.Time // before it was killed, or after it ended; the zero time if it runs
	killed bool
}

func (n *node) config() string { return filepath.Join(n.folder, "issuer.yaml") }

// start starts the node, and keeps it running until stop.
func (n *node) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(n.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n.gone = make(chan struct{})
	n.http = &http.Client{Timeout: patience, CheckRedirect: noRedirect, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, n.listen)
		}}}
	go func() {
		defer close(n.gone)
		defer log.Close()
		for n.live(log) {
		}
	}()
}

func (n *node) logFile() string { return filepath.Join(n.folder, "log") }

// live runs one process and reports whether there shall be another one.
func (n *node) live(log *os.File) bool {
	n.mu.Lock()
	if n.ending {
		n.mu.Unlock()
		return false
	}
	args := []string{"serve", "--config", n.config()}
	if n.offset != 0 {
		args = append(args, "--clock-offset", n.offset.String())
	}
	fmt.Fprintf(log, "--- %s: %v\n", n.ledger.at(time.Now()), args)
	cmd := exec.Command(program, args...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l := new(life)
	err := cmd.Start()
	if err == nil {
		n.cmd = cmd
		n.lives = append(n.lives, l)
	}
	n.mu.Unlock()
	if err != nil {
		n.ledger.broken("node %s does not start: %v", n.name, err)
		return false
	}
	over := make(chan struct{})
	go n.watch(l, over)
	err = cmd.Wait()
	close(over)
	n.mu.Lock()
	if l.ended.IsZero() {
		l.ended = time.Now()
	}
	pause, ending := n.pause, n.ending
	n.cmd, n.pause = nil, 100*time.Millisecond
	n.mu.Unlock()
	// Code 3 says that the database did not answer at the start, and that a service manager may try again.
	if exit := (*exec.ExitError)(nil); !l.killed && !ending && (!errors.As(err, &exit) || exit.ExitCode() != 3 || !l.served.IsZero()) {
		n.ledger.broken("node %s ended by itself: %v", n.name, err)
	}
	time.Sleep(pause)
	return true
}

// watch notes when the process takes connections.
func (n *node) watch(l *life, over <-chan struct{}) {
	for {
		if conn, err := net.Dial("tcp", n.listen); err == nil {
			conn.Close()
			n.mu.Lock()
			l.served = time.Now()
			n.mu.Unlock()
			return
		}
		select {
		case <-over:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends the process as kill -9 does, and has the next one start after a pause, with a clock that is off.
func (n *node) kill(pause, offset time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pause, n.offset = pause, offset
	if n.cmd == nil {
		return
	}
	l := n.lives[len(n.lives)-1]
	l.ended, l.killed = time.Now(), true
	_ = n.cmd.Process.Kill()
}

// stop ends the node.
func (n *node) stop() {
	n.mu.Lock()
	n.ending = true
	cmd := n.cmd
	if cmd != nil {
		n.lives[len(n.lives)-1].ended = time.Now()
	}
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(os.Interrupt)
	}
	<-n.gone
}

// ran reports whether one process of the node took connections all through a time.
func (n *node) ran(from, to time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lives {
		if !l.served.IsZero() && l.served.Before(from) && (l.ended.IsZero() || l.ended.After(to)) {
			return true
		}
	}
	return false
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
