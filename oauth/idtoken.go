package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

const (
	// spentNonce is the kind of the spent ids of the nonces of ID tokens.
	spentNonce = "id_token_nonce"
	// nonceKept is how long a nonce is stored as used. It is far longer than an ID token is accepted, so that a provider that issues
	// another ID token for the same login later does not make it usable again.
	nonceKept = 24 * time.Hour
)

// An IDTokenError says why an ID token is not valid, for the developer of the client.
type IDTokenError struct{ Err error }

func (e *IDTokenError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *IDTokenError) Unwrap() error { return e.Err }

// Refusals of ID tokens.
var (
	errNoIDTokens = refuse(CodeInvalidRequest, "The client is not registered for ID tokens (clients[].id_tokens).")
	errIDTokenOf  = refuse(CodeInvalidRequest,
		"The client is not registered for ID tokens of this issuer: its entries in id_tokens name other OpenID providers.")
	errIDTokenDomains = refuse(CodeInvalidRequest,
		"The client is registered for several OpenID providers with the issuer of this ID token: name one of them with im_provider.")
	errIDTokenUsed  = refuse(CodeInvalidRequest, "The nonce of the ID token was used before: log in at the OpenID provider again.")
	errIDTokenEnded = refuse(CodeInvalidRequest,
		"The OpenID provider has ended the login of this ID token: log in there again.")
	errIDTokenRace = refuse(CodeTemporarilyUnavailable,
		"The same user is logging in twice for the first time: send the request again with a new proof.")
)

// IDTokens verify the ID tokens that apps got from OpenID providers by logins of their own.
type IDTokens interface {
	// Issued returns those of providers, which are ids, that a token says it is of. The token is not verified.
	Issued(token string, providers []string) []string
	// Verify verifies a token of a provider: its signature, time and claims, the nonce, and that it is for one of apps. The error is an
	// [*IDTokenError] if the token is not valid. Any other error means that the keys of the provider cannot be had now.
	Verify(ctx context.Context, provider, token, nonce string, apps []clients.IDTokenApp) (UpstreamLogin, error)
}

type noIDTokens struct{}

func (noIDTokens) Issued(string, []string) []string { return nil }

func (noIDTokens) Verify(context.Context, string, string, string, []clients.IDTokenApp) (UpstreamLogin, error) {
	return UpstreamLogin{}, errIDTokenOf
}

// An UpstreamLogin is a login at an OpenID provider, as an ID token describes it.
type UpstreamLogin struct {
	SignIn   account.SignIn
	SID      string
	IssuedAt time.Time
	AuthTime time.Time
	ACR      string
	AMR      []string
}

// An idTokenGrant begins a session with an ID token that the app got from the OpenID provider by itself (RFC 8693 §2.1). The app made
// the key of the device before: the nonce of the token is derived from it, so that the token is of no use with another key.
type idTokenGrant struct {
	derivation

	login   UpstreamLogin
	nonce   string
	signIn  account.PendingSignIn
	session session
}

func (g *idTokenGrant) check(ctx context.Context, _ Reader) (*token, error) {
	r := g.r
	if r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	if err := g.checkForm(); err != nil {
		return nil, err
	}
	grant, err := g.verify(ctx)
	if err != nil {
		return nil, err
	}
	if g.signIn, err = g.accounts.PrepareSignIn(ctx, g.login.SignIn); err != nil {
		return nil, refusedSignIn(err)
	}
	g.session, err = g.loginSession(ctx, r, g.signIn.User, description(r.Form), grant)
	if err != nil {
		return nil, refusedExchange(err)
	}
	t, err := g.firstToken(r, &g.session)
	if err != nil {
		return nil, err
	}
	t.issuedType = typeAccessToken
	if g.signIn.New { // there is no row of the user yet with which it could be compared
		if err := g.limiter.User(t.user, r.client.ID); err != nil {
			return nil, err
		}
		t.user = storage.User{}
	}
	return t, nil
}

// checkForm checks the parameters that need no token.
func (g *idTokenGrant) checkForm() error {
	form, client := g.r.Form, g.r.client
	requested := form.Get("requested_token_type")
	switch {
	case len(client.IDTokens) == 0:
		return errNoIDTokens
	case form.Get("subject_token") == "":
		return refuse(CodeInvalidRequest, "The parameter subject_token is missing: the ID token.")
	case form.Has("actor_token"), form.Has("actor_token_type"), form.Has("im_evidence"), form.Has("im_along"):
		return refuse(CodeInvalidRequest,
			"An ID token begins a session of its user alone: leave out actor_token, im_evidence and im_along.")
	case requested != "" && requested != typeAccessToken:
		return refuse(CodeInvalidRequest, "The requested_token_type must be "+typeAccessToken+found(form, "requested_token_type")+".")
	case !validVerifier(form.Get("im_nonce_verifier")):
		return refuse(CodeInvalidRequest, "The im_nonce_verifier must be 43 to 128 characters, as a code_verifier of PKCE: "+
			"the secret from which the nonce of the ID token was made.")
	}
	if err := checkDescription(form); err != nil {
		return err
	}
	for _, s := range scopeList(form.Get("scope")) {
		if !client.HasScope(s) {
			return refuse(CodeInvalidScope,
				"The client is not registered for the scope "+named(s)+". Its scopes are: "+listed(client.Scopes)+".")
		}
	}
	return nil
}

