package vci

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"
)

// TestNewID: ids differ, and their byte order is that of the seconds in which they were made.
func TestNewID(t *testing.T) {
	seen := make(map[string]bool)
	last := ""
	for _, at := range []int64{0, 1, 255, 256, 1<<31 - 1, 1 << 31, 1 << 32, 1<<40 - 1} {
		newest := last
		for range 100 {
			id, err := newID(time.Unix(at, 999_999_999), rand.Reader)
			if err != nil || len(id) != 26 || id <= last || seen[id] {
				t.Fatalf("newID at %d = %q, %v, want another of 26 characters, after %q", at, id, err, last)
			}
			seen[id], newest = true, max(newest, id)
		}
		last = newest
	}
	if id, err := newID(time.Unix(0, 0), bytes.NewReader(make([]byte, 10))); err == nil {
		t.Errorf("newID with too little randomness = %q, want an error", id)
	}
}
