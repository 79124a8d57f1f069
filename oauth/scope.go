package oauth

import (
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/clients"
)

// scopeList reads a scope parameter (RFC 6749 §3.3). It leaves out openid: the server issues no ID tokens.
func scopeList(text string) []string {
	var list []string
	for s := range strings.FieldsSeq(text) {
		if s != "openid" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// checkScopes refuses a scope that the client is not registered for.
func checkScopes(c *clients.Client, params url.Values) error {
	for _, s := range scopeList(params.Get("scope")) {
		if !c.HasScope(s) {
			return refuse(CodeInvalidScope,
				"The client is not registered for the scope "+named(s)+". Its scopes are: "+listed(c.Scopes)+".")
		}
	}
	return nil
}

// resources returns the resources that a request names (RFC 8707 §2). A request for credentials alone that names none is for this
// server: wallets name a resource only if the credential issuer has another authorization server (OpenID4VCI 1.0 §5.1.2).
func (p *Provider) resources(params url.Values) []string {
	if list := params["resource"]; len(list) > 0 {
		return list
	}
	if slices.Equal(scopeList(params.Get("scope")), []string{ScopeCredential}) {
		return []string{p.issuer}
	}
	return nil
}

// audience returns the audience that resource parameters ask for (RFC 8707 §2): each is one that the client may
// request; none means the domain's own URI.
func (p *Provider) audience(c *clients.Client, domain string, resources []string) ([]string, error) {
	if len(resources) == 0 && domain == "" { // the user chooses the domain, and then this is asked again
		return nil, nil
	}
	if len(resources) == 0 {
		return []string{p.domains[domain].uri}, nil
	}
	list := make([]string, 0, len(resources))
	for _, r := range resources {
		if !p.mayRequest(c, r) {
			words := ": name a resource of the client, the URI of one of its domains, or this issuer."
			if c.PeerResources {
				words = ": name a resource of the client, the URI of one of its domains or of a peer's domain, or this issuer."
			}
			return nil, refuse(CodeInvalidTarget, "The client is not registered for the resource "+named(r)+words)
		}
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list, nil
}
