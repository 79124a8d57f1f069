package trust

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/bucket"
)

// Open admits domains that are not among the peers: their issuers are discovered when a token names the domain.
type Open struct {
	// Allow lists the domains that are admitted; *.a.example stands for all domains below a.example. Empty means all.
	Allow []string
	// Refuse lists those that are not, although Allow has them.
	Refuse []string
	// PerMinute is how many parties that are new, domains and issuers, are asked in a minute. Zero means [DefaultPerMinute].
	PerMinute int
	// PerSource is how many of them one source may cause in a minute; see [Table.SpeaksFor]. Zero means [DefaultPerSource].
	PerSource int
	// MaxDomains is how many domains and how many issuers are known at a time, and MaxBytes how large the documents of all these issuers
	// may be. Those that nobody asked about for longest are forgotten first, and those with a pin last. Listed domains are never
	// forgotten. Zero means [DefaultMaxDomains] and [DefaultMaxBytes].
	MaxDomains, MaxBytes int
}

// Defaults for the zero values of [Open].
const (
	DefaultPerMinute = 60
	DefaultPerSource = 10

	DefaultMaxDomains = 10_000
	DefaultMaxBytes   = 64 << 20
)

// maxSources bounds the buckets of [Open.PerSource].
const maxSources = 1 << 16

// A gate decides about domains and issuers that are new. The nil gate admits none.
type gate struct {
	allow, refuse []string
	development   bool
	all, sources  *bucket.Set[string]
	maxDomains    int
	maxBytes      int
}

// limits returns the most domains, and bytes of documents.
func (g *gate) limits() (domains, bytes int) {
	if g == nil {
		return DefaultMaxDomains, DefaultMaxBytes
	}
	return g.maxDomains, g.maxBytes
}

func newGate(o *Open, development bool, now func() time.Time) (*gate, error) {
	if o == nil {
		return nil, nil
	}
	if min(o.PerMinute, o.PerSource, o.MaxDomains, o.MaxBytes) < 0 {
		return nil, errors.New("trust: Open: negative limit")
	}
	perMinute, perSource := cmp.Or(o.PerMinute, DefaultPerMinute), cmp.Or(o.PerSource, DefaultPerSource)
	g := &gate{
		development: development,
		maxDomains:  cmp.Or(o.MaxDomains, DefaultMaxDomains),
		maxBytes:    cmp.Or(o.MaxBytes, DefaultMaxBytes),
		all:         bucket.New[string](bucket.Limit{Count: perMinute, Period: time.Minute}, 64, now),
		sources:     bucket.New[string](bucket.Limit{Count: perSource, Period: time.Minute}, maxSources, now),
	}
	var err error
	if g.allow, err = patterns(o.Allow, development); err == nil {
		g.refuse, err = patterns(o.Refuse, development)
	}
	return g, err
}

// patterns returns the canonical forms of domains and of patterns *.DOMAIN, which become .DOMAIN.
func patterns(list []string, development bool) ([]string, error) {
	var out []string
	for _, text := range list {
		name, below := strings.CutPrefix(text, "*.")
		domain, err := claims.CheckDomain(name, true)
		if err != nil {
			return nil, fmt.Errorf("trust: %q is neither a domain nor *.DOMAIN: %w", text, err)
		}
		if below {
			domain = "." + domain
		}
		out = append(out, domain)
	}
	return out, nil
}

// admits reports whether a domain in canonical form is admitted.
func (g *gate) admits(domain string) bool {
	if g == nil || matches(g.refuse, domain) || len(g.allow) > 0 && !matches(g.allow, domain) {
		return false
	}
	canonical, err := claims.CheckDomain(domain, g.development)
	return err == nil && canonical == domain
}

func matches(patterns []string, domain string) bool {
	for _, p := range patterns {
		if p == domain || p[0] == '.' && strings.HasSuffix(domain, p) {
			return true
		}
	}
	return false
}

// pay takes from the budgets for one new party. The error is [ErrUnavailable] while they are spent.
func (g *gate) pay(source string) error {
	if g.sources.Take(source) > 0 {
		return fmt.Errorf("%w: too many new domains in a minute for one source", ErrUnavailable)
	}
	if g.all.Take("") > 0 {
		return fmt.Errorf("%w: too many new domains in a minute", ErrUnavailable)
	}
	return nil
}
