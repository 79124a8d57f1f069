package trust_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

// Without Open, only listed domains are discovered. With it, those that the lists admit.
func TestOpen(t *testing.T) {
	for name, v := range map[string]struct {
		open     *trust.Open
		admitted []string
	}{
		"closed":         {nil, nil},
		"all":            {&trust.Open{}, []string{"a.example", "b.example", "d0.many.example", "xn--bcher-kva.example"}},
		"one":            {&trust.Open{Allow: []string{"A.Example"}}, []string{"a.example"}},
		"below":          {&trust.Open{Allow: []string{"*.many.example"}}, []string{"d0.many.example"}},
		"all but one":    {&trust.Open{Refuse: []string{"a.example"}}, []string{"b.example", "d0.many.example", "xn--bcher-kva.example"}},
		"refused, too":   {&trust.Open{Allow: []string{"a.example", "b.example"}, Refuse: []string{"a.example"}}, []string{"b.example"}},
		"refused, below": {&trust.Open{Refuse: []string{"*.example"}}, nil},
		"IDN":            {&trust.Open{Allow: []string{"BÜCHER.example"}}, []string{"xn--bcher-kva.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			all := []string{"a.example", "b.example", "d0.many.example", "xn--bcher-kva.example"}
			id := w.issuer("id.example", all...)
			admitted := make(map[string]bool)
			for _, domain := range v.admitted {
				admitted[domain] = true
			}
			table := w.table(t, trust.Config{Open: v.open, Peers: []trust.Peer{{Domain: "other.example", Issuer: "https://other.example"}}})
			for _, domain := range all {
				w.domain(domain, id)
				wantKey(t, table, id, map[bool]error{false: trust.ErrUntrusted}[len(table.Discovered()) > 0])
				if admitted[domain] {
					wantSpeaks(t, table, id, domain, nil)
					wantKey(t, table, id, nil)
				} else if err := table.Speaks(t.Context(), id, domain); err == nil || w.count(domain) > 0 {
					t.Errorf("Speaks(%s) = %v after %d requests, want a refusal without any", domain, err, w.count(domain))
				}
			}
			// A listed issuer wins, whatever other documents say.
			w.domain("other.example", id)
			wantKey(t, table, "https://other.example", trust.ErrUnavailable)
			if err := table.Speaks(t.Context(), id, "other.example"); err == nil {
				t.Error("Speaks for a domain with a configured issuer = nil, want a refusal")
			}
		})
	}
}

