package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A Mode says how a policy finds out whether a token was revoked.
type Mode string

// The modes.
const (
	// Offline asks nobody: a revoked token passes until it expires, unless the feed tells of the revocation.
	Offline Mode = "offline"
	// Introspect asks the issuer of the token (RFC 7662).
	Introspect Mode = "introspect"
	// Status looks up the token in the status list that it names (draft-ietf-oauth-status-list).
	Status Mode = "status"
)

// An Outage says what happens while the issuer, or its status list, cannot be asked.
type Outage string

// The answers to an outage.
const (
	// Deny answers 503.
	Deny Outage = "deny"
	// Cache lets a token pass that the issuer called active at most MaxOutage ago, and answers 503 to all others.
	Cache Outage = "cache"
	// Grace lets reading requests (GET, HEAD, OPTIONS) pass if the issuer called this token, or another one of the same device, active
	// at most MaxOutage ago. It answers 503 to all others.
	Grace Outage = "grace"
)

// PolicyConfig configures a [Policy]. Its zero value accepts every user of every trusted domain with a valid token for the verifier and a
// proof. It accepts neither services nor bots nor enclosed tokens, and asks nobody about revocation.
type PolicyConfig struct {
	// Audience are the names of the service behind the route, among those of the verifier. Nil means all of these.
	Audience []string
	// Domains are the accepted domains of users, in any spelling. Nil means every domain that the issuer of the token may speak for.
	// RefusedDomains are refused. A service is accepted if its issuer may speak for an accepted domain and for no refused one. Users for
	// whom the holder of a token acts by a grant (`acts_for`) must be of an accepted domain, too.
	Domains, RefusedDomains []string
	// Scopes are the words that the scope of the token must have.
	Scopes []string
	// ACR are the accepted values of `acr`; nil accepts every token, also one without.
	ACR []string
	// Bots also accepts services (client_credentials), and tokens with which somebody acts for the user (`act`, `acts_for`).
	Bots bool

	// Relations are those that enclosed tokens may have. Nil refuses tokens that enclose others. RequiredRelations must be among them:
	// for each one the outermost token must enclose a token with this relation.
	Relations, RequiredRelations []nested.Relation
	// MaxDepth is how many levels of tokens there may be, the outermost counted. Zero means [nested.MaxDepth] if Relations are given.
	MaxDepth int

	// MaxTokenAge is how long ago the token may have been issued, and MaxLoginAge the login of the user, which the token then must tell
	// (`auth_time`). Zero means any age.
	MaxTokenAge, MaxLoginAge time.Duration

	// AllowBearer also accepts tokens of services that are bound to no key, under the scheme Bearer. Anybody who steals such a token
	// can use it. Tokens of users are always bound to a key.
	AllowBearer bool

	// Mode says how revocation is checked. Empty means [Offline].
	Mode Mode
	// Freshness is for how long the issuer is not asked again about a token that it called active. Zero means that it is asked about
	// each request; an [introspect.Client] or a [statuslist.Reader] may itself keep answers for a while. While the [Feed] of the issuer
	// is followed, tells of the domain of the user and was heard within Freshness, a token need not be asked about again.
	Freshness time.Duration
	// Outage says what happens while the issuer cannot be asked. Empty means [Deny].
	Outage Outage
	// MaxOutage limits [Cache] and [Grace]: it is how long ago the issuer must have called the token, or a token of the device, active.
	MaxOutage time.Duration

	// Shadow only watches: every request passes, and the decision says what would have become of it.
	Shadow bool
}

// A Policy holds the requirements of a route. It does not change, and may be used by several verifiers and goroutines.
type Policy struct {
	cfg PolicyConfig
}

// NewPolicy checks the requirements and returns their policy. The error names the first field that is wrong or contradicts another.
func NewPolicy(cfg PolicyConfig) (*Policy, error) {
	cfg.Audience, cfg.Scopes, cfg.ACR = slices.Clone(cfg.Audience), slices.Clone(cfg.Scopes), slices.Clone(cfg.ACR)
	cfg.Relations, cfg.RequiredRelations = slices.Clone(cfg.Relations), slices.Clone(cfg.RequiredRelations)
	for _, check := range []func(*PolicyConfig) error{
		(*PolicyConfig).checkNames, (*PolicyConfig).checkDomains, (*PolicyConfig).checkNested, (*PolicyConfig).checkOnline,
	} {
		if err := check(&cfg); err != nil {
			return nil, fmt.Errorf("gateway: policy: %w", err)
		}
	}
	return &Policy{cfg}, nil
}

