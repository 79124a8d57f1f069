package gateway

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/nested"
)

const (
	// maxEnded bounds how many revocations of an issuer are kept.
	maxEnded = 1 << 18
	// minSweep is how many are kept before expired ones are dropped.
	minSweep = 1 << 10
	// sweepEvery is how often a feed with too many revocations looks for expired ones.
	sweepEvery = 5 * time.Second
)

// A Feed follows the revocations of an issuer for a [Verifier], and remembers each of them until the last token that it ends has
// expired. Tokens that an event ends are refused in every mode, also if they are shown for the first time.
//
// The feed of an issuer has no history: revocations from before [Feed.Run] are not known. It covers those domains only that the issuer
// tells this caller about.
type Feed struct {
	follower *feed.Follower
	now      func() time.Time

	mu     sync.RWMutex
	news   uint64 // grows with each event and each fresh start
	starts uint64 // counts fresh starts
	ended  []*endedSet
	sweeps int // the number of revocations at which expired ones are dropped, if it is more than minSweep

	minSweep, most int // the two constants
	swept          time.Time
	lost           int64 // when the last token has expired that an event ends which was not kept
}

// An endedSet holds the revocations whose hashes have one key. An issuer changes the key when it replaces its secrets: then there are
// two sets for a while.
type endedSet struct {
	key    feed.Key
	events map[feed.Kind]map[string]ending // by hash
	count  int
}

// An ending is when the last token that a revocation ends has expired, in seconds since 1970, zero if that is not known, and for
// generations the least valid one.
type ending struct{ expires, gen int64 }

// Follow returns a feed that is followed once [Feed.Run] is called. Of cfg the functions Event and Reset may be set: they are called, too.
func Follow(cfg feed.FollowerConfig) (*Feed, error) {
	f := &Feed{now: cfg.Now, minSweep: minSweep, most: maxEnded}
	if f.now == nil {
		f.now = time.Now
	}
	event, reset := cfg.Event, cfg.Reset
	cfg.Event = func(key feed.Key, e feed.Event) {
		f.take(key, e)
		if event != nil {
			event(key, e)
		}
	}
	cfg.Reset = func() {
		f.restart()
		if reset != nil {
			reset()
		}
	}
	var err error
	f.follower, err = feed.NewFollower(cfg)
	return f, err
}

// Run follows the feed until ctx ends, and returns its error. It must not be called twice at once.
func (f *Feed) Run(ctx context.Context) error { return f.follower.Run(ctx) }

// Follower returns the follower, for an [introspect.Client] that asks the same issuer.
func (f *Feed) Follower() *feed.Follower { return f.follower }

// Heard reports whether the issuer has said, at most limit ago, that every event is known.
func (f *Feed) Heard(limit time.Duration) bool { return f.follower.Alive(f.now(), limit) }

// Len returns how many revocations are kept.
func (f *Feed) Len() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.count()
}

func (f *Feed) count() (n int) {
	for _, set := range f.ended {
		n += set.count
	}
	return n
}

// restart notes a fresh start: events may have been missed. Those that are known stay true.
func (f *Feed) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts++
	f.news++
}

// take keeps an event. Of one of an unknown kind it is only known that something was revoked: everything has to be asked again.
func (f *Feed) take(key feed.Key, e feed.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.news++
	if (feed.Key{}).Hash(e.Kind, "") == "" {
		f.starts++
		return
	}
	if f.count() >= min(max(f.sweeps, f.minSweep), f.most) {
		f.sweep()
		f.sweeps = 2 * f.count()
		if f.count() >= f.most {
			f.starts++ // one that is not kept may end any token: see full
			if f.lost = max(f.lost, e.Expires); e.Expires == 0 {
				f.lost = math.MaxInt64
			}
			return
		}
	}
	f.setOf(key).add(e.Kind, e.Hash, ending{e.Expires, e.Gen})
}

// add notes a revocation. One that is known ends the tokens of both.
func (set *endedSet) add(kind feed.Kind, hash string, until ending) {
	hashes := set.events[kind]
	if hashes == nil {
		hashes = make(map[string]ending)
		set.events[kind] = hashes
	}
	known, ok := hashes[hash]
	if !ok {
		set.count++
	}
	until.gen = max(until.gen, known.gen)
	if ok && (known.expires == 0 || until.expires != 0 && known.expires > until.expires) {
		until.expires = known.expires
	}
	hashes[hash] = until
}

// Inherit has the feed also know the revocations that another feed of the same issuer knows now: one that it replaces.
func (f *Feed) Inherit(before *Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before.mu.RLock() // nobody inherits in the other direction
	defer before.mu.RUnlock()
	for _, from := range before.ended {
		to := f.setOf(from.key)
		for kind, hashes := range from.events {
			for hash, until := range hashes {
				to.add(kind, hash, until)
			}
		}
	}
	f.lost = max(f.lost, before.lost)
	f.news++
}

