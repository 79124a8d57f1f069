package cli

import (
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/trust"
)

type imIssuerCmd struct {
	File   string `arg:"" help:"The settings file."`
	Domain string `arg:"" optional:"" help:"The domain. It may be left out if the settings have one only."`
}

func (*imIssuerCmd) Help() string {
	return `Others find your issuer by this document. Publish it as https://DOMAIN/.well-known/im-issuer, with the type application/json and
without a redirect. A running issuer serves the same document, for proxies: ISSUER/.well-known/im-issuer?domain=DOMAIN

    issuer config im-issuer issuer.yaml > im-issuer
    issuer config im-issuer issuer.yaml your-domain.tld`
}

func (c *imIssuerCmd) Run(s *streams) error {
	cfg, _, err := config.Check(c.File, s.env)
	if err != nil {
		return err
	}
	var names []string
	for _, d := range cfg.Domains {
		names = append(names, d.Name)
	}
	name := names[0]
	switch {
	case c.Domain != "":
		if name, err = claims.CheckDomain(c.Domain, true); err != nil {
			return usage("%q is not a domain: %w", c.Domain, err)
		}
	case len(names) > 1:
		return usage("the settings have several domains: name one of %s", strings.Join(names, ", "))
	}
	for _, d := range cfg.Domains {
		if d.Name != name {
			continue
		}
		return printJSON(s, trust.Document{Domain: d.Name, Issuers: append([]string{cfg.Issuer}, d.OtherIssuers...)})
	}
	return refused("%s is not a domain of the settings, which have %s", name, strings.Join(names, ", "))
}
