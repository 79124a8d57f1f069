package trust

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/published"
)

// negative is how long it counts that a domain has no document, or that a party that the operator did not list did not answer.
const negative = time.Minute

// A discovery finds the issuers of domains, and remembers what it found.
type discovery struct {
	*Config
	table *Table
	gate  *gate

	mu      sync.RWMutex
	domains map[string]*domain
	issuers map[string]*learned
	bytes   int // of the documents of issuers
	pins    *pinFile
}

// A domain is one whose issuers are discovered.
type domain struct {
	name      string
	listed    bool // by the operator; else it is admitted by the gate
	suspended bool // by the operator
	document  *published.Cache[*view]
	used      atomic.Int64 // when it was last asked about

	// Guarded by discovery.mu.
	pin  pin
	paid time.Time // for a domain that is not listed, when it last took from the budget
}

// A view is what follows from the document of a domain and its pin. It does not change.
type view struct {
	believed, waiting []string
	absent            bool // the domain has no document
}

func (p *pin) view() *view { return &view{believed: p.believed(), waiting: p.waiting()} }

// add adds a domain. The caller holds the lock.
func (d *discovery) add(name string, listed, suspended bool) *domain {
	e := &domain{name: name, listed: listed, suspended: suspended, pin: pin{Domain: name}}
	cfg := published.Config[*view]{
		Fetch: func(ctx context.Context) (*view, error) { return d.read(ctx, e) },
		Life: func(v *view, _ time.Time) (fresh, stale time.Duration) {
			if v.absent {
				return negative, negative
			}
			return d.Fresh, d.Pinned
		},
		Ahead: d.Ahead, Now: d.Now,
	}
	if !listed {
		cfg.Retry = negative
	}
	e.document = published.New(cfg)
	d.domains[name] = e
	return e
}

// read fetches the document of a domain, and updates the pin by it.
func (d *discovery) read(ctx context.Context, e *domain) (*view, error) {
	client := d.ForeignClient
	if e.listed {
		client = d.Client // the host is configured
	}
	doc, err := fetchDocument(ctx, client, e.name, d.Development)
	d.mu.Lock()
	if err != nil {
		defer d.mu.Unlock()
		if errors.Is(err, errNoDocument) && !e.pin.Established {
			return &view{absent: true}, nil
		}
		return nil, err // a document that is lost may be a mistake: the pin is believed for a while
	}
	changed := e.pin.read(doc.Issuers, d.Now(), d.Overlap)
	v := e.pin.view()
	if changed && len(v.waiting) > 0 {
		d.Log.Warn("a domain names another issuer than before", slog.String("domain", e.name), slog.Any("issuer", v.waiting),
			slog.Any("pinned", slices.Concat(v.believed, e.pin.gone())), slog.Bool("refused", e.pin.Changed))
	}
	established := e.pin.Established
	d.mu.Unlock()
	if established {
		d.save(changed)
	}
	return v, nil
}

// domain returns a domain that is listed or admitted. The error is [ErrUntrusted] if it is neither, or [ErrUnavailable] if too many
// domains are new.
func (d *discovery) domain(source, name string) (*domain, error) {
	now := d.Now()
	d.mu.RLock()
	e := d.domains[name]
	known := e != nil && (e.listed || e.pin.Established || now.Sub(e.paid) < negative)
	d.mu.RUnlock()
	if !known {
		if !d.gate.admits(name) {
			return nil, ErrUntrusted
		}
		if err := d.gate.pay(source); err != nil {
			return nil, err
		}
		d.mu.Lock()
		if e = d.domains[name]; e == nil {
			d.makeRoom()
			e = d.add(name, false, false)
		}
		e.paid = now
		d.mu.Unlock()
	}
	e.used.Store(now.UnixNano())
	return e, nil
}

// makeRoom forgets a domain that is not listed if there are too many: one without a pin if possible, and of those the one that was
// not asked about for longest. The caller holds the lock.
func (d *discovery) makeRoom() {
	if most, _ := d.gate.limits(); len(d.domains) < most {
		return
	}
	var least *domain
	for _, e := range d.domains {
		switch {
		case e.listed:
		case least == nil, least.pin.Established && !e.pin.Established,
			least.pin.Established == e.pin.Established && e.used.Load() < least.used.Load():
			least = e
		}
	}
	if least != nil {
		d.remove(least)
	}
}

