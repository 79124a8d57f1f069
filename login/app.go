package login

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// appTokenAge is how old an ID token of an app may be: it is sent right after the login.
const appTokenAge = 5 * time.Minute

// An App is a registration of an app at the provider: the ID tokens of its logins name it.
type App struct {
	// Audience must be among the aud of an ID token.
	Audience string
	// AuthorizedParty must be its azp. Empty means that azp is absent or the same as Audience.
	AuthorizedParty string
}

// Claims that have a meaning in an ID token of an app, beside those of binding. `typ` is not of OpenID Connect: with it Keycloak tells
// its access tokens, which are signed by the same keys, from ID tokens.
var appBinding = append(slices.Clone(binding), "typ")

// Speaks reports whether a token says that it is of this provider. The token is not verified, and may be anything.
func (p *Provider) Speaks(token string) bool {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxIDToken})
	if err != nil {
		return false
	}
	said, err := parseMembers(jws.Payload, binding)
	return err == nil && said.text("iss") == p.cfg.Issuer
}

// AppLogin verifies an ID token that an app got from the provider by a login of its own (OpenID Connect Core §3.1.3.7), and returns the
// identity. The token must be for one of apps, have the nonce, and be at most five minutes old. Claims that the token lacks are not read
// from elsewhere. The error is a *[Rejected], or wraps [ErrUnavailable]. Whether the token was used before is for the caller to find out.
func (p *Provider) AppLogin(ctx context.Context, raw, nonce string, apps []App) (Identity, error) {
	now := p.now()
	// Before the signature, because this fetches no keys for a token that cannot be good.
	app, err := p.readAppToken(raw, nonce, apps, now)
	if err != nil {
		return Identity{}, err
	}
	_, said, err := p.verify(ctx, raw, "id_token", app.Audience, p.bound(appBinding), now)
	if err != nil {
		return Identity{}, err
	}
	return p.identify(ctx, &metadata{}, said, "")
}

// readAppToken checks what an ID token of an app says, except for what go-oidc checks, and returns the app that it is for.
func (p *Provider) readAppToken(raw, nonce string, apps []App, now time.Time) (App, error) {
	jws, err := jose.ParseCompact(raw, jose.Limits{Total: maxIDToken})
	if err != nil {
		return App{}, &Rejected{Part: "id_token", Err: err}
	}
	// Providers send no typ or JWT. A JWT of another type is no ID token (RFC 8725 §3.11).
	if typ := strings.ToLower(jws.Header.Typ); typ != "" && typ != "jwt" {
		return App{}, rejected("id_token", "typ is not JWT")
	}
	said, err := parseMembers(jws.Payload, appBinding)
	if err != nil {
		return App{}, &Rejected{Part: "id_token", Err: err}
	}
	if typ := said["typ"]; typ != nil && said.text("typ") != "ID" {
		return App{}, rejected("id_token", "the claim typ is not ID")
	}
	if sub := said.text("sub"); sub == "" || len(sub) > 255 { // Core §2
		return App{}, rejected("id_token", "sub is not 1 to 255 bytes")
	}
	switch at := said.date("iat"); {
	case at.IsZero() || at.After(now.Add(leeway)):
		return App{}, rejected("id_token", "iat is missing or in the future")
	case at.Before(now.Add(-appTokenAge)):
		return App{}, rejected("id_token", "it was issued more than five minutes ago: log in at the provider again")
	}
	if nonce == "" || !equal(said.text("nonce"), nonce) {
		return App{}, rejected("nonce",
			"not the one for this key: it must be the SHA-256 of im_nonce_verifier, a dot and the thumbprint of the key, in base64url")
	}
	return appOf(said, apps)
}

// appOf returns the app that a token is for.
func appOf(said members, apps []App) (App, error) {
	var audience []string
	if one := said.text("aud"); one != "" {
		audience = []string{one}
	} else if json.Unmarshal(said["aud"], &audience) != nil {
		return App{}, rejected("id_token", "aud is neither a string nor an array of strings")
	}
	for _, app := range apps {
		party := said.text("azp")
		switch {
		case app.Audience == "" || !slices.Contains(audience, app.Audience):
		case app.AuthorizedParty != "" && party == app.AuthorizedParty,
			app.AuthorizedParty == "" && party == app.Audience,
			app.AuthorizedParty == "" && said["azp"] == nil && len(audience) == 1: // with several, azp says whose it is (Core §2)
			return app, nil
		}
	}
	return App{}, rejected("id_token", "aud and azp are not those of an app that the client is registered with")
}
