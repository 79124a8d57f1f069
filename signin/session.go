package signin

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
)

// The parameters of the stored request of a login that makes a session of the browser. No authorization request is stored with them,
// see [oauth.Provider.Authorize].
const (
	sessionPath  = "session_path"  // where the browser goes on to, without the query
	sessionQuery = "session_query" // the query of that, sealed; absent if there is none
	sessionUser  = "session_user"  // the user who has to sign in again; empty for a first login
)

// The values of the parameter "because" of the page for a login that did not make a session.
const (
	BecauseCancelled   = "cancelled"   // by the user, or refused by the provider
	BecauseUnavailable = "unavailable" // the provider cannot work now
	BecauseChanged     = "changed"     // the domain or the provider of the login is no longer configured
)

// forBrowser reports whether a stored request asks for a session of the browser.
func forBrowser(request url.Values) bool { return request.Has(sessionPath) }

// SessionPath returns where the browser goes on to after a login that makes a session, without the query; empty for the request of an
// app.
func SessionPath(request url.Values) string { return request.Get(sessionPath) }

// beginSession begins a login that makes a session of the browser.
func (s *Logins) beginSession(ctx context.Context, v *visit, in BeginSession) (Outcome, error) {
	if s.issuer == "" || s.endPage == "" || !strings.HasPrefix(in.Path, "/") || strings.HasPrefix(in.Path, "//") {
		return nil, errors.New("signin: BeginSession needs the issuer's URL, the page for its end, and a path")
	}
	path, query, err := s.wayBack(in.Path)
	if err != nil {
		return nil, err
	}
	request := url.Values{sessionPath: {path}}
	if query != "" {
		request.Set(sessionQuery, query)
	}
	if in.Locales != "" {
		request.Set("ui_locales", in.Locales)
	}
	var domain, provider string
	if in.Again != nil {
		domain, provider = in.Again.Domain, in.Again.Provider
		request.Set(sessionUser, in.Again.User)
		// The provider's answer is held to it: the login must be newer than this request (OpenID Connect Core 1.0 §3.1.2.1).
		request.Set("prompt", "login")
	}
	a, err := s.choosePlaceOf(request, domain, provider)
	if err != nil {
		return v.tell(err)
	}
	if a.Provider == "" {
		return s.askPlace(ctx, v, a)
	}
	return s.begin(ctx, v, a)
}

// choose adds a user's choice to a stored request. The errors are those of [oauth.Provider.Choose].
func (s *Logins) choose(ctx context.Context, request url.Values, domain, provider string) (*oauth.Authorization, error) {
	if forBrowser(request) {
		return s.choosePlaceOf(request, domain, provider)
	}
	return s.oauth.Choose(ctx, request, domain, provider)
}

// choosePlaceOf adds a domain and an OpenID provider to the request for a session of the browser. Parameters of the request itself stay.
// A domain or provider that is the only one is chosen.
func (s *Logins) choosePlaceOf(request url.Values, domain, provider string) (*oauth.Authorization, error) {
	chosen := maps.Clone(request)
	for name, value := range map[string]string{"im_domain": domain, "im_provider": provider} {
		if value != "" && !chosen.Has(name) {
			chosen.Set(name, value)
		}
	}
	a := &oauth.Authorization{
		Client: clients.Client{Domains: slices.Sorted(maps.Keys(s.domains))}, Prompt: chosen.Get("prompt"), Request: chosen,
		Locales: chosen.Get("ui_locales"),
		Domain:  chosen.Get("im_domain"), Provider: chosen.Get("im_provider"),
	}
	if a.Domain == "" && len(a.Client.Domains) == 1 {
		a.Domain = a.Client.Domains[0]
	}
	if a.Domain != "" && !slices.Contains(a.Client.Domains, a.Domain) {
		return nil, s.ended(request, BecauseChanged)
	}
	if a.Domain != "" && a.Provider == "" {
		if _, known := s.oauth.Choices(a); len(known) == 1 {
			a.Provider = known[0]
		}
	}
	if p, ok := s.providers[a.Provider]; a.Provider != "" && (!ok || p.Domain() != a.Domain) {
		return nil, s.ended(request, BecauseChanged)
	}
	for name, value := range map[string]string{"im_domain": a.Domain, "im_provider": a.Provider} {
		if value != "" {
			chosen.Set(name, value)
		}
	}
	return a, nil
}

// returnURI returns the URI that the browser goes on to after a login.
func (s *Logins) returnURI(request url.Values) string {
	if forBrowser(request) {
		return s.issuer
	}
	return s.oauth.RedirectURI(request)
}

// refusal returns the [*oauth.AuthorizeError] that says why a login ends: to the app or, for a session of the browser, to the user.
func (s *Logins) refusal(request url.Values, code, description string) error {
	switch {
	case !forBrowser(request):
		return s.oauth.Refuse(request, code, description)
	case code == oauth.CodeTemporarilyUnavailable:
		return s.ended(request, BecauseUnavailable)
	}
	return s.ended(request, BecauseCancelled)
}

// ended sends the browser to the page for a login that did not make a session. A user who is still signed in and cancels goes back to
// where they were.
func (s *Logins) ended(request url.Values, because string) error {
	query := url.Values{"to": {root(request.Get(sessionPath))}, "because": {because}}
	to := s.issuer + s.endPage + "?" + query.Encode()
	if because == BecauseCancelled && request.Get(sessionUser) != "" {
		to = s.issuer + root(request.Get(sessionPath))
	}
	return &oauth.AuthorizeError{
		Err:      &oauth.Error{Code: oauth.CodeAccessDenied, Description: "The sign-in of the browser ended: " + because + "."},
		Location: to,
	}
}

// root returns the first segment of a path, such as /account.
func root(path string) string {
	end := strings.IndexAny(path[min(1, len(path)):], "/?")
	if end < 0 {
		return path
	}
	return path[:end+1]
}

// openSession ends a login whose user is known with a session of the browser. Its errors include those of [account.PendingBrowser.Insert].
func (s *Logins) openSession(ctx context.Context, v *visit, id login.Identity, user account.PendingSignIn) (Outcome, error) {
	session, err := s.accounts.PrepareBrowser(account.BrowserLogin{
		User: user.User, Provider: v.row.Provider, Issuer: id.Issuer, SID: id.SID, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
		NewToken: v.upstream, Former: v.Session,
	})
	if err != nil {
		return nil, err
	}
	to := v.row.Request.Get(sessionPath)
	if again := v.row.Request.Get(sessionUser); again != "" && again != user.User.ID {
		to = root(to) // what somebody else was about to do
	} else if sealed := v.row.Request.Get(sessionQuery); sealed != "" {
		query, err := s.openQuery(to, sealed)
		if err != nil {
			return nil, err
		}
		to += "?" + query
	}
	to = s.issuer + to
	err = s.end(ctx, v, ending{
		signIn: user, session: session.Secret, location: to, last: session.Insert, events: []audit.Kind{audit.UserSignedIn},
	})
	if errors.Is(err, account.ErrNoUser) { // removed a moment ago
		return nil, errOver
	} else if err != nil {
		return nil, err
	}
	v.session = session.Secret
	s.quota.leave(v.row)
	s.count(v.row.Provider, Done)
	return v.redirect(to), nil
}
