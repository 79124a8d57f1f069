package statuses

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

const (
	// TTL is the ttl of lists: how long a verifier may use a copy before it asks again.
	TTL = time.Minute
	// Life is the time from iat to exp.
	Life = 15 * time.Minute
	// remakeAfter is when a list without changes is signed again, long before it expires.
	remakeAfter = 5 * time.Minute
)

// A Signed is a list as it is published.
type Signed struct {
	Token []byte // in compact serialization; it is shared and must not be changed
	ETag  string // strong, in quotation marks
}

// A signedList is the last signature of a list, and what it was made of.
type signedList struct {
	mu      sync.Mutex
	row     storage.StatusList
	signed  Signed
	made    time.Time
	due     time.Time // when it is made again although nothing was revoked
	changes uint64    // of the revocations, before they were read
	kid     string    // of the key that signed it
	invalid []int     // in ascending order
}

// Get returns the list of an id as it is now. It is signed again when an entry changed, some minutes before it expires, or when another
// key signs. The error is [ErrNotFound]. Any other error means that the statuses cannot be known now.
func (l *Lists) Get(ctx context.Context, id string) (Signed, error) {
	number, ok := parseID(id)
	if !ok {
		return Signed{}, ErrNotFound
	}
	s, err := l.find(ctx, number)
	if err != nil {
		return Signed{}, err
	}
	s.mu.Lock() // a list is made once for all who wait for it
	defer s.mu.Unlock()
	now := l.cfg.Now()
	if err := l.cfg.Revocations.Fresh(now); err != nil {
		return Signed{}, fmt.Errorf("statuses: %w", err)
	}
	// First, so that a revocation that is added meanwhile has the list made again.
	changes := l.cfg.Revocations.Changes()
	kid, _, _ := l.cfg.Keys.Signer()
	isSame := s.signed.Token != nil && kid == s.kid && !now.Before(s.made)
	if isSame && changes == s.changes && now.Before(s.due) {
		return s.signed, nil
	}
	if err := l.refresh(ctx, s, number, now); err != nil {
		return Signed{}, err
	}
	ended, err := l.cfg.Store.EndedStatuses(ctx, number, now)
	if err != nil {
		return Signed{}, fmt.Errorf("statuses: read the entries of a list: %w", err)
	}
	hidden, next := decoys(s.row, now)
	invalid := append(ended, hidden...)
	slices.Sort(invalid)
	if !isSame || !slices.Equal(invalid, s.invalid) || !now.Before(s.made.Add(remakeAfter)) {
		if s.signed, err = l.sign(s.row, invalid, now); err != nil {
			return Signed{}, err
		}
		s.made, s.kid, s.invalid = now, kid, invalid
	}
	s.changes, s.due = changes, earlier(s.made.Add(remakeAfter), next)
	return s.signed, nil
}

// refresh reads the row of a list again if the list has expired by the row that was read before: it may have been kept since. The error
// is [ErrNotFound] if it has expired.
func (l *Lists) refresh(ctx context.Context, s *signedList, number int64, now time.Time) error {
	if now.Before(s.row.ExpiresAt) {
		return nil
	}
	row, err := l.cfg.Store.StatusList(ctx, number)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("statuses: read a list: %w", err)
	}
	if s.row = row; err != nil || !now.Before(row.ExpiresAt) {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.signed, number)
		return ErrNotFound
	}
	return nil
}

// find returns the entry of a list in the cache. Only lists that exist have one.
func (l *Lists) find(ctx context.Context, number int64) (*signedList, error) {
	l.mu.Lock()
	s := l.signed[number]
	l.mu.Unlock()
	if s != nil {
		return s, nil
	}
	row, err := l.cfg.Store.StatusList(ctx, number)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, fmt.Errorf("statuses: read a list: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s = l.signed[number]; s == nil {
		s = &signedList{row: row}
		l.signed[number] = s
	}
	return s, nil
}

// sign signs a list in which the entries with these indexes are invalid.
func (l *Lists) sign(row storage.StatusList, invalid []int, now time.Time) (Signed, error) {
	list, err := statuslist.New(1, row.Size)
	if err != nil {
		return Signed{}, err
	}
	for _, index := range invalid {
		if err := list.Set(uint64(index), statuslist.Invalid); err != nil {
			return Signed{}, fmt.Errorf("statuses: make a list: %w", err)
		}
	}
	if !row.EndedAt.IsZero() {
		if err := list.Fill(statuslist.Invalid); err != nil {
			return Signed{}, fmt.Errorf("statuses: make a list: %w", err)
		}
	}
	token := statuslist.Token{
		Issuer: l.cfg.Issuer, Subject: l.address(row.ID), IssuedAt: now, Expires: now.Add(Life), TTL: TTL, List: list,
	}
	text, err := token.Sign(l.cfg.Keys)
	if err != nil {
		return Signed{}, fmt.Errorf("statuses: %w", err)
	}
	sum := sha256.Sum256([]byte(text))
	return Signed{Token: []byte(text), ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}, nil
}
