package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/storage"
)

// ErrNotFound is returned by [Authorities.CRL] for an id that no CA has.
var ErrNotFound = errors.New("certs: there is no such CA")

const (
	// TTL is how long a cache may keep a revocation list, and Life how long verifiers may use one.
	TTL  = 5 * time.Minute
	Life = 24 * time.Hour
	// remake is how often a list without changes is made again.
	remake = time.Hour
)

// A Store is the part of storage that [Authorities] use.
type Store interface {
	CertificateEnds(ctx context.Context, ca string, after int64) ([]storage.CertificateEnd, error)
}

// Revocations say whether something was revoked since; revocation.Mirror does.
type Revocations interface {
	// Fresh returns an error if revocations may be missing.
	Fresh(now time.Time) error
	// Changes returns another number after each revocation.
	Changes() uint64
}

// Authorities are the CAs of the domains. They are safe for concurrent use.
type Authorities struct {
	store       Store
	revocations Revocations
	now         func() time.Time
	holders     map[string]*holder // by domain

	mu    sync.Mutex
	lists map[string]*list // by CA
}

// New returns no CAs yet.
func New(store Store, revocations Revocations, now func() time.Time) *Authorities {
	return &Authorities{store: store, revocations: revocations, now: now, holders: make(map[string]*holder), lists: make(map[string]*list)}
}

// Add adds the CA of a domain. All are added before any is used. The error names another domain that has the same CA: what one domain's
// verifiers trust must not speak for another.
func (as *Authorities) Add(a *Authority) error {
	for domain, h := range as.holders {
		if h.current.Load().ID == a.ID {
			return fmt.Errorf("certs: the domains %s and %s have the same CA", domain, a.Domain)
		}
	}
	h := new(holder)
	h.current.Store(a)
	as.holders[a.Domain] = h
	return nil
}

// Replace replaces the CA of a domain that has one.
func (as *Authorities) Replace(a *Authority) error {
	for domain, h := range as.holders {
		if domain != a.Domain && h.current.Load().ID == a.ID {
			return fmt.Errorf("certs: the domains %s and %s have the same CA", domain, a.Domain)
		}
	}
	as.holders[a.Domain].current.Store(a)
	return nil
}

// Authority returns the CA of a domain, nil if it has none.
func (as *Authorities) Authority(domain string) *Authority {
	h := as.holders[domain]
	if h == nil {
		return nil
	}
	return h.current.Load()
}

// Any reports whether any domain has a CA, and whether any of them lets users be CAs.
func (as *Authorities) Any() (any, userCAs bool) {
	for _, h := range as.holders {
		any, userCAs = true, userCAs || h.current.Load().UserCAs
	}
	return any, userCAs
}

// Keys returns the public keys of the CAs, one of each kind.
func (as *Authorities) Keys() []crypto.PublicKey {
	var list []crypto.PublicKey
	kinds := make(map[string]bool)
	for _, domain := range slices.Sorted(maps.Keys(as.holders)) {
		c := as.holders[domain].current.Load().Certificate()
		kind := c.PublicKeyAlgorithm.String()
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); ok {
			kind += key.Curve.Params().Name
		}
		if !kinds[kind] {
			list = append(list, c.PublicKey)
		}
		kinds[kind] = true
	}
	return list
}

// A Signed is a revocation list as it is published.
type Signed struct {
	DER  []byte // it is shared and must not be changed
	ETag string // strong, in quotation marks
}

// A list is the last revocation list of a CA, and what it was made of.
type list struct {
	mu      sync.Mutex
	ca      *Authority
	signed  Signed
	hour    time.Time
	changes uint64 // of the revocations, before the ends were read
	last    int64  // the number of the last end that was read
	newest  time.Time
	entries []cert.Entry
	places  map[string]int // in entries, by serial number
}

// CRL returns the revocation list of a CA as it is now. It is made again when a certificate ended, and every hour. The error is
// [ErrNotFound]. Any other error means that it cannot be known now what has ended: there is no list without its entries.
//
// Lists that several nodes make of the same rows in the same hour have the same number, times and entries, and the number rises with each
// certificate that ends and with each hour.
func (as *Authorities) CRL(ctx context.Context, id string) (Signed, error) {
	var ca *Authority
	for _, h := range as.holders {
		if a := h.current.Load(); a.ID == id {
			ca = a
		}
	}
	if ca == nil {
		return Signed{}, ErrNotFound
	}
	l := as.list(id)
	l.mu.Lock() // it is made once for all who wait for it
	defer l.mu.Unlock()
	now := as.now()
	if err := as.revocations.Fresh(now); err != nil {
		return Signed{}, fmt.Errorf("certs: %w", err)
	}
	// First, so that a revocation that is added meanwhile has the list made again.
	changes, hour := as.revocations.Changes(), now.Truncate(remake)
	same := l.signed.DER != nil && l.ca == ca && hour.Equal(l.hour)
	if same && changes == l.changes {
		return l.signed, nil
	}
	if !same {
		l.signed, l.ca, l.hour, l.last, l.newest = Signed{}, ca, hour, 0, time.Time{}
		l.entries, l.places = nil, make(map[string]int)
	}
	if err := l.read(ctx, as.store); err != nil {
		l.signed = Signed{}
		return Signed{}, err
	}
	if l.signed.DER == nil {
		if err := l.sign(now); err != nil {
			return Signed{}, err
		}
	}
	l.changes = changes
	return l.signed, nil
}

func (as *Authorities) list(id string) *list {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.lists[id]
	if l == nil {
		l = new(list)
		as.lists[id] = l
	}
	return l
}

// read reads the ends that were added since. What it signed before does not count any more if there are some. A certificate stays in the
// lists for a while after it has expired, so that it is in one that was made later (RFC 5280 §3.3).
func (l *list) read(ctx context.Context, store Store) error {
	ends, err := store.CertificateEnds(ctx, l.ca.ID, l.last)
	if err != nil {
		return fmt.Errorf("certs: read the ends of certificates: %w", err)
	}
	for _, e := range ends {
		if !e.ExpiresAt.After(l.hour.Add(-2 * remake)) {
			continue
		}
		serial, ok := new(big.Int).SetString(e.Serial, 16)
		if !ok {
			return fmt.Errorf("certs: %q is not a serial number", e.Serial)
		}
		entry := cert.Entry{Serial: serial, At: e.At, Reason: cert.Reason(e.Reason)}
		if i, twice := l.places[e.Serial]; twice { // its handle ended first
			l.entries[i] = entry
		} else {
			l.places[e.Serial] = len(l.entries)
			l.entries = append(l.entries, entry)
		}
		l.last, l.signed = e.Number, Signed{}
		if e.At.After(l.newest) {
			l.newest = e.At
		}
	}
	return nil
}

// sign makes the list.
func (l *list) sign(now time.Time) error {
	from := l.hour
	if l.newest.After(from) {
		from = l.newest
	}
	if from.After(now) {
		from = now
	}
	// An hour comes before all that ended within it, so that numbers never fall when entries expire.
	number := new(big.Int).Lsh(big.NewInt(l.hour.Unix()/int64(remake/time.Second)), 64)
	der, err := l.ca.SignCRL(cert.List{
		Number: number.Add(number, big.NewInt(l.last)), From: from, Until: from.Add(Life), Entries: slices.Clone(l.entries),
	})
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	sum := sha256.Sum256(der)
	l.signed = Signed{DER: der, ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	return nil
}
