package statuslist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// clockSkew is by how much the clock of an issuer may be ahead.
const clockSkew = time.Minute

// An entry is what a reader keeps of one list.
type entry struct {
	reader *Reader
	place  place
	cache  *published.Cache[*document]

	mu     sync.Mutex
	newest mark
	failed error // of the last fetch
}

// A document is a list that was fetched, verified and checked.
type document struct {
	Token
	etag string
}

func (d *document) size() int { return len(d.List.data) }

// expires is when a list may not be used any more: at its exp, and not later than MaxAge after its iat.
func (cfg *ReaderConfig) expires(t *Token) time.Time {
	end, age := t.Expires, cfg.MaxAge
	if end.IsZero() && age == 0 {
		age = DefaultMaxAge
	}
	if age != 0 {
		if oldest := t.IssuedAt.Add(age); end.IsZero() || oldest.Before(end) {
			end = oldest
		}
	}
	return end
}

// life returns how long a list is used that was fetched at a time (§13.7): for its ttl after that, and never after it expires.
func (e *entry) life(doc *document, fetched time.Time) (fresh, stale time.Duration) {
	cfg := &e.reader.cfg
	left := cfg.expires(&doc.Token).Sub(fetched)
	ttl := doc.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	fresh = min(max(ttl, cfg.MinTTL), cfg.MaxTTL, left)
	return fresh, min(fresh+cfg.MaxStale, left)
}

// unknown returns the error for a list that the cache does not have.
func (e *entry) unknown(err error) error {
	e.mu.Lock()
	failed := e.failed
	e.mu.Unlock()
	if errors.Is(err, published.ErrUnavailable) && failed != nil {
		return failed
	}
	return fault(ErrUnreachable, err)
}

// mark returns what is remembered of the list when it is dropped, and false if none was fetched.
func (e *entry) mark() (mark, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.newest, !e.newest.issuedAt.IsZero()
}

// fetch fetches the list again, or confirms the one from before.
func (e *entry) fetch(ctx context.Context) (*document, error) {
	doc, err := e.load(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		err = e.follow(doc)
	}
	e.failed = err
	return doc, err
}

// follow checks a list against the newest one that was seen. The caller holds mu.
func (e *entry) follow(doc *document) error {
	switch {
	case doc.IssuedAt.Before(e.newest.issuedAt):
		return fault(ErrRollback, fmt.Errorf("iat is %v before that of the other", e.newest.issuedAt.Sub(doc.IssuedAt)))
	case e.newest.bits != 0 && doc.List.bits != e.newest.bits:
		return fault(ErrBits, fmt.Errorf("%d instead of %d, as before", doc.List.bits, e.newest.bits))
	}
	e.newest = mark{doc.IssuedAt, doc.List.bits}
	return nil
}

func (e *entry) load(ctx context.Context) (*document, error) {
	cfg := &e.reader.cfg
	req, err := http.NewRequestWithContext(fetch.For(ctx, fetch.StatusList), http.MethodGet, e.place.uri, nil)
	if err != nil {
		return nil, fault(ErrReference, errors.New("uri: no request can be made of it"))
	}
	req.Header.Set("Accept", MediaType) // §8.1
	last, _ := e.cache.Last()
	etag := ""
	if last != nil && cfg.Now().Before(cfg.expires(&last.Token)) {
		etag = last.etag
	}
	body, tag, err := published.ReadChanged(cfg.Client, req, etag, int64(cfg.Limits.Packed), MediaType) // §8.2
	switch {
	case errors.Is(err, published.ErrNotModified):
		return last, nil
	case err != nil:
		return nil, unreadable(err)
	}
	signed, err := Parse(string(body), cfg.Limits)
	if err != nil {
		return nil, err
	}
	if err := e.check(ctx, signed); err != nil {
		return nil, err
	}
	return &document{Token: signed.Token, etag: tag}, nil
}

// unreadable sorts an error of [published.ReadChanged].
func unreadable(err error) error {
	reason := ErrUnreachable
	if refused := (*fetch.RefusedError)(nil); errors.As(err, &refused) {
		switch refused.Part {
		case "size":
			reason = ErrTooLarge
		case "type":
			reason = ErrMalformed
		}
	}
	return fault(reason, err)
}

// check checks a list (§8.3, steps 3 and 4).
func (e *entry) check(ctx context.Context, s *Signed) error {
	cfg, now := &e.reader.cfg, e.reader.cfg.Now()
	switch {
	case s.Subject != e.place.uri:
		return ErrSubject
	case s.Issuer != "" && s.Issuer != e.place.issuer:
		return ErrIssuer
	case cfg.Bits != 0 && s.List.bits != cfg.Bits:
		return fault(ErrBits, fmt.Errorf("%d instead of %d", s.List.bits, cfg.Bits))
	}
	key, alg, err := cfg.Keys.Key(ctx, e.place.issuer, s.Kid)
	if err != nil {
		return fault(ErrKey, err)
	}
	if !jose.Allows([]string{alg}, s.Alg) {
		return fault(ErrKey, errors.New("alg is not the algorithm of the key"))
	}
	if err := s.Verify(alg, key); err != nil {
		return err
	}
	switch end := cfg.expires(&s.Token); {
	case s.IssuedAt.After(now.Add(clockSkew)) || s.NotBefore.After(now.Add(clockSkew)):
		return fault(ErrStale, errors.New("iat or nbf is in the future: one of the clocks is wrong"))
	case !now.Before(end):
		return fault(ErrStale, fmt.Errorf("it expired %v ago", now.Sub(end)))
	}
	return nil
}
