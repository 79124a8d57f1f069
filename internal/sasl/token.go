package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A token is what the issuer says about an access token.
type token struct {
	active                                    bool
	issuer, kind, scope, handle, user, device string
	audience                                  []string
	jkt                                       string
	acted                                     bool // an actor holds the token (RFC 8693 §4.1)
	expiresIn                                 int64
}

// introspect asks the issuer about a token. An answer that is malformed decides nothing.
func (c *Checker) introspect(ctx context.Context, text string) (*token, error) {
	answer, err := c.cfg.Introspector.Introspect(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("sasl: ask the issuer: %w", err)
	}
	t := new(token)
	var ok bool
	if t.active, ok = answer["active"].(bool); !ok {
		return nil, errors.New("sasl: ask the issuer: the answer says neither active nor inactive")
	}
	for name, value := range map[string]*string{
		"iss": &t.issuer, "token_type": &t.kind, "scope": &t.scope, "handle": &t.handle, "sub": &t.user, "device": &t.device,
	} {
		if *value, ok = answer[name].(string); !ok && answer[name] != nil {
			return nil, fmt.Errorf("sasl: ask the issuer: %s is not a string", name)
		}
	}
	switch aud := answer["aud"].(type) { // one value, or several (RFC 7519 §4.1.3)
	case string:
		t.audience = []string{aud}
	case []any:
		for _, value := range aud {
			text, ok := value.(string)
			if !ok {
				return nil, errors.New("sasl: ask the issuer: aud is not a list of strings")
			}
			t.audience = append(t.audience, text)
		}
	}
	if t.active {
		if err := c.withheld(t, answer); err != nil {
			return nil, err
		}
	}
	cnf, _ := answer["cnf"].(map[string]any)
	t.jkt, _ = cnf["jkt"].(string)
	_, t.acted = answer["act"]
	seconds, _ := answer["expires_in"].(float64)
	t.expiresIn = int64(seconds)
	return t, nil
}

// withheld returns an error if the issuer withholds from this client what a decision needs (clients[].introspection in its settings).
func (c *Checker) withheld(t *token, answer map[string]any) error {
	members := []string{"iss", "aud", "sub"}
	if len(c.cfg.Scopes) > 0 {
		members = append(members, "scope")
	}
	for _, name := range members {
		if answer[name] == nil {
			return fmt.Errorf("sasl: ask the issuer: the answer has no %s: add it to clients[].introspection.claims of this client", name)
		}
	}
	if t.handle == "" && strings.HasPrefix(t.user, "pw_") {
		return errors.New("sasl: ask the issuer: the answer has a pairwise id: set clients[].introspection.pairwise to false")
	}
	return nil
}
