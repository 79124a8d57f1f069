package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A Login is what is known of the person when she comes back from her OpenID provider.
type Login struct {
	User        storage.User
	Consented   bool   // she was asked, and allowed it
	Issuer      string // the provider's iss
	UpstreamSID string
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// With is part of the transaction that makes the code, and its error that of [Provider.Finish]. It is told what Finish
	// will return. Nil adds nothing.
	With func(ctx context.Context, tx storage.Tx, location string) error
}

// CodeLife is how long an authorization code can be redeemed.
func (p *Provider) CodeLife() time.Duration { return p.lifetimes.Code }

// Finish ends an authorization request for which the person has logged in: it makes an authorization code and
// returns where to send the browser. The request is checked again, against the client as it is now.
func (p *Provider) Finish(ctx context.Context, request url.Values, login Login) (string, error) {
	client, a, redirect, err := p.known(ctx, request, login.User)
	if err != nil {
		return "", err
	}
	request, state := a.Request, a.Request.Get("state")
	if needsConsent(client, redirect, request) && !login.Consented {
		return "", p.tell(errConsent, redirect, state)
	}
	device, err := p.deviceOf(ctx, request, login.User)
	if err != nil {
		return "", p.tell(err, redirect, state)
	}
	if request.Has("dpop_jkt") { // else the key, and so the device, is known when the code is redeemed
		if full, err := p.full(ctx, login.User, device); err != nil {
			return "", err
		} else if full {
			return "", p.tell(errDeviceLimit, redirect, state)
		}
	}
	audience, err := p.audience(client, a.Domain, request["resource"])
	if err != nil {
		return "", err
	}
	now := p.now()
	f := &flow{now: now, client: client, user: login.User, pushed: request.Get("request_uri"), code: storage.Code{
		Domain: a.Domain, Client: client.ID, User: login.User.ID,
		RedirectURI: redirect, RedirectGiven: request.Has("redirect_uri"),
		Challenge: request.Get("code_challenge"), JKT: request.Get("dpop_jkt"), DeviceName: request.Get("im_device_name"),
		Scopes: loginScopes(client, request), Audience: audience,
		Issuer: login.Issuer, UpstreamSID: login.UpstreamSID, AuthTime: login.AuthTime, ACR: login.ACR, AMR: login.AMR,
		CreatedAt: now, ExpiresAt: now.Add(p.lifetimes.Code),
	}}
	if login.With != nil {
		f.with = func(ctx context.Context, tx storage.Tx, code string) error {
			return login.With(ctx, tx, p.location(redirect, state, url.Values{"code": {code}}))
		}
	}
	code, err := p.makeCode(context.WithValue(ctx, flowKey{}, f), request)
	if errors.Is(err, errClientGone) {
		return "", &AuthorizeError{Err: refuse(CodeInvalidRequest, appGone)}
	} else if err != nil {
		return "", p.tell(ours(err), redirect, state)
	}
	return p.location(redirect, state, url.Values{"code": {code}}), nil
}

// appGone says to a person that what she logged in for was removed meanwhile.
const appGone = "The app that sent you here is not known any more."

// known checks a request that was kept once more, now that it is known who the person is. It returns the redirect URI, too.
func (p *Provider) known(ctx context.Context, request url.Values, user storage.User) (*Client, *Authorization, string, error) {
	client, a, err := p.recheck(request)
	if err != nil {
		return nil, nil, "", err
	}
	redirect, _ := client.matchRedirect(request.Get("redirect_uri"))
	if a.Provider == "" || user.Domain != a.Domain { // what belongs to one domain is not reached through another
		return nil, nil, "", p.tell(refuse(CodeInvalidRequest, "The client was registered for other domains or OpenID providers meanwhile: begin a new login."), redirect, request.Get("state"))
	}
	return client, a, redirect, nil
}

// makeCode runs the authorization endpoint's half of the engine.
func (p *Provider) makeCode(ctx context.Context, request url.Values) (string, error) {
	form := url.Values{}
	for _, name := range []string{"client_id", "redirect_uri", "response_type"} {
		if v, ok := request[name]; ok {
			form[name] = v
		}
	}
	// fosite insists on a state of 8 characters; PKCE protects a request without. The client's own is added later.
	form.Set("state", "unused--")
	ar, err := p.engine.NewAuthorizeRequest(ctx, synthetic(http.MethodGet, http.Header{}, form))
	if err != nil {
		return "", err
	}
	response, err := p.engine.NewAuthorizeResponse(ctx, ar, session{})
	if err != nil {
		return "", err
	}
	return response.GetCode(), nil
}
