package published_test

import (
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/published"
)

// An item is an entry with the mark that it was made with, and the one that it leaves.
type item struct{ with, leaves int }

func newShelf(count, memory int) *published.Shelf[string, *item, int] {
	return published.NewShelf[string](count, memory, func(i *item) (int, bool) { return i.leaves, i.leaves != 0 })
}

func put(s *published.Shelf[string, *item, int], key string) *item {
	return s.Entry(key, func(mark int) *item { return &item{with: mark} })
}

// The entry that was not used for longest is dropped first, and its mark comes back with it.
func TestShelfCount(t *testing.T) {
	s := newShelf(2, 100)
	a := put(s, "a")
	a.leaves = 7
	b := put(s, "b")
	if put(s, "a") != a {
		t.Fatal("an entry within the bounds was dropped")
	}
	put(s, "c") // in the place of b
	if put(s, "a") != a {
		t.Error("the entry that was just used was dropped")
	}
	if again := put(s, "b"); again == b || again.with != 0 { // in the place of c
		t.Errorf("the dropped entry is %+v again, want a new one without a mark", again)
	}
	put(s, "c") // in the place of a
	if again := put(s, "a"); again == a || again.with != 7 {
		t.Errorf("the dropped entry is %+v again, want a new one with its mark", again)
	}
}

// Entries are dropped when they have too many bytes together, but never the one in use.
func TestShelfMemory(t *testing.T) {
	s := newShelf(10, 100)
	a, b := put(s, "a"), put(s, "b")
	s.Keep("a", a, 60)
	s.Keep("a", a, 50) // its size now, not one more
	s.Keep("b", b, 50)
	if put(s, "a") != a || put(s, "b") != b {
		t.Fatal("entries within the bounds were dropped")
	}
	s.Keep("b", b, 200)
	if put(s, "b") != b {
		t.Error("the entry in use was dropped")
	}
	s.Keep("b", b, 50)
	if put(s, "a") == a {
		t.Error("the other entry was kept")
	}
	s.Keep("a", a, 1000) // of the entry that was dropped
	if put(s, "b") != b {
		t.Error("the size of a dropped entry counts")
	}
}

// Many may use a shelf at a time.
func TestShelfParallel(t *testing.T) {
	s := newShelf(3, 100)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				key := string(rune('a' + (i+n)%6))
				s.Keep(key, put(s, key), n%40)
			}
		})
	}
	wg.Wait()
}
