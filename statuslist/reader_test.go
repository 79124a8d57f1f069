package statuslist_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// A clock is set by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time      { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }

var errNoKey = errors.New("no such key")

// keys are the keys that issuers publish.
type keys map[string]*signer

func (k keys) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	s := k[issuer]
	if s == nil || s.kid != kid {
		return nil, "", errNoKey
	}
	return s.key.Public(), s.alg, nil
}

// A site publishes lists below /status/.
type site struct {
	*httptest.Server
	t      *testing.T
	clock  clock
	signer *signer

	mu      sync.Mutex
	answer  http.HandlerFunc // instead of a list
	change  func(*statuslist.Token)
	list    *statuslist.List
	version int
	asked   atomic.Int32
	same    atomic.Int32 // of these, answered by 304
}

func newSite(t *testing.T) *site {
	s := &site{t: t, signer: newSigner(t, "k1", jose.ES256)}
	s.clock.at.Store(noon.UnixNano())
	s.list = newToken(t).List
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.version++
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Add(1)
	if s.answer != nil {
		s.answer(w, r)
		return
	}
	if got := r.Header.Get("Accept"); got != "application/statuslist+jwt" {
		s.t.Errorf("Accept = %q", got)
	}
	etag := fmt.Sprintf(`"v%d"`, s.version)
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		s.same.Add(1)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/statuslist+jwt")
	_, _ = w.Write([]byte(s.sign(r.URL.Path)))
}

// sign returns the list at a path, as it is now.
func (s *site) sign(path string) string {
	now := s.clock.Now()
	token := &statuslist.Token{
		Issuer: home, Subject: s.URL + path, IssuedAt: now, Expires: now.Add(15 * time.Minute), TTL: time.Minute, List: s.list,
	}
	if s.change != nil {
		s.change(token)
	}
	signed, err := token.Sign(s.signer)
	if err != nil {
		s.t.Error(err)
	}
	return signed
}

func (s *site) ref(index uint64) statuslist.Reference {
	return statuslist.Reference{Index: index, URI: s.URL + "/status/1"}
}

