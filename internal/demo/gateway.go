package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/trust"
)

// otherDomain is the domain of another provider, which trusts the issuer of [Domain].
const otherDomain = "example.org"

// visits are the settings with which the app gets tokens for the other provider.
const visits = `clients: [{id: ` + AppID + `, resources: ["im:` + otherDomain + `"]}]`

// openGateway starts a service of the other provider behind its gateway, which verifies tokens with the keys of the issuer and asks the
// issuer about each.
func (t *telling) openGateway() (*room, error) {
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: Domain, Issuer: t.dev.Issuer}}, Client: &http.Client{Timeout: 30 * time.Second}, Development: true,
	})
	if err != nil {
		return nil, err
	}
	verifier, err := gateway.New(gateway.Config{
		Trust: table, Audience: []string{claims.DomainURI(otherDomain)}, Development: true,
		Ask: func(string) gateway.Asker { return t.peer },
	})
	if err != nil {
		return nil, err
	}
	policy, err := gateway.NewPolicy(gateway.PolicyConfig{
		Domains: []string{Domain}, Scopes: []string{"im:handle"}, Mode: gateway.Introspect,
	})
	if err != nil {
		return nil, err
	}
	return open(func(url string) (http.Handler, error) {
		guard, err := gateway.NewGuard(gateway.GuardConfig{Verifier: verifier, PublicURL: url})
		if err != nil {
			return nil, err
		}
		protect, err := guard.Middleware(policy)
		if err != nil {
			return nil, err
		}
		return protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, _ := gateway.FromContext(r.Context())
			_, _ = io.WriteString(w, id.Handle) // an error means that the client has disconnected
		})), nil
	})
}

func (t *telling) visit(ctx context.Context) (err error) {
	if t.gateway, err = t.openGateway(); err != nil {
		return err
	}
	t.say("the provider of %s trusts the issuer of %s for its users", otherDomain, Domain)
	t.tokens, err = t.app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {t.tokens.RefreshToken}, "resource": {claims.DomainURI(otherDomain)},
	})
	if err != nil {
		return err
	}
	t.visitor = t.tokens.AccessToken
	switch handle, refused, err := t.gateway.join(ctx, t.signer, t.visitor); {
	case err != nil:
		return err
	case refused != nil:
		return fmt.Errorf("the gateway refuses the device that holds the key: %s: %s", refused.Code, refused.Description)
	case handle != t.set.Handle:
		return fmt.Errorf("the service behind the gateway takes Alice for %q", handle)
	}
	t.ok("Alice's device, with a token for %s and a proof: let in as %s", otherDomain, t.set.Handle)
	thief, err := newSigner()
	if err != nil {
		return err
	}
	_, refused, err := t.gateway.join(ctx, thief, t.visitor)
	if err != nil {
		return err
	}
	if refused == nil {
		return errors.New("the gateway let the thief in")
	}
	t.ok("the thief, with the same token and another key: refused, %s: %s", refused.Code, refused.Description)
	return nil
}

func (t *telling) turnAway(ctx context.Context) error {
	_, refused, err := t.gateway.join(ctx, t.signer, t.visitor)
	if err != nil {
		return err
	}
	if refused == nil {
		return errors.New("the gateway let the removed device in")
	}
	t.ok("the removed device, with its old token and its key: refused, %s: %s", refused.Code, refused.Description)
	return nil
}
