package faults_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A redisServer is Debian's redis-server on a socket in a folder of its own.
type redisServer struct {
	folder string
	cmd    *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	folder, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &redisServer{folder: folder}
	t.Cleanup(func() {
		s.stop()
		_ = os.RemoveAll(folder)
	})
	s.start(t)
	return s
}

func (s *redisServer) socket() string { return filepath.Join(s.folder, "s") }

// start starts the server with its data, if there is some, and waits until it answers.
func (s *redisServer) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket(), "--save", "", "--appendonly", "yes",
		"--appendfsync", "no", "--dir", s.folder)
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v: `make setup` installs redis-server", err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := s.do("PING")
		if err == nil && answer == "+PONG" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("redis-server does not answer: %s %v", answer, err)
		}
	}
}

// do sends a command and returns the first line of the answer.
func (s *redisServer) do(command string) (string, error) {
	conn, err := net.Dial("unix", s.socket())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// stop kills the server.
func (s *redisServer) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}