func (s *site) reader(cfg statuslist.ReaderConfig) *statuslist.Reader {
	s.t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = keys{home: s.signer}
	}
	cfg.Client, cfg.Now = s.Client(), s.clock.Now
	r, err := statuslist.NewReader(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// expect holds the status of an index to an error, and to how often the site has been asked.
func (s *site) expect(r *statuslist.Reader, index uint64, want error, asked int32) {
	s.t.Helper()
	err := r.Check(s.t.Context(), home, s.ref(index))
	if !errors.Is(err, want) {
		s.t.Errorf("Check(%d) = %v, want %v", index, err, want)
	}
	if want != nil && want != errRevoked && !errors.Is(err, statuslist.ErrUnknown) {
		s.t.Errorf("Check(%d) = %v, want one that is %v", index, err, statuslist.ErrUnknown)
	}
	if got := s.asked.Load(); got != asked {
		s.t.Errorf("the site was asked %d times, want %d", got, asked)
	}
}

// errRevoked stands for a [statuslist.StatusError] of INVALID.
var errRevoked = &statuslist.StatusError{Status: statuslist.Invalid}

func (s *site) expectRevoked(r *statuslist.Reader, index uint64, asked int32) {
	s.t.Helper()
	err := r.Check(s.t.Context(), home, s.ref(index))
	var status *statuslist.StatusError
	if !errors.As(err, &status) || status.Status != statuslist.Invalid || errors.Is(err, statuslist.ErrUnknown) {
		s.t.Errorf("Check(%d) = %v, want %v", index, err, errRevoked)
	}
	if got := s.asked.Load(); got != asked {
		s.t.Errorf("the site was asked %d times, want %d", got, asked)
	}
}

// A list is fetched once for all its tokens, and again after its ttl: a change is seen, and what did not change is not sent again.
func TestReaderKeepsAList(t *testing.T) {
	s := newSite(t)
	r := s.reader(statuslist.ReaderConfig{})
	s.expect(r, 3, nil, 1)
	s.expectRevoked(r, 7, 1)
	s.expect(r, 1<<17, statuslist.ErrIndex, 1)
	s.clock.add(time.Minute - time.Second)
	s.expect(r, 3, nil, 1)

	s.clock.add(time.Second)
	s.expect(r, 3, nil, 2)
	s.expectRevoked(r, 7, 2)
	if got := s.same.Load(); got != 1 {
		t.Errorf("%d of 2 answers were 304, want 1", got)
	}
	s.set(func() { _ = s.list.Set(3, statuslist.Invalid) })
	s.clock.add(time.Minute)
	s.expectRevoked(r, 3, 3)
}

func TestReaderStatuses(t *testing.T) {
	s := newSite(t)
	var err error
	if s.list, err = statuslist.New(2, 8); err != nil {
		t.Fatal(err)
	}
	r := s.reader(statuslist.ReaderConfig{Bits: 2})
	for i, want := range []statuslist.Status{statuslist.Valid, statuslist.Invalid, statuslist.Suspended, statuslist.Application} {
		if err := s.list.Set(uint64(i), want); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []statuslist.Status{statuslist.Valid, statuslist.Invalid, statuslist.Suspended, statuslist.Application} {
		got, err := r.Status(t.Context(), home, s.ref(uint64(i)))
		if got != want || err != nil {
			t.Errorf("Status(%d) = %v, %v, want %v", i, got, err, want)
		}
		var status *statuslist.StatusError
		if err := r.Check(t.Context(), home, s.ref(uint64(i))); errors.As(err, &status) == (want == statuslist.Valid) {
			t.Errorf("Check(%d) = %v for %v", i, err, want)
		}
	}
}

// An outage is no revocation: without a list nothing is known. A list from before is used while the reader allows it, and never after
// its exp.
func TestReaderOutage(t *testing.T) {
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	t.Run("strict", func(t *testing.T) {
		s := newSite(t)
		r := s.reader(statuslist.ReaderConfig{})
		s.set(func() { s.answer = down })
		s.expect(r, 3, statuslist.ErrUnreachable, 1)
		s.expect(r, 3, statuslist.ErrUnreachable, 1) // not asked again for a while
		s.set(func() { s.answer = nil })
		s.clock.add(10 * time.Second)
		s.expect(r, 3, nil, 2)
		s.set(func() { s.answer = down })
		s.clock.add(time.Minute)
		s.expect(r, 3, statuslist.ErrUnreachable, 3)
		s.expect(r, 7, statuslist.ErrUnreachable, 3)
	})
	t.Run("MaxStale", func(t *testing.T) {
		s := newSite(t)
		r := s.reader(statuslist.ReaderConfig{MaxStale: time.Hour})
		s.expect(r, 3, nil, 1)
		s.set(func() { s.answer = down })
		s.clock.add(time.Minute)
		s.expect(r, 3, nil, 2)
		s.expectRevoked(r, 7, 2)
		s.clock.add(14*time.Minute - time.Second)
		s.expect(r, 3, nil, 3)
		s.clock.add(time.Second) // exp
		s.expect(r, 3, statuslist.ErrUnreachable, 3)
	})
	t.Run("no host", func(t *testing.T) {
		s := newSite(t)
		r := s.reader(statuslist.ReaderConfig{})
		s.Close()
		s.expect(r, 3, statuslist.ErrUnreachable, 0)
	})
}

// Nothing that is wrong with a list makes a token valid or revoked.
func TestReaderRefuses(t *testing.T) {
	other := newSigner(t, "k1", jose.ES256)
	text := func(body string) func(*site) {
		return func(s *site) {
			s.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/statuslist+jwt")
				_, _ = w.Write([]byte(body))
			}
		}
	}
	token := func(change func(*statuslist.Token)) func(*site) {
		return func(s *site) { s.change = change }
	}
	for name, v := range map[string]struct {
		change func(*site)
		cfg    statuslist.ReaderConfig
		want   error
	}{
		"expired": {token(func(k *statuslist.Token) { k.Expires = noon }), statuslist.ReaderConfig{}, statuslist.ErrStale},
		"old by iat": {token(func(k *statuslist.Token) { k.IssuedAt = noon.Add(-time.Hour) }),
			statuslist.ReaderConfig{MaxAge: time.Hour}, statuslist.ErrStale},
		"old and without exp": {token(func(k *statuslist.Token) { k.Expires, k.IssuedAt = time.Time{}, noon.Add(-24*time.Hour) }),
			statuslist.ReaderConfig{}, statuslist.ErrStale},
		"from the future":    {token(func(k *statuslist.Token) { k.IssuedAt = noon.Add(2 * time.Minute) }), statuslist.ReaderConfig{}, statuslist.ErrStale},
		"of another address": {token(func(k *statuslist.Token) { k.Subject += "0" }), statuslist.ReaderConfig{}, statuslist.ErrSubject},
		"of another issuer":  {token(func(k *statuslist.Token) { k.Issuer = "https://id.example.org" }), statuslist.ReaderConfig{}, statuslist.ErrIssuer},
		"by another key":     {func(s *site) { s.signer = other }, statuslist.ReaderConfig{}, statuslist.ErrKey},
		"by a key of nobody": {func(s *site) { s.signer = &signer{"k2", jose.ES256, other.key} }, statuslist.ReaderConfig{}, errNoKey},
		"of 2 bits":          {func(*site) {}, statuslist.ReaderConfig{Bits: 2}, statuslist.ErrBits},
		"oversized":          {text(strings.Repeat("A", 64<<10+1)), statuslist.ReaderConfig{Limits: statuslist.Limits{Packed: 64 << 10}}, statuslist.ErrTooLarge},
		"large unpacked":     {func(*site) {}, statuslist.ReaderConfig{Limits: statuslist.Limits{Unpacked: 16<<10 - 1}}, statuslist.ErrTooLarge},
		"empty":              {text(""), statuslist.ReaderConfig{}, statuslist.ErrMalformed},
		"HTML":               {text("<html>"), statuslist.ReaderConfig{}, statuslist.ErrMalformed},
		"of another type": {func(s *site) {
			s.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/jwt")
				_, _ = w.Write([]byte(s.sign("/status/1")))
			}
		}, statuslist.ReaderConfig{}, statuslist.ErrMalformed},
		"truncated": {func(s *site) {
			s.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/statuslist+jwt")
				w.Header().Set("Content-Length", "4000")
				_, _ = w.Write([]byte(s.sign("/status/1"))[:100])
			}
		}, statuslist.ReaderConfig{}, statuslist.ErrUnreachable},
		"304 without a question": {func(s *site) {
			s.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }
		}, statuslist.ReaderConfig{}, statuslist.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			v.cfg.Keys = keys{home: s.signer}
			v.change(s)
			r := s.reader(v.cfg)
			for _, index := range []uint64{3, 7} {
				s.expect(r, index, v.want, 1)
			}
			// A good list that comes after it is believed.
			if v.cfg.Bits == 0 && v.cfg.Limits == (statuslist.Limits{}) && v.cfg.MaxAge == 0 {
				s.set(func() { s.answer, s.change, s.signer = nil, nil, v.cfg.Keys.(keys)[home] })
				s.clock.add(10 * time.Second)
				s.expect(r, 3, nil, 2)
				s.expectRevoked(r, 7, 2)
			}
		})
	}
}

