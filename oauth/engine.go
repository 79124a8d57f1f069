package oauth

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ory/fosite"
)

// An engine is fosite's token endpoint for one grant type: its configuration with the one handler, and the request that it is given.
// The parameters are read by the grants, from our own request.
type engine struct {
	config  *fosite.Config
	request *http.Request
}

// newEngines returns the engine of each grant type.
func newEngines(p *Provider) map[string]engine {
	engines := make(map[string]engine, len(GrantTypes))
	for _, grantType := range GrantTypes {
		cfg := &fosite.Config{}
		cfg.TokenEndpointHandlers.Append(&handler{p, grantType})
		form := url.Values{"grant_type": {grantType}}
		engines[grantType] = engine{cfg, &http.Request{
			Method: http.MethodPost, URL: &url.URL{}, Body: http.NoBody, Form: form, PostForm: form,
		}}
	}
	return engines
}

// A call is the configuration of an engine with the authentication of the client of one request.
type call struct {
	*fosite.Config
	authenticate fosite.ClientAuthenticationStrategy
	client       fosite.DefaultClient
}

// GetClientAuthenticationStrategy returns how the client of the request is authenticated.
func (c *call) GetClientAuthenticationStrategy(context.Context) fosite.ClientAuthenticationStrategy {
	return c.authenticate
}

// dispatch has fosite answer a request of a grant type: it authenticates the client, and has the handler check the request and then
// complete the answer.
func (p *Provider) dispatch(ctx context.Context, grantType string, r *tokenRequest) (TokenAnswer, error) {
	e, c := p.engines[grantType], &call{}
	c.Config = e.config
	c.authenticate = func(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
		if err := p.authenticate(ctx, r); err != nil {
			return nil, err
		}
		c.client = fosite.DefaultClient{
			ID: r.client.ID, Public: r.client.Public(), GrantTypes: r.client.Grants, Scopes: r.client.Scopes,
		}
		return &c.client, nil
	}
	endpoint := fosite.Fosite{Config: c}
	request, err := endpoint.NewAccessRequest(ctx, e.request, r)
	if err != nil {
		return TokenAnswer{}, err
	}
	if _, err := endpoint.NewAccessResponse(ctx, request); err != nil {
		return TokenAnswer{}, err
	}
	return r.answer, nil
}

// A handler is the grant of one type, as fosite sees it.
type handler struct {
	*Provider
	grantType string
}

var _ fosite.TokenEndpointHandler = (*handler)(nil)

// CanSkipClientAuth is false for all grants: public clients are identified, too.
func (*handler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (h *handler) CanHandleTokenEndpointRequest(_ context.Context, in fosite.AccessRequester) bool {
	return in.GetGrantTypes().ExactOne(h.grantType)
}

// HandleTokenEndpointRequest checks the request.
func (h *handler) HandleTokenEndpointRequest(ctx context.Context, in fosite.AccessRequester) error {
	r := in.GetSession().(*tokenRequest)
	r.grant = newGrant[h.grantType](h.Provider, r)
	return h.prepare(ctx, r)
}

// PopulateTokenEndpointResponse issues the token.
func (h *handler) PopulateTokenEndpointResponse(ctx context.Context, in fosite.AccessRequester, out fosite.AccessResponder) (err error) {
	r := in.GetSession().(*tokenRequest)
	if r.answer, err = h.issue(ctx, r); err != nil {
		return err
	}
	out.SetAccessToken(r.answer.AccessToken)
	out.SetTokenType(r.answer.TokenType)
	return nil
}
