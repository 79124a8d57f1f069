package postgrestest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Pooler is a PgBouncer between clients and a server.
type Pooler struct {
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the pooler has ended
}

// NewPooler starts a pooler before a server. It runs the statements onConnect, if there are any, in each session of the server. settings
// are lines of its configuration, like "pool_mode = transaction". Close must be called in the end.
func NewPooler(s *Server, onConnect string, settings ...string) (_ *Pooler, err error) {
	p := &Pooler{done: make(chan struct{})}
	if p.dir, err = newFolder(s.cred); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	database := "* = host=" + s.dir + " port=5432"
	if onConnect != "" {
		database += " connect_query='" + onConnect + "'"
	}
	config := append([]string{"[databases]", database, "[pgbouncer]", "listen_addr =", "listen_port = 5432",
		"unix_socket_dir = " + p.dir, "auth_type = trust", "auth_file = " + filepath.Join(p.dir, "users")}, settings...)
	for name, text := range map[string]string{"users": `"issuer" ""` + "\n", "pgbouncer.ini": strings.Join(config, "\n") + "\n"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	log := new(bytes.Buffer)
	p.cmd = exec.Command("/usr/sbin/pgbouncer", filepath.Join(p.dir, "pgbouncer.ini"))
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Pdeathsig: syscall.SIGQUIT}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: `make setup` installs PgBouncer", err)
	}
	go func() {
		_ = p.cmd.Wait() // it is told to end by a signal
		close(p.done)
	}()
	for {
		if c, err := net.Dial("unix", filepath.Join(p.dir, ".s.PGSQL.5432")); err == nil {
			return p, c.Close()
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("pgbouncer ended: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// URL returns the URL of a database behind the pooler.
func (p *Pooler) URL(database string) string {
	return "postgres://issuer@/" + database + "?host=" + p.dir
}

// Close ends the pooler and its connections to the server, and removes its files.
func (p *Pooler) Close() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
	}
	os.RemoveAll(p.dir)
}