// Config returns the requirements, with defaults filled in. The caller must not change its slices.
func (p *Policy) Config() PolicyConfig { return p.cfg }

// wrong returns the error about a field.
func wrong(field, format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{field}, args...)...)
}

// checkNames checks audiences, scopes and acr values.
func (cfg *PolicyConfig) checkNames() error {
	for _, list := range []struct {
		field  string
		values []string
	}{{"Audience", cfg.Audience}, {"Scopes", cfg.Scopes}, {"ACR", cfg.ACR}} {
		for i, v := range list.values {
			switch {
			case v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }):
				return wrong(list.field, "%q is not one word of printable ASCII", v)
			case slices.Contains(list.values[:i], v):
				return wrong(list.field, "%q is listed twice", v)
			}
		}
	}
	for _, age := range []struct {
		field string
		is    time.Duration
	}{
		{"MaxTokenAge", cfg.MaxTokenAge}, {"MaxLoginAge", cfg.MaxLoginAge}, {"Freshness", cfg.Freshness}, {"MaxOutage", cfg.MaxOutage},
	} {
		if age.is < 0 {
			return wrong(age.field, "must not be negative")
		}
	}
	if cfg.AllowBearer && !cfg.Bots {
		return wrong("AllowBearer", "only services have tokens without a key, and Bots refuses services: set both or none")
	}
	return nil
}

// checkDomains brings the domains into canonical form.
func (cfg *PolicyConfig) checkDomains() error {
	for _, list := range []struct {
		field string
		names *[]string
	}{{"Domains", &cfg.Domains}, {"RefusedDomains", &cfg.RefusedDomains}} {
		var names []string
		for _, name := range *list.names {
			domain, err := claims.CheckDomain(name, true)
			if err != nil {
				return wrong(list.field, "%q: %w", name, err)
			}
			if slices.Contains(names, domain) {
				return wrong(list.field, "%s is listed twice", domain)
			}
			names = append(names, domain)
		}
		*list.names = names
	}
	for _, domain := range cfg.Domains {
		if slices.Contains(cfg.RefusedDomains, domain) {
			return wrong("RefusedDomains", "%s is also in Domains: remove it from one of them", domain)
		}
	}
	return nil
}

// checkNested checks the requirements for enclosed tokens.
func (cfg *PolicyConfig) checkNested() error {
	for _, r := range slices.Concat(cfg.Relations, cfg.RequiredRelations) {
		if !slices.Contains(nested.Relations(), r) {
			return wrong("Relations", "%q is not a relation of enclosed tokens", r)
		}
	}
	for _, r := range cfg.RequiredRelations {
		if !slices.Contains(cfg.Relations, r) {
			return wrong("RequiredRelations", "%s is required but not accepted: add it to Relations", r)
		}
	}
	if slices.Contains(cfg.Relations, nested.ActsFor) && !cfg.Bots {
		return wrong("Relations", "acts_for is for those who act for a user, and Bots refuses them: set Bots")
	}
	switch {
	case cfg.MaxDepth < 0 || cfg.MaxDepth > nested.MaxDepth:
		return wrong("MaxDepth", "must be from 1 to %d", nested.MaxDepth)
	case len(cfg.Relations) > 0 && cfg.MaxDepth == 1:
		return wrong("MaxDepth", "1 leaves no place for enclosed tokens: remove Relations, or set 2 or more")
	case len(cfg.Relations) == 0 && cfg.MaxDepth > 1:
		return wrong("MaxDepth", "without Relations no enclosed token is accepted: add Relations, or remove MaxDepth")
	case cfg.MaxDepth == 0 && len(cfg.Relations) > 0:
		cfg.MaxDepth = nested.MaxDepth
	}
	return nil
}

// checkOnline checks mode and outage.
func (cfg *PolicyConfig) checkOnline() error {
	switch cfg.Mode {
	case "":
		cfg.Mode = Offline
	case Offline, Introspect, Status:
	default:
		return wrong("Mode", "%q is none of offline, introspect and status", cfg.Mode)
	}
	switch cfg.Outage {
	case "":
		cfg.Outage = Deny
	case Deny, Cache, Grace:
	default:
		return wrong("Outage", "%q is none of deny, cache and grace", cfg.Outage)
	}
	switch {
	case cfg.Mode == Offline && cfg.Freshness > 0:
		return wrong("Freshness", "the mode offline asks nobody: choose introspect or status, or remove Freshness")
	case cfg.Mode == Offline && cfg.Outage != Deny:
		return wrong("Outage", "the mode offline asks nobody, so there is no outage: choose introspect or status, or deny")
	case cfg.Outage == Deny && cfg.MaxOutage > 0:
		return wrong("MaxOutage", "the outage policy deny lets nothing pass: choose cache or grace, or remove MaxOutage")
	case cfg.Outage != Deny && cfg.MaxOutage == 0:
		return wrong("MaxOutage", "the outage policy %s needs a limit", cfg.Outage)
	case cfg.Outage != Deny && cfg.MaxOutage < cfg.Freshness:
		return wrong("MaxOutage", "must not be less than Freshness")
	}
	return nil
}

