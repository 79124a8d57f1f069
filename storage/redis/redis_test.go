package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/replaytest"
	"github.com/imidentity/issuer/storage/redis"
)

func TestReplay(t *testing.T) {
	server := startServer(t)
	on := func(t *testing.T, now func() time.Time) dpop.Replay {
		return open(t, server.url(), redis.Options{Now: now})
	}
	replaytest.Run(t, replaytest.Harness{
		Open: func(t *testing.T, now func() time.Time) dpop.Replay {
			server.do(t, "FLUSHALL")
			return on(t, now)
		},
		Join: func(t *testing.T, _ dpop.Replay, now func() time.Time) dpop.Replay { return on(t, now) },
		Empty: func(t *testing.T, _ dpop.Replay, now func() time.Time) dpop.Replay {
			server.do(t, "FLUSHALL")
			return on(t, now)
		},
		Expire: func(t *testing.T, _ dpop.Replay) {
			server.do(t, "EVAL", "for _, k in ipairs(redis.call('KEYS', '*')) do "+
				"if redis.call('TYPE', k).ok == 'string' then redis.call('DEL', k) end end return 1", "0")
		},
	})
}

// Two processes, five hundred callers in each, one proof.
func TestTwoProcesses(t *testing.T) {
	server := startServer(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		*exec.Cmd
		lines *bufio.Scanner
		start interface{ Close() error }
	}
	var nodes [2]node
	for i := range nodes {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), nodeVar+"="+server.url())
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		nodes[i] = node{cmd, bufio.NewScanner(out), in}
	}
	for _, n := range nodes {
		if !n.lines.Scan() || n.lines.Text() != "ready" {
			t.Fatalf("a node said %q", n.lines.Text())
		}
	}
	for _, n := range nodes { // they wait for the end of their input
		if err := n.start.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0
	for _, n := range nodes {
		if !n.lines.Scan() {
			t.Fatalf("a node ended early: %v", n.Wait())
		}
		accepted, err := strconv.Atoi(n.lines.Text())
		if err != nil {
			t.Fatalf("a node said %q", n.lines.Text())
		}
		sum += accepted
		if err := n.Wait(); err != nil {
			t.Errorf("a node failed: %v", err)
		}
	}
	if sum != 1 {
		t.Errorf("two processes accepted one proof %d times, want 1", sum)
	}
}

// raceAsNode is what each process does: it returns how many of its callers were let in.
func raceAsNode(url string) (int32, error) {
	ctx := context.Background()
	replay, err := redis.Open(ctx, url, redis.Options{})
	if err != nil {
		return 0, err
	}
	defer replay.Close()
	e, err := replay.Epoch(ctx)
	if err != nil {
		return 0, err
	}
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
		return 0, errors.New("unexpected input")
	}
	var accepted, failed atomic.Int32
	var group sync.WaitGroup
	until := time.Now().Add(time.Minute)
	for range 500 {
		group.Go(func() {
			switch err := replay.Spend(ctx, e, [32]byte{1}, until, netip.Addr{}); err {
			case nil:
				accepted.Add(1)
			case dpop.ErrReplayed:
			default:
				failed.Add(1)
			}
		})
	}
	group.Wait()
	if n := failed.Load(); n != 0 {
		return 0, fmt.Errorf("%d callers got another error than %w", n, dpop.ErrReplayed)
	}
	return accepted.Load(), nil
}

// A process that holds the epoch from before a loss learns of it with the next proof.
func TestLossUnderALiveConnection(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, s *redisServer){
		"flushed":       func(t *testing.T, s *redisServer) { s.do(t, "FLUSHALL") },
		"epoch deleted": func(t *testing.T, s *redisServer) { s.do(t, "DEL", "{dpop}:epoch") },
		"restarted": func(t *testing.T, s *redisServer) {
			s.do(t, "CONFIG", "SET", "appendonly", "yes") // it comes back with its data
			s.stop()
			s.start(t, filepath.Dir(s.socket), []string{"--appendonly", "yes"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			store := open(t, server.url(), redis.Options{})
			e, until := epochOf(t, store), time.Now().Add(time.Minute)
			if err := store.Spend(t.Context(), e, [32]byte{1}, until, netip.Addr{}); err != nil {
				t.Fatalf("Spend = %v", err)
			}
			lose(t, server)
			err := store.Spend(t.Context(), e, [32]byte{1}, until, netip.Addr{})
			if err != dpop.ErrStaleEpoch {
				t.Errorf("Spend after the loss = %v, want %v", err, dpop.ErrStaleEpoch)
			}
			fresh := epochOf(t, store)
			if fresh.ID == e.ID {
				t.Error("the epoch is the one from before")
			}
			if err := store.Spend(t.Context(), fresh, [32]byte{2}, until, netip.Addr{}); err != nil {
				t.Errorf("Spend = %v", err)
			}
		})
	}
}

