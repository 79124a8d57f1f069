package trust_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

var discovered = []trust.Peer{{Domain: "a.example"}}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example", "c.example")
	w.domain("a.example", id)
	for name, first := range map[string]func(*trust.Table){
		"Speaks":   func(table *trust.Table) { wantSpeaks(t, table, id, "a.example", nil) },
		"Key":      func(table *trust.Table) { wantKey(t, table, id, nil) }, // a listed domain is found by itself
		"Discover": func(table *trust.Table) { _, _ = table.Discover(t.Context(), "A.example") },
	} {
		t.Run(name, func(t *testing.T) {
			table := w.table(t, trust.Config{Peers: discovered})
			if _, err := table.Issuers("a.example"); !errors.Is(err, trust.ErrUnavailable) {
				t.Errorf("Issuers before the discovery = %v, want %v", err, trust.ErrUnavailable)
			}
			if _, err := table.Domains(id); err != trust.ErrUntrusted {
				t.Errorf("Domains before the discovery = %v, want %v", err, trust.ErrUntrusted)
			}
			first(table)
			wantSpeaks(t, table, id, "a.example", nil)
			wantKey(t, table, id, nil)
			wantSpeaks(t, table, id, "c.example", trust.ErrForeignDomain)
			wantSpeaks(t, table, "https://other.example", "a.example", trust.ErrForeignDomain)
			wantKey(t, table, "https://other.example", trust.ErrUntrusted)
			issuers, err := table.Issuers("a.example")
			if found, failed := table.Discover(t.Context(), "A.EXAMPLE."); err != nil || failed != nil ||
				!slices.Equal(issuers, []string{id}) || !slices.Equal(found, issuers) {
				t.Errorf("Issuers, Discover = %v, %v, %v, %v", issuers, err, found, failed)
			}
			if domains, err := table.Domains(id); err != nil || !slices.Equal(domains, []string{"a.example"}) {
				t.Errorf("Domains = %v, %v", domains, err)
			}
			if _, err := table.Discover(t.Context(), "c.example"); err != trust.ErrUntrusted {
				t.Errorf("Discover of a domain that is not listed = %v, want %v", err, trust.ErrUntrusted)
			}
			peers := table.Peers()
			if len(peers) != 1 || peers[0].Issuer != id || !peers[0].Discovered || peers[0].Keys != 1 || peers[0].Err != nil ||
				!peers[0].Fetched.Equal(w.Now()) || !peers[0].Confirmed.Equal(w.Now()) {
				t.Errorf("Peers = %+v", peers)
			}
		})
	}
}

