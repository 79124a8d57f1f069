package revocation

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/storage"
)

// Errors of [Feed.Open], which mean that the caller may try again later. So do [ErrStale] and an error of the source.
var (
	// ErrCallerBusy means that the caller has as many subscriptions as it may have.
	ErrCallerBusy = errors.New("revocation: the caller has too many subscriptions")
	// ErrBusy means that all callers together have as many as there may be.
	ErrBusy = errors.New("revocation: there are too many subscriptions")
	// ErrClosed means that the feed was closed.
	ErrClosed = errors.New("revocation: the feed is closed")
)

// FeedConfig configures a [Feed].
type FeedConfig struct {
	// Mirror reads the revocations. Required.
	Mirror *Mirror
	// Issuer is the issuer's URL, to which cursors are bound. Required.
	Issuer string
	// HashKey and CursorKey are secrets of the issuer. The keys of callers are made from them.
	HashKey, CursorKey [32]byte
	// CursorKeys replaces CursorKey by keys that change: those that are accepted now, at least one. The first one is used for new
	// cursors. Its error means that they are not known now.
	CursorKeys func() ([][32]byte, error)
	// Identify returns the URIs of a user and a device as tokens show them; that of the device is empty if device is. Required.
	Identify func(domain, user, device string) (userURI, deviceURI string, err error)
	// PerCaller and InAll bound the subscriptions at a time. Zero means 16 and 1024.
	PerCaller, InAll int
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes cursors. Nil means [rand.Reader].
	Rand io.Reader
}

// A Feed tells callers of the revocations in their domains, as package feed describes. All of them read from the memory of the
// [Mirror], whose one reader follows the table, so waiting callers cost the database nothing. It is safe for concurrent use.
//
// A position survives a restart: the mirror reads all live rows then, in the order of their numbers. Rows that were replaced or
// swept meanwhile are not needed. A row is replaced only by one that ends as much and has a later number, which comes after every
// position before the old one. A row is swept when the last token that it can end has expired.
type Feed struct {
	cfg  FeedConfig
	done chan struct{} // closed when the feed is

	mu     sync.Mutex
	closed bool
	open   map[string]int // subscriptions by caller
	total  int
}

// NewFeed returns a Feed.
func NewFeed(cfg FeedConfig) (*Feed, error) {
	if cfg.Mirror == nil || cfg.Issuer == "" || cfg.Identify == nil {
		return nil, errors.New("revocation: FeedConfig needs Mirror, Issuer and Identify")
	}
	if cfg.PerCaller == 0 {
		cfg.PerCaller = 16
	}
	if cfg.InAll == 0 {
		cfg.InAll = 1024
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.CursorKeys == nil {
		fixed := [][32]byte{cfg.CursorKey}
		cfg.CursorKeys = func() ([][32]byte, error) { return fixed, nil }
	}
	return &Feed{cfg: cfg, done: make(chan struct{}), open: make(map[string]int)}, nil
}

// Close ends all subscriptions and refuses new ones.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.done)
	}
}

// Done is closed when the feed is.
func (f *Feed) Done() <-chan struct{} { return f.done }

// A Caller follows the revocations of some domains.
type Caller struct {
	// ID names the caller. Two callers of one ID share the key of their hashes, their cursors and the bound of subscriptions.
	ID      string
	Domains []string
	// Seen returns the value by which the caller knows a user or a device with a URI. Nil means the URI.
	Seen func(uri string) string
}

// A Subscription is one caller's place in the feed. It is for one goroutine.
type Subscription struct {
	feed   *Feed
	caller Caller
	key    feed.Key
	sealer *sealer
	sealed [32]byte // the key of sealer
	from   *Follower
}

// Open returns a subscription from a cursor on, or from now on if the cursor is empty. It must be closed. The error is one of
// those of cursors and subscriptions in this package, or means that the issuer cannot know now.
func (f *Feed) Open(c Caller, cursor string) (*Subscription, error) {
	if err := f.admit(c.ID); err != nil {
		return nil, err
	}
	s, err := f.subscribe(c, cursor)
	if err != nil {
		f.leave(c.ID)
	}
	return s, err
}

func (f *Feed) subscribe(c Caller, text string) (*Subscription, error) {
	s := &Subscription{feed: f, caller: c, key: feed.Key(keyed(f.cfg.HashKey, c.ID))}
	if err := f.cfg.Mirror.Fresh(f.cfg.Now()); err != nil {
		return nil, err
	}
	var err error
	after := f.cfg.Mirror.Position()
	if text != "" {
		given, err := f.openCursor(c, text)
		if err != nil {
			return nil, err
		}
		// Another process of the issuer may have been ahead by as much as a mirror may be behind.
		if given.after > after && f.cfg.Mirror.ReadAt().Sub(given.at) <= f.cfg.Mirror.cfg.Limit+time.Second {
			return nil, ErrStale
		}
		after = given.after
	}
	s.from, err = f.cfg.Mirror.Follow(after, c.Domains)
	return s, err
}

