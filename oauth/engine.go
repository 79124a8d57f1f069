package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	fositestorage "github.com/ory/fosite/storage"

	"github.com/imidentity/issuer/storage"
)

// newEngine puts fosite together from the handlers of the three grants and our storage and strategies. Everything
// that fosite would fill in lazily is set here: its getters write to the configuration on first use.
func newEngine(p *Provider) *fosite.Fosite {
	cfg := &fosite.Config{
		AccessTokenLifespan:            p.lifetimes.Access,
		AuthorizeCodeLifespan:          p.lifetimes.Code,
		RefreshTokenLifespan:           p.lifetimes.RefreshMax,
		ScopeStrategy:                  func([]string, string) bool { return true },   // ours: Provider.narrow
		AudienceMatchingStrategy:       func([]string, []string) error { return nil }, // ours: Provider.audience
		RefreshTokenScopes:             []string{},
		ClientAuthenticationStrategy:   p.authenticateFor,
		EnforcePKCE:                    true,
		ClientSecretsHasher:            noHasher{},
		JWKSFetcherStrategy:            fosite.NewDefaultJWKSFetcherStrategy(),
		DisableRefreshTokenValidation:  true,
		EnablePKCEPlainChallengeMethod: false,
	}
	adapter := &adapter{p}
	helper := &oauth2.HandleHelper{AccessTokenStrategy: adapter, AccessTokenStorage: adapter, Config: cfg}
	code := &oauth2.AuthorizeExplicitGrantHandler{
		AccessTokenStrategy: adapter, RefreshTokenStrategy: adapter, AuthorizeCodeStrategy: adapter,
		CoreStorage: adapter, TokenRevocationStorage: adapter, Config: cfg,
	}
	cfg.TokenEndpointHandlers = fosite.TokenEndpointHandlers{
		code,
		&oauth2.RefreshTokenGrantHandler{
			AccessTokenStrategy: adapter, RefreshTokenStrategy: adapter, TokenRevocationStorage: adapter, Config: cfg,
		},
		&oauth2.ClientCredentialsGrantHandler{HandleHelper: helper, Config: cfg},
		&extension{p},
		&closing{p}, // last: it sees what the grant found, and has the last word on the answer
	}
	return fosite.NewOAuth2Provider(adapter, cfg)
}

// noHasher stands where fosite would put bcrypt. Clients are authenticated by Provider.Authenticate alone.
type noHasher struct{}

func (noHasher) Compare(context.Context, []byte, []byte) error { return fosite.ErrInvalidClient }
func (noHasher) Hash(context.Context, []byte) ([]byte, error)  { return nil, fosite.ErrInvalidClient }

// session is the least that fosite demands: what a request found is in its flow, and no expiry of fosite's is used.
type session struct{}

func (session) SetExpiresAt(fosite.TokenType, time.Time)        {}
func (session) GetExpiresAt(fosite.TokenType) (never time.Time) { return }
func (session) GetUsername() string                             { return "" }
func (session) GetSubject() string                              { return "" }
func (session) Clone() fosite.Session                           { return session{} }

// An adapter gives fosite's handlers the storage and the strategies that they call. It keeps nothing: reads fill the
// flow of the request, writes become steps of the flow's unit of work, and Commit hands them to the store as one.
type adapter struct{ *Provider }

var (
	_ fosite.Storage                = (*adapter)(nil)
	_ oauth2.CoreStorage            = (*adapter)(nil)
	_ oauth2.CoreStrategy           = (*adapter)(nil)
	_ oauth2.TokenRevocationStorage = (*adapter)(nil)
	_ fositestorage.Transactional   = (*adapter)(nil) // found by assertion: without it, writes would not be atomic
)

func (a *adapter) GetClient(ctx context.Context, _ string) (fosite.Client, error) {
	f := flowOf(ctx)
	return view{f.client}, nil
}

// Authorization codes. PendingCode makes and stores them.

func (*adapter) GenerateAuthorizeCode(context.Context, fosite.Requester) (code, signature string, err error) {
	return "", "", fosite.ErrServerError
}

func (a *adapter) AuthorizeCodeSignature(_ context.Context, code string) string { return code }

func (a *adapter) ValidateAuthorizeCode(context.Context, fosite.Requester, string) error { return nil }

func (*adapter) CreateAuthorizeCodeSession(context.Context, string, fosite.Requester) error {
	return fosite.ErrServerError
}