// A list that is older than one that was seen is refused, even if it has not expired: with it a revoked token would be valid again.
func TestReaderRollback(t *testing.T) {
	for name, cfg := range map[string]statuslist.ReaderConfig{"kept": {}, "dropped": {Lists: 1}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			old := s.sign("/status/1")
			s.clock.add(time.Second)
			s.set(func() { _ = s.list.Set(3, statuslist.Invalid) })
			r := s.reader(cfg)
			s.expectRevoked(r, 3, 1)
			if err := r.Check(t.Context(), home, statuslist.Reference{Index: 4, URI: s.URL + "/status/2"}); err != nil {
				t.Fatal(err)
			}
			s.set(func() {
				s.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/statuslist+jwt")
					_, _ = w.Write([]byte(old))
				}
			})
			s.clock.add(time.Minute)
			s.expect(r, 3, statuslist.ErrRollback, 3)
		})
	}
	t.Run("other bits", func(t *testing.T) {
		s := newSite(t)
		r := s.reader(statuslist.ReaderConfig{})
		s.expect(r, 3, nil, 1)
		list, err := statuslist.New(2, 1<<17)
		if err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.list = list })
		s.clock.add(time.Minute)
		s.expect(r, 3, statuslist.ErrBits, 2)
	})
}

// References that no list can have cost no request.
func TestReaderReferences(t *testing.T) {
	s := newSite(t)
	r := s.reader(statuslist.ReaderConfig{})
	for _, uri := range []string{
		"", "status/1", "/status/1", "http://id.example.net/status/1", "ftp://id.example.net/1", "https:///status/1",
		"https://user@id.example.net/1", "https://id.example.net/1#a", "https://id.example.net/" + strings.Repeat("1", 2048), "https://id.example.net/%zz",
	} {
		if err := r.Check(t.Context(), home, statuslist.Reference{URI: uri}); !errors.Is(err, statuslist.ErrReference) {
			t.Errorf("Check(%.40q) = %v, want %v", uri, err, statuslist.ErrReference)
		}
	}
	if got := s.asked.Load(); got != 0 {
		t.Errorf("the site was asked %d times", got)
	}
	// The strictest client does not connect to a private address.
	strict, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: keys{home: s.signer}})
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.Check(t.Context(), home, s.ref(3)); !errors.Is(err, statuslist.ErrUnreachable) || s.asked.Load() != 0 {
		t.Errorf("Check at a private address = %v, want %v", err, statuslist.ErrUnreachable)
	}
}

