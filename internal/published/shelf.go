package published

import "sync"

// maxDropped bounds how many entries that are not kept any more are remembered.
const maxDropped = 10_000

// A Shelf keeps an entry for each of many documents, within bounds: how many there are, and how many bytes they have. The one that was not
// used for longest is dropped first. Of a dropped one a mark stays, for the entry that is made when it is used again. K names a document,
// E is what its user keeps of it, and M the mark. It is safe for concurrent use.
type Shelf[K comparable, E comparable, M any] struct {
	count, memory int
	mark          func(E) (M, bool)

	mu      sync.Mutex
	places  map[K]*place[E]
	dropped map[K]M
	size    int
	uses    uint64 // counts the questions
}

type place[E any] struct {
	entry E
	size  int
	used  uint64 // the number of the question that last used it
}

// NewShelf returns an empty shelf for so many entries and bytes. Mark returns what is remembered of an entry that is dropped, and false if
// there is nothing.
func NewShelf[K, E comparable, M any](count, memory int, mark func(E) (M, bool)) *Shelf[K, E, M] {
	return &Shelf[K, E, M]{count: count, memory: memory, mark: mark, places: make(map[K]*place[E]), dropped: make(map[K]M)}
}

// Entry returns the entry of a document. If there is none, it is created, with the mark of the one that was dropped or the zero value.
func (s *Shelf[K, E, M]) Entry(key K, create func(M) E) E {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	p := s.places[key]
	if p == nil {
		p = &place[E]{entry: create(s.dropped[key])}
		s.places[key] = p
		delete(s.dropped, key)
	}
	p.used = s.uses
	s.shrink(key)
	return p.entry
}

// Keep sets how many bytes an entry has, unless it was dropped meanwhile.
func (s *Shelf[K, E, M]) Keep(key K, entry E, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.places[key]; p != nil && p.entry == entry {
		s.size += size - p.size
		p.size = size
		s.shrink(key)
	}
}

// shrink drops entries until the bounds hold, and never that of key. The caller holds mu.
func (s *Shelf[K, E, M]) shrink(key K) {
	for len(s.places) > 1 && (len(s.places) > s.count || s.size > s.memory) {
		var oldest K
		var least *place[E]
		for other, p := range s.places {
			if other != key && (least == nil || p.used < least.used) {
				oldest, least = other, p
			}
		}
		delete(s.places, oldest)
		s.size -= least.size
		mark, ok := s.mark(least.entry)
		if !ok {
			continue
		}
		for other := range s.dropped {
			if len(s.dropped) < maxDropped {
				break
			}
			delete(s.dropped, other)
		}
		s.dropped[oldest] = mark
	}
}
