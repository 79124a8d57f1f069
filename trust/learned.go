package trust

import (
	"cmp"
	"context"
	"crypto"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/published"
)

// learned is an issuer that a domain names.
type learned struct {
	url  string
	used atomic.Int64 // when it was last asked about

	// Guarded by discovery.mu.
	documents issuerKeys
	confirmed map[string]bool // the domains that name it and that it names
	paid      time.Time       // while it has none, when it last took from the budget
	size      int             // of its documents
}

// documents returns the documents of an issuer that a domain names. The error is [ErrUnavailable] if too many issuers are new.
func (d *discovery) documents(source, issuer string, e *domain) (issuerKeys, error) {
	now := d.Now()
	d.mu.RLock()
	l := d.issuers[issuer]
	if l != nil && (e.listed || len(l.confirmed) > 0 || now.Sub(l.paid) < negative) {
		defer d.mu.RUnlock()
		l.used.Store(now.UnixNano())
		return l.documents, nil
	}
	d.mu.RUnlock()
	if !e.listed {
		if err := d.gate.pay(source); err != nil {
			return issuerKeys{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l = d.issuers[issuer]; l == nil {
		d.makeRoomForIssuer()
		l = &learned{url: issuer, confirmed: make(map[string]bool)}
		d.empty(l)
		d.issuers[issuer] = l
	}
	l.paid = now
	l.used.Store(now.UnixNano())
	return l.documents, nil
}

// makeRoomForIssuer forgets an issuer if there are too many: one that was confirmed for no domain if possible, and of those the one
// that was not asked about for longest. The caller holds the lock.
func (d *discovery) makeRoomForIssuer() {
	if most, _ := d.gate.limits(); len(d.issuers) < most {
		return
	}
	var least *learned
	for _, l := range d.issuers {
		if least == nil || len(l.confirmed) == 0 && len(least.confirmed) > 0 ||
			(len(l.confirmed) == 0) == (len(least.confirmed) == 0) && l.used.Load() < least.used.Load() {
			least = l
		}
	}
	d.bytes -= least.size
	delete(d.issuers, least.url)
}

// empty gives an issuer an empty cache. The caller holds the lock.
func (d *discovery) empty(l *learned) {
	d.bytes -= l.size
	l.size = 0
	at, err := checkIssuer(l.url, d.Development)
	if err != nil {
		panic(err) // the document or the file of pins that named it was checked
	}
	where := location{issuer: l.url, at: at, client: d.ForeignClient, foreign: d.ForeignClient}
	if configured := d.table.issuers[l.url]; configured != nil {
		if keys, ok := configured.keys.(issuerKeys); ok {
			l.documents = keys
			return
		}
		where.client, where.withoutKeys = d.Client, true // the keys are configured
	}
	retry := negative
	if e := d.domains[at.Host]; e != nil && e.listed && at.Scheme == "https" { // the host is configured
		where.client, retry = d.Client, 0
	}
	l.documents = d.newIssuerKeys(func(ctx context.Context) (issuerDocument, error) {
		doc, err := where.fetch(ctx)
		if err == nil {
			d.weigh(l, doc.size)
		}
		return doc, err
	}, retry)
}

// weigh records the size of the documents of an issuer. If all together are too large, it forgets those of the issuers that were not
// asked about for longest.
func (d *discovery) weigh(l *learned, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.issuers[l.url] != l {
		return
	}
	d.bytes += size - l.size
	l.size = size
	_, most := d.gate.limits()
	for d.bytes > most {
		var least *learned
		for _, other := range d.issuers {
			if other != l && other.size > 0 && (least == nil || other.used.Load() < least.used.Load()) {
				least = other
			}
		}
		if least == nil {
			return
		}
		d.empty(least)
	}
}

// confirm remembers that a domain and an issuer name each other, which establishes the pin of the domain.
func (d *discovery) confirm(issuer string, e *domain) {
	d.mu.RLock()
	l := d.issuers[issuer]
	known := l == nil || l.confirmed[e.name] && e.pin.Established
	d.mu.RUnlock()
	if known {
		return
	}
	d.mu.Lock()
	first := false
	// The domain may have been forgotten meanwhile, or name another issuer.
	if l := d.issuers[issuer]; l != nil && d.domains[e.name] == e && slices.Contains(e.pin.believed(), issuer) {
		l.confirmed[e.name] = true
		first = !e.pin.Established
		e.pin.Established = true
	}
	d.mu.Unlock()
	if first {
		d.Log.Info("the issuer of a domain is pinned", slog.String("domain", e.name), slog.String("issuer", issuer))
		d.save(true)
	}
}

// unconfirm is the opposite of confirm. The pin stays.
func (d *discovery) unconfirm(issuer, name string) {
	d.mu.RLock()
	l := d.issuers[issuer]
	known := l == nil || !l.confirmed[name]
	d.mu.RUnlock()
	if known {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.issuers[issuer]; l != nil {
		delete(l.confirmed, name)
	}
}

// confirmedOf returns the domains that an issuer was confirmed for, sorted.
func (d *discovery) confirmedOf(issuer string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l := d.issuers[issuer]
	if l == nil {
		return nil
	}
	var list []string
	for name := range l.confirmed {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// domainsOf returns the domains that an issuer was confirmed for and that are not suspended. The error is [ErrUntrusted] or
// [ErrSuspended].
func (d *discovery) domainsOf(issuer string) ([]string, error) {
	var names []string
	if d != nil {
		names = d.confirmedOf(issuer)
	}
	if names == nil {
		return nil, ErrUntrusted
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		d.mu.RLock()
		e := d.domains[name]
		d.mu.RUnlock()
		return e == nil || d.isSuspended(e)
	})
	if len(names) == 0 {
		return nil, ErrSuspended
	}
	return names, nil
}

// key returns a key of an issuer that is not configured. It may speak for a domain: one that it was confirmed for, or one that is
// listed. A domain that is only admitted must have been asked about with [Table.Speaks] before.
func (d *discovery) key(ctx context.Context, issuer, kid string, other crypto.PublicKey) (publicKey, error) {
	if err := d.speaksForAny(ctx, issuer); err != nil {
		return publicKey{}, err
	}
	d.mu.RLock()
	l := d.issuers[issuer]
	if l == nil { // it was forgotten a moment ago
		d.mu.RUnlock()
		return publicKey{}, ErrUntrusted
	}
	documents := l.documents
	d.mu.RUnlock()
	k, err := documents.key(ctx, kid, other)
	if err != nil {
		return publicKey{}, err
	}
	_, err = d.domainsOf(issuer) // it may have been suspended while the key was fetched
	return k, err
}

func (d *discovery) speaksForAny(ctx context.Context, issuer string) error {
	result := error(ErrUntrusted)
	for _, name := range d.confirmedOf(issuer) {
		err := d.speaks(ctx, "", issuer, name)
		if err == nil {
			return nil
		}
		result = graver(result, err)
	}
	for _, e := range d.readListed(ctx) {
		err := d.speaks(ctx, "", issuer, e.name)
		if err == nil {
			return nil
		}
		if !d.isSuspended(e) { // it is not known whether a suspended domain names the issuer
			result = graver(result, err)
		}
	}
	return result
}

// readListed returns the listed domains, after their documents were fetched if they are not fresh.
func (d *discovery) readListed(ctx context.Context) []*domain {
	var listed []*domain
	d.mu.RLock()
	for _, e := range d.domains {
		if e.listed {
			listed = append(listed, e)
		}
	}
	d.mu.RUnlock()
	var all sync.WaitGroup
	for _, e := range listed {
		if !d.isSuspended(e) && d.Now().Sub(e.document.State().Fetched) >= d.Fresh {
			all.Go(func() { _, _ = e.document.Get(ctx, published.Any) })
		}
	}
	all.Wait()
	slices.SortFunc(listed, func(a, b *domain) int { return cmp.Compare(a.name, b.name) })
	return listed
}
