package config

import (
	"os"
	"slices"
	"strings"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/trust"
)

// maxOtherIssuers is how many issuers the document of a domain may name beside this one.
const maxOtherIssuers = 7

// otherIssuers checks the issuers that the document of a domain names beside this one.
func (k *checker) otherIssuers(path string, issuers []string) {
	if len(issuers) > maxOtherIssuers {
		k.report(path, "has more than %d issuers", maxOtherIssuers)
	}
	for i, issuer := range issuers {
		at := index(path, i)
		k.secureURL(at, issuer)
		if issuer == k.Issuer {
			k.report(at, "is this issuer, which the document names anyway")
		}
	}
}

// peers checks the issuers of other domains. All entries of one issuer must name the same keys. A domain has issuers that are listed, or
// one entry without an issuer.
func (k *checker) peers() {
	pairs, files := make(map[string]string), make(map[string]string)
	entries := make(map[string]int) // by domain
	for _, p := range k.Peers {
		entries[p.Domain]++
	}
	for i := range k.Peers {
		p, path := &k.Peers[i], index("peers", i)
		k.domain(join(path, "domain"), p.Domain)
		switch {
		case p.Issuer != "":
			k.secureURL(join(path, "issuer"), p.Issuer)
		case entries[p.Domain] > 1:
			k.report(path, "%q is listed without an issuer, and again: leave one of them out, for a configured issuer is not discovered",
				p.Domain)
		case p.JWKSFile != "":
			k.report(join(path, "jwks_file"), "needs the issuer whose keys these are: add it, or leave the keys out")
		}
		if p.Issuer == k.Issuer {
			k.report(join(path, "issuer"), "is this issuer: it is trusted for its own domains without being listed")
		}
		if slices.ContainsFunc(k.Domains, func(d Domain) bool { return d.Name == p.Domain }) {
			k.report(join(path, "domain"), "%q is among the domains of these settings: no other issuer speaks for it", p.Domain)
		}
		if p.Issuer != "" {
			k.unique(pairs, join(path, "issuer"), p.Domain+" by "+p.Issuer)
		}
		if p.JWKSFile != "" && p.Issuer != "" {
			p.JWKSFile = k.resolve(p.JWKSFile)
			var err error
			if p.JWKS, err = os.ReadFile(p.JWKSFile); err != nil {
				k.report(join(path, "jwks_file"), "%s cannot be read: %s", p.JWKSFile, cause(err))
			} else if !strings.Contains(string(p.JWKS), `"keys"`) {
				k.report(join(path, "jwks_file"), "%s is not a JWK Set: a JSON object with the member keys (RFC 7517 §5)",
					p.JWKSFile)
			}
		}
		if p.CAFile != "" {
			p.CAFile = k.resolve(p.CAFile)
			var err error
			if p.CA, err = os.ReadFile(p.CAFile); err != nil {
				k.report(join(path, "ca_file"), "%s cannot be read: %s", p.CAFile, cause(err))
			} else if _, err := trust.ParseRoots(p.CA); err != nil {
				k.report(join(path, "ca_file"), "%s: %v: it must have the certificates of the domain's CAs, PEM", p.CAFile, err)
			}
		}
		if other, known := files[p.Issuer]; known && p.Issuer != "" && other != p.JWKSFile {
			k.report(join(path, "jwks_file"),
				"the same issuer has another one above: the keys of an issuer are the same for all its domains")
		}
		files[p.Issuer] = p.JWKSFile
		k.chaining(join(path, "chaining"), p)
		r := &p.Introspection
		r.Release = k.policy(join(path, "introspection"), introspect.Policy{Claims: r.Claims, Reasons: r.Reasons, Pairwise: r.Pairwise})
	}
}