// view returns the view of a domain. While its document cannot be read, the last one is believed for as long as Pinned, also if an
// earlier process read it.
func (d *discovery) view(ctx context.Context, e *domain) (*view, error) {
	v, err := e.document.Get(ctx, published.Any)
	switch {
	case err == nil && v.absent:
		return nil, ErrUntrusted
	case err == nil:
		return v, nil
	case !errors.Is(err, published.ErrUnavailable):
		return nil, unavailable(err)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e.pin.Established && d.Now().Sub(e.pin.Confirmed) < d.Pinned {
		return e.pin.view(), nil
	}
	return nil, unavailable(err)
}

// speaks returns nil if a domain names an issuer and the issuer names the domain.
func (d *discovery) speaks(ctx context.Context, source, issuer, name string) error {
	e, err := d.domain(source, name)
	if err != nil {
		return err
	}
	if d.isSuspended(e) {
		return ErrSuspended
	}
	v, err := d.view(ctx, e)
	switch {
	case err != nil:
		return err
	case slices.Contains(v.waiting, issuer):
		d.unconfirm(issuer, name)
		return ErrChanged
	case !slices.Contains(v.believed, issuer):
		d.unconfirm(issuer, name)
		return ErrForeignDomain
	}
	documents, err := d.documents(source, issuer, e)
	if err != nil {
		return err
	}
	doc, err := documents.cache.Get(ctx, published.Any)
	switch {
	case err != nil:
		return unavailable(err)
	case !doc.names(name):
		d.unconfirm(issuer, name)
		return ErrForeignDomain
	}
	d.confirm(issuer, e)
	if d.isSuspended(e) { // meanwhile
		return ErrSuspended
	}
	return nil
}

func (d *discovery) isSuspended(e *domain) bool { return e.suspended || d.table.isSuspended(e.name) }

// suspends reports whether the operator listed a domain as suspended.
func (d *discovery) suspends(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.domains[name]
	return e != nil && e.suspended
}

// lastIssuers is issuersOf for what is known already.
func (d *discovery) lastIssuers(name string) ([]string, error) {
	if !d.covers(name) {
		return nil, ErrUntrusted
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.domains[name]
	switch {
	case e == nil && d.table.isSuspended(name), e != nil && d.isSuspended(e):
		return nil, ErrSuspended
	case e == nil, e.pin.Confirmed.IsZero():
		return nil, ErrUnavailable
	}
	list := slices.DeleteFunc(e.pin.believed(), func(issuer string) bool {
		l := d.issuers[issuer]
		return l == nil || !l.confirmed[name]
	})
	if len(list) == 0 {
		return nil, ErrUnavailable
	}
	return list, nil
}

// forget forgets a domain and its pin, and returns false if it is not known.
func (d *discovery) forget(name string) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	e := d.domains[name]
	if e != nil {
		d.remove(e)
		if e.listed {
			d.add(name, true, e.suspended)
		}
	}
	d.mu.Unlock()
	if e != nil {
		d.save(true)
	}
	return e != nil
}

// remove removes a domain. The caller holds the lock.
func (d *discovery) remove(e *domain) {
	delete(d.domains, e.name)
	for _, l := range d.issuers {
		delete(l.confirmed, e.name)
	}
}

// covers reports whether the issuers of a domain are discovered, unless they are configured.
func (d *discovery) covers(name string) bool {
	if d == nil {
		return false
	}
	d.mu.RLock()
	e := d.domains[name]
	d.mu.RUnlock()
	return e != nil || d.gate.admits(name)
}

// issuersOf returns the issuers of a domain that name it too. The error is [ErrUntrusted], [ErrSuspended], [ErrChanged],
// [ErrUnavailable] or that of the context if there are none.
func (d *discovery) issuersOf(ctx context.Context, name string) ([]string, error) {
	e, err := d.domain("", name)
	if err != nil {
		return nil, err
	}
	if d.isSuspended(e) {
		return nil, ErrSuspended
	}
	v, err := d.view(ctx, e)
	if err != nil {
		return nil, err
	}
	result := error(ErrUntrusted)
	if len(v.waiting) > 0 {
		result = ErrChanged
	}
	var list []string
	for _, issuer := range v.believed {
		err := d.speaks(ctx, "", issuer, name)
		if err == nil {
			list = append(list, issuer)
		}
		result = graver(result, err)
	}
	if list == nil {
		return nil, result
	}
	return list, nil
}

// graver returns the error that says more when several ways failed: an outage, a suspension, a change, a refusal.
func graver(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == nil, errors.Is(err, ErrForeignDomain) && !errors.Is(err, ErrChanged):
			return 0
		case errors.Is(err, ErrUntrusted):
			return 1
		case errors.Is(err, ErrChanged):
			return 2
		case errors.Is(err, ErrSuspended):
			return 3
		}
		return 4
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
