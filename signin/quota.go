package signin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// ErrFull is returned for a login or a pushed request when as many are stored as allowed.
var ErrFull = errors.New("signin: too many pending logins")

// A QuotaError is returned for a login or a pushed request of a network or a client that has stored as many as it may.
type QuotaError struct {
	// Wait is how long to wait before the next try.
	Wait time.Duration
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("signin: too many pending logins of one network or client: wait %v", e.Wait)
}

// quotaWait is how long a client should wait before it tries again. Pending logins end all the time.
const quotaWait = time.Minute

// A Quota bounds how many pending logins and pushed requests are stored at a time. Anybody can begin one, from any number of
// addresses, and each takes some kilobytes until it is over.
//
// No network or client fills the pool alone. One network may hold [QuotaSize.PerNetwork] entries, and never more than there are places
// left: when the pool fills, a network that floods it gets half of the rest, two get a third each, as in
// [dpop.MemoryReplay]. Some places are reserved for requests that an authenticated client pushed.
//
// The quota counts what this process stored. Rows from before a restart are counted in the database now and then. Its methods
// are safe for concurrent use.
type Quota struct {
	now func() time.Time

	mu       sync.Mutex
	size     QuotaSize
	entries  map[[32]byte]entry
	holdings map[holder]int
	trusted  int                  // entries of authenticated clients
	due      map[int64][][32]byte // keys of entries by slot of their expiry
	swept    int64                // slots up to this one are empty
	others   int                  // rows in the database that have no entry
}

// A QuotaSize says how many pending logins and pushed requests may be stored.
type QuotaSize struct {
	// Total is how many at most. Zero means no limit.
	Total int
	// PerNetwork is how many one IPv4 address, or one IPv6 network of 64 bits, may begin. Zero means no limit of its own.
	PerNetwork int
	// Reserved is how many of Total are reserved for requests that an authenticated client pushed.
	Reserved int
}

// A holder is counted for an entry: a network or, for a request that an authenticated client pushed, the client.
type holder struct {
	network netip.Addr
	client  string
}

// A place says for which holder an entry is counted. It stays the same for all steps of a login, wherever these come from.
type place struct {
	holder  holder
	trusted bool // the entry may use the reserved places
}

type entry struct {
	place
	until int64
}

// slot is the number of a quarter of a minute.
func slot(t time.Time) int64 { return t.Unix()/15 + 1 }

// NewQuota returns a quota without entries. A nil now means [time.Now].
func NewQuota(size QuotaSize, now func() time.Time) *Quota {
	if now == nil {
		now = time.Now
	}
	return &Quota{
		now: now, size: size, entries: make(map[[32]byte]entry), holdings: make(map[holder]int),
		due: make(map[int64][][32]byte), swept: slot(now()) - 1,
	}
}

// Resize changes the size. Entries that are there stay.
func (q *Quota) Resize(size QuotaSize) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size = size
}

// AdmitPushed returns the [oauth.Admit] for a request from an address. A request that an authenticated client pushes is counted
// for the client, wherever it runs. If there is no place, nothing is stored and the error is [ErrFull] or a [*QuotaError].
func (q *Quota) AdmitPushed(from netip.Addr) oauth.Admit {
	return func(c *clients.Client, key [32]byte, until time.Time, store func() error) error {
		if c.Public() {
			return q.admit(key, placeOf(from), until, store)
		}
		return q.admit(key, place{holder{client: c.ID}, true}, until, store)
	}
}

// admit counts a new entry until a time and stores it with store. If there is no place, nothing is stored and the error is
// [ErrFull], or a [*QuotaError] if it is only the holder that has too many.
func (q *Quota) admit(key [32]byte, p place, until time.Time, store func() error) error {
	if err := q.enter(key, entry{p, slot(until)}, true); err != nil {
		return err
	}
	return q.stored(key, store())
}

// carry is admit for the next step of a login that was admitted: there is always a place.
func (q *Quota) carry(key [32]byte, p place, until time.Time, store func() error) error {
	q.hold(key, p, until)
	return q.stored(key, store())
}

// hold counts an entry that is stored already. There is always a place.
func (q *Quota) hold(key [32]byte, p place, until time.Time) {
	_ = q.enter(key, entry{p, slot(until)}, false) // no error: nothing is checked
}

func (q *Quota) stored(key [32]byte, err error) error {
	if err != nil {
		q.free(key)
	}
	return err
}

func (q *Quota) enter(key [32]byte, e entry, check bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire()
	if check {
		if err := q.refusal(e.holder, e.trusted); err != nil {
			return err
		}
	}
	q.remove(key)
	q.entries[key] = e
	q.holdings[e.holder]++
	if e.trusted {
		q.trusted++
	}
	q.due[e.until] = append(q.due[e.until], key)
	return nil
}

func (q *Quota) refusal(h holder, trusted bool) error {
	if q.size.Total <= 0 {
		return nil
	}
	free, own := q.size.Total-len(q.entries)-q.others, q.holdings[h]
	if !trusted {
		free -= max(0, q.size.Reserved-q.trusted)
	}
	switch {
	case free <= 0:
		return ErrFull
	case own >= free, h.client == "" && q.size.PerNetwork > 0 && own >= q.size.PerNetwork:
		return &QuotaError{quotaWait}
	}
	return nil
}

// leave frees the places of a login that is over, and of the pushed request that it began with.
func (q *Quota) leave(l storage.Login) {
	q.free(l.State)
	if uri := l.Request.Get("request_uri"); uri != "" {
		q.free(sha256.Sum256([]byte(uri)))
	}
}

// free frees the place of an entry, if there is one.
func (q *Quota) free(key [32]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(key)
}

func (q *Quota) remove(key [32]byte) {
	e, ok := q.entries[key]
	if !ok {
		return
	}
	delete(q.entries, key)
	if e.trusted {
		q.trusted--
	}
	if q.holdings[e.holder]--; q.holdings[e.holder] == 0 {
		delete(q.holdings, e.holder)
	}
}

// expire removes expired entries. It looks at each once.
func (q *Quota) expire() {
	current := slot(q.now()) - 1
	if current == q.swept {
		return
	}
	for at, keys := range q.due {
		if at > current {
			continue
		}
		for _, key := range keys {
			if q.entries[key].until == at {
				q.remove(key)
			}
		}
		delete(q.due, at)
	}
	q.swept = current
}

// place returns the place of an entry, if there is one.
func (q *Quota) place(key [32]byte) (place, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.entries[key]
	return e.place, ok
}

func (q *Quota) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire()
	return len(q.entries)
}

// Recount compares the entries with the number of rows that count finds in the database.
func (q *Quota) Recount(ctx context.Context, count func(context.Context) (int, error)) error {
	before := q.len()
	rows, err := count(ctx)
	if err != nil {
		return err
	}
	after := q.len()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.others = max(0, rows-max(before, after)) // those stored meanwhile are not counted twice
	return nil
}

// Follow recounts every ten seconds, until ctx ends.
func (q *Quota) Follow(ctx context.Context, count func(context.Context) (int, error), log *slog.Logger) {
	follow.New(follow.Config{
		Name: "counting pending logins", Interval: 10 * time.Second, Log: log,
		Do: func(ctx context.Context) error { return q.Recount(ctx, count) },
	}).Run(ctx)
}

// placeOf returns the place of a login that begins at an address.
func placeOf(from netip.Addr) place { return place{holder: holder{network: dpop.Network(from)}} }
