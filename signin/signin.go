// Package signin takes a user from an app's authorization request to an authorization code: through the choice of a domain,
// their OpenID provider, the choice of a handle and consent. By the same steps, without consent, it signs a user in in their browser,
// for the issuer's own pages: see [BeginSession]. It knows no HTTP: [Logins.Advance] is told what a browser sent,
// and returns what to show the browser, or where to send it.
//
// A pending login is one row of storage, at one step, found by a random state and bound to one browser by a cookie. Of both
// the row holds a hash. The table in steps.go says which inputs a step accepts; each step has a file of its own. The end of a
// step is one transaction, see [Logins.end]: the row is removed, so that of two requests one goes on, and with it the user
// of a first login, the next step or the code, and the answer to the form are stored, or nothing is.
//
// What goes wrong, and what becomes of the login:
//
//	case                                      answer                        the login
//	state unknown, expired, of another step   Page: over                    is left as it is
//	cookie of another browser                 Page: elsewhere               is left as it is
//	the same form again                       the same Redirect or Refuse   has ended; the answer is stored for as long as a code lives
//	another form for the same step            Page: over                    has ended
//	provider down before it got the code      Page: unavailable             is left as it is: reloading tries again
//	provider down after it got the code       Page: unavailable             begins again at the provider when the page is reloaded
//	the provider's response is not valid      Page: not believed            is left as it is
//	the provider refuses                      Refuse                        has ended
//	too many logins of a user                 error of the [Limiter]        is left as it is
//	too many pending logins                   [ErrFull], [*QuotaError]      does not begin
//	handle not possible, user may choose      Ask                           is at the choice of a handle
//	account not possible                      Page                          has ended at the callback, else is left as it is
//	consent or a handle needed, prompt=none   Refuse                        has ended
//	app, device or request no longer good     Refuse                        has ended, or is left as it is if nothing was decided
//	storage fails                             error                         is as it was, unless only the answer was lost
package signin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// A Store keeps pending logins.
type Store interface {
	Login(ctx context.Context, state [32]byte) (storage.Login, error)
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Provider is an OpenID provider where users log in. [login.Provider] is one.
type Provider interface {
	Name() string
	Issuer() string
	Domain() string
	AuthoritativeHandles() bool
	Begin(ctx context.Context, params login.BeginParams) (login.Start, error)
	Finish(ctx context.Context, pending login.Pending, callback url.Values) (login.Identity, error)
}

// Upstream makes the records of the refresh tokens that providers give at logins. Package recheck does.
type Upstream interface {
	// Keep returns the record of a login at a provider, without its user, and nil if there is nothing to keep.
	Keep(provider string, id login.Identity) (*storage.UpstreamToken, error)
}

// A Limiter refuses a user who logs in too often by a client.
type Limiter interface {
	User(u storage.User, client string) error
}

// A Domain says how the users of a domain get their handles.
type Domain struct {
	// System is the domain's identifier system.
	System claims.System
	// ChooseHandle lets users choose a handle where the provider's cannot be used.
	ChooseHandle bool
}

// A Result is how a login at an OpenID provider went.
type Result string

// The results of logins.
const (
	Done        Result = "done"         // the app was given a code
	Refused     Result = "refused"      // by the user or the provider
	Unavailable Result = "unavailable"  // the provider could not be reached, before or after the user was there
	NotBelieved Result = "not_believed" // the provider's response is not valid
	NotAccepted Result = "not_accepted" // the account at the provider cannot be used, or the user is disabled
)

// Results lists all of them.
var Results = []Result{Done, Refused, Unavailable, NotBelieved, NotAccepted}

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	Store    Store
	OAuth    *oauth.Provider
	Accounts *account.Accounts
	// Providers are the OpenID providers by their ids.
	Providers map[string]Provider
	// Domains are the domains by their names.
	Domains map[string]Domain
	// Quota bounds the pending logins.
	Quota *Quota
	// ConsentPage is the URL of the page that asks for consent. The state is added to it as a parameter.
	ConsentPage string
	// Issuer is the issuer's own URL, and EndPage the path below it of the page for a login by [BeginSession] that did not make a
	// session. Without them there are no such logins.
	Issuer, EndPage string
	// QueryKey seals what is stored of the query that a browser comes back to after such a login. Zero means a random one, which only this
	// process knows.
	QueryKey [32]byte
	// QueryKeys replaces QueryKey by keys that change: those that are accepted now, at least one. The first one is used for new queries.
	// Its error means that they are not known now.
	QueryKeys func() ([][32]byte, error)
	// Upstream keeps the refresh tokens of providers. Nil keeps none.
	Upstream Upstream
	// Limiter refuses users who log in too often. Nil refuses nobody.
	Limiter Limiter
	// Count is told the result of each login at a provider. Nil counts nothing.
	Count func(provider string, r Result)
	// Life is how long each step may take. Zero means ten minutes.
	Life time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes states and cookies. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// Logins are the pending logins of an issuer. Its methods are safe for concurrent use.
type Logins struct {
	store       Store
	oauth       *oauth.Provider
	accounts    *account.Accounts
	providers   map[string]Provider
	domains     map[string]Domain
	quota       *Quota
	consentPage string
	issuer      string
	endPage     string
	queryKeys   func() ([][32]byte, error)
	upstream    Upstream
	limiter     Limiter
	count       func(provider string, r Result)
	life        time.Duration
	now         func() time.Time
	rand        io.Reader
}

// New returns the logins of cfg.Store.
func New(cfg Config) (*Logins, error) {
	if cfg.Store == nil || cfg.OAuth == nil || cfg.Accounts == nil || cfg.Quota == nil || cfg.ConsentPage == "" {
		return nil, errors.New("signin: Config needs Store, OAuth, Accounts, Quota and ConsentPage")
	}
	s := &Logins{
		store: cfg.Store, oauth: cfg.OAuth, accounts: cfg.Accounts, providers: cfg.Providers, domains: cfg.Domains,
		quota: cfg.Quota, consentPage: cfg.ConsentPage, issuer: cfg.Issuer, endPage: cfg.EndPage, upstream: cfg.Upstream,
		limiter: cfg.Limiter, count: cfg.Count, queryKeys: cfg.QueryKeys, life: cfg.Life, now: cfg.Now, rand: cfg.Rand,
	}
	if s.limiter == nil {
		s.limiter = unlimited{}
	}
	if s.count == nil {
		s.count = func(string, Result) {}
	}
	if s.life == 0 {
		s.life = 10 * time.Minute
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	if s.queryKeys == nil {
		fixed := [][32]byte{cfg.QueryKey}
		if cfg.QueryKey == [32]byte{} {
			if _, err := io.ReadFull(s.rand, fixed[0][:]); err != nil {
				return nil, fmt.Errorf("signin: make a key: %w", err)
			}
		}
		s.queryKeys = func() ([][32]byte, error) { return fixed, nil }
	}
	return s, nil
}

type unlimited struct{}

func (unlimited) User(storage.User, string) error { return nil }

// A State is what a request shows of the pending login that it belongs to.
type State struct {
	// Token is the state in the URL or in the form. It is empty for a request that begins a login.
	Token string
	// Browser is the value of the cookie that belongs to the token, see [CookieTag]. It is empty if the browser sent none.
	Browser string
	// Session is the secret of the session that the browser has at the issuer, which a new one replaces. It may be empty.
	Session string
	// From is the address that the request came from.
	From netip.Addr
}

// Advance takes a login one step further: it answers what a browser sent. An error means that nothing was decided, unless it is
// [ErrPartly], and that the request can be sent again; [FactsOf] tells which login it is about.
func (s *Logins) Advance(ctx context.Context, at State, in Input) (Outcome, error) {
	v := &visit{State: at, place: placeOf(at.From)}
	v.decision, v.decides = in.decision()
	out, err := s.advance(ctx, v, in)
	if v.decides && errors.Is(err, errOver) {
		out, err = s.repeat(ctx, v)
	}
	switch {
	case errors.Is(err, errElsewhere):
		return v.page(Elsewhere, err), nil
	case errors.Is(err, errOver):
		v.facts.Bound = false // there is nothing to go back from
		return v.page(Over, err), nil
	case err != nil:
		return nil, &failure{v.facts, err}
	}
	return out, nil
}

func (s *Logins) advance(ctx context.Context, v *visit, in Input) (Outcome, error) {
	switch begin := in.(type) {
	case Begin:
		return s.authorize(ctx, v, begin)
	case BeginSession:
		return s.beginSession(ctx, v, begin)
	}
	if err := s.find(ctx, v); err != nil {
		return nil, err
	}
	run := steps.action(v.progress.Step, in)
	if run == nil {
		return nil, errOver
	}
	if err := s.check(v); err != nil {
		return nil, err
	}
	return run(s, ctx, v)
}