// What a domain or an issuer answers wrongly is refused, or cannot be known. Each case changes a world that is right.
func TestDiscoveryRefuses(t *testing.T) {
	const id = "https://id.example"
	answer := func(typ, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", typ)
			_, _ = rw.Write([]byte(body))
		}
	}
	document := func(body string) func(*world) {
		return func(w *world) { w.host("a.example", answer("application/json", body)) }
	}
	metadata := func(body string) func(*world) {
		return func(w *world) { w.host("id.example", answer("application/json", body)) }
	}
	const right = `{"domain":"a.example","issuers":["https://id.example"]`
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, v := range map[string]struct {
		change func(w *world)
		want   error
		asked  int // how often the issuer is
	}{
		"right":                               {func(*world) {}, nil, 2},
		"right, with other members":           {document(right + `,"x":{}}`), nil, 2},
		"right, in another spelling":          {document(strings.Replace(right, "a.example", "A.EXAMPLE.", 1) + `}`), nil, 2},
		"the domain names another issuer":     {func(w *world) { w.domain("a.example", "https://other.example") }, trust.ErrForeignDomain, 0},
		"the domain names none":               {func(w *world) { w.domain("a.example") }, trust.ErrForeignDomain, 0},
		"the domain has no document":          {func(w *world) { w.host("a.example", http.NotFound) }, trust.ErrUntrusted, 0},
		"the domain is down":                  {func(w *world) { w.host("a.example", nil) }, trust.ErrUnavailable, 0},
		"the document is of another domain":   {document(strings.Replace(right, "a.example", "b.example", 1) + `}`), trust.ErrUnavailable, 0},
		"the document is cut off":             {document(right), trust.ErrUnavailable, 0},
		"the document is a list":              {document("[" + right + "}]"), trust.ErrUnavailable, 0},
		"issuers twice":                       {document(right + `,"issuers":[]}`), trust.ErrUnavailable, 0},
		"ISSUERS":                             {document(right + `,"ISSUERS":[]}`), trust.ErrUnavailable, 0},
		"no issuers":                          {document(`{"domain":"a.example"}`), trust.ErrUnavailable, 0},
		"issuers is a string":                 {document(`{"domain":"a.example","issuers":"https://id.example"}`), trust.ErrUnavailable, 0},
		"the document is huge":                {document(right + `,"x":"` + strings.Repeat("a", 20<<10) + `"}`), trust.ErrUnavailable, 0},
		"the document is a page":              {func(w *world) { w.host("a.example", answer("text/html", right+"}")) }, trust.ErrUnavailable, 0},
		"the document has no type":            {func(w *world) { w.host("a.example", answer("application/octet-stream", right+"}")) }, trust.ErrUnavailable, 0},
		"the document is elsewhere":           {func(w *world) { w.host("a.example", redirectTo("https://b.example"+trust.DocumentPath)) }, trust.ErrUnavailable, 0},
		"the document is slow":                {func(w *world) { w.host("a.example", slow) }, trust.ErrUnavailable, 0},
		"the issuer does not name it":         {func(w *world) { w.issuer("id.example", "b.example") }, trust.ErrForeignDomain, 2},
		"the issuer names none":               {func(w *world) { w.issuer("id.example") }, trust.ErrForeignDomain, 2},
		"the issuer names a domain above it":  {func(w *world) { w.issuer("id.example", "example") }, trust.ErrForeignDomain, 2},
		"the issuer is down":                  {func(w *world) { w.host("id.example", nil) }, trust.ErrUnavailable, 1},
		"the issuer has no metadata":          {func(w *world) { w.host("id.example", http.NotFound) }, trust.ErrUnavailable, 1},
		"the issuer's metadata are slow":      {func(w *world) { w.host("id.example", slow) }, trust.ErrUnavailable, 1},
		"the issuer's metadata are elsewhere": {func(w *world) { w.host("id.example", redirectTo("https://other.example/")) }, trust.ErrUnavailable, 1},
		"the issuer's metadata are a page":    {func(w *world) { w.host("id.example", answer("text/html", "{}")) }, trust.ErrUnavailable, 1},
		"the issuer's metadata are huge":      {metadata(`{"issuer":"https://id.example","x":"` + strings.Repeat("a", 300<<10) + `"}`), trust.ErrUnavailable, 1},
		"the metadata are another issuer's":   {metadata(`{"issuer":"https://other.example","jwks_uri":"https://id.example/jwks","im_domains_supported":["a.example"]}`), trust.ErrUnavailable, 1},
		"the keys are at a private address":   {metadata(`{"issuer":"https://id.example","jwks_uri":"https://10.0.0.1/jwks","im_domains_supported":["a.example"]}`), trust.ErrUnavailable, 1},
		"the keys are at another port":        {metadata(`{"issuer":"https://id.example","jwks_uri":"https://id.example:8443/jwks","im_domains_supported":["a.example"]}`), trust.ErrUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if strings.Contains(name, "slow") {
				w.policy.Timeout = 6 * time.Second // for the rest, which is not
			}
			w.domain("a.example", w.issuer("id.example", "a.example"))
			v.change(w)
			table := w.table(t, trust.Config{Peers: discovered})
			wantSpeaks(t, table, id, "a.example", v.want)
			if got := w.count("id.example"); got != v.asked || w.count("other.example") != 0 || w.count("b.example") != 0 {
				t.Errorf("the issuer was asked %d times, want %d; others %d and %d times", got, v.asked,
					w.count("other.example"), w.count("b.example"))
			}
			if errors.Is(v.want, trust.ErrUnavailable) {
				wantKey(t, table, id, trust.ErrUnavailable) // an outage is no refusal
			} else if v.want != nil {
				wantKey(t, table, id, trust.ErrUntrusted)
			}
			if domains, err := table.Domains(id); v.want != nil && err == nil {
				t.Errorf("Domains = %v, want none", domains)
			}
		})
	}
}

