package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSharedLimits spreads guesses over two nodes with one Redis server: together they allow as many as one. Redis is told no address and
// no name. When it is gone, each node counts for itself.
func TestSharedLimits(t *testing.T) {
	fill, file := onPostgres(t), startRedis(t)
	fill["replay"], fill["redis"], fill["limits"] = "redis", "redis_url_file: "+file, ", lookups: 8/1d"
	s := start(t, fill)
	s.balance(t, 1)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	lookups := func(n int) (counts map[int]int) {
		counts = make(map[int]int)
		for i := range n {
			name := fmt.Sprint("user", i)
			counts[s.get(t, "/.well-known/webfinger?resource=acct:"+name+"@example.com").status]++
		}
		return counts
	}
	if got := lookups(12); got[http.StatusNotFound] != 8 || got[http.StatusTooManyRequests] != 4 {
		t.Errorf("answers of two nodes = %v, want 8 and then 429", got)
	}
	var codes []int
	for i := range 12 {
		code := strings.Repeat(string("BCDFGHJKLMNP"[i]), 8)
		codes = append(codes, s.showWaiting(t, phone, own, code).status)
	}
	if i := slices.Index(codes, http.StatusTooManyRequests); i != 5 || slices.Contains(codes[i:], http.StatusNotFound) {
		t.Errorf("answers to guesses of user codes = %v, want 5 and then 429", codes)
	}

	socket := filepath.Join(filepath.Dir(file), "s")
	keys := redisSays(t, socket, "EVAL \"return table.concat(redis.call('KEYS', '*'), ' ')\" 0")
	if !strings.Contains(keys, "{issuer-limits}:lookups:") || !strings.Contains(keys, "{issuer-limits}:user code") ||
		strings.Contains(keys, "127.0.0") || strings.Contains(keys, deviceOf(t, held).Local()) {
		t.Errorf("keys = %s, want limits without an address or a user", keys)
	}

	redisSays(t, socket, "SHUTDOWN NOSAVE")
	// Each node has counted what it answered itself: together 8, so as many are left.
	if got := lookups(20); got[http.StatusNotFound] == 0 || got[http.StatusNotFound] > 8 || len(got) != 2 || got[http.StatusTooManyRequests] == 0 {
		t.Errorf("answers without Redis = %v, want some and then 429", got)
	}
}

// redisSays sends a command to a Redis server, and returns the lines of the answer.
func redisSays(t *testing.T, socket, command string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	size, err := in.ReadString('\n')
	if err != nil { // the server has ended
		return ""
	}
	text, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("%s = %q %q, %v", command, size, text, err)
	}
	return text
}
