package config

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Route says what requests to a service need. Of the routes with the origin of a request, the one with the longest path that the
// path of the request begins with decides, and of several with this path the first that has the method. A request without a route is
// refused.
type Route struct {
	// Path is the beginning of the paths of the route: whole segments, as in /rooms, or / for all.
	Path string `key:"path,required"`
	// Methods are the methods of the route, in capitals; all if it is empty.
	Methods []string `key:"methods"`
	// Origins are some of the public origins; all if it is empty.
	Origins []string `key:"origins"`
	// Upstream is the name of the service behind the route: the `aud` of its identities.
	Upstream string `key:"upstream,required"`

	// Audience are those of the gateway's audiences that tokens may have here; all if it is empty.
	Audience []string `key:"audience"`
	// Domains are the domains of users that are accepted; all that the peers speak for if it is empty. RefusedDomains are refused.
	Domains        []string `key:"domains"`
	RefusedDomains []string `key:"refused_domains"`
	// Scopes are those that the token must have, ACR the accepted values of acr.
	Scopes []string `key:"scopes"`
	ACR    []string `key:"acr"`
	// Bots accepts services, and tokens with which somebody acts for a user.
	Bots bool `key:"bots"`
	// Relations are those that enclosed tokens may have, RequiredRelations those that must be there. Depth bounds the levels of tokens,
	// the outermost counted; 0 stands for the largest number that any token may have.
	Relations         []string `key:"relations" oneof:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by"`
	RequiredRelations []string `key:"required_relations" oneof:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by"`
	Depth             int      `key:"depth" default:"0"`
	// MaxTokenAge is how long ago the token may have been issued, MaxLoginAge the login of the user. Zero, never, is any time.
	MaxTokenAge Period `key:"max_token_age" default:"never"`
	MaxLoginAge Period `key:"max_login_age" default:"never"`
	// Proof is required, or optional for services whose tokens are bound to no key.
	Proof string `key:"proof" default:"required" oneof:"required,optional"`

	// Mode says how the gateway learns that a token was revoked: offline, introspect or status.
	Mode string `key:"mode" default:"offline" oneof:"offline,introspect,status"`
	// Freshness is how long the issuer is not asked again about a token that it called active.
	Freshness time.Duration `key:"freshness" default:"0s"`
	// Outage says what happens while the issuer cannot be asked, MaxOutage for how long.
	Outage    string        `key:"outage" default:"deny" oneof:"deny,cache,grace"`
	MaxOutage time.Duration `key:"max_outage" default:"0s"`
	// Shadow only watches: every request passes, and the log says what would have become of it.
	Shadow bool `key:"shadow"`
}

