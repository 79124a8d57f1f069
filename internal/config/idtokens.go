package config

import (
	"slices"
	"strings"
)

// grantDevice is the grant of clients on devices without a browser (RFC 8628).
const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// logsIn reports whether users log in with a client, by a grant of their own or by the ID tokens of its logins elsewhere.
func (c *Client) logsIn() bool {
	return slices.Contains(c.Grants, "authorization_code") || slices.Contains(c.Grants, grantDevice) || len(c.IDTokens) > 0
}

// idTokens checks the registrations of a client at OpenID providers.
func (k *checker) idTokens(c *Client, path string) {
	if len(c.IDTokens) > 0 && !slices.Contains(c.Grants, grantExchange) {
		k.report(join(path, "id_tokens"), "has no effect without the grant %s: add it or leave the key out", grantExchange)
	}
	seen := make(map[IDTokenApp]bool)
	for i, app := range c.IDTokens {
		path := index(join(path, "id_tokens"), i)
		for key, text := range map[string]string{"audience": app.Audience, "azp": app.AZP} {
			if len(text) > 255 {
				k.report(join(path, key), "is longer than 255 bytes")
			}
		}
		if seen[app] {
			k.report(path, "is the same as an entry above: leave it out")
		}
		seen[app] = true
		k.providerOf(c, join(path, "provider"), app.Provider)
	}
}

// providerOf checks that a provider is one of a domain of the client.
func (k *checker) providerOf(c *Client, path, id string) {
	var known []string
	for _, d := range k.Domains {
		for _, p := range d.Providers {
			if p.ID == id && slices.Contains(c.Domains, d.Name) {
				return
			}
			if slices.Contains(c.Domains, d.Name) {
				known = append(known, p.ID)
			}
		}
	}
	if id == "" { // reported as missing
		return
	}
	if best := nearest(id, known); best != "" {
		k.report(path, "%q is not a provider of a domain of the client; did you mean %q?", id, best)
		return
	}
	k.report(path, "%q is not a provider of a domain of the client; these are: %s", id, strings.Join(known, ", "))
}