func redirectTo(url string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, url, http.StatusFound) }
}

// An issuer that a document names is reached under the rules for foreign URLs, wherever it is.
func TestDiscoveredIssuerIsForeign(t *testing.T) {
	for _, issuer := range []string{
		"https://127.0.0.1", "https://[::1]", "https://169.254.169.254/latest", "https://10.0.0.1", "https://id.example:8443",
		"https://localhost", "https://[::ffff:127.0.0.1]",
	} {
		w := newWorld(t)
		w.domain("a.example", issuer)
		table := w.table(t, trust.Config{Peers: discovered})
		wantSpeaks(t, table, issuer, "a.example", trust.ErrUnavailable)
		wantKey(t, table, issuer, trust.ErrUnavailable)
	}
}

// A change of issuer needs overlap: the domain names both for a day. Each step is a document, an hour after the last one.
func TestChangeOfIssuer(t *testing.T) {
	const before, after = "https://id.example", "https://new.example"
	both := []string{before, after}
	type step struct {
		hours      int
		named      []string
		old, fresh error
	}
	for name, steps := range map[string][]step{
		"with overlap": {
			{1, both, nil, trust.ErrChanged}, {23, both, nil, trust.ErrChanged}, {1, both, nil, nil},
			{1, []string{after}, trust.ErrForeignDomain, nil}, {1, both, trust.ErrChanged, nil},
		},
		"abrupt": {
			{1, []string{after}, trust.ErrForeignDomain, trust.ErrChanged},
			{100, []string{after}, trust.ErrForeignDomain, trust.ErrChanged}, // however long
			{1, both, nil, trust.ErrChanged},                                 // it begins here
			{23, both, nil, trust.ErrChanged}, {1, both, nil, nil},
		},
		"back again": {
			{1, []string{after}, trust.ErrForeignDomain, trust.ErrChanged}, {1, []string{before}, nil, trust.ErrForeignDomain},
		},
		"with a gap": {
			{1, both, nil, trust.ErrChanged}, {20, []string{before}, nil, trust.ErrForeignDomain}, {1, both, nil, trust.ErrChanged},
			{23, both, nil, trust.ErrChanged}, {1, both, nil, nil},
		},
		"too short": {
			{1, both, nil, trust.ErrChanged}, {23, []string{after}, trust.ErrForeignDomain, trust.ErrChanged},
			{48, []string{after}, trust.ErrForeignDomain, trust.ErrChanged},
		},
		"withdrawn, then another": {
			{1, nil, trust.ErrForeignDomain, trust.ErrForeignDomain}, {1, []string{after}, trust.ErrForeignDomain, trust.ErrChanged},
		},
		"seen seldom": { // both were named, and a day later only the new one is
			{1, both, nil, trust.ErrChanged}, {24, []string{after}, trust.ErrForeignDomain, nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.issuer("new.example", "a.example")
			w.domain("a.example", w.issuer("id.example", "a.example"))
			var log bytes.Buffer
			table := w.table(t, trust.Config{Peers: discovered, Log: slog.New(slog.NewTextHandler(&log, nil))})
			wantSpeaks(t, table, before, "a.example", nil)
			for i, s := range steps {
				w.add(time.Duration(s.hours) * time.Hour)
				w.domain("a.example", s.named...)
				for issuer, want := range map[string]error{before: s.old, after: s.fresh} {
					if err := table.Speaks(t.Context(), issuer, "a.example"); !errors.Is(err, want) {
						t.Errorf("step %d: Speaks(%s) = %v, want %v", i, issuer, err, want)
					}
					if _, _, err := table.Key(t.Context(), issuer, "k"); (err == nil) != (want == nil) || errors.Is(err, trust.ErrUnavailable) {
						t.Errorf("step %d: Key(%s) = %v, want as %v", i, issuer, err, want)
					}
				}
				changed := errors.Is(s.old, trust.ErrChanged) || errors.Is(s.fresh, trust.ErrChanged)
				if told := errors.Is(table.Peers()[0].Err, trust.ErrChanged); told != changed {
					t.Errorf("step %d: the state tells of a change: %v, want %v", i, told, changed)
				}
			}
			if !strings.Contains(log.String(), "names another issuer than before") {
				t.Errorf("the change is not logged: %s", &log)
			}
		})
	}
}

