package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
)

// idTokens verify ID tokens of apps with the OpenID providers of the settings, by id.
type idTokens map[string]*login.Provider

var _ oauth.IDTokens = idTokens(nil)

// Issued returns those of providers that a token says it is of.
func (l idTokens) Issued(token string, providers []string) (of []string) {
	for _, id := range providers {
		if p, ok := l[id]; ok && p.Speaks(token) {
			of = append(of, id)
		}
	}
	return of
}

// Verify verifies a token of a provider. The handle is empty if the provider does not decide about handles.
func (l idTokens) Verify(
	ctx context.Context, provider, token, nonce string, registered []clients.IDTokenApp,
) (oauth.UpstreamLogin, error) {
	p, ok := l[provider]
	if !ok {
		return oauth.UpstreamLogin{}, fmt.Errorf("issuer: no OpenID provider %s", provider)
	}
	var apps []login.App
	for _, a := range registered {
		apps = append(apps, login.App{Audience: a.Audience, AuthorizedParty: a.AuthorizedParty})
	}
	id, err := p.AppLogin(ctx, token, nonce, apps)
	if bad := (*login.Rejected)(nil); errors.As(err, &bad) {
		return oauth.UpstreamLogin{}, &oauth.IDTokenError{Err: fmt.Errorf("%s: %w", bad.Part, bad.Err)}
	} else if err != nil {
		return oauth.UpstreamLogin{}, err
	}
	if !p.AuthoritativeHandles() {
		id.Handle = "" // a proposal only, and no page asks the user
	}
	return oauth.UpstreamLogin{
		SignIn: account.SignIn{
			Domain: p.Domain(), Issuer: id.Issuer, Subject: id.Subject, Sub: id.Sub, Handle: id.Handle, User: id.User,
		},
		SID: id.SID, IssuedAt: id.IssuedAt, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
	}, nil
}
