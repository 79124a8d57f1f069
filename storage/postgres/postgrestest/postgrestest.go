// Package postgrestest runs PostgreSQL servers for tests: Debian's, in a folder of its own, reached by a socket only. PostgreSQL refuses
// to run as root, so then it runs as the user that Debian's package created.
//
// A [Server] can be stopped, restarted and crashed, and have a [Server.Standby] that is promoted. A [Link] before it can be cut.
package postgrestest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Server is a PostgreSQL server.
type Server struct {
	dir  string // with the folders data and socket
	bin  string
	cred *syscall.Credential // nil for the user of the test
	cmd  *exec.Cmd
	log  *bytes.Buffer
	args []string
	done chan struct{} // closed when the server has ended
}

// New creates a server and starts it; settings are like "max_connections=20". Stop must be called in the end. Its commits do not wait for
// the disk unless the settings say "fsync=on": a crash of the server loses nothing then, only one of the machine would.
func New(settings ...string) (_ *Server, err error) {
	s := new(Server)
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if s.cred, err = credential("postgres"); err != nil {
			return nil, err
		}
	}
	if s.dir, err = newFolder(s.cred); err != nil {
		return nil, err
	}
	settings = append([]string{"listen_addresses=", "unix_socket_directories=" + s.dir, "fsync=off", "full_page_writes=off",
		"max_connections=100", "shared_buffers=32MB", "max_pred_locks_per_transaction=256", "autovacuum=off",
		"log_min_messages=fatal", "jit=off"}, settings...)
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	out, err := s.command("initdb", "-D", s.data(), "-U", "issuer", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
		"--no-instructions").CombinedOutput()
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("initdb: %v\n%s", err, out)
	}
	return s, nil
}

// newFolder creates a folder for a server. Its path is short, because the name of a socket is limited.
func newFolder(cred *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", "pg")
	if err == nil && cred != nil {
		err = os.Chown(dir, int(cred.Uid), int(cred.Gid))
	}
	return dir, err
}

// programs returns the folder of the programs of the newest PostgreSQL that is installed.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("there is no PostgreSQL: `make setup` installs it")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// Start starts a server that has stopped, and waits until it takes connections.
func (s *Server) Start() error {
	s.log = new(bytes.Buffer)
	s.cmd = s.command("postgres", append([]string{"-D", s.data()}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() {
		_ = cmd.Wait() // it is told to end by a signal
		close(done)
	}()
	for {
		if out, err := s.command("pg_isready", "-q", "-h", s.dir, "-t", "5").CombinedOutput(); err == nil {
			return nil
		} else if _, ok := err.(*exec.ExitError); !ok {
			return fmt.Errorf("pg_isready: %v\n%s", err, out)
		}
		select {
		case <-done:
			return fmt.Errorf("postgres ended: %s", s.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the server and waits until it has ended: SIGINT ends connections, SIGQUIT is a crash.
func (s *Server) Signal(signal os.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	<-s.done
	s.cmd = nil
}

// Stop ends the server and removes its files.
func (s *Server) Stop() {
	s.Signal(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}

// URL returns the URL of a database.
func (s *Server) URL(database string) string {
	return "postgres://issuer@/" + database + "?host=" + s.dir
}

// Socket returns the path of the socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Folder returns the folder of the socket.
func (s *Server) Folder() string { return s.dir }

// Dial connects to the server, as a proxy before it does.
func (s *Server) Dial() (net.Conn, error) { return net.Dial("unix", s.Socket()) }

// Command returns a command of PostgreSQL that runs as the user of the server, such as "psql".
func (s *Server) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	return s.command(name, args...)
}
