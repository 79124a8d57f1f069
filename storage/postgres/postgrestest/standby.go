package postgrestest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Standby creates a server that follows s by asynchronous streaming replication, and starts it. Stop must be called in the end. Until it is
// promoted, it answers reads alone. The settings are those of s, and then these.
func (s *Server) Standby(settings ...string) (_ *Server, err error) {
	b := &Server{bin: s.bin, cred: s.cred}
	if b.dir, err = newFolder(b.cred); err != nil {
		return nil, err
	}
	for _, arg := range s.args {
		b.args = append(b.args, strings.Replace(arg, "unix_socket_directories="+s.dir, "unix_socket_directories="+b.dir, 1))
	}
	for _, setting := range settings {
		b.args = append(b.args, "-c", setting)
	}
	out, err := b.command("pg_basebackup", "-D", b.data(), "-h", s.dir, "-U", "issuer", "-R", "-X", "stream", "-c", "fast",
		"--no-sync").CombinedOutput()
	if err == nil {
		err = b.Start()
	}
	if err != nil {
		b.Stop()
		return nil, fmt.Errorf("pg_basebackup: %v\n%s", err, out)
	}
	return b, nil
}

// CatchUp waits until a standby shows everything that its primary has committed so far.
func (s *Server) CatchUp(primary *Server) error {
	end, err := primary.query("SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	return s.await("SELECT pg_last_wal_replay_lsn() >= '" + end + "'")
}

// Detach ends the replication to a standby: it stays as it is, and its promotion loses what its primary commits from now on.
func (s *Server) Detach() error {
	if _, err := s.query("ALTER SYSTEM SET primary_conninfo = ''"); err != nil {
		return err
	}
	if _, err := s.query("SELECT pg_reload_conf()"); err != nil {
		return err
	}
	return s.await("SELECT count(*) = 0 FROM pg_stat_wal_receiver")
}

// Promote makes a standby take updates, and returns when it does. Its former primary must have been stopped, or two servers take them.
func (s *Server) Promote() error {
	if _, err := s.query("SELECT pg_promote()"); err != nil {
		return err
	}
	return s.await("SELECT NOT pg_is_in_recovery()")
}

// Restart stops the server as Signal does, and starts it.
func (s *Server) Restart(signal os.Signal) error {
	s.Signal(signal)
	return s.Start()
}

// Fast and Immediate are signals that stop a server: the one ends connections and writes everything down, the other is a crash.
const (
	Fast      = syscall.SIGINT
	Immediate = syscall.SIGQUIT
)

// URLOf returns the URL of a database on whichever of several servers takes updates.
func URLOf(database string, servers ...*Server) string {
	var folders []string
	for _, s := range servers {
		folders = append(folders, s.dir)
	}
	return "postgres://issuer@/" + database + "?target_session_attrs=read-write&host=" + strings.Join(folders, ",")
}

// query returns what psql prints about a statement.
func (s *Server) query(sql string) (string, error) {
	out, err := s.command("psql", "-X", "-q", "-A", "-t", "-h", s.dir, "-U", "issuer", "-c", sql, "postgres").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// awaitTime is how long await waits at most.
const awaitTime = time.Minute

// await waits until a statement is true.
func (s *Server) await(sql string) error {
	for end := time.Now().Add(awaitTime); ; time.Sleep(20 * time.Millisecond) {
		switch out, err := s.query(sql); {
		case err != nil:
			return err
		case out == "t":
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s: still false after %v", sql, awaitTime)
		}
	}
}