// admit counts a subscription of a caller, and leave its end.
func (f *Feed) admit(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return ErrClosed
	case f.open[id] >= f.cfg.PerCaller:
		return ErrCallerBusy
	case f.total >= f.cfg.InAll:
		return ErrBusy
	}
	f.open[id]++
	f.total++
	return nil
}

func (f *Feed) leave(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.open[id]--; f.open[id] == 0 {
		delete(f.open, id)
	}
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.from.Close()
	s.feed.leave(s.caller.ID)
}

// Ready receives when there are new events. It may receive when there are none.
func (s *Subscription) Ready() <-chan struct{} { return s.from.Ready() }

// Fresh returns an [ErrStale] if the issuer does not know at the moment whether there are events.
func (s *Subscription) Fresh() error { return s.feed.cfg.Mirror.Fresh(s.feed.cfg.Now()) }

// A News is an event that a subscription returns.
type News struct {
	feed.Event
	// At is when the revocation was made.
	At time.Time
	// after is the position after the event.
	after int64
}

// Next returns the next events, at most limit, and reports whether there may be more. It does not wait. The error is an
// [ErrStale] or an [ErrGap].
func (s *Subscription) Next(limit int) (news []News, more bool, err error) {
	if err := s.Fresh(); err != nil {
		return nil, false, err
	}
	rows, more, err := s.from.Next(s.feed.cfg.Now(), limit)
	if err != nil {
		return nil, false, err
	}
	for _, r := range rows {
		e, err := s.event(r)
		if err != nil {
			return nil, false, err
		}
		news = append(news, News{Event: e, At: r.At, after: r.Seq})
	}
	return news, more, nil
}

// Page returns the next events as a page.
func (s *Subscription) Page(limit int) (feed.Page, []News, error) {
	news, more, err := s.Next(limit)
	if err != nil {
		return feed.Page{}, nil, err
	}
	p, err := s.Still()
	for _, n := range news {
		p.Events = append(p.Events, n.Event)
	}
	p.More = more
	return p, news, err
}

// Still returns a page without events, with the position as it is.
func (s *Subscription) Still() (feed.Page, error) {
	text, err := s.Cursor()
	return feed.Page{Events: []feed.Event{}, Cursor: text, Key: s.key, Domains: s.caller.Domains}, err
}

// Cursor returns the position after everything that was returned.
func (s *Subscription) Cursor() (string, error) { return s.cursor(s.from.After()) }

// CursorAfter returns the position after an event.
func (s *Subscription) CursorAfter(n News) (string, error) { return s.cursor(n.after) }

func (s *Subscription) cursor(after int64) (string, error) {
	keys, err := s.feed.cfg.CursorKeys()
	if err != nil {
		return "", err
	}
	if s.sealer == nil || s.sealed != keys[0] {
		s.sealed = keys[0]
		if s.sealer, err = s.feed.sealerOf(s.caller, keys[0]); err != nil {
			return "", err
		}
	}
	return s.sealer.seal(cursor{after: after, at: s.feed.cfg.Now()})
}

func (s *Subscription) seen(uri string) string {
	if s.caller.Seen == nil {
		return uri
	}
	return s.caller.Seen(uri)
}

// event returns a row as its caller sees it. An [ErrGap] tells of a row that cannot be shown: with a fresh start the caller
// misses nothing.
func (s *Subscription) event(r storage.Revocation) (feed.Event, error) {
	e := feed.Event{Kind: feed.Kind(r.Kind)}
	if !r.ExpiresAt.IsZero() {
		e.Expires = r.ExpiresAt.Add(time.Second - 1).Unix()
	}
	value := r.Key
	switch r.Kind {
	case storage.RevokeDevice, storage.RevokeUser, storage.RevokeGen:
		domain, id, _ := strings.Cut(r.Key, "/") // a domain has no slash
		user, device := id, ""
		if r.Kind == storage.RevokeDevice {
			user, device = r.User, id
		}
		userURI, deviceURI, err := s.feed.cfg.Identify(domain, user, device)
		if err != nil {
			return feed.Event{}, fmt.Errorf("%w: %v", ErrGap, err)
		}
		if value = userURI; r.Kind == storage.RevokeDevice {
			value = deviceURI
		}
		if value = s.seen(value); r.Kind == storage.RevokeGen {
			e.Gen = r.Gen
		}
	case storage.RevokeToken:
		// A statement that a key of a user signed is named by the user and its jti.
		if user, jti, ok := strings.Cut(r.Key, " "); ok {
			value = s.seen(user) + " " + jti
		}
	}
	e.Hash = s.key.Hash(e.Kind, value)
	return e, nil
}
