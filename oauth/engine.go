package oauth

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ory/fosite"
)

// An engine is fosite's token endpoint for one request: its configuration, with the authentication of this request's client.
type engine struct {
	*fosite.Config
	authenticate fosite.ClientAuthenticationStrategy
}

// GetClientAuthenticationStrategy returns how the client of the request is authenticated.
func (e engine) GetClientAuthenticationStrategy(context.Context) fosite.ClientAuthenticationStrategy {
	return e.authenticate
}

// engineConfig returns the part of the engine that all requests share: a handler for each grant type.
func engineConfig(p *Provider) *fosite.Config {
	cfg := &fosite.Config{}
	for _, grantType := range GrantTypes {
		// Not by its method Append, which drops a second handler of one Go type.
		cfg.TokenEndpointHandlers = append(cfg.TokenEndpointHandlers, &handler{p, grantType})
	}
	return cfg
}

// dispatch has fosite answer a request: it authenticates the client, finds the handler of the grant type, and has that check
// the request and then complete the answer.
func (p *Provider) dispatch(ctx context.Context, r *tokenRequest) (TokenAnswer, error) {
	endpoint := fosite.Fosite{Config: engine{p.engine, func(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
		if err := p.authenticate(ctx, r); err != nil {
			return nil, err
		}
		return &fosite.DefaultClient{ID: r.client.ID, Public: r.client.Public(), GrantTypes: r.client.Grants, Scopes: r.client.Scopes}, nil
	}}}
	// The header was read already, and no grant looks at it again.
	in := &http.Request{Method: http.MethodPost, URL: &url.URL{}, Body: http.NoBody, Form: r.Form, PostForm: r.Form}
	request, err := endpoint.NewAccessRequest(ctx, in, r)
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

// PopulateTokenEndpointResponse issues the token. fosite asks every handler.
func (h *handler) PopulateTokenEndpointResponse(ctx context.Context, in fosite.AccessRequester, out fosite.AccessResponder) (err error) {
	if !h.CanHandleTokenEndpointRequest(ctx, in) {
		return fosite.ErrUnknownRequest
	}
	r := in.GetSession().(*tokenRequest)
	if r.answer, err = h.issue(ctx, r); err != nil {
		return err
	}
	out.SetAccessToken(r.answer.AccessToken)
	out.SetTokenType(r.answer.TokenType)
	return nil
}