// nobody is the policy of a nil *Policy: the zero PolicyConfig.
var nobody = &Policy{PolicyConfig{Mode: Offline, Outage: Deny}}

// maxLoginAhead is how far the clock of the OpenID provider that the user logged in at may be ahead.
const maxLoginAhead = 5 * time.Minute

// check checks who a verified token is about. The function domains returns those that an issuer may speak for.
func (p *Policy) check(id *Identity, now time.Time, domains func(issuer string) ([]string, error)) *refusal {
	cfg := &p.cfg
	if cfg.Audience != nil && !slices.ContainsFunc(cfg.Audience, func(name string) bool { return slices.Contains(id.Audience, name) }) {
		return refuse(ReasonWrongAudience)
	}
	if f := p.checkDomain(id, domains); f != nil {
		return f
	}
	if !cfg.Bots && (id.Service || id.Actor != "") {
		return refuse(ReasonBot)
	}
	if f := p.checkRelations(id.Tree); f != nil {
		return f
	}
	for _, word := range cfg.Scopes {
		if !slices.Contains(id.Scope, word) {
			return refuseFor(ReasonScope, word)
		}
	}
	if cfg.MaxTokenAge > 0 && now.Sub(id.IssuedAt) > cfg.MaxTokenAge {
		return refuse(ReasonTooOld)
	}
	if len(cfg.ACR) > 0 && !slices.Contains(cfg.ACR, id.ACR) {
		return refuseFor(ReasonAuthentication, "its acr is not one that is accepted")
	}
	if cfg.MaxLoginAge > 0 {
		switch {
		case id.AuthTime.IsZero():
			return refuseFor(ReasonAuthentication, "the token does not tell when the user logged in")
		case id.AuthTime.Sub(now) > maxLoginAhead:
			return refuseFor(ReasonAuthentication, "the time of the last one is in the future")
		case now.Sub(id.AuthTime) > cfg.MaxLoginAge:
			return refuseFor(ReasonAuthentication, "the last one was too long ago")
		}
	}
	return nil
}

func (p *Policy) checkDomain(id *Identity, domains func(issuer string) ([]string, error)) *refusal {
	cfg := &p.cfg
	if cfg.Domains == nil && cfg.RefusedDomains == nil {
		return nil
	}
	names := []string{id.Domain}
	if id.Service {
		var err error
		if names, err = domains(id.Issuer); err != nil {
			return fromTrust(err)
		}
	}
	within := func(list []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(list, name) })
	}
	accepted := func() bool { return !within(cfg.RefusedDomains) && (cfg.Domains == nil || within(cfg.Domains)) }
	if !accepted() {
		return refuse(ReasonDomain)
	}
	if id.Tree == nil {
		return nil
	}
	for _, l := range id.Tree.Layers()[1:] {
		if l.Relation != nested.ActsFor {
			continue
		}
		user, err := (claims.Parser{AllowSingleLabel: true}).Parse(l.Subject) // for whom the holder acts
		if names = []string{user.Domain()}; err != nil || !accepted() {
			return refuse(ReasonDomain)
		}
	}
	return nil
}

func (p *Policy) checkRelations(tree *nested.Tree) *refusal {
	cfg := &p.cfg
	if tree == nil {
		if len(cfg.RequiredRelations) > 0 {
			return refuse(ReasonRelation)
		}
		return nil
	}
	for _, l := range tree.Layers()[1:] {
		if !slices.Contains(cfg.Relations, l.Relation) {
			return refuse(ReasonRelation)
		}
	}
	if depthOf(tree.Root) > cfg.MaxDepth {
		return refuse(ReasonDepth)
	}
	for _, r := range cfg.RequiredRelations {
		if !slices.ContainsFunc(tree.Root.Inner, func(l *nested.Layer) bool { return l.Relation == r }) {
			return refuse(ReasonRelation)
		}
	}
	return nil
}

// depthOf returns how many levels of tokens there are, that of l counted.
func depthOf(l *nested.Layer) int {
	deepest := 0
	for _, inner := range l.Inner {
		deepest = max(deepest, depthOf(inner))
	}
	return 1 + deepest
}
