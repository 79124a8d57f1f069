package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/bucket"
)

// SharedBuckets are token buckets that all nodes share. See redis.Limits.
type SharedBuckets interface {
	// Take takes a token from each of the buckets, or none from any. If one is empty, it returns which, and the time until it has a token;
	// else -1.
	Take(ctx context.Context, buckets ...bucket.Shared) (empty int, wait time.Duration, err error)
	// Give gives back the tokens that Take took.
	Give(ctx context.Context, buckets ...bucket.Shared) error
}

const (
	// sharedTime bounds a question to the shared buckets, and sharedPause is how long none is asked after one that had no answer.
	sharedTime  = 100 * time.Millisecond
	sharedPause = time.Second
	// maxShared is how many buckets of one kind a node may have when it uses those that are shared. So each node adds at most as many to
	// the store.
	maxShared = 1 << 16
)

// common asks the buckets that all nodes share, for limits against guessing: with limits of its own, each further node would allow as
// many guesses again. The limits of the node itself come first. If the store does not answer, they alone count: a limit makes an attack
// slower, and decides about no token, so its loss must not refuse a request. A nil common shares nothing.
type common struct {
	buckets SharedBuckets
	key     [32]byte
	log     *slog.Logger
	now     func() time.Time
	pause   atomic.Int64 // until when nothing is asked, in nanoseconds since 1970; zero if the last question was answered
}

// Share has limits against guessing shared by all nodes, in buckets. key makes their names, and must be the same at all nodes. Call it
// before the limits are used.
func (l *Limits) Share(buckets SharedBuckets, key [32]byte, log *slog.Logger) {
	l.sharing = &common{buckets: buckets, key: key, log: log, now: time.Now}
}

// named returns a shared bucket. Its name is a keyed hash: the store sees no address and no user.
func (s *common) named(limit bucket.Limit, kind string, parts ...string) bucket.Shared {
	if s == nil {
		return bucket.Shared{}
	}
	mac := hmac.New(sha256.New, s.key[:])
	for _, part := range append([]string{kind}, parts...) {
		mac.Write([]byte(part))
		mac.Write([]byte{0}) // in no part
	}
	return bucket.Shared{Key: kind + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]), Limit: limit}
}

// take takes a token from each of the buckets, and returns how long to wait if one is empty.
func (s *common) take(ctx context.Context, local int, buckets ...bucket.Shared) (wait time.Duration) {
	s.ask(ctx, local, buckets, func(ctx context.Context) (err error) {
		_, wait, err = s.buckets.Take(ctx, buckets...)
		return err
	})
	return wait
}

// give gives back what take took.
func (s *common) give(ctx context.Context, local int, buckets ...bucket.Shared) {
	s.ask(ctx, local, buckets, func(ctx context.Context) error { return s.buckets.Give(ctx, buckets...) })
}

// ask asks the store, unless it did not answer lately, or this node has many buckets: local of a kind.
func (s *common) ask(ctx context.Context, local int, buckets []bucket.Shared, do func(ctx context.Context) error) {
	if s == nil || local > maxShared || buckets[0].Count <= 0 || buckets[0].Period <= 0 {
		return
	}
	before := s.pause.Load()
	if before > 0 && s.now().UnixNano() < before {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTime)
	defer cancel()
	err := do(ctx)
	after := int64(0)
	if err != nil {
		after = s.now().Add(sharedPause).UnixNano()
	}
	if s.pause.Swap(after) == 0 && err != nil {
		s.log.WarnContext(ctx, "sharing limits with other nodes", slog.Bool("failing", true), slog.Any("error", err))
	} else if before != 0 && err == nil {
		s.log.WarnContext(ctx, "sharing limits with other nodes", slog.Bool("failing", false))
	}
}