// Names that are no domains of others are never asked.
func TestOpenRefusesOddNames(t *testing.T) {
	w := newWorld(t)
	table := w.table(t, trust.Config{Open: &trust.Open{}})
	for _, name := range []string{
		"", ".", "127.0.0.1", "[::1]", "10.1", "a.example.", "A.example", "bücher.example", "a.example:8443", "a.example/x",
		"user@a.example", "a.internal", "x.localhost", "printer.local", "a.invalid", "a.onion", "1.0.0.127.in-addr.arpa", "-a.example",
		strings.Repeat("a.", 130) + "example", "a..example", "a.example\n", "*.example", "%61.example", "a.123",
	} {
		if err := table.Speaks(t.Context(), "https://id.example", name); err != trust.ErrUntrusted {
			t.Errorf("Speaks(%q) = %v, want %v", name, err, trust.ErrUntrusted)
		}
		if err := table.Suspend(name, true); err == nil && name != "a.example." && name != "A.example" && name != "bücher.example" {
			t.Errorf("Suspend(%q) = nil, want an error", name)
		}
	}
	// Without Development, names for tests and single labels are no domains either.
	strict, err := trust.NewTable(trust.Config{Open: &trust.Open{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example", "localhost", "metadata", "example.com", "a.test", "0x7f000001"} {
		if err := strict.Speaks(t.Context(), "https://id.example", name); err != trust.ErrUntrusted {
			t.Errorf("Speaks(%q) = %v, want %v", name, err, trust.ErrUntrusted)
		}
	}
}

// One source can use up its own part of the budget and no more. What is known costs nothing.
func TestOpenBudget(t *testing.T) {
	w := newWorld(t)
	domain := func(n int) string { return fmt.Sprintf("d%d.many.example", n) }
	const id = "https://id.example"
	all := []string{"a.example"}
	for n := range 40 {
		w.domain(domain(n)) // names nobody
	}
	w.issuer("id.example", all...)
	w.domain("a.example", id)
	table := w.table(t, trust.Config{Open: &trust.Open{PerMinute: 12, PerSource: 5}})
	ask := func(source string, n int, want error) {
		t.Helper()
		if err := table.SpeaksFor(t.Context(), source, id, domain(n)); !errors.Is(err, want) {
			t.Errorf("SpeaksFor(%s, %d) = %v, want %v", source, n, err, want)
		}
	}
	for n := range 5 {
		ask("one", n, trust.ErrForeignDomain)
		ask("one", n, trust.ErrForeignDomain) // is known
	}
	ask("one", 5, trust.ErrUnavailable) // its budget is spent: that is no refusal
	if err := table.SpeaksFor(t.Context(), "two", id, "a.example"); err != nil {
		t.Errorf("SpeaksFor another source = %v", err) // two new parties, the domain and its issuer
	}
	for n := 6; n < 9; n++ {
		ask("two", n, trust.ErrForeignDomain)
	}
	ask("two", 9, trust.ErrUnavailable)
	ask("three", 10, trust.ErrForeignDomain)
	ask("three", 11, trust.ErrForeignDomain)
	ask("three", 12, trust.ErrUnavailable) // all together
	if err := table.SpeaksFor(t.Context(), "one", id, "a.example"); err != nil {
		t.Errorf("SpeaksFor a known domain = %v, want nil", err)
	}
	for _, n := range []int{5, 9, 12} {
		if w.count(domain(n)) != 0 {
			t.Errorf("%s was asked although the budget was spent", domain(n))
		}
	}
	w.add(time.Minute)
	ask("one", 5, trust.ErrForeignDomain)
	w.add(time.Hour) // what has a pin needs no budget to be asked again
	for n := 20; n < 25; n++ {
		ask("one", n, trust.ErrForeignDomain)
	}
	if err := table.SpeaksFor(t.Context(), "one", id, "a.example"); err != nil {
		t.Errorf("SpeaksFor a pinned domain = %v, want nil", err)
	}
}

// A domain without a document, or one that does not answer, is asked once a minute.
func TestOpenNegativeAnswers(t *testing.T) {
	w := newWorld(t)
	w.host("a.example", nil)
	table := w.table(t, trust.Config{Open: &trust.Open{}})
	for name, want := range map[string]error{"a.example": trust.ErrUnavailable, "b.example": trust.ErrUntrusted} {
		if want == trust.ErrUntrusted {
			w.host(name, http.NotFound)
		}
		for range 20 {
			wantSpeaks(t, table, "https://id.example", name, want)
			w.add(time.Second)
		}
		if got := w.count(name); got != 1 {
			t.Errorf("%s was asked %d times, want once", name, got)
		}
		w.add(time.Minute)
		w.domain(name, w.issuer("id.example", "a.example", "b.example"))
		wantSpeaks(t, table, "https://id.example", name, nil)
	}
}

// The memory is bounded: what has no pin is forgotten first, and then what nobody asks about.
func TestOpenLimits(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example", "b.example", "c.example")
	for _, domain := range []string{"a.example", "b.example", "c.example"} {
		w.domain(domain, id)
	}
	open := &trust.Open{PerMinute: 1000, PerSource: 1000, MaxDomains: 3}
	table := w.table(t, trust.Config{Open: open, Peers: []trust.Peer{{Domain: "c.example"}}, PinFile: filepath.Join(t.TempDir(), "pins.json")})
	domains := func() (names []string) {
		for _, p := range append(table.Discovered(), table.Peers()...) {
			names = append(names, p.Domain)
		}
		return names
	}
	for _, domain := range []string{"c.example", "a.example"} {
		w.add(time.Second)
		wantSpeaks(t, table, id, domain, nil)
	}
	for n := range 20 {
		w.add(time.Second)
		wantSpeaks(t, table, id, fmt.Sprintf("d%d.many.example", n), trust.ErrUnavailable)
	}
	if got := fmt.Sprint(domains()); got != "[a.example c.example]" {
		t.Errorf("the pinned domains are %s, want those that were pinned before the flood", got)
	}
	w.add(time.Second)
	wantSpeaks(t, table, id, "b.example", nil)
	w.add(time.Second)
	wantSpeaks(t, table, id, "a.example", nil)
	w.add(time.Second)
	wantSpeaks(t, table, id, "d30.many.example", trust.ErrUnavailable) // which makes room, and b was asked about longest ago
	if got := fmt.Sprint(domains()); got != "[a.example c.example]" {
		t.Errorf("the pinned domains are %s, want those that are listed or were asked about last", got)
	}
}

// The documents of issuers are bounded together. Those that are forgotten are fetched again.
func TestOpenBytes(t *testing.T) {
	w := newWorld(t)
	table := w.table(t, trust.Config{Open: &trust.Open{MaxBytes: 300, PerSource: 60}})
	issuers := []string{"id.example", "new.example", "other.example"}
	for range 3 {
		for n, host := range issuers {
			domain := []string{"a.example", "b.example", "c.example"}[n]
			w.domain(domain, w.issuer(host, domain))
			wantSpeaks(t, table, "https://"+host, domain, nil)
			wantKey(t, table, "https://"+host, nil)
			w.add(time.Second)
		}
	}
	for _, host := range issuers {
		if got := w.count(host); got != 6 {
			t.Errorf("%s was asked %d times, want 6: its documents are forgotten between the rounds", host, got)
		}
	}
}

func TestNewTableRefusesDiscovery(t *testing.T) {
	one := trust.Peer{Domain: "a.example"}
	for name, cfg := range map[string]trust.Config{
		"twice":             {Peers: []trust.Peer{one, {Domain: "A.example"}}},
		"and with issuer":   {Peers: []trust.Peer{one, {Domain: "a.example", Issuer: "https://id.example"}}},
		"with issuer, then": {Peers: []trust.Peer{{Domain: "a.example", Issuer: "https://id.example"}, one}},
		"keys":              {Peers: []trust.Peer{{Domain: "a.example", JWKS: jwks("k")}}},
		"allow":             {Open: &trust.Open{Allow: []string{"a b"}}},
		"refuse":            {Open: &trust.Open{Refuse: []string{"a.*.example"}}},
		"address":           {Open: &trust.Open{Allow: []string{"127.0.0.1"}}},
		"negative":          {Open: &trust.Open{PerMinute: -1}},
		"overlap":           {Peers: []trust.Peer{one}, Overlap: -1},
		"pinned":            {Peers: []trust.Peer{one}, Pinned: 1},
		"ahead":             {Peers: []trust.Peer{one}, Ahead: -1},
	} {
		cfg.Development = true
		if table, err := trust.NewTable(cfg); err == nil || table != nil {
			t.Errorf("NewTable with %s = %v, %v, want an error", name, table, err)
		}
	}
}
