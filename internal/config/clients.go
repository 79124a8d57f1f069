package config

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/assertion"
)

var clientID = word{regexp.MustCompile(`^[!-9;-~]+$`), 255}

// A word is an expression for texts of at most so many bytes. The length as a repetition in the expression would be copies of it,
// which every start of the program would compile.
type word struct {
	*regexp.Regexp
	most int
}

// MatchString reports whether s is such a text.
func (w word) MatchString(s string) bool { return len(s) <= w.most && w.Regexp.MatchString(s) }

func (k *checker) clients() {
	ids := make(map[string]string)
	for i := range k.Clients {
		c, path := &k.Clients[i], index("clients", i)
		k.unique(ids, join(path, "id"), c.ID)
		k.client(c, path)
	}
}

// client checks one client, in the settings or registered at run time.
func (k *checker) client(c *Client, path string) {
	// In a Basic header the id ends at the first colon (RFC 6749 §2.3.1). An id without a colon also cannot be mistaken for
	// the URI of a user where it is the sub of a service token.
	if !clientID.MatchString(c.ID) {
		k.report(join(path, "id"), "%q is not 1 to 255 printable ASCII characters without space and colon", c.ID)
	}
	if c.Name == "" {
		c.Name = c.ID
	} else {
		k.displayed(join(path, "name"), c.Name)
	}
	k.credentials(c, path)
	k.grants(c, path)
	k.idTokens(c, path)
	k.release(c, path)
	k.scim(c, path)
	for j, u := range c.RedirectURIs {
		k.redirect(index(join(path, "redirect_uris"), j), u)
	}
	if len(c.Domains) == 0 {
		k.report(join(path, "domains"), "is empty: name the domains that the client serves")
	}
	for j, name := range c.Domains {
		k.knownDomain(index(join(path, "domains"), j), name, c.Domains)
	}
	for j, r := range c.Resources {
		k.resource(index(join(path, "resources"), j), r)
	}
}

func (k *checker) credentials(c *Client, path string) {
	k.keys(c, path)
	switch none := c.SecretSHA256 == [32]byte{}; {
	case c.Auth == "secret" && none:
		k.report(join(path, "secret_sha256"), "is required with auth: secret; make it with `printf %%s SECRET | sha256sum`")
	case c.Auth != "secret" && !none:
		k.report(join(path, "secret_sha256"), "does not go with auth: %s; a client with a secret has auth: secret", c.Auth)
	case c.SecretSHA256 == sha256.Sum256(nil):
		k.report(join(path, "secret_sha256"), "is the hash of the empty string, not of a secret")
	}
	if c.Auth != "none" {
		return
	}
	for j, g := range c.Grants {
		if g == "client_credentials" {
			k.report(index(join(path, "grants"), j), "needs a client that can authenticate: auth: none cannot (RFC 6749 §4.4)")
		}
	}
	for j, s := range c.Scopes {
		if (strings.HasPrefix(s, "introspect") || s == "feed") && !c.logsIn() {
			k.report(index(join(path, "scopes"), j), "needs a client that can authenticate: auth: none cannot (RFC 7662 §2.1), "+
				"unless users log in with it and it asks with their tokens")
		}
	}
}

// keys checks the keys of a client that signs assertions: they are in the settings, or published by the client.
func (k *checker) keys(c *Client, path string) {
	jwks, uri := join(path, "jwks"), join(path, "jwks_uri")
	switch {
	case c.Auth != "private_key_jwt":
		for key, value := range map[string]string{jwks: c.JWKS, uri: c.JWKSURI} {
			if value != "" {
				k.report(key, "does not go with auth: %s; a client with keys has auth: private_key_jwt", c.Auth)
			}
		}
	case c.JWKS == "" && c.JWKSURI == "":
		k.report(jwks, "is required with auth: private_key_jwt, or else jwks_uri: the client's public keys, as '{\"keys\":[…]}'")
	case c.JWKS != "" && c.JWKSURI != "":
		k.report(uri, "does not go with jwks: keys are written here, or published by the client")
	case c.JWKSURI != "":
		u := k.url(uri, c.JWKSURI, "https", "http")
		switch {
		case u == nil || k.Development:
		case u.Scheme == "http":
			k.report(uri, "%q is not https: plain http needs development: true", c.JWKSURI)
		case reservedHost(u.Hostname()):
			k.report(uri, "%s is reserved for examples and tests: it needs development: true", u.Hostname())
		}
	default:
		var err error
		if c.Keys, err = assertion.ParseKeys([]byte(c.JWKS)); err != nil {
			k.report(jwks, "cannot be used: %v. Write the client's public keys for ES256, EdDSA or RS256 as one JWK Set (RFC 7517 §5)",
				err)
		}
	}
}

func (k *checker) grants(c *Client, path string) {
	embeds := slices.Contains(c.Grants, "urn:ietf:params:oauth:grant-type:embedded-tokens")
	switch {
	case len(c.Embed) > 0 && !embeds && !slices.Contains(c.Grants, "urn:ietf:params:oauth:grant-type:token-exchange"):
		k.report(join(path, "embed"), "has no effect without the grant urn:ietf:params:oauth:grant-type:embedded-tokens, "+
			"or that for token exchange: add it or leave the key out")
	case len(c.Embed) == 0 && embeds:
		k.report(join(path, "embed"),
			"is required with the grant embedded-tokens: name the relations of the tokens that the client may embed")
	}
	k.operator(c, path)
	redeems := slices.Contains(c.Grants, grantJWTBearer)
	if _, given := k.where[join(path, "scopes")]; !given && (c.logsIn() || redeems) {
		c.Scopes = []string{"im:handle", "im:device"}
	}
	if c.Auth == "none" && len(c.Grants) == 0 && len(c.SCIM.TokenSHA256) == 0 {
		k.report(join(path, "grants"), "is empty: a client with auth: none could do nothing")
	}
	if c.logsIn() && c.DPoP != "required" {
		k.report(join(path, "dpop"), "must be required for a client with logins: their tokens are always bound to a key")
	}
	if i := slices.Index(c.Grants, "refresh_token"); i >= 0 && !c.logsIn() {
		k.report(index(join(path, "grants"), i), "has no effect without the grant authorization_code or id_tokens")
	}
	if slices.Contains(c.Grants, "authorization_code") {
		if len(c.RedirectURIs) == 0 {
			k.report(join(path, "redirect_uris"), "is required with the grant authorization_code")
		}
		return
	}
	const needs = "has no effect without the grant authorization_code: add it or leave the key out"
	if len(c.RedirectURIs) > 0 {
		k.report(join(path, "redirect_uris"), needs)
	}
	if c.RequireDPoPJKT && !slices.Contains(c.Grants, grantDevice) {
		k.report(join(path, "require_dpop_jkt"), needs)
	}
	if c.FirstParty {
		k.report(join(path, "first_party"), needs)
	}
}

// knownDomain checks that a domain of a client is among those of the settings. It suggests a similar one that would be accepted.
func (k *checker) knownDomain(path, name string, of []string) {
	var names, good []string
	for _, d := range k.Domains {
		names = append(names, d.Name)
		if k.domainFault(d.Name) == "" && !slices.Contains(of, d.Name) {
			good = append(good, d.Name)
		}
	}
	if len(names) == 0 || slices.Contains(names, name) {
		return
	}
	hint := "known here: " + strings.Join(names, ", ")
	if best := nearest(name, good); best != "" {
		hint = fmt.Sprintf("did you mean %q?", best)
	}
	k.report(path, "%q is not among the domains of these settings; %s", name, hint)
}
