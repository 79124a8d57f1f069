package config

import (
	"slices"

	"github.com/imidentity/issuer/introspect"
)

// release checks what a client is told at introspection. The scopes of the client have been checked.
func (k *checker) release(c *Client, path string) {
	key := join(path, "introspection")
	if _, given := k.where[key]; given && !slices.Contains(c.Scopes, introspect.ScopeIntrospect) && !slices.Contains(c.Scopes, "feed") {
		k.warn(key, "has no effect without the scope introspect: add it or leave the key out")
	}
	if alg := join(path, "introspection_signed_response_alg"); c.SignedResponseAlg != "" && c.SignedResponseAlg != k.Signing.Alg {
		k.report(alg, "%q is not what this issuer signs with: signing.alg is %s", c.SignedResponseAlg, k.Signing.Alg)
	}
	r := &c.Introspection
	r.Release = k.policy(key, introspect.Policy{Claims: r.Claims, Reasons: r.Reasons, Pairwise: r.Pairwise})
}

// policy returns a policy of release, nil for one that withholds nothing.
func (k *checker) policy(path string, p introspect.Policy) *introspect.Release {
	if slices.Contains(p.Claims, "") { // could not be read, which is reported
		return nil
	}
	r, err := introspect.NewRelease(p)
	if err != nil {
		k.report(join(path, "claims"), "%v", err)
	}
	return r
}
