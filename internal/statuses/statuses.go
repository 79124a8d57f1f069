// Package statuses keeps the issuer's own Token Status Lists (draft-ietf-oauth-status-list-20): each session of a domain has an entry,
// which [Lists.Take] gives it, so has each lasting credential, by [Lists.TakeCredential], and everybody can fetch the signed list
// with [Lists.Get]. A list is either for sessions or for credentials.
//
// A list of sessions has one bit for each entry, one of credentials has two: a credential is valid, has ended
// ([statuslist.Invalid]), or only its handle has ([statuslist.Application]). Entries are given in a secret random order, each once, and
// some are never given: they are decoys. An entry that is not used looks like a valid one (§13.3), so a list tells neither how
// many sessions or credentials there are nor which entries are theirs; and because decoys become invalid for a while as entries of
// ended ones do, it does not tell exactly how many ended.
//
// Entries are reserved in blocks, so that a login writes no more than the row of its session. What is left of a block when the
// process ends is never used.
package statuses

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// ErrNotFound is returned by [Lists.Get] for an id that no list has.
var ErrNotFound = errors.New("statuses: there is no such list")

const (
	// DefaultSize is how many entries a list has: enough that many sessions share it, and 16 KiB without compression.
	DefaultSize = 1 << 17
	// decoyShare is the part of the entries of a list that are decoys: one in eight.
	decoyShare = 8
	// block is how many entries are reserved at once, and blockLife how long they may be given after that.
	block     = 256
	blockLife = 7 * 24 * time.Hour
)

