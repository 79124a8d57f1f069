package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// A Login is the result of a user's login at their OpenID provider.
type Login struct {
	User        storage.User
	Consented   bool   // the user was asked for consent, and gave it
	Issuer      string // the provider's iss
	UpstreamSID string
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// UpstreamToken is the id of the stored upstream token of the login; empty if it has none. NewToken is one that is stored with the
	// code, whose user is filled in; nil if there is none.
	UpstreamToken string
	NewToken      *storage.UpstreamToken
}

// A PendingCode is an authorization code that is not stored yet. The caller stores it by Insert, in the same transaction as
// the end of the login, and then sends the browser to Location.
type PendingCode struct {
	provider *Provider
	client   *clients.Client
	user     storage.User
	pushed   string // the request_uri of a pushed request
	redirect string
	state    string
	code     string // its hash is in row
	row      storage.Code
	upstream *storage.UpstreamToken // to be stored with it; nil if there is none
}

// CodeLife is how long an authorization code can be redeemed.
func (p *Provider) CodeLife() time.Duration { return p.lifetimes.Code }

// PrepareCode makes the authorization code for a stored request whose user has logged in. It checks the request again,
// against the client as it is now, and writes nothing. A refusal is an [*AuthorizeError].
func (p *Provider) PrepareCode(ctx context.Context, request url.Values, login Login) (*PendingCode, error) {
	client, a, redirect, err := p.known(ctx, request, login.User)
	if err != nil {
		return nil, err
	}
	request, state := a.Request, a.Request.Get("state")
	if needsConsent(client, redirect, request) && !login.Consented {
		return nil, p.toldAtRedirect(errConsent, redirect, state)
	}
	device, err := p.deviceOf(ctx, request, login.User)
	if err != nil {
		return nil, p.toldAtRedirect(err, redirect, state)
	}
	if request.Has("dpop_jkt") { // otherwise the key, and with it the device, is known when the code is redeemed
		if full, err := p.full(ctx, login.User, device); err != nil {
			return nil, err
		} else if full {
			return nil, p.toldAtRedirect(errDeviceLimit, redirect, state)
		}
	}
	code, err := p.random()
	if err != nil {
		return nil, err
	}
	now := p.now()
	c := &PendingCode{
		provider: p, client: client, user: login.User, pushed: request.Get("request_uri"), redirect: redirect, state: state, code: code,
		row: storage.Code{
			Hash: hash(code), Domain: a.Domain, Client: client.ID, User: login.User.ID,
			RedirectURI: redirect, RedirectGiven: request.Has("redirect_uri"),
			Challenge: request.Get("code_challenge"), JKT: request.Get("dpop_jkt"), DeviceName: request.Get("im_device_name"),
			Platform: request.Get("im_device_platform"),
			Scopes:   loginScopes(client, request), Audience: a.audience,
			Issuer: login.Issuer, UpstreamSID: login.UpstreamSID, AuthTime: login.AuthTime, ACR: login.ACR, AMR: login.AMR,
			UpstreamToken: login.UpstreamToken, CreatedAt: now, ExpiresAt: now.Add(p.lifetimes.Code),
		},
	}
	if login.NewToken != nil {
		token := *login.NewToken
		token.User, c.row.UpstreamToken = login.User.ID, token.ID
		c.upstream = &token
	}
	return c, nil
}

// Location is the URL to send the browser to once the code is stored: the redirect URI with the code.
func (c *PendingCode) Location() string {
	return c.provider.location(c.redirect, c.state, url.Values{"code": {c.code}})
}

// Insert stores the code as a step of the caller's transaction. Client and user must still be as PrepareCode read them, and
// a pushed request leads to one code only. Pass errors of the transaction to [PendingCode.Refused].
func (c *PendingCode) Insert(ctx context.Context, tx storage.Tx) error {
	if err := c.client.Check(ctx, tx); err != nil {
		return err
	}
	if err := statements.SameUser(ctx, tx, c.user); err != nil {
		return err
	}
	if err := c.provider.spendPushed(ctx, tx, c.pushed); err != nil {
		return err
	}
	if c.upstream != nil {
		if err := tx.InsertUpstreamToken(ctx, *c.upstream); err != nil {
			return err
		}
	}
	return tx.InsertCode(ctx, c.row)
}

// Refused turns a refusal by Insert into the [*AuthorizeError] that ends the login. It returns any other error as it is.
func (c *PendingCode) Refused(err error) error {
	if errors.Is(err, clients.ErrRemoved) {
		return &AuthorizeError{Err: refuse(CodeInvalidRequest, appGone)}
	}
	return c.provider.toldAtRedirect(err, c.redirect, c.state)
}

// appGone is shown to a user when the app that they logged in for was removed meanwhile.
const appGone = "The app that sent you here is not known any more."

// known checks a stored request again, now that the user is known. It also returns the redirect URI.
func (p *Provider) known(ctx context.Context, request url.Values, user storage.User) (*clients.Client, *Authorization, string, error) {
	client, a, err := p.recheck(request)
	if err != nil {
		return nil, nil, "", err
	}
	redirect, _ := client.MatchRedirect(request.Get("redirect_uri"))
	if a.Provider == "" || user.Domain != a.Domain { // domains are isolated from each other
		return nil, nil, "", p.toldAtRedirect(refuse(CodeInvalidRequest,
			"The client was registered for other domains or OpenID providers meanwhile: begin a new login."),
			redirect, request.Get("state"))
	}
	return client, a, redirect, nil
}
