package statuses

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

const (
	// TTL is the ttl of lists of sessions: how long a verifier may use a copy before it asks again. Life is the time from iat to exp.
	TTL  = time.Minute
	Life = 15 * time.Minute
	// CredentialTTL and CredentialLife are the same for lists of credentials.
	CredentialTTL  = 5 * time.Minute
	CredentialLife = 24 * time.Hour
)

// A manner is how lists of a kind are published.
type manner struct {
	bits      int
	ttl, life time.Duration
	// remake is when a list without changes is signed again, long before it expires.
	remake time.Duration
}

var manners = [...]manner{
	storage.SessionStatuses:    {bits: 1, ttl: TTL, life: Life, remake: 5 * time.Minute},
	storage.CredentialStatuses: {bits: 2, ttl: CredentialTTL, life: CredentialLife, remake: time.Hour},
}

// oftenWithin is within which time of the last signature another one shows that a list changes often.
const oftenWithin = time.Minute

// A Signed is a list as it is published.
type Signed struct {
	Token []byte        // in compact serialization; it is shared and must not be changed
	ETag  string        // strong, in quotation marks
	TTL   time.Duration // the ttl of the list
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

	list        *statuslist.List // as it was signed; nil if it has to be made from the beginning
	sessions    sessionEntries
	credentials credentialEntries
}

// Get returns the list of an id as it is now. It is signed again when an entry changed, some time before it expires, or when another
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
	remake := manners[s.row.Kind].remake
	isSame = isSame && now.Before(s.made.Add(remake))
	changed, next, err := l.update(ctx, s, now, !isSame)
	if err != nil {
		s.list = nil
		return Signed{}, err
	}
	if !isSame || changed {
		if s.signed, err = l.sign(s, now); err != nil {
			s.list = nil
			return Signed{}, err
		}
		s.made, s.kid = now, kid
	}
	s.changes, s.due = changes, earlier(s.made.Add(remake), next)
	return s.signed, nil
}

// update brings the statuses of a list up to date. It reports whether any changed, and when they change next although nothing is revoked.
// If anew is set, what was read before does not count.
func (l *Lists) update(ctx context.Context, s *signedList, now time.Time, anew bool) (changed bool, next time.Time, err error) {
	if anew || s.list == nil {
		changed, s.sessions, s.credentials = true, sessionEntries{}, credentialEntries{}
		if s.list, err = statuslist.New(manners[s.row.Kind].bits, s.row.Size); err != nil {
			return false, next, err
		}
	}
	read := s.sessions.update
	if s.row.Kind == storage.CredentialStatuses {
		read = s.credentials.update
	}
	others, next, err := read(ctx, l.cfg.Store, s.row, s.list, now)
	if err == nil && !s.row.EndedAt.IsZero() {
		err = s.list.Fill(statuslist.Invalid)
	}
	if err != nil {
		return false, next, fmt.Errorf("statuses: read the entries of a list: %w", err)
	}
	return changed || others, next, nil
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

// sign signs a list.
func (l *Lists) sign(s *signedList, now time.Time) (Signed, error) {
	m := manners[s.row.Kind]
	token := statuslist.Token{
		Issuer: l.cfg.Issuer, Subject: l.address(s.row.ID), IssuedAt: now, Expires: now.Add(m.life), TTL: m.ttl, List: s.list,
		// Most of the time that a list takes is its compression.
		Quick: s.signed.Token != nil && now.Sub(s.made).Abs() < oftenWithin,
	}
	text, err := token.Sign(l.cfg.Keys)
	if err != nil {
		return Signed{}, fmt.Errorf("statuses: %w", err)
	}
	sum := sha256.Sum256([]byte(text))
	return Signed{Token: []byte(text), ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, TTL: m.ttl}, nil
}