// A Store is the part of storage that [Lists] use.
type Store interface {
	StatusList(ctx context.Context, id int64) (storage.StatusList, error)
	EndedStatuses(ctx context.Context, list int64, now time.Time) ([]int, error)
	CredentialEnds(ctx context.Context, list, after int64) ([]storage.CredentialEnd, error)
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// Keys sign the lists; keys.Ring does.
type Keys interface {
	Sign(typ string, claims []byte) (string, error)
	Signer() (kid, alg string, signer crypto.Signer)
}

// Revocations say whether something was revoked since; revocation.Mirror does.
type Revocations interface {
	// Fresh returns an error if revocations may be missing.
	Fresh(now time.Time) error
	// Changes returns another number after each revocation.
	Changes() uint64
}

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the URL of the issuer, without a slash at its end.
	Issuer string
	// Domains are the domains whose sessions have entries.
	Domains []string
	// SessionLife is the longest life of a session.
	SessionLife time.Duration
	// Credentials are the domains whose devices get credentials.
	Credentials []string
	Store       Store
	Keys        Keys
	Revocations Revocations
	// Size is how many entries a new list has, at least 1024. Zero means [DefaultSize].
	Size int
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes the ids and the orders of lists. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// Lists are the status lists of an issuer. They are safe for concurrent use.
type Lists struct {
	cfg   Config
	pools map[poolOf]*pool

	mu     sync.Mutex
	signed map[int64]*signedList // those that were asked for
}

// A poolOf says what a pool is for.
type poolOf struct {
	kind   storage.StatusKind
	domain string
}

// A pool holds the entries that are reserved for the sessions of a domain, or for its credentials.
type pool struct {
	filling sync.Mutex // held while entries are reserved

	mu    sync.Mutex
	list  int64
	order order
	next  int // the number of the next entry, and of the one after the last
	end   int
	until time.Time // when they may not be given any more
}

// New returns the lists of an issuer. It reserves nothing.
func New(cfg Config) (*Lists, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.Keys == nil || cfg.Revocations == nil || cfg.SessionLife <= 0 {
		return nil, errors.New("statuses: Config is incomplete")
	}
	if cfg.Size = cmp.Or(cfg.Size, DefaultSize); cfg.Size < 4*block || cfg.Size > storage.MaxStatusListSize {
		return nil, fmt.Errorf("statuses: Config.Size must lie between %d and %d", 4*block, storage.MaxStatusListSize)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	l := &Lists{cfg: cfg, pools: make(map[poolOf]*pool), signed: make(map[int64]*signedList)}
	for _, domain := range cfg.Domains {
		l.pools[poolOf{storage.SessionStatuses, domain}] = new(pool)
	}
	for _, domain := range cfg.Credentials {
		l.pools[poolOf{storage.CredentialStatuses, domain}] = new(pool)
	}
	return l, nil
}

// Serves reports whether the sessions of a domain have entries.
func (l *Lists) Serves(domain string) bool {
	return l.pools[poolOf{storage.SessionStatuses, domain}] != nil
}

// Take returns an entry that was never given, for a session of a domain that has entries. It returns false if none is reserved: call
// [Lists.Fill] and try again. Take writes nothing and may be called within a transaction of the store.
func (l *Lists) Take(domain string) (storage.StatusEntry, bool) {
	return l.take(poolOf{storage.SessionStatuses, domain})
}

// TakeCredential is [Lists.Take] for a credential of a domain whose devices get credentials. If it returns false, call
// [Lists.FillCredential].
func (l *Lists) TakeCredential(domain string) (storage.StatusEntry, bool) {
	return l.take(poolOf{storage.CredentialStatuses, domain})
}

func (l *Lists) take(of poolOf) (storage.StatusEntry, bool) {
	p := l.pools[of]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end || !l.cfg.Now().Before(p.until) {
		return storage.StatusEntry{}, false
	}
	n := p.next
	p.next++
	return storage.StatusEntry{List: p.list, Index: p.order.at(n)}, true
}

// Fill reserves entries for the sessions of a domain unless some are, in a transaction of its own.
func (l *Lists) Fill(ctx context.Context, domain string) error {
	return l.fill(ctx, poolOf{storage.SessionStatuses, domain}, l.cfg.SessionLife+storage.StatusGrace)
}

// FillCredential is [Lists.Fill] for the credentials of a domain.
func (l *Lists) FillCredential(ctx context.Context, domain string) error {
	return l.fill(ctx, poolOf{storage.CredentialStatuses, domain}, storage.LongestCredential+storage.CredentialGrace)
}

// fill reserves entries in a list that is kept for as long as an entry may be needed after it was given.
func (l *Lists) fill(ctx context.Context, of poolOf, needed time.Duration) error {
	p := l.pools[of]
	p.filling.Lock()
	defer p.filling.Unlock()
	now := l.cfg.Now()
	p.mu.Lock()
	ready := p.next < p.end && now.Before(p.until)
	p.mu.Unlock()
	if ready {
		return nil
	}
	fresh, err := l.newList(of, now)
	if err != nil {
		return err
	}
	// A session that gets one of the entries may begin at the end of the block's life.
	until := now.Add(blockLife)
	keep := until.Add(needed)
	var row storage.StatusList
	err = l.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		if row, err = tx.TakeStatusEntries(ctx, of.kind, of.domain, block, keep); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		row = fresh
		row.Used, row.ExpiresAt = block, keep
		return tx.InsertStatusList(ctx, row)
	})
	if err != nil {
		return fmt.Errorf("statuses: reserve entries: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.order = row.ID, newOrder(row.Seed, row.Size)
	p.next, p.end, p.until = row.Used-block, row.Used, until
	return nil
}

// newList makes a list.
func (l *Lists) newList(of poolOf, now time.Time) (storage.StatusList, error) {
	row := storage.StatusList{Kind: of.kind, Domain: of.domain, Size: l.cfg.Size, CreatedAt: now}
	row.Available = (row.Size - row.Size/decoyShare) / block * block
	var random [8 + len(row.Seed)]byte
	for row.ID == 0 {
		if _, err := io.ReadFull(l.cfg.Rand, random[:]); err != nil {
			return row, fmt.Errorf("statuses: make a list: %w", err)
		}
		row.ID = int64(binary.BigEndian.Uint64(random[:]) & storage.MaxStatusListID)
		copy(row.Seed[:], random[8:])
	}
	return row, nil
}

// Reference returns the claim `status` of the tokens of a session with an entry, or of a credential.
func (l *Lists) Reference(e storage.StatusEntry) *claims.Status {
	return &claims.Status{Index: uint64(e.Index), URI: l.address(e.List)}
}

// address returns the URL of a list.
func (l *Lists) address(list int64) string { return l.cfg.Issuer + "/status/" + formatID(list) }

// idDigits is how many hexadecimal digits the id of a list has.
const idDigits = 11

func formatID(list int64) string {
	digits := strconv.FormatInt(list, 16)
	return "00000000000"[:idDigits-len(digits)] + digits
}

// parseID reads what formatID writes, and nothing else.
func parseID(id string) (int64, bool) {
	list, err := strconv.ParseInt(id, 16, 64)
	if err != nil || list <= 0 || list > storage.MaxStatusListID || formatID(list) != id {
		return 0, false
	}
	return list, true
}
