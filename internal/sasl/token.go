package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/introspect"
)

// introspect asks the issuer about a token. An answer that withholds what a decision needs decides nothing: see
// clients[].introspection in the settings of the issuer.
func (c *Checker) introspect(ctx context.Context, token string) (*introspect.Answer, error) {
	result, err := c.cfg.Issuer.Introspect(ctx, introspect.Question{Token: token})
	if err != nil {
		return nil, fmt.Errorf("sasl: ask the issuer: %w", err)
	}
	a := &result.Answer
	if !a.Active {
		return a, nil
	}
	for _, member := range []struct {
		name     string
		withheld bool
	}{
		{"iss", a.Issuer == ""}, {"aud", a.Audience == nil}, {"sub", a.Subject == ""}, {"scope", a.Scope == "" && len(c.cfg.Scopes) > 0},
	} {
		if member.withheld {
			return nil, fmt.Errorf("sasl: ask the issuer: the answer has no %s: add it to clients[].introspection.claims of this client",
				member.name)
		}
	}
	if a.Handle == "" && strings.HasPrefix(a.Subject, "pw_") {
		return nil, errors.New("sasl: ask the issuer: the answer has a pairwise id: set clients[].introspection.pairwise to false")
	}
	return a, nil
}
