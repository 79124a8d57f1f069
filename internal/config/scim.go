package config

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// scopeSCIM is the scope of clients by which OpenID providers manage their users.
const scopeSCIM = "scim"

// scim checks a client by which an OpenID provider manages its users, and finds the provider.
func (k *checker) scim(c *Client, path string) {
	key := join(path, "scim")
	if !slices.Contains(c.Scopes, scopeSCIM) {
		if _, given := k.where[key]; given {
			k.report(key, "has no effect without the scope scim: add it or leave the key out")
		}
		return
	}
	for j, g := range c.Grants {
		if g != "client_credentials" {
			k.report(index(join(path, "grants"), j), "does not go with the scope scim, which is for services: use another client "+
				"for logins")
		}
	}
	s := &c.SCIM
	tokens := join(key, "token_sha256")
	if c.Auth == "none" && len(s.TokenSHA256) == 0 {
		k.report(tokens, "is required with auth: none and the scope scim: the client could not authenticate")
	}
	if len(s.TokenSHA256) > 2 {
		k.report(tokens, "has more than two hashes: a second one is for the time in which the provider gets another token")
	}
	for j, sum := range s.TokenSHA256 {
		if sum == sha256.Sum256(nil) {
			k.report(index(tokens, j), "is the hash of the empty string, not of a token")
		}
	}
	if len(c.Domains) != 1 {
		k.report(join(path, "domains"), "must be one domain with the scope scim: use a client for each")
		return
	}
	i := slices.IndexFunc(k.Domains, func(d Domain) bool { return d.Name == c.Domains[0] })
	if i < 0 {
		return // reported
	}
	var ids []string
	for _, p := range k.Domains[i].Providers {
		if ids = append(ids, p.ID); p.ID == s.Provider || s.Provider == "" && len(k.Domains[i].Providers) == 1 {
			s.Provider, s.Issuer, s.Renames = p.ID, p.Issuer, p.AuthoritativeHandles
			s.UserClaim, s.SubjectClaim = k.Domains[i].Claims.User, p.SubjectClaim
			return
		}
	}
	if s.Provider == "" {
		k.report(key, "must name the provider, because the domain has several: %s", strings.Join(ids, ", "))
	} else {
		k.report(join(key, "provider"), "%q is not a provider of %s: it has %s", s.Provider, c.Domains[0], strings.Join(ids, ", "))
	}
}
