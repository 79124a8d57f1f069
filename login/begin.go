package login

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/imidentity/issuer/internal/published"
)

// BeginParams are the optional parameters of one login (OpenID Connect Core §3.1.2.1).
type BeginParams struct {
	LoginHint string
	Prompt    string // "login", "none", ... space-separated
	UILocales string // BCP 47 tags, space-separated
	// MaxAge is how long ago the user may have logged in at the provider, in whole seconds. The provider's answer is checked
	// against it. Nil means any time. The prompt "login" implies a MaxAge of zero, because otherwise the answer would not show
	// whether the browser removed the prompt on its way to the provider.
	MaxAge *time.Duration
}

// maxAge returns MaxAge, or zero if the user has to log in again (OpenID Connect Core §3.1.2.1).
func (b BeginParams) maxAge() (age time.Duration, limited bool) {
	switch {
	case slices.Contains(strings.Fields(b.Prompt), "login"):
		return 0, true
	case b.MaxAge != nil:
		return b.MaxAge.Truncate(time.Second), true
	}
	return 0, false
}

// AuthAfter returns the earliest accepted time of the login at the provider, for a login that began at begun. Zero means any time.
func (b BeginParams) AuthAfter(begun time.Time) time.Time {
	age, limited := b.maxAge()
	if !limited {
		return time.Time{}
	}
	return begun.Add(-age)
}

// A Pending must be stored between Begin and Finish, readable only by this service.
type Pending struct {
	State    string
	Nonce    string
	Verifier string // of PKCE
	// AuthAfter is the earliest accepted time of the login at the provider. Zero means any time.
	AuthAfter time.Time
}

// A Start is a login that has begun.
type Start struct {
	URL string // of the provider, for the browser
	Pending
}

// Begin starts a login. The error wraps [ErrUnavailable] if the provider's metadata cannot be read.
func (p *Provider) Begin(ctx context.Context, params BeginParams) (Start, error) {
	meta, err := get(ctx, p.meta, published.Any)
	if err != nil {
		return Start{}, err
	}
	var start Start
	for _, to := range []*string{&start.State, &start.Nonce, &start.Verifier} {
		if *to, err = p.secret(); err != nil {
			return Start{}, err
		}
	}
	opts := []oauth2.AuthCodeOption{oidc.Nonce(start.Nonce), oauth2.S256ChallengeOption(start.Verifier)}
	if params.LoginHint != "" {
		opts = append(opts, oauth2.SetAuthURLParam("login_hint", params.LoginHint))
	}
	app := p.oauth2(meta)
	prompt := params.Prompt
	if p.cfg.Refresh {
		app.Scopes, prompt = p.offline(meta, prompt)
	}
	if prompt != "" {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", prompt))
	}
	if params.UILocales != "" {
		opts = append(opts, oauth2.SetAuthURLParam("ui_locales", params.UILocales))
	}
	if age, limited := params.maxAge(); limited {
		opts = append(opts, oauth2.SetAuthURLParam("max_age", strconv.Itoa(int(age/time.Second))))
	}
	start.AuthAfter = params.AuthAfter(p.now())
	start.URL = app.AuthCodeURL(start.State, opts...)
	return start, nil
}

// offline returns scopes and prompt of a login that shall give a refresh token. A provider that knows the scope offline_access gives one
// for it alone, and ignores it without prompt=consent, unless it has other reasons to permit it (OpenID Connect Core §11). A login
// without any page stays one.
func (p *Provider) offline(meta *metadata, prompt string) ([]string, string) {
	scopes := p.cfg.Scopes
	if !slices.Contains(scopes, scopeOffline) {
		if !meta.offline {
			return scopes, prompt
		}
		scopes = append(slices.Clone(scopes), scopeOffline)
	}
	if asked := strings.Fields(prompt); !p.cfg.NoConsent && !slices.Contains(asked, "none") && !slices.Contains(asked, "consent") {
		prompt = strings.Join(append(asked, "consent"), " ")
	}
	return scopes, prompt
}

// scopeOffline asks for a refresh token (OpenID Connect Core §11).
const scopeOffline = "offline_access"

func (p *Provider) oauth2(meta *metadata) *oauth2.Config {
	return &oauth2.Config{
		ClientID:    p.cfg.ClientID,
		Endpoint:    oauth2.Endpoint{AuthURL: meta.authorize},
		RedirectURL: p.cfg.RedirectURL,
		Scopes:      p.cfg.Scopes,
	}
}
