package cert_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/published"
)

// A publisher serves one revocation list, and counts requests.
type publisher struct {
	*httptest.Server
	mu     sync.Mutex
	der    []byte
	status int
	typ    string
	asked  atomic.Int64
	same   atomic.Int64 // answers that nothing has changed
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{typ: cert.MediaTypeCRL, status: http.StatusOK}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		tag := fmt.Sprintf(`"%x"`, len(p.der))
		w.Header().Set("Content-Type", p.typ)
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			p.same.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(p.status)
		_, _ = w.Write(p.der) // to a client that may be gone
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) set(der []byte, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.der, p.status = der, status
}

// A clock is moved by tests.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time      { return now.Add(time.Duration(c.at.Load())) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }

func newReader(t *testing.T, p *publisher, change func(*cert.CRLReaderConfig)) (*cert.CRLReader, *clock) {
	t.Helper()
	c := new(clock)
	cfg := cert.CRLReaderConfig{Client: p.Client(), Now: c.now}
	if change != nil {
		change(&cfg)
	}
	r, err := cert.NewCRLReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// Each list that cannot be used has its reason, and is never a "no".
func TestCRLReaderUnknown(t *testing.T) {
	f := newFixture(t)
	p := newPublisher(t)
	good := f.issuing.crl(t, nil)
	for name, c := range map[string]struct {
		der    []byte
		status int
		typ    string
		url    string
		change func(*cert.CRLReaderConfig)
		want   error
	}{
		"status":    {der: good, status: 500, want: cert.ErrUnreachable},
		"type":      {der: good, typ: "text/html", want: cert.ErrMalformed},
		"malformed": {der: []byte("list"), want: cert.ErrMalformed},
		"trailing":  {der: append(append([]byte(nil), good...), 0), want: cert.ErrMalformed},
		"large":     {der: good, change: func(c *cert.CRLReaderConfig) { c.Size = len(good) - 1 }, want: cert.ErrTooLarge},
		"expired":   {der: f.issuing.crl(t, func(l *x509.RevocationList) { l.NextUpdate = now }), want: cert.ErrStale},
		"future":    {der: f.issuing.crl(t, func(l *x509.RevocationList) { l.ThisUpdate = now.Add(time.Hour) }), want: cert.ErrStale},
		"other CA":  {der: f.root.crl(t, nil), want: cert.ErrIssuer},
		"forged":    {der: forgedCRL(t, f), want: cert.ErrSignature},
		"http":      {der: good, url: "http://example.com/crl", want: cert.ErrUnreachable},
		"ldap":      {der: good, url: "ldap://example.com/cn=crl", want: cert.ErrUnreachable},
		"private address": {der: good, change: func(c *cert.CRLReaderConfig) { c.Client = nil },
			want: cert.ErrUnreachable}, // the strictest client
	} {
		t.Run(name, func(t *testing.T) {
			if c.status == 0 {
				c.status = http.StatusOK
			}
			p.set(c.der, c.status)
			p.mu.Lock()
			p.typ = cert.MediaTypeCRL
			if c.typ != "" {
				p.typ = c.typ
			}
			p.mu.Unlock()
			r, _ := newReader(t, p, c.change)
			url := p.URL
			if c.url != "" {
				url = c.url
			}
			if _, err := r.CRL(t.Context(), f.issuing.Certificate, []string{url}); !errors.Is(err, c.want) || !errors.Is(err, cert.ErrUnknown) {
				t.Errorf("CRL = %v, want %v", err, c.want)
			}
		})
	}
}

// A list is fetched once while it is fresh, and confirmed by its entity tag after that.
func TestCRLReaderKeeps(t *testing.T) {
	f := newFixture(t)
	p := newPublisher(t)
	p.set(f.issuing.crl(t, nil), http.StatusOK)
	r, c := newReader(t, p, nil)
	get := func() *cert.CRL {
		t.Helper()
		list, err := r.CRL(t.Context(), f.issuing.Certificate, []string{"ldap://example.com/", p.URL})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for range 3 {
		get()
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("%d requests while the list is fresh, want 1", n)
	}
	c.add(cert.DefaultFresh)
	get()
	if n, same := p.asked.Load(), p.same.Load(); n != 2 || same != 1 {
		t.Errorf("%d requests, %d without a change, want 2 and 1", n, same)
	}
	p.set(f.issuing.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(8) }, big.NewInt(5)), http.StatusOK)
	c.add(cert.DefaultFresh)
	if list := get(); list.Len() != 1 {
		t.Errorf("%d entries, want the new list", list.Len())
	}
	// The list of another CA at the same address is another list.
	if _, err := r.CRL(t.Context(), f.root.Certificate, []string{p.URL}); !errors.Is(err, cert.ErrIssuer) {
		t.Errorf("CRL of another CA = %v, want ErrIssuer", err)
	}
}