// GetAuthorizeCodeSession is called twice by fosite; the first call does the work.
func (a *adapter) GetAuthorizeCodeSession(ctx context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	f := flowOf(ctx)
	if f.grant.ID == "" {
		if err := a.redeem(ctx, f, code); err != nil {
			return nil, err
		}
	}
	return f.requester(), nil
}

func (a *adapter) InvalidateAuthorizeCodeSession(ctx context.Context, _ string) error {
	f := flowOf(ctx)
	f.then(func(ctx context.Context, tx storage.Tx) error { return a.spendCode(ctx, tx, f) })
	return nil
}

// Refresh tokens.

func (a *adapter) GenerateRefreshToken(ctx context.Context, _ fosite.Requester) (token, signature string, err error) {
	f := flowOf(ctx)
	token, err = a.refresh.derive(f.grant.ID, f.grant.Gen)
	return token, token, err
}

func (a *adapter) RefreshTokenSignature(_ context.Context, token string) string { return token }

func (a *adapter) ValidateRefreshToken(context.Context, fosite.Requester, string) error { return nil }

func (a *adapter) GetRefreshTokenSession(ctx context.Context, token string, _ fosite.Session) (fosite.Requester, error) {
	f := flowOf(ctx)
	if err := a.resume(ctx, f, token); err != nil {
		return nil, err
	}
	return f.requester(), nil
}

func (a *adapter) RotateRefreshToken(ctx context.Context, _, _ string) error {
	if f := flowOf(ctx); f.rotate {
		f.then(f.rotateGrant)
	}
	return nil
}

// A refresh token is derived from its grant's row, which spendCode inserts and rotateGrant moves on.
func (*adapter) CreateRefreshTokenSession(context.Context, string, string, fosite.Requester) error {
	return nil
}

// Access tokens are signed and never stored.

func (a *adapter) GenerateAccessToken(ctx context.Context, _ fosite.Requester) (token, signature string, err error) {
	token, err = a.issue(flowOf(ctx))
	return token, "", err
}

func (*adapter) CreateAccessTokenSession(context.Context, string, fosite.Requester) error { return nil }

func (*adapter) AccessTokenSignature(context.Context, string) string { return "" }

// The unit of work.

func (*adapter) BeginTX(ctx context.Context) (context.Context, error) { return ctx, nil }

func (a *adapter) Commit(ctx context.Context) error {
	f := flowOf(ctx)
	err := f.commit(ctx, a.store)
	if errors.Is(err, errCodeRace) {
		return a.lostRace(ctx, f)
	}
	return err
}

func (*adapter) Rollback(context.Context) error { return nil }

// What follows is asked of a storage by type, and called by none of the handlers above: reads of access tokens, and
// the consequences of reuse, which redeem and resume draw themselves.

func (*adapter) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrInactiveToken
}

func (*adapter) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

func (*adapter) DeleteAccessTokenSession(context.Context, string) error  { return fosite.ErrNotFound }
func (*adapter) DeleteRefreshTokenSession(context.Context, string) error { return fosite.ErrNotFound }
func (*adapter) RevokeRefreshToken(context.Context, string) error        { return fosite.ErrNotFound }
func (*adapter) RevokeAccessToken(context.Context, string) error         { return fosite.ErrNotFound }

func (*adapter) ClientAssertionJWTValid(context.Context, string) error { return fosite.ErrJTIKnown }

func (*adapter) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrJTIKnown
}

// closing is the token endpoint's last handler: it closes each grant's checks and each answer.
type closing struct{ *Provider }

func (*closing) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest claims the known grants only; Provider.Token has refused all others.
func (*closing) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().HasOneOf(GrantCode, GrantRefresh, GrantClientCredentials)
}

func (c *closing) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	return c.close(ctx, flowOf(ctx), r.GetGrantTypes()[0])
}

func (c *closing) PopulateTokenEndpointResponse(ctx context.Context, _ fosite.AccessRequester, answer fosite.AccessResponder) error {
	f := flowOf(ctx)
	// What fosite has not committed: its client_credentials opens no transaction, and has nothing else to write.
	if err := f.commit(ctx, c.store); err != nil {
		return err
	}
	answer.SetTokenType(f.tokenType())
	answer.SetExpiresIn(f.expires.Sub(f.now))
	answer.SetScopes(f.scopes)
	return nil
}

// synthetic makes the HTTP request that fosite wants to read, from what was already parsed and checked.
func synthetic(method string, header http.Header, form url.Values) *http.Request {
	return &http.Request{
		Method: method, URL: &url.URL{Path: "/"}, Header: header, Body: http.NoBody, Form: form, PostForm: form,
	}
}