// The ttl of a list is kept within bounds, and a list is not used after its exp whatever its ttl says.
func TestReaderBoundsTTL(t *testing.T) {
	for name, v := range map[string]struct {
		ttl, life time.Duration // of the list
		want      time.Duration // until it is fetched again
	}{
		"none":       {0, time.Hour, statuslist.DefaultTTL},
		"short":      {time.Second, time.Hour, statuslist.DefaultMinTTL},
		"long":       {12 * time.Hour, 24 * time.Hour, statuslist.DefaultMaxTTL},
		"beyond exp": {10 * time.Minute, 4 * time.Minute, 4 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.change = func(k *statuslist.Token) { k.TTL, k.Expires = v.ttl, k.IssuedAt.Add(v.life) }
			r := s.reader(statuslist.ReaderConfig{})
			s.expect(r, 3, nil, 1)
			s.clock.add(v.want - time.Second)
			s.expect(r, 3, nil, 1)
			s.clock.add(time.Second)
			s.set(func() {})
			s.expect(r, 3, nil, 2)
		})
	}
}

// What is kept is bounded, by the number of lists and by their bytes, and lists of two issuers at one address are two.
func TestReaderBounds(t *testing.T) {
	check := func(t *testing.T, s *site, r *statuslist.Reader, issuer string, list int, asked int32) {
		t.Helper()
		err := r.Check(t.Context(), issuer, statuslist.Reference{Index: 3, URI: fmt.Sprintf("%s/status/%d", s.URL, list)})
		if err != nil {
			t.Errorf("Check = %v", err)
		}
		if got := s.asked.Load(); got != asked {
			t.Errorf("the site was asked %d times, want %d", got, asked)
		}
	}
	for name, cfg := range map[string]statuslist.ReaderConfig{"lists": {Lists: 2}, "memory": {Memory: 2 * 16 << 10}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r := s.reader(cfg)
			check(t, s, r, home, 1, 1)
			check(t, s, r, home, 2, 2)
			check(t, s, r, home, 1, 2)
			check(t, s, r, home, 3, 3) // 2 is dropped
			check(t, s, r, home, 1, 3)
			check(t, s, r, home, 2, 4)
		})
	}
	t.Run("issuers", func(t *testing.T) {
		s := newSite(t)
		s.change = func(k *statuslist.Token) { k.Issuer = "" }
		r := s.reader(statuslist.ReaderConfig{Keys: keys{home: s.signer, "https://id.example.org": s.signer}})
		check(t, s, r, home, 1, 1)
		check(t, s, r, "https://id.example.org", 1, 2)
		if err := r.Check(t.Context(), "https://id.example.com", s.ref(3)); !errors.Is(err, statuslist.ErrKey) {
			t.Errorf("Check of an issuer without keys = %v, want %v", err, statuslist.ErrKey)
		}
	})
}

// Questions at the same time share one request, and one that gives up does not end it.
func TestReaderJoinsQuestions(t *testing.T) {
	s := newSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { close(arrived) })
		<-release
		s.serve(w, r)
	})
	r := s.reader(statuslist.ReaderConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- r.Check(ctx, home, s.ref(3)) }()
	<-arrived
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) || !errors.Is(err, statuslist.ErrUnknown) {
		t.Errorf("Check = %v, want %v", err, context.Canceled)
	}
	var all sync.WaitGroup
	var valid, revoked atomic.Int32
	for i := range 32 {
		all.Go(func() {
			err := r.Check(t.Context(), home, s.ref(uint64(6+i%2)))
			var status *statuslist.StatusError
			if err == nil {
				valid.Add(1)
			} else if errors.As(err, &status) {
				revoked.Add(1)
			} else {
				t.Errorf("Check = %v", err)
			}
		})
	}
	close(release)
	all.Wait()
	if valid.Load() != 16 || revoked.Load() != 16 || s.asked.Load() != 1 {
		t.Errorf("%d valid, %d revoked by %d requests, want 16, 16, 1", valid.Load(), revoked.Load(), s.asked.Load())
	}
}

func TestNewReaderRefuses(t *testing.T) {
	k := keys{}
	for name, cfg := range map[string]statuslist.ReaderConfig{
		"no keys": {}, "3 bits": {Keys: k, Bits: 3}, "negative": {Keys: k, MaxStale: -1}, "ttl": {Keys: k, MinTTL: time.Hour},
		"size": {Keys: k, Limits: statuslist.Limits{Packed: -1}},
	} {
		if _, err := statuslist.NewReader(cfg); err == nil {
			t.Errorf("%s: NewReader took it", name)
		}
	}
}
