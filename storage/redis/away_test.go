package redis_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/redis"
)

// TestOpenAway holds that a server that does not answer is told apart from one that refuses: a service manager starts the program again.
func TestOpenAway(t *testing.T) {
	server := startServer(t, "--requirepass", "right")
	if _, err := redis.Open(t.Context(), "unix://:wrong@"+server.socket, redis.Options{}); err == nil || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open with a wrong password = %v, want an error that is not %v", err, storage.ErrUnavailable)
	}
	server.stop()
	if _, err := redis.Open(t.Context(), server.url(), redis.Options{}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open without a server = %v, want %v", err, storage.ErrUnavailable)
	}
}

// TestClocksAMinuteApart holds that two processes whose clocks are a minute apart share one epoch, though the time that a message takes comes
// on top.
func TestClocksAMinuteApart(t *testing.T) {
	server := startServer(t)
	ahead := open(t, server.url(), redis.Options{Now: func() time.Time { return time.Now().Add(time.Minute) }})
	behind := open(t, server.url(), redis.Options{})
	e := epochOf(t, ahead)
	for i := range byte(20) {
		store := []*redis.Replay{ahead, behind}[i%2]
		if err := store.Spend(t.Context(), e, [32]byte{i}, time.Now().Add(2*time.Minute), netip.Addr{}); err != nil {
			t.Fatalf("Spend %d = %v", i, err)
		}
		time.Sleep(time.Millisecond)
	}
}