// A server whose clock leaps ahead forgets too early. Here ours goes back, which looks the same.
func TestServerClockLeaps(t *testing.T) {
	server := startServer(t)
	var back atomic.Int64
	store := open(t, server.url(), redis.Options{Now: func() time.Time {
		return time.Now().Add(-time.Duration(back.Load()))
	}})
	e := epochOf(t, store)
	for _, tt := range []struct {
		back time.Duration
		want error
	}{{0, nil}, {50 * time.Second, nil}, {2 * time.Minute, dpop.ErrStaleEpoch}} {
		back.Store(int64(tt.back))
		key := [32]byte{byte(tt.back / time.Second)}
		if err := store.Spend(t.Context(), e, key, time.Now().Add(time.Minute), netip.Addr{}); err != tt.want {
			t.Errorf("Spend with the server %v ahead = %v, want %v", tt.back, err, tt.want)
		}
	}
	// The new epoch is good for the process whose clock is behind, and for the others too.
	for _, node := range []*redis.Replay{store, open(t, server.url(), redis.Options{})} {
		key := [32]byte{0: 200, 1: byte(back.Swap(0) / int64(time.Second))}
		if err := node.Spend(t.Context(), epochOf(t, node), key, time.Now().Add(time.Minute), netip.Addr{}); err != nil {
			t.Errorf("Spend = %v", err)
		}
	}
}

// Records go when nobody accepts their proof any more.
func TestRecordsExpire(t *testing.T) {
	server := startServer(t)
	store := open(t, server.url(), redis.Options{})
	e, until := epochOf(t, store), time.Now().Add(time.Millisecond)
	if err := store.Spend(t.Context(), e, [32]byte{1}, until, netip.Addr{}); err != nil && err != dpop.ErrStaleEpoch {
		t.Fatalf("Spend = %v", err)
	}
	if err := store.Spend(t.Context(), e, [32]byte{2}, until.Add(-time.Second), netip.Addr{}); err != dpop.ErrStaleEpoch {
		t.Errorf("Spend of what nobody accepts any more = %v, want %v", err, dpop.ErrStaleEpoch)
	}
	var err error
	for range 1000 { // until it is gone
		if err = store.Spend(t.Context(), e, [32]byte{1}, time.Now().Add(time.Minute), netip.Addr{}); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("the record of a millisecond is still there: %v", err)
	}
}

func TestOpenRefusesEviction(t *testing.T) {
	server := startServer(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	r, err := redis.Open(t.Context(), server.url(), redis.Options{})
	if err == nil || !strings.Contains(err.Error(), "allkeys-lru") || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("Open = %v, %v, want an error that names the policy and the remedy", r, err)
	}
	server.do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	open(t, server.url(), redis.Options{})
}

// A server that is full refuses and drops nothing.
func TestFull(t *testing.T) {
	server := startServer(t)
	store := open(t, server.url(), redis.Options{})
	e, until := epochOf(t, store), time.Now().Add(time.Minute)
	if err := store.Spend(t.Context(), e, [32]byte{1}, until, netip.Addr{}); err != nil {
		t.Fatalf("Spend = %v", err)
	}
	server.do(t, "CONFIG", "SET", "maxmemory", "1")
	if err := store.Spend(t.Context(), e, [32]byte{2}, until, netip.Addr{}); !errors.Is(err, dpop.ErrReplayFull) {
		t.Errorf("Spend in a full server = %v, want %v", err, dpop.ErrReplayFull)
	}
	server.do(t, "CONFIG", "SET", "maxmemory", "0")
	for key, want := range map[byte]error{1: dpop.ErrReplayed, 2: nil} {
		if err := store.Spend(t.Context(), e, [32]byte{key}, until, netip.Addr{}); err != want {
			t.Errorf("Spend(%d) with room again = %v, want %v", key, err, want)
		}
	}
}

// A script that is sent again, because its answer got lost, counts once.
func TestAnswerLost(t *testing.T) {
	server := startServer(t)
	proxy := lossy(t, server.socket)
	store := open(t, "unix://"+proxy+"?"+patient, redis.Options{})
	e, until := epochOf(t, store), time.Now().Add(time.Minute)
	for i, want := range []error{nil, dpop.ErrReplayed} {
		if err := store.Spend(t.Context(), e, [32]byte{1}, until, netip.Addr{}); err != want {
			t.Errorf("Spend %d = %v, want %v", i, err, want)
		}
	}
}

// lossy listens on a socket and passes everything on, but that it hangs up in the place of the first answer that says
// that a proof was spent.
func lossy(t *testing.T, socket string) string {
	t.Helper()
	path := socket + ".lossy"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var lost atomic.Bool
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(server, client) // until either hangs up
				server.Close()
			}()
			go func() {
				defer client.Close()
				defer server.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := server.Read(buf)
					if err != nil || bytes.Contains(buf[:n], []byte("spent")) && !lost.Swap(true) {
						return
					}
					if _, err := client.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return path
}

