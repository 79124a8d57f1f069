package config

import (
	"fmt"
	"net/url"

	"github.com/imidentity/issuer/internal/fetch"
)

// FetchPolicy returns the rules for requests to URLs in the settings.
func (c *Config) FetchPolicy() (fetch.Policy, error) {
	policy := fetch.Policy{
		AllowNetworks: c.Outbound.AllowNetworks, CAFile: c.Outbound.CAFile,
		DevHosts: c.Outbound.DevHosts, AllowHTTP: c.Development,
	}
	if c.Outbound.Proxy != "" {
		proxy, err := url.Parse(c.Outbound.Proxy)
		if err != nil {
			return policy, fmt.Errorf("outbound.proxy: %w", err)
		}
		policy.Proxy = proxy
	}
	return policy, nil
}
