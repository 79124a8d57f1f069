package cli

import (
	"context"
	"crypto/x509"
	"os"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/trust"
)

// moreRoots are the roots of flags and, for domains that have none there, those of settings.
type moreRoots struct {
	flags    cert.Roots
	settings *trust.Table
}

// Roots returns the roots of a domain.
func (r moreRoots) Roots(ctx context.Context, domain string) (*x509.CertPool, error) {
	if pool := r.flags[domain]; pool != nil {
		return pool, nil
	}
	return r.settings.Roots(ctx, domain)
}

// configured returns the roots of flags and of the settings of an issuer: the CAs of its peers, and of each domain of its own the last
// certificate of the file.
func (c *certVerifyCmd) configured(flags cert.Roots, s *streams) (cert.RootSource, error) {
	cfg, err := config.Load(c.Config, s.env)
	if err != nil {
		return nil, err
	}
	var peers []trust.Peer
	for _, p := range cfg.Peers {
		peers = append(peers, trust.Peer{Domain: p.Domain, Issuer: p.Issuer, JWKS: p.JWKS, CA: p.CA, Suspended: p.Suspended})
	}
	for _, d := range cfg.Domains {
		own := trust.Peer{Domain: d.Name, Issuer: cfg.Issuer}
		if d.CA.CertFile != "" {
			text, err := os.ReadFile(d.CA.CertFile)
			if err != nil {
				return nil, usage("%w", err)
			}
			list, err := cert.ParsePEM(text)
			if err != nil {
				return nil, usage("%s: %w", d.CA.CertFile, err)
			}
			own.CA = cert.MarshalPEM(list[len(list)-1])
		}
		peers = append(peers, own)
	}
	table, err := trust.NewTable(trust.Config{Peers: peers, Development: c.Development || cfg.Development})
	if err != nil {
		return nil, usage("%s: %w", c.Config, err)
	}
	return moreRoots{flags, table}, nil
}