// noVerdict fails unless err tells that nothing is known.
func noVerdict(t *testing.T, what string, err error) {
	t.Helper()
	for _, verdict := range []error{nil, dpop.ErrReplayed, dpop.ErrStaleEpoch, dpop.ErrReplayFull} {
		if errors.Is(err, verdict) {
			t.Errorf("%s = %v, want an error that is no verdict", what, err)
		}
	}
}

// A server that hangs, or that is gone, lets nobody in.
func TestFailsClosed(t *testing.T) {
	server := startServer(t)
	store := open(t, server.url(), redis.Options{})
	impatient := open(t, "unix://"+server.socket+"?read_timeout=10ms", redis.Options{})
	e, until := epochOf(t, store), time.Now().Add(time.Minute)

	if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	noVerdict(t, "Spend with a deadline", store.Spend(short, e, [32]byte{1}, until, netip.Addr{}))
	noVerdict(t, "Spend with a timeout", impatient.Spend(t.Context(), e, [32]byte{2}, until, netip.Addr{}))
	if _, err := redis.Open(short, server.url(), redis.Options{}); err == nil {
		t.Error("Open = nil, want an error")
	}
	if err := server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, key := range []byte{1, 2} { // it runs what nobody waited for
		err := store.Spend(t.Context(), e, [32]byte{key}, until, netip.Addr{})
		if err != nil && err != dpop.ErrReplayed {
			t.Errorf("Spend(%d) when the server is back = %v, want nil or %v", key, err, dpop.ErrReplayed)
		}
	}

	server.stop()
	noVerdict(t, "Spend without a server", store.Spend(t.Context(), e, [32]byte{3}, until, netip.Addr{}))
	if _, err := redis.Open(t.Context(), server.url(), redis.Options{}); err == nil {
		t.Error("Open without a server = nil, want an error")
	}
	if got, err := store.Epoch(t.Context()); err != nil || got != e {
		t.Errorf("Epoch without a server = %v, %v, want the one that was seen last", got, err)
	}
}

func TestPrefixesAreApart(t *testing.T) {
	server := startServer(t)
	until := time.Now().Add(time.Minute)
	for _, prefix := range []string{"", "other"} {
		store := open(t, server.url(), redis.Options{Prefix: prefix})
		for i, want := range []error{nil, dpop.ErrReplayed} {
			if err := store.Spend(t.Context(), epochOf(t, store), [32]byte{1}, until, netip.Addr{}); err != want {
				t.Errorf("Spend %d with prefix %q = %v, want %v", i, prefix, err, want)
			}
		}
	}
}

func TestOpenURLs(t *testing.T) {
	const secret = "hunter2"
	server := startServer(t, "--requirepass", secret)
	open(t, "unix://:"+secret+"@"+server.socket, redis.Options{})
	for _, url := range []string{
		"unix://:" + secret + "x@" + server.socket, "unix://" + server.socket,
		"", "http://:" + secret + "@127.0.0.1/", "redis://:" + secret + "@127.0.0.1:notaport/",
		"redis://:" + secret + "@%zz/",
		"unix://:" + secret + "@" + server.socket + "?unknown=1", "unix://:" + secret + "@" + server.socket + "/nowhere",
	} {
		r, err := redis.Open(t.Context(), url, redis.Options{})
		if err == nil {
			t.Errorf("Open(%q) = %v, want an error", url, r)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("Open = %v, which holds the password", err)
		}
	}
}

// TLS and a password, as in a rediss URL.
func TestTLS(t *testing.T) {
	certificate, key, roots := certify(t)
	port := freePort(t)
	startServer(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", certificate, "--tls-auth-clients", "no", "--requirepass", "hunter2")
	url := "rediss://:hunter2@" + net.JoinHostPort("127.0.0.1", port) + "?" + patient
	store := open(t, url, redis.Options{TLS: &tls.Config{RootCAs: roots}})
	until := time.Now().Add(time.Minute)
	if err := store.Spend(t.Context(), epochOf(t, store), [32]byte{1}, until, netip.Addr{}); err != nil {
		t.Errorf("Spend = %v", err)
	}
	if r, err := redis.Open(t.Context(), url, redis.Options{}); err == nil {
		t.Errorf("Open of a server with an unknown certificate = %v, want an error", r)
	}
}

// certify makes a certificate for 127.0.0.1 and returns the files that it and its key are in.
func certify(t *testing.T) (certificate, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(os.WriteFile(certificate, text, 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return certificate, key, roots
}

func BenchmarkSpend(b *testing.B) {
	store := open(b, startServer(b).url(), redis.Options{})
	e, until := epochOf(b, store), time.Now().Add(time.Minute)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var key [32]byte
		for pb.Next() {
			rand.Read(key[:])
			if err := store.Spend(b.Context(), e, key, until, netip.Addr{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