// In an outage a list is used for MaxStale, and never after its nextUpdate.
func TestCRLReaderOutage(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		stale, life time.Duration
		want        time.Duration // until it is not used any more
	}{
		"not at all": {0, day, cert.DefaultFresh},
		"an hour":    {time.Hour, day, cert.DefaultFresh + time.Hour},
		"its end":    {time.Hour, 20 * time.Minute, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.set(f.issuing.crl(t, func(l *x509.RevocationList) { l.NextUpdate = now.Add(c.life) }), http.StatusOK)
			r, clock := newReader(t, p, func(cfg *cert.CRLReaderConfig) { cfg.MaxStale = c.stale })
			if _, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL}); err != nil {
				t.Fatal(err)
			}
			p.set(nil, http.StatusServiceUnavailable)
			clock.add(c.want - time.Second)
			if _, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL}); err != nil {
				t.Errorf("CRL a second before = %v", err)
			}
			clock.add(time.Second + published.DefaultRetry)
			if _, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL}); !errors.Is(err, cert.ErrUnreachable) {
				t.Errorf("CRL after it = %v, want ErrUnreachable", err)
			}
		})
	}
}

// An older list never takes the place of a newer one, also after the newer one was dropped.
func TestCRLReaderRollback(t *testing.T) {
	f := newFixture(t)
	numbered := func(n int64) []byte {
		return f.issuing.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) })
	}
	p := newPublisher(t)
	p.set(numbered(700), http.StatusOK)
	r, c := newReader(t, p, func(cfg *cert.CRLReaderConfig) { cfg.Lists = 1 })
	get := func(path string) error {
		_, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL + path})
		return err
	}
	if err := get(""); err != nil {
		t.Fatal(err)
	}
	p.set(numbered(6), http.StatusOK)
	c.add(cert.DefaultFresh)
	if err := get(""); !errors.Is(err, cert.ErrRollback) {
		t.Errorf("CRL = %v, want ErrRollback", err)
	}
	if err := get("/other"); err != nil { // takes the only place
		t.Fatal(err)
	}
	if err := get(""); !errors.Is(err, cert.ErrRollback) {
		t.Errorf("CRL after the list was dropped = %v, want ErrRollback", err)
	}
	p.set(numbered(701), http.StatusOK)
	c.add(published.DefaultRetry)
	if err := get(""); err != nil {
		t.Errorf("CRL with a newer list = %v", err)
	}
}

// If a list cannot be had at one address, the next is asked: at most three, each once, and not while the one before has a list. An older
// list than was seen at an address before is not used.
func TestCRLReaderNextAddress(t *testing.T) {
	f := newFixture(t)
	numbered := func(n int64) []byte {
		return f.issuing.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) })
	}
	var p [4]*publisher
	var urls []string
	for i := range p {
		p[i] = newPublisher(t)
		p[i].set(nil, http.StatusServiceUnavailable)
		urls = append(urls, p[i].URL, p[i].URL)
	}
	r, c := newReader(t, p[0], nil) // its client trusts the certificate of all
	get := func(number int64, reason error, requests ...int64) {
		t.Helper()
		list, err := r.CRL(t.Context(), f.issuing.Certificate, urls)
		if !errors.Is(err, reason) || err == nil && list.Number.Int64() != number {
			t.Errorf("CRL = %v, want list %d or %v", err, number, reason)
		}
		for i, want := range requests {
			if n := p[i].asked.Swap(0); n != want {
				t.Errorf("%d requests at address %d, want %d", n, i+1, want)
			}
		}
		c.add(cert.DefaultFresh)
	}
	p[3].set(numbered(5), http.StatusOK)
	get(0, cert.ErrUnreachable, 1, 1, 1, 0) // not the fourth
	p[1].set([]byte("not a list"), http.StatusOK)
	p[2].set(numbered(5), http.StatusOK)
	get(5, nil, 1, 1, 1, 0)
	p[0].set(numbered(600), http.StatusOK)
	get(600, nil, 1, 0, 0, 0)
	p[0].set(f.root.crl(t, nil), http.StatusOK) // of another CA
	get(0, cert.ErrIssuer, 1, 1, 1, 0)          // and the third has 5 still
	p[2].set(numbered(600), http.StatusOK)
	get(600, nil, 1, 1, 1, 0)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.CRL(ctx, f.issuing.Certificate, urls); !errors.Is(err, cert.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("CRL for a caller who has gone = %v, want ErrUnknown for that reason", err)
	}
}

// Questions at the same time share one request.
func TestCRLReaderParallel(t *testing.T) {
	f := newFixture(t)
	p := newPublisher(t)
	p.set(f.issuing.crl(t, nil, big.NewInt(5)), http.StatusOK)
	r, _ := newReader(t, p, nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			list, err := r.CRL(context.WithoutCancel(t.Context()), f.issuing.Certificate, []string{p.URL})
			if err != nil || list.Len() != 1 {
				t.Errorf("CRL = %v", err)
			}
		})
	}
	wg.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestNewCRLReaderRefused(t *testing.T) {
	for _, cfg := range []cert.CRLReaderConfig{{Fresh: -1}, {MaxStale: -1}, {Size: -1}, {Lists: -1}, {Memory: -1}} {
		if _, err := cert.NewCRLReader(cfg); err == nil {
			t.Errorf("NewCRLReader(%+v) accepts a negative bound", cfg)
		}
	}
}
