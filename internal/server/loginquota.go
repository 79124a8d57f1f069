package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// errLoginsFull means that the pool of pending logins is full.
var errLoginsFull = errors.New("server: too many pending logins")

// loginQuotaRetry is how long a client should wait before it tries again. Pending logins end all the time.
const loginQuotaRetry = time.Minute

// A loginQuota bounds how many pending logins and pushed requests are stored at a time. Anybody may begin one, from any
// number of addresses, and each takes some kilobytes until it is over.
//
// Nobody fills the pool alone. One network may hold [QuotaSize.PerNetwork] entries, and never more than there are places
// left: when the pool fills, a network that floods it gets half of the rest, two get a third each, as in
// [dpop.MemoryReplay]. Some places are reserved for requests that an authenticated client pushed.
//
// The quota counts what this process stored. Rows from before a restart are counted in the database now and then.
type loginQuota struct {
	now func() time.Time

	mu       sync.Mutex
	size     QuotaSize
	entries  map[[32]byte]quotaEntry
	holdings map[quotaHolder]int
	trusted  int                  // entries of authenticated clients
	due      map[int64][][32]byte // keys of entries by quotaSlot of their expiry
	swept    int64                // slots up to this one are empty
	others   int                  // rows in the database that have no entry
}

// A QuotaSize says how many pending logins and pushed requests are stored.
type QuotaSize struct {
	// Total is how many at most. Zero means no limit.
	Total int
	// PerNetwork is how many one IPv4 address, or one IPv6 network of 64 bits, may begin. Zero means no limit of its own.
	PerNetwork int
	// Reserved is how many of Total are kept for requests that an authenticated client pushed.
	Reserved int
}

// A quotaHolder is what an entry is counted for: a network or, of requests pushed by an authenticated client, the client.
type quotaHolder struct {
	network netip.Addr
	client  string
}

type quotaEntry struct {
	quotaPlace
	until int64
}

// A quotaPlace says for whom an entry is counted. It stays the same for all steps of a login, wherever these come from.
type quotaPlace struct {
	holder  quotaHolder
	trusted bool // it may use the reserved places
}

// quotaSlot is the number of a quarter of a minute.
func quotaSlot(t time.Time) int64 { return t.Unix()/15 + 1 }

func newLoginQuota(size QuotaSize, now func() time.Time) *loginQuota {
	return &loginQuota{
		now: now, size: size, entries: make(map[[32]byte]quotaEntry), holdings: make(map[quotaHolder]int),
		due: make(map[int64][][32]byte), swept: quotaSlot(now()) - 1,
	}
}

func (q *loginQuota) resize(size QuotaSize) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size = size
}

// admit counts a new entry until a time and stores it with store. If there is no place, nothing is stored and the error is
// [errLoginsFull], or a [*limited] if it is only the holder that has too many.
func (q *loginQuota) admit(key [32]byte, p quotaPlace, until time.Time, store func() error) error {
	if err := q.enter(key, quotaEntry{p, quotaSlot(until)}, true); err != nil {
		return err
	}
	return q.stored(key, store())
}

// keep is admit for the next step of a login that was admitted, whose person is known: there is always a place.
func (q *loginQuota) keep(key [32]byte, p quotaPlace, until time.Time, store func() error) error {
	_ = q.enter(key, quotaEntry{p, quotaSlot(until)}, false) // no error: nothing is checked
	return q.stored(key, store())
}

func (q *loginQuota) stored(key [32]byte, err error) error {
	if err != nil {
		q.free(key)
	}
	return err
}

func (q *loginQuota) enter(key [32]byte, e quotaEntry, check bool) error {
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

func (q *loginQuota) refusal(h quotaHolder, trusted bool) error {
	if q.size.Total <= 0 {
		return nil
	}
	free, own := q.size.Total-len(q.entries)-q.others, q.holdings[h]
	if !trusted {
		free -= max(0, q.size.Reserved-q.trusted)
	}
	switch {
	case free <= 0:
		return errLoginsFull
	case own >= free, h.client == "" && q.size.PerNetwork > 0 && own >= q.size.PerNetwork:
		return &limited{limitLogins, loginQuotaRetry}
	}
	return nil
}

// leave frees the places of a login that is over, and of the pushed request that it began with.
func (q *loginQuota) leave(l storage.Login) {
	q.free(l.State)
	if uri := l.Request.Get("request_uri"); uri != "" {
		q.free(sha256.Sum256([]byte(uri)))
	}
}

// free frees the place of an entry, if there is one.
func (q *loginQuota) free(key [32]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(key)
}

func (q *loginQuota) remove(key [32]byte) {
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

// expire removes the entries that are over. It looks at each once.
func (q *loginQuota) expire() {
	current := quotaSlot(q.now()) - 1
	if current == q.swept {
		return
	}
	for slot, keys := range q.due {
		if slot > current {
			continue
		}
		for _, key := range keys {
			if q.entries[key].until == slot {
				q.remove(key)
			}
		}
		delete(q.due, slot)
	}
	q.swept = current
}

// place returns for whom an entry is counted, if there is one.
func (q *loginQuota) place(key [32]byte) (quotaPlace, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.entries[key]
	return e.quotaPlace, ok
}

func (q *loginQuota) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire()
	return len(q.entries)
}

// recount compares the entries with the number of rows that count finds in the database.
func (q *loginQuota) recount(ctx context.Context, count func(context.Context) (int, error)) error {
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

// follow recounts every ten seconds, until ctx ends.
func (q *loginQuota) follow(ctx context.Context, count func(context.Context) (int, error), log *slog.Logger) {
	failing := false
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		err := q.recount(ctx, count)
		if ctx.Err() == nil && failing != (err != nil) {
			failing = err != nil
			log.Warn("counting pending logins", slog.Bool("failing", failing), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// placeOf is the place of what an address begins.
func placeOf(from netip.Addr) quotaPlace {
	return quotaPlace{holder: quotaHolder{network: network(from)}}
}

// place is the place of the login that a request belongs to; that of its address if there is none.
func (s *Server) place(c echo.Context) quotaPlace {
	if p := trailOf(c).place; p != nil {
		return *p
	}
	return placeOf(source(c))
}

// admitPushed is an [oauth.Admit] for a request from an address. What an authenticated client pushes is counted for the
// client, wherever it runs.
func (q *loginQuota) admitPushed(from netip.Addr) oauth.Admit {
	return func(c *oauth.Client, key [32]byte, until time.Time, store func() error) error {
		if c.Public() {
			return q.admit(key, placeOf(from), until, store)
		}
		return q.admit(key, quotaPlace{quotaHolder{client: c.ID}, true}, until, store)
	}
}
