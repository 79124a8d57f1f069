package redis_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage/redis"
)

// patient are timeouts for a machine that is busy with a thousand racing callers.
const patient = "read_timeout=30s&write_timeout=30s&pool_timeout=30s&dial_timeout=30s"

// A redisServer is Debian's redis-server on a socket in a folder of its own.
type redisServer struct {
	cmd    *exec.Cmd
	socket string
}

// startServer starts a server that listens on a socket only; args say what else it shall do. It ends with the test.
func startServer(t testing.TB, args ...string) *redisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &redisServer{socket: filepath.Join(dir, "s")}
	s.start(t, dir, args)
	return s
}

// start starts the server and waits until it takes connections.
func (s *redisServer) start(t testing.TB, dir string, args []string) {
	t.Helper()
	args = append([]string{"--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no", "--dir", dir},
		args...)
	s.cmd = exec.Command("redis-server", args...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v: `make setup` installs redis-server", err)
	}
	t.Cleanup(s.stop)
	ready := make(chan bool)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if conn, err := net.Dial("unix", s.socket); err == nil {
				conn.Close()
				break
			}
		}
		ready <- lines.Err() == nil
		for lines.Scan() { // it must not wait for a reader
		}
	}()
	if !<-ready {
		t.Fatal("redis-server did not start")
	}
}

func (s *redisServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
}

func (s *redisServer) url() string { return "unix://" + s.socket + "?" + patient }

// do runs one command as its operator would.
func (s *redisServer) do(t testing.TB, args ...any) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Network: "unix", Addr: s.socket, ReadTimeout: time.Minute})
	defer client.Close()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v = %v", args, err)
	}
}

func open(t testing.TB, url string, o redis.Options) *redis.Replay {
	t.Helper()
	r, err := redis.Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func epochOf(t testing.TB, store dpop.Replay) dpop.Epoch {
	t.Helper()
	e, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatalf("Epoch = %v", err)
	}
	return e
}

// freePort returns a port that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// The test binary is also a node of its own, which races for a proof: see TestTwoProcesses.
const nodeVar = "REDIS_TEST_NODE"

func TestMain(m *testing.M) {
	if url := os.Getenv(nodeVar); url != "" {
		accepted, err := raceAsNode(url)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(accepted)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