// The operator decides about an abrupt change.
func TestForget(t *testing.T) {
	w := newWorld(t)
	before := w.issuer("id.example", "a.example")
	w.domain("a.example", before)
	table := w.table(t, trust.Config{Peers: discovered})
	wantSpeaks(t, table, before, "a.example", nil)
	after := w.issuer("new.example", "a.example")
	w.domain("a.example", after)
	w.add(time.Hour)
	wantSpeaks(t, table, after, "a.example", trust.ErrChanged)
	if err := table.Forget("A.example"); err != nil {
		t.Fatal(err)
	}
	wantSpeaks(t, table, after, "a.example", nil)
	wantSpeaks(t, table, before, "a.example", trust.ErrForeignDomain)
	wantKey(t, table, before, trust.ErrUntrusted)
	for _, domain := range []string{"b.example", "not a domain"} {
		if err := table.Forget(domain); err == nil {
			t.Errorf("Forget(%s) = nil, want an error", domain)
		}
	}

	// Or they list the issuer, which always wins.
	listed := w.table(t, trust.Config{Peers: []trust.Peer{{Domain: "a.example", Issuer: before, JWKS: jwks("k")}}, Previous: table})
	wantSpeaks(t, listed, before, "a.example", nil)
	wantSpeaks(t, listed, after, "a.example", trust.ErrUntrusted)
}

// A domain names another issuer while the first one, which is slow, is asked whether it names the domain. Its yes pins nobody else.
func TestSlowIssuerPinsNoOther(t *testing.T) {
	w := newWorld(t)
	slow, other, third := w.issuer("id.example", "a.example"), w.issuer("new.example"), w.issuer("other.example", "a.example")
	w.domain("a.example", slow)
	asked, answer := make(chan struct{}), make(chan struct{})
	quick := w.hosts["id.example"]
	var once sync.Once
	w.host("id.example", func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-answer
		quick(rw, r)
	})
	table := w.table(t, trust.Config{Peers: discovered})
	spoke := make(chan error, 1)
	go func() { spoke <- table.Speaks(t.Context(), slow, "a.example") }()
	<-asked
	w.domain("a.example", other)
	w.add(trust.DefaultFresh)
	wantSpeaks(t, table, other, "a.example", trust.ErrForeignDomain) // it does not name the domain
	close(answer)
	if err := <-spoke; err != nil { // it was named when it was asked
		t.Errorf("Speaks = %v", err)
	}
	wantKey(t, table, slow, trust.ErrUntrusted)
	w.domain("a.example", third)
	w.add(trust.DefaultFresh)
	wantSpeaks(t, table, third, "a.example", nil)
}

// An outage is no withdrawal. Of a domain, the pin is believed for Pinned; of an issuer, its keys for Stale.
func TestDiscoveryOutage(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	table := w.table(t, trust.Config{Peers: discovered})
	wantSpeaks(t, table, id, "a.example", nil)
	for name, down := range map[string]http.HandlerFunc{"down": nil, "document lost": http.NotFound} {
		w.host("a.example", down)
		w.add(trust.DefaultPinned - time.Second)
		t.Log(name)
		wantSpeaks(t, table, id, "a.example", nil)
		wantKey(t, table, id, nil)
		wantSpeaks(t, table, "https://other.example", "a.example", trust.ErrForeignDomain)
		w.add(time.Second)
		wantSpeaks(t, table, id, "a.example", trust.ErrUnavailable)
		wantKey(t, table, id, trust.ErrUnavailable)
		w.domain("a.example", id)
		w.add(time.Minute)
		wantSpeaks(t, table, id, "a.example", nil)
	}
	w.add(trust.DefaultFresh)
	wantSpeaks(t, table, id, "a.example", nil)
	w.host("id.example", nil)
	w.add(trust.DefaultStale - time.Second)
	wantSpeaks(t, table, id, "a.example", nil)
	wantKey(t, table, id, nil)
	w.add(time.Second)
	wantSpeaks(t, table, id, "a.example", trust.ErrUnavailable)
	wantKey(t, table, id, trust.ErrUnavailable)
}