// setOf returns the set of a key. The caller holds mu.
func (f *Feed) setOf(key feed.Key) *endedSet {
	for _, set := range f.ended {
		if set.key == key {
			return set
		}
	}
	f.sweep()
	set := &endedSet{key: key, events: make(map[feed.Kind]map[string]ending)}
	f.ended = append(f.ended, set)
	return set
}

// sweep drops the revocations whose last token has expired. The caller holds mu.
func (f *Feed) sweep() {
	f.swept = f.now()
	now := f.swept.Add(-time.Minute).Unix() // clocks may differ
	kept := f.ended[:0]
	for _, set := range f.ended {
		for _, hashes := range set.events {
			for hash, e := range hashes {
				if e.expires != 0 && e.expires < now {
					delete(hashes, hash)
					set.count--
				}
			}
		}
		if set.count > 0 {
			kept = append(kept, set)
		}
	}
	clear(f.ended[len(kept):])
	f.ended = kept
	if f.lost < now {
		f.lost = 0
	}
}

// state returns the numbers of the newest event and of the last fresh start.
func (f *Feed) state() (news, starts uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.news, f.starts
}

// full reports whether there are, or were, more revocations than can be kept, so that those of a token may be missing. It looks for
// expired ones every few seconds.
func (f *Feed) full() bool {
	f.mu.RLock()
	full := f.count() >= f.most || f.lost != 0
	f.mu.RUnlock()
	if !full {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.swept) >= sweepEvery || now.Before(f.swept) {
		f.sweep()
	}
	return f.count() >= f.most || f.lost != 0
}

// ends reports whether a revocation ends the token with these claims.
func (f *Feed) ends(s feed.Subject) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, set := range f.ended {
		for _, c := range [...]struct {
			kind  feed.Kind
			value string
		}{
			{feed.Token, s.JTI}, {feed.Session, s.SID}, {feed.Device, s.Device}, {feed.User, s.Sub}, {feed.Generation, s.Sub},
			{feed.Client, s.ClientID}, {feed.SigningKey, s.KID},
		} {
			hashes := set.events[c.kind]
			if len(hashes) == 0 || c.value == "" {
				continue
			}
			if e, ok := hashes[set.key.Hash(c.kind, c.value)]; ok && (c.kind != feed.Generation || s.Gen < e.gen) {
				return true
			}
		}
	}
	return false
}

// A subject is what events of the feed of an issuer may match.
type subject struct {
	issuer string
	feed.Subject
}

// addSubjects notes what may be revoked of a token: itself, the sessions of those who act, and the tokens that it encloses.
func (t *token) addSubjects(set *claims.Set) {
	id := t.identity
	t.subjects = append(t.subjects, subject{set.Issuer, feed.Subject{
		JTI: set.JTI, SID: set.SID, Device: set.Device, Sub: id.User, ClientID: set.ClientID, KID: t.kid, Gen: set.Gen,
	}})
	for act := set.Actor; act != nil; act = act.Actor {
		if act.SID != "" {
			t.subjects = append(t.subjects, subject{set.Issuer, feed.Subject{SID: act.SID}})
		}
	}
	if id.Tree == nil {
		return
	}
	for _, l := range id.Tree.Layers()[1:] {
		// A statement holds for a user under every handle, whatever their generation.
		s := feed.Subject{JTI: l.RevocationKey(), Sub: l.Subject, KID: l.Kid, Gen: math.MaxInt64}
		if l.Access != nil {
			s = feed.Subject{
				JTI: l.Access.JTI, SID: l.Access.SID, Device: l.Access.Device, Sub: l.Access.Subject, ClientID: l.Access.ClientID,
				KID: l.Kid, Gen: l.Access.Gen,
			}
		}
		for _, issuer := range signers(id.Tree, l) {
			t.subjects = append(t.subjects, subject{issuer, s})
		}
	}
}

// signers returns the issuer of a layer. One that is signed by a key of a user is revoked by the issuer of that user, which is one of those
// of the other layers.
func signers(tree *nested.Tree, l *nested.Layer) []string {
	if l.Kid != "" {
		return []string{l.Issuer}
	}
	var list []string
	for _, other := range tree.Layers() {
		if other.Kid != "" {
			list = append(list, other.Issuer)
		}
	}
	return list
}

// checkFeeds refuses a token that a revocation ends which a feed has told of.
func (v *Verifier) checkFeeds(t *token) *refusal {
	if v.cfg.Feed == nil {
		return nil
	}
	var news uint64
	if len(t.subjects) == 1 { // the usual case
		f := v.cfg.Feed(t.identity.Issuer)
		if f == nil {
			return nil
		}
		if news, _ = f.state(); news == t.feeds.Load() {
			return nil
		}
	}
	for _, s := range t.subjects {
		f := v.cfg.Feed(s.issuer)
		switch {
		case f == nil:
		case f.ends(s.Subject):
			return refuse(ReasonRevoked)
		case f.full():
			return unknown(ReasonNoFeed, nil)
		}
	}
	t.feeds.Store(news)
	return nil
}
