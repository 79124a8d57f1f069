package statuses

import (
	"crypto/sha256"
	"slices"
	"testing"
)

// An order gives each index once, and others for other seeds.
func TestOrderIsAPermutation(t *testing.T) {
	for _, size := range []int{1024, 1025, 5000, 1 << 17} {
		a, b := newOrder(sha256.Sum256([]byte("a")), size), newOrder(sha256.Sum256([]byte("b")), size)
		seen := make([]bool, size)
		same, fixed := 0, 0
		for n := range size {
			i := a.at(n)
			if i < 0 || i >= size || seen[i] {
				t.Fatalf("size %d: the index %d is outside, or comes twice", size, i)
			}
			seen[i] = true
			if i == b.at(n) {
				same++
			}
			if i == n {
				fixed++
			}
		}
		if same > 16 || fixed > 16 {
			t.Errorf("size %d: %d indexes as with another seed, %d in their own places", size, same, fixed)
		}
	}
}

// The order of a list never changes: a release that changed it would give entries twice.
func TestOrderStays(t *testing.T) {
	o := newOrder(sha256.Sum256([]byte("a")), 1<<17)
	var got []int
	for n := range 8 {
		got = append(got, o.at(n))
	}
	if want := []int{49886, 108159, 59530, 3879, 97327, 61082, 12981, 56208}; !slices.Equal(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
}