// Two domains have one issuer, and one of them is withdrawn: by the domain, or by the issuer.
func TestOneOfTwoDomainsWithdrawn(t *testing.T) {
	for name, withdraw := range map[string]func(w *world, id string){
		"by the domain": func(w *world, _ string) { w.domain("b.example") },
		"by the issuer": func(w *world, _ string) { w.issuer("id.example", "a.example") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.issuer("id.example", "a.example", "b.example")
			w.domain("a.example", id)
			w.domain("b.example", id)
			table := w.table(t, trust.Config{Peers: []trust.Peer{{Domain: "a.example"}, {Domain: "b.example"}}})
			wantSpeaks(t, table, id, "a.example", nil)
			wantSpeaks(t, table, id, "b.example", nil)
			withdraw(w, id)
			w.add(trust.DefaultFresh)
			wantSpeaks(t, table, id, "b.example", trust.ErrForeignDomain)
			wantSpeaks(t, table, id, "a.example", nil)
			wantKey(t, table, id, nil)
			if domains, err := table.Domains(id); err != nil || !slices.Equal(domains, []string{"a.example"}) {
				t.Errorf("Domains = %v, %v, want a.example", domains, err)
			}
			w.domain("a.example")
			w.add(trust.DefaultFresh)
			wantKey(t, table, id, trust.ErrUntrusted) // it speaks for no domain
		})
	}
}

// A configured issuer speaks for its own domain without any document, and for another one by discovery, with its configured keys.
func TestConfiguredIssuerIsDiscovered(t *testing.T) {
	for name, keys := range map[string][]byte{"keys configured": jwks("k"), "keys fetched": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.issuer("id.example", "a.example")
			w.domain("a.example", id)
			table := w.table(t, trust.Config{Peers: []trust.Peer{{Domain: "a.example"}, {Domain: "b.example", Issuer: id, JWKS: keys}}})
			wantSpeaks(t, table, id, "b.example", nil) // although neither names the other
			wantSpeaks(t, table, id, "a.example", nil)
			wantKey(t, table, id, nil)
			if domains, err := table.Domains(id); err != nil || !slices.Equal(domains, []string{"b.example", "a.example"}) {
				t.Errorf("Domains = %v, %v", domains, err)
			}
			w.issuer("id.example", "b.example")
			w.add(trust.DefaultFresh)
			wantSpeaks(t, table, id, "a.example", trust.ErrForeignDomain)
			wantSpeaks(t, table, id, "b.example", nil)
			if w.count("b.example") != 0 {
				t.Error("the document of a domain with a configured issuer was fetched")
			}
		})
	}
}

// A made-up kid costs a discovered issuer one fetch a minute, too.
func TestDiscoveredKidFlood(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	table := w.table(t, trust.Config{Peers: discovered})
	wantKey(t, table, id, nil)
	asked := w.count("id.example")
	if _, _, err := table.Key(t.Context(), id, "x"); err != trust.ErrUnknownKey {
		t.Errorf("Key = %v, want %v", err, trust.ErrUnknownKey)
	}
	for range 50 {
		if _, _, err := table.Key(t.Context(), id, "x"); !errors.Is(err, trust.ErrUnavailable) {
			t.Fatalf("Key = %v, want %v", err, trust.ErrUnavailable)
		}
	}
	wantKey(t, table, id, nil)
	if got := w.count("id.example") - asked; got != 2 { // metadata and keys
		t.Errorf("asked %d times, want 2", got)
	}
}

