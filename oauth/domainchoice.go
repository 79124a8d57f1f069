package oauth

import (
	"context"
	"net/url"
	"slices"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
)

// chooseDomain returns the domain of a login and its OpenID provider. If neither the request nor the client's registration
// decides, the provider is empty, or both are, and the user chooses.
//
// The domain is that of im_domain, else of login_hint, else that of the provider in im_provider (an id is of one domain
// only), else the client's only one; the provider that of im_provider, else the domain's only one.
func (p *Provider) chooseDomain(c *clients.Client, params url.Values) (domain, provider string, err error) {
	domain, err = p.domainFor(c, params)
	if err != nil {
		return "", "", err
	}
	provider = params.Get("im_provider")
	if domain == "" && provider != "" {
		i := slices.IndexFunc(c.Domains, func(name string) bool { return slices.Contains(p.domains[name].Providers, provider) })
		if i < 0 {
			return "", "", p.wrongProvider(provider, c.Domains)
		}
		domain = c.Domains[i]
	}
	if domain == "" {
		return "", "", nil
	}
	known := p.domains[domain].Providers
	switch {
	case provider == "" && len(known) == 1:
		provider = known[0]
	case provider != "" && !slices.Contains(known, provider):
		return "", "", p.wrongProvider(provider, []string{domain})
	}
	return domain, provider, nil
}

// domainFor says which domain a request is about: im_domain, else that of login_hint, else the client's only one;
// empty if the client has several.
func (p *Provider) domainFor(c *clients.Client, form url.Values) (string, error) {
	name := form.Get("im_domain")
	if name == "" {
		name = hintedDomain(form.Get("login_hint"), c.Domains)
	}
	if name == "" && len(c.Domains) == 1 {
		name = c.Domains[0]
	}
	if name == "" {
		return "", nil
	}
	if _, ok := p.domains[name]; !ok || !slices.Contains(c.Domains, name) {
		return "", refuse(CodeInvalidRequest,
			"The client is not registered for the im_domain "+named(name)+". Its domains are: "+listed(c.Domains)+".")
	}
	return name, nil
}

// wrongProvider refuses an im_provider that none of domains has. It names the providers that they have, which a user
// without im_provider is shown anyway.
func (p *Provider) wrongProvider(provider string, domains []string) error {
	var known []string
	for _, name := range domains {
		known = append(known, p.domains[name].Providers...)
	}
	return refuse(CodeInvalidRequest,
		"The im_provider "+named(provider)+" is not a provider of "+listed(domains)+". These are: "+listed(known)+".")
}

// hintedDomain returns the domain of a login_hint that is an identifier in one of domains, else "".
func hintedDomain(hint string, domains []string) string {
	if hint == "" {
		return ""
	}
	id, err := claims.ParseLenient(hint)
	if err != nil || !slices.Contains(domains, id.Domain()) {
		return ""
	}
	return id.Domain()
}

// Choices lists the choices of a user for an authorization that names no OpenID provider yet: the domains of
// the client, or, once the domain is known, its providers. The other list is nil.
func (p *Provider) Choices(a *Authorization) (domains, providers []string) {
	switch {
	case a.Domain == "":
		return slices.Clone(a.Client.Domains), nil
	case a.Provider == "":
		return nil, slices.Clone(p.domains[a.Domain].Providers)
	}
	return nil, nil
}

// Choose adds a user's choice to a stored request: domain and provider, each empty if the user was not asked. Parameters of the
// request itself stay. The request is checked again, against the client as it is now, and the
// errors are those of [Provider.Authorize].
func (p *Provider) Choose(ctx context.Context, request url.Values, domain, provider string) (*Authorization, error) {
	chosen := make(url.Values, len(request)+2)
	for name, values := range request {
		chosen[name] = values
	}
	for name, value := range map[string]string{"im_domain": domain, "im_provider": provider} {
		if value != "" && !chosen.Has(name) {
			chosen.Set(name, value)
		}
	}
	_, a, err := p.recheck(chosen)
	return a, err
}
