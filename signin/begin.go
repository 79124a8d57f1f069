package signin

import (
	"context"
	"fmt"
	"time"

	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// upstreamTime bounds all requests to an OpenID provider for one input. The answer must still be written in time.
const upstreamTime = 20 * time.Second

// authorize begins a login: it checks the app's request, and sends the browser to the OpenID provider, or asks for one.
func (s *Logins) authorize(ctx context.Context, v *visit, in Begin) (Outcome, error) {
	a, err := s.oauth.Authorize(ctx, in.Request)
	if err != nil {
		return v.tell(err)
	}
	if in.Platform != "" && !a.Request.Has("im_device_platform") {
		a.Request.Set("im_device_platform", in.Platform)
	}
	if a.Provider == "" {
		return s.askPlace(ctx, v, a)
	}
	return s.begin(ctx, v, a)
}

// begin sends the browser to the OpenID provider, for a new pending login.
func (s *Logins) begin(ctx context.Context, v *visit, a *oauth.Authorization) (Outcome, error) {
	return s.depart(ctx, v, a, func(p pendingLogin) error { return s.start(ctx, v, p) })
}

// depart sends the browser to the OpenID provider, once store has stored the pending login that it comes back to.
func (s *Logins) depart(ctx context.Context, v *visit, a *oauth.Authorization, store func(pendingLogin) error) (Outcome, error) {
	provider, ok := s.providers[a.Provider]
	if !ok {
		return nil, fmt.Errorf("signin: domain %s names the unknown OpenID provider %s", a.Domain, a.Provider)
	}
	upstream, cancel := context.WithTimeout(ctx, upstreamTime)
	defer cancel()
	start, err := provider.Begin(upstream, login.BeginParams{LoginHint: a.Hint, Prompt: a.Prompt, MaxAge: a.MaxAge, UILocales: a.Locales})
	if err != nil {
		return s.providerDown(v, a.Provider, err), nil
	}
	p, err := s.newPending(start.State, storage.Login{
		Domain: a.Domain, Provider: a.Provider, Nonce: start.Nonce, Verifier: start.Verifier, Request: a.Request,
	}, progress{Step: stepProvider})
	if err != nil {
		return nil, err
	}
	if err := store(p); err != nil {
		return nil, err
	}
	return v.redirect(start.URL), nil
}

// providerDown answers for a provider that cannot be reached. The user may reload the page.
func (s *Logins) providerDown(v *visit, provider string, err error) Outcome {
	s.count(provider, Unavailable)
	v.facts.Provider = provider
	return v.page(ProviderDown, err)
}

// providerURL returns the issuer of a provider; empty if it is no longer configured.
func (s *Logins) providerURL(id string) string {
	if p, ok := s.providers[id]; ok {
		return p.Issuer()
	}
	return ""
}