// verify verifies the ID token. It returns scopes, audience and login of the session.
func (g *idTokenGrant) verify(ctx context.Context) (s storage.Grant, err error) {
	provider, domain, err := g.provider()
	if err != nil {
		return s, err
	}
	apps := slices.DeleteFunc(slices.Clone(g.r.client.IDTokens), func(a clients.IDTokenApp) bool { return a.Provider != provider })
	g.nonce = idTokenNonce(g.r.Form.Get("im_nonce_verifier"), g.r.proof.JKT)
	g.login, err = g.idTokens.Verify(ctx, provider, g.r.Form.Get("subject_token"), g.nonce, apps)
	if bad := (*IDTokenError)(nil); errors.As(err, &bad) {
		return s, &Error{Code: CodeInvalidRequest, Description: "The subject_token is not valid: " + plain(err) + ".", Cause: err}
	} else if err != nil {
		return s, err
	}
	s = storage.Grant{
		Scopes: loginScopes(g.r.client, g.r.Form), Issuer: g.login.SignIn.Issuer, UpstreamSID: g.login.SID,
		AuthTime: g.login.AuthTime, ACR: g.login.ACR, AMR: g.login.AMR,
	}
	s.Audience, err = g.audience(g.r.client, domain, g.targets())
	return s, err
}

// provider returns the OpenID provider of the ID token and its domain.
func (g *idTokenGrant) provider() (provider, domain string, err error) {
	client := g.r.client
	if domain, provider, err = g.chooseDomain(client, g.r.Form); err != nil {
		return "", "", err
	}
	var ids []string
	for _, app := range client.IDTokens {
		at := g.domainOf(app.Provider)
		if at != "" && (domain == "" || domain == at) && (!g.r.Form.Has("im_provider") || provider == app.Provider) &&
			slices.Contains(client.Domains, at) && !slices.Contains(ids, app.Provider) {
			ids = append(ids, app.Provider)
		}
	}
	switch ids = g.idTokens.Issued(g.r.Form.Get("subject_token"), ids); len(ids) {
	case 0:
		return "", "", errIDTokenOf
	case 1:
		return ids[0], g.domainOf(ids[0]), nil
	}
	return "", "", errIDTokenDomains
}

// domainOf returns the domain of an OpenID provider, and "" if there is none with this id.
func (p *Provider) domainOf(provider string) string {
	for name, d := range p.domains {
		if slices.Contains(d.Providers, provider) {
			return name
		}
	}
	return ""
}

// idTokenNonce returns the nonce that binds an ID token to the key with thumbprint jkt.
func idTokenNonce(verifier, jkt string) string {
	sum := sha256.Sum256([]byte(verifier + "." + jkt))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// commit spends the nonce, once, and stores the user if they are new, their device and the session.
func (g *idTokenGrant) commit(ctx context.Context, tx storage.Tx) error {
	l := g.login
	id := sha256.Sum256([]byte(l.SignIn.Issuer + "\x00" + g.nonce))
	if err := tx.SpendID(ctx, spentNonce, id, g.r.at.Add(nonceKept)); errors.Is(err, storage.ErrConflict) {
		return errIDTokenUsed
	} else if err != nil {
		return err
	}
	ended, err := tx.LoggedOut(ctx, l.SignIn.Domain, l.SignIn.Issuer, l.SignIn.Subject, l.SID, l.IssuedAt)
	if err != nil {
		return err
	} else if ended {
		return errIDTokenEnded
	}
	if err := g.signIn.Insert(ctx, tx); errors.Is(err, account.ErrSignedIn) {
		return errIDTokenRace
	} else if err != nil {
		return refusedSignIn(err)
	}
	if err := g.storeSession(ctx, tx, g.r, g.session); err != nil {
		return refusedExchange(err)
	}
	if g.signIn.New {
		if err := g.record(ctx, tx, audit.UserCreated); err != nil {
			return err
		}
	}
	return g.record(ctx, tx, audit.UserSignedIn)
}

// record appends an event of the user to the audit log.
func (g *idTokenGrant) record(ctx context.Context, tx storage.Tx, kind audit.Kind) error {
	return audit.Append(ctx, tx, audit.Event{
		Kind: kind, Actor: audit.ActorUser, Domain: g.session.user.Domain, User: g.session.user.ID, Client: g.r.client.ID,
		Session: g.session.grant.ID, Address: g.r.Source,
	})
}

// refusedSignIn turns a refusal of package account into the answer to the client, and returns any other error as it is.
func refusedSignIn(err error) error {
	const choose = " Let the user log in through the browser once."
	var bad *claims.Error
	switch {
	case errors.Is(err, account.ErrDisabled):
		return refuse(CodeInvalidRequest, errDisabled.Description)
	case errors.Is(err, account.ErrNoHandle):
		return refuse(CodeInvalidRequest, "The user is new, and the ID token has no handle for them, or not one that decides."+choose)
	case errors.Is(err, account.ErrHandleTaken):
		return refuse(CodeInvalidRequest, "The user is new, and the handle of the ID token is taken."+choose)
	case errors.Is(err, account.ErrOtherClaim):
		return refuse(CodeInvalidRequest, "The account of the user is not linked by the claim that identifies them now: ask the operator.")
	case errors.Is(err, account.ErrUserID), errors.Is(err, account.ErrUserTaken):
		return refuse(CodeInvalidRequest, "The user is new, and the user id of the ID token is not allowed or taken: ask the operator.")
	case errors.As(err, &bad):
		return refuse(CodeInvalidRequest, "The user is new, and the handle of the ID token is not allowed."+choose)
	}
	return err
}

// refusedExchange gives a refusal of a login the code that token exchange has for all of them (RFC 8693 §2.2.2).
func refusedExchange(err error) error {
	var refused *Error
	if errors.As(err, &refused) && refused.Code == CodeInvalidGrant {
		return &Error{Code: CodeInvalidRequest, Description: refused.Description, Cause: refused.Cause}
	}
	return err
}
