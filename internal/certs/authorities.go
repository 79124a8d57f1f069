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
	lists map[string]*lists // by CA
}

// New returns no CAs yet.
func New(store Store, revocations Revocations, now func() time.Time) *Authorities {
	return &Authorities{store: store, revocations: revocations, now: now, holders: make(map[string]*holder), lists: make(map[string]*lists)}
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

// Lists are the certificates of a CA that ended, and the revocation lists that were made of them.
type lists struct {
	mu      sync.Mutex
	ca      *Authority
	hour    time.Time
	read    bool   // the ends up to these changes
	changes uint64 // of the revocations, before the ends were read
	last    int64  // the number of the last end that was read
	parts   map[string]*part
}

// A part is what one list of a CA is about.
type part struct {
	signed  Signed // of the entries; empty if there is none of them
	last    int64  // the number of its last end
	newest  time.Time
	entries []cert.Entry
	places  map[string]int // in entries, by serial number
}

// CRL returns the revocation list of a part of a CA as it is now, see [cert.PartOf]. It is made again when a certificate of the part ended,
// and every hour. The error is [ErrNotFound]. Any other error means that it cannot be known now what has ended: there is no list without
// its entries.
//
// Lists that several nodes make of the same rows in the same hour have the same number, times and entries, and the number rises with each
// certificate that ends and with each hour.
func (as *Authorities) CRL(ctx context.Context, id, name string) (Signed, error) {
	var ca *Authority
	for _, h := range as.holders {
		if a := h.current.Load(); a.ID == id {
			ca = a
		}
	}
	if ca == nil || !cert.IsPart(name) {
		return Signed{}, ErrNotFound
	}
	l := as.of(id)
	l.mu.Lock() // lists are made once for all who wait for them
	defer l.mu.Unlock()
	now := as.now()
	if err := as.revocations.Fresh(now); err != nil {
		return Signed{}, fmt.Errorf("certs: %w", err)
	}
	// First, so that a revocation that is added meanwhile has the ends read again.
	changes, hour := as.revocations.Changes(), now.Truncate(remake)
	if l.ca != ca || !hour.Equal(l.hour) {
		l.ca, l.hour, l.read, l.last, l.parts = ca, hour, false, 0, make(map[string]*part)
	}
	if !l.read || changes != l.changes {
		l.read = false
		if err := l.readEnds(ctx, as.store); err != nil {
			return Signed{}, err
		}
		l.read, l.changes = true, changes
	}
	p := l.part(name)
	if p.signed.DER == nil {
		if err := l.sign(name, p, now); err != nil {
			return Signed{}, err
		}
	}
	return p.signed, nil
}

func (as *Authorities) of(ca string) *lists {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.lists[ca]
	if l == nil {
		l = new(lists)
		as.lists[ca] = l
	}
	return l
}

func (l *lists) part(name string) *part {
	p := l.parts[name]
	if p == nil {
		p = &part{places: make(map[string]int)}
		l.parts[name] = p
	}
	return p
}

// readEnds reads the ends that were added since. What was signed of a part does not count any more if it has some of them. A certificate
// stays in the lists for a while after it has expired, so that it is in one that was made later (RFC 5280 §3.3).
func (l *lists) readEnds(ctx context.Context, store Store) error {
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
		p, entry := l.part(cert.PartOf(serial)), cert.Entry{Serial: serial, At: e.At, Reason: cert.Reason(e.Reason)}
		if i, twice := p.places[e.Serial]; twice { // its handle ended first
			p.entries[i] = entry
		} else {
			p.places[e.Serial] = len(p.entries)
			p.entries = append(p.entries, entry)
		}
		l.last, p.last, p.signed = e.Number, e.Number, Signed{}
		if e.At.After(p.newest) {
			p.newest = e.At
		}
	}
	return nil
}

// sign makes the list of a part.
func (l *lists) sign(name string, p *part, now time.Time) error {
	from := l.hour
	if p.newest.After(from) {
		from = p.newest
	}
	if from.After(now) {
		from = now
	}
	// An hour comes before all that ended within it, so that numbers never fall when entries expire.
	number := new(big.Int).Lsh(big.NewInt(l.hour.Unix()/int64(remake/time.Second)), 64)
	der, err := l.ca.SignCRL(cert.List{
		Part: name, Number: number.Add(number, big.NewInt(p.last)), From: from, Until: from.Add(Life), Entries: slices.Clone(p.entries),
	})
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	sum := sha256.Sum256(der)
	p.signed = Signed{DER: der, ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	return nil
}
