package redis_test

import (
	"errors"
	"testing"

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
