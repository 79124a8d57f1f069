package claims

import "strings"

// DomainURI returns the im: URI of a domain in canonical form. Tokens for the domain have it as their audience.
func DomainURI(domain string) string { return "im:" + domain }

// DomainURIs returns each URI of a domain in canonical form: the im: and the mimi: one.
func DomainURIs(domain string) []string { return []string{DomainURI(domain), "mimi://" + domain} }

// DomainOf returns the domain of an audience that is a domain's URI, and false for an audience with another scheme. It does
// not check the domain: compare it with one in canonical form, or call [CheckDomain].
func DomainOf(audience string) (domain string, ok bool) {
	if domain, ok := strings.CutPrefix(audience, "im:"); ok {
		return domain, true
	}
	return strings.CutPrefix(audience, "mimi://")
}

// DomainID returns the identifier of the domain itself.
func (n Namespace) DomainID() ID { return ID{system: SystemGeneric, typ: TypeDomain, domain: n.domain} }