var (
	routePath    = regexp.MustCompile(`^/$|^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)
	upstreamName = word{regexp.MustCompile(`^[A-Za-z0-9._:/-]+$`), 255}
	methodName   = word{regexp.MustCompile(`^[A-Z]+$`), 32}
	scopeWord    = word{regexp.MustCompile(`^[!#-\[\]-~]+$`), 255} // RFC 6749 §3.3
)

// routes checks the routes, each by itself and with those before it.
func (k *gatewayChecker) routes() {
	g := k.Gateway
	if len(g.Routes) == 0 {
		k.report("routes", "is empty: every request would be refused. Add one with path: / and the name of the service as upstream")
	}
	for i := range g.Routes {
		r, path := &g.Routes[i], index("routes", i)
		k.route(r, path)
		for j := range i {
			if covers(&g.Routes[j], r) {
				k.report(join(path, "path"), "is never reached: routes[%d] has the same path, and takes all its methods and origins", j)
				break
			}
		}
	}
}

// covers reports whether a comes before b for every request that b takes. They have the same path.
func covers(a, b *Route) bool {
	all := func(of, in []string) bool {
		return len(of) == 0 || len(in) > 0 && !slices.ContainsFunc(in, func(s string) bool { return !slices.Contains(of, s) })
	}
	return a.Path == b.Path && all(a.Methods, b.Methods) && all(a.Origins, b.Origins)
}

func (k *gatewayChecker) route(r *Route, path string) {
	if !routePath.MatchString(r.Path) {
		k.report(join(path, "path"), "%q is not a path of plain segments, as in /rooms (letters, digits and -._~, no closing slash), or /",
			r.Path)
	}
	for i, m := range r.Methods {
		if !methodName.MatchString(m) {
			k.report(index(join(path, "methods"), i), "%q is not a method in capitals, as in GET", m)
		}
	}
	k.among(join(path, "origins"), r.Origins, "public_origins", k.PublicOrigins)
	k.among(join(path, "audience"), r.Audience, "audience", k.Audience)
	if !upstreamName.MatchString(r.Upstream) {
		k.report(join(path, "upstream"), "%q is not a name of letters, digits and -._:/ by which the service knows itself", r.Upstream)
	}
	for i, name := range r.Domains {
		k.domain(index(join(path, "domains"), i), name)
	}
	for i, name := range r.RefusedDomains {
		k.domain(index(join(path, "refused_domains"), i), name)
		if slices.Contains(r.Domains, name) {
			k.report(index(join(path, "refused_domains"), i), "%q is among domains, too: remove it from one of them", name)
		}
	}
	for i, word := range r.Scopes {
		if !scopeWord.MatchString(word) {
			k.report(index(join(path, "scopes"), i), "%q is not a scope: one word, without quotes and backslashes", word)
		}
	}
	for i, value := range r.ACR {
		if !scopeWord.MatchString(value) {
			k.report(index(join(path, "acr"), i), "%q is not a value of acr: one word, without quotes and backslashes", value)
		}
	}
	k.nesting(r, path)
	k.online(r, path)
	if r.Proof == "optional" && !r.Bots {
		k.report(join(path, "proof"), "optional has no use without bots: true: tokens of users always need a proof")
	}
}

// among reports values of a route that the gateway does not list.
func (k *gatewayChecker) among(path string, values []string, list string, known []string) {
	for i, value := range values {
		if !slices.Contains(known, value) {
			k.report(index(path, i), "%q is not in %s: add it there, or choose one of %s", value, list, strings.Join(known, ", "))
		}
	}
}

// nesting checks which enclosed tokens a route accepts.
func (k *gatewayChecker) nesting(r *Route, path string) {
	const most = 3 // nested.MaxDepth
	switch {
	case r.Depth < 0 || r.Depth > most || r.Depth == 1:
		k.report(join(path, "depth"), "must be 2 or %d, or be left out: tokens that enclose others have at least two levels", most)
	case r.Depth > 0 && len(r.Relations) == 0:
		k.report(join(path, "depth"), "has no use without relations: no token that encloses others is accepted")
	}
	if !r.Bots {
		if i := slices.Index(r.Relations, "acts_for"); i >= 0 {
			k.report(index(join(path, "relations"), i), "acts_for is for those who act for a user, and they need bots: true")
		}
	}
	for i, name := range r.RequiredRelations {
		if !slices.Contains(r.Relations, name) {
			k.report(index(join(path, "required_relations"), i), "%q is not among relations, which are accepted: add it there", name)
		}
	}
}

// online checks how a route learns of revocations.
func (k *gatewayChecker) online(r *Route, path string) {
	offline := r.Mode == "offline"
	if r.Mode == "introspect" && k.where["home"] == nil {
		k.report(join(path, "mode"), "introspect needs home: the client as which the gateway asks")
	}
	switch {
	case offline && r.Outage != "deny":
		k.report(join(path, "outage"), "has no use with mode: offline, which asks nobody")
	case offline && r.Freshness > 0:
		k.report(join(path, "freshness"), "has no use with mode: offline, which asks nobody")
	case r.Outage == "deny" && r.MaxOutage > 0:
		k.report(join(path, "max_outage"), "has no use with outage: deny: choose cache or grace, or leave it out")
	case r.Outage != "deny" && r.MaxOutage == 0:
		k.report(join(path, "max_outage"), "is required with outage: %s, as in 10m", r.Outage)
	case r.Outage != "deny" && r.MaxOutage < r.Freshness:
		k.report(join(path, "max_outage"), "is shorter than freshness")
	}
	k.lasts(join(path, "freshness"), r.Freshness, 0, time.Hour, "0s and 1h")
	k.lasts(join(path, "max_outage"), r.MaxOutage, 0, 24*time.Hour, "0s and 24h")
}