func TestSuspendDiscovered(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example", "b.example")
	w.domain("a.example", id)
	w.domain("b.example", id)
	table := w.table(t, trust.Config{Peers: []trust.Peer{{Domain: "a.example"}, {Domain: "b.example", Suspended: true}}})
	wantSpeaks(t, table, id, "a.example", nil)
	wantSpeaks(t, table, id, "b.example", trust.ErrSuspended)
	if err := table.Suspend("b.example", false); err != trust.ErrSuspended {
		t.Errorf("Suspend = %v, want %v: the configuration suspends it", err, trust.ErrSuspended)
	}
	if err := table.Suspend("a.example", true); err != nil {
		t.Fatal(err)
	}
	wantSpeaks(t, table, id, "a.example", trust.ErrSuspended)
	wantKey(t, table, id, trust.ErrSuspended)
	for name, f := range map[string]func(string) ([]string, error){
		"Issuers": table.Issuers, "Domains": func(string) ([]string, error) { return table.Domains(id) },
		"Discover": func(domain string) ([]string, error) { return table.Discover(t.Context(), domain) },
	} {
		if _, err := f("a.example"); err != trust.ErrSuspended {
			t.Errorf("%s = %v, want %v", name, err, trust.ErrSuspended)
		}
	}
	next := w.table(t, trust.Config{Peers: discovered, Previous: table})
	wantSpeaks(t, next, id, "a.example", trust.ErrSuspended) // it goes on
	if err := next.Suspend("a.example", false); err != nil {
		t.Fatal(err)
	}
	wantSpeaks(t, next, id, "a.example", nil)
	if w.count("b.example") != 0 {
		t.Error("a suspended domain was asked")
	}
}

// Callers of one domain share one fetch, and a caller that gives up does not end it.
func TestDiscoveryIsShared(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	w.mu.Lock()
	answer := w.hosts["a.example"]
	w.mu.Unlock()
	hold := make(chan struct{})
	w.host("a.example", func(rw http.ResponseWriter, r *http.Request) {
		<-hold
		answer(rw, r)
	})
	table := w.table(t, trust.Config{Peers: discovered})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- table.Speaks(ctx, id, "a.example") }()
	for w.count("a.example") == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("Speaks = %v, want %v", err, context.Canceled)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { wantSpeaks(t, table, id, "a.example", nil) })
		all.Go(func() { wantKey(t, table, id, nil) })
	}
	close(hold)
	all.Wait()
	if domain, issuer := w.count("a.example"), w.count("id.example"); domain != 1 || issuer != 2 {
		t.Errorf("asked the domain %d times and the issuer %d times, want 1 and 2", domain, issuer)
	}
}

// Callers race with a change of issuer, a suspension, Forget, and a new table. No answer is wrong at its time.
func TestDiscoveryRace(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	evil := w.issuer("evil.example", "a.example")
	w.domain("a.example", id)
	var table atomic.Pointer[trust.Table]
	cfg := trust.Config{Peers: discovered, PinFile: t.TempDir() + "/pins.json"}
	table.Store(w.table(t, cfg))
	wantSpeaks(t, table.Load(), id, "a.example", nil)
	w.domain("a.example", evil) // from now on it is never believed, for the pin stays
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var refused, before atomic.Int32
	for range 4 {
		callers.Go(func() {
			for {
				current := table.Load()
				if err := current.Speaks(t.Context(), evil, "a.example"); err == nil {
					t.Error("the issuer that came abruptly is believed")
					return
				} else if errors.Is(err, trust.ErrChanged) {
					refused.Add(1)
				}
				if _, _, err := current.Key(t.Context(), evil, "k"); err == nil {
					t.Error("Key of the issuer that came abruptly")
					return
				}
				if current.Speaks(t.Context(), id, "a.example") == nil {
					before.Add(1)
				}
				current.Peers()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for before.Load() == 0 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		w.add(trust.DefaultFresh)
		_ = table.Load().Suspend("a.example", true)
		_ = table.Load().Suspend("a.example", false)
		cfg.Previous = table.Load()
		table.Store(w.table(t, cfg))
	}
	for refused.Load() == 0 && !t.Failed() {
		w.add(trust.DefaultFresh)
		time.Sleep(time.Millisecond)
	}
	close(stop)
	callers.Wait()
}
