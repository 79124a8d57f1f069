package signin

import (
	"errors"
	"net/url"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// An Outcome is the answer to an input: a [Redirect], an [Ask], a [Refuse] or a [Page].
type Outcome interface{ outcome() }

// A Redirect sends the browser on: to the OpenID provider, to the page that asks for consent, or to the app with a code.
type Redirect struct {
	Answer
	Location string
}

// An Ask shows a page that asks the user something.
type Ask struct {
	Answer
	// Token is the state that the form must send back.
	Token    string
	Question Question
}

// A Refuse tells the app that it gets no code. If Err has no Location, the user is told instead.
type Refuse struct {
	Answer
	Err *oauth.AuthorizeError
	// Cause is the reason for the log, if it says more than Err. It may be nil.
	Cause error
}

// A Page tells the user why the login does not go on.
type Page struct {
	Answer
	Reason Reason
	Err    error // for the log
}

func (Redirect) outcome() {}
func (Ask) outcome()      {}
func (Refuse) outcome()   {}
func (Page) outcome()     {}

// An Answer is what every outcome has.
type Answer struct {
	// Cookies are to be set, in this order.
	Cookies []Cookie
	// Session is the secret of a new session of the browser at the issuer, for a cookie; empty if there is none.
	Session string
	Facts   Facts
}

// A Cookie binds a pending login to a browser. A negative Life removes it.
type Cookie struct {
	Token string // the state that it belongs to, which names it: see [CookieTag]
	Value string
	Life  time.Duration
}

// Facts are what is known of the login that an input belongs to. They are empty for one that begins a login.
type Facts struct {
	// Request is the app's authorization request.
	Request url.Values
	// Bound says that the input came from the browser that the login belongs to, and that the login is not over.
	Bound bool
	// Provider, Domain and User are empty until they are known.
	Provider, Domain, User string
	// Ignored names the claims of the provider that were ignored because they are not of the right type.
	Ignored []string
	// Kept is why a user kept their handle although the provider named another one; nil if it did not.
	Kept error
}

func (f *Facts) user(u storage.User) {
	if u.ID != "" {
		f.Domain, f.User = u.Domain, u.ID
	}
}

// A failure is an error of [Logins.Advance], with what is known of the login.
type failure struct {
	facts Facts
	err   error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// FactsOf returns what is known of the login that an error of [Logins.Advance] is about.
func FactsOf(err error) Facts {
	var f *failure
	if errors.As(err, &f) {
		return f.facts
	}
	return Facts{}
}

// A Reason says why a login does not go on.
type Reason int

// The reasons of a [Page].
const (
	Over            Reason = iota // the login has ended or expired, or there never was one
	Elsewhere                     // it was started in another browser
	ProviderDown                  // the OpenID provider cannot be reached
	ResponseInvalid               // the provider's response is not valid
	CodeRefused                   // the provider does not accept its code, which has expired or was used
	UserDisabled
	UserRemoved
	HandleTaken
	HandleMissing
	HandleInvalid // Page.Err wraps a *claims.Error
	UserIDTaken
	LinkedOtherwise // the account is linked by its sub, and another claim identifies it now
	UserIDInvalid
)

// A Question is a [PlaceQuestion], a [HandleQuestion], a [ConsentQuestion] or a [RemovalQuestion].
type Question interface{ question() }

// A PlaceQuestion asks for a domain or, if Domain is not empty, for one of its providers.
type PlaceQuestion struct {
	App     string
	Domain  string
	Options []Option
	// Targets are the URLs that the browser may be sent to after the choice.
	Targets []string
}

// An Option is a domain or a provider that can be chosen.
type Option struct{ Value, Label string }

// A HandleQuestion asks for a handle.
type HandleQuestion struct {
	// Handle is the text to begin with: the provider's proposal, or what was sent before.
	Handle string
	// Fault is why Handle cannot be had, as far as [account.HandleRefusal] can say. It is never nil.
	Fault error
	// Result is Handle as people write it, with the domain; empty if it is not valid. Before and After are what stands around a handle.
	Result, Before, After string
	System                claims.System
	// Renames says that users can choose another handle later.
	Renames bool
	// Targets are the URLs that the browser may be sent to after the choice.
	Targets []string
}

// A ConsentQuestion asks whether the app may act for the user.
type ConsentQuestion struct {
	oauth.Consent
	// Person is the handle of the user, as people write it.
	Person string
	// Provider is the URL of the OpenID provider; empty if the provider is no longer configured.
	Provider string
	// Devices are the devices of the user, if there are too many (Full): those that were seen least recently first.
	Devices []LimitDevice
	// NoneChosen says that the form before named no device to remove.
	NoneChosen bool
}

// A LimitDevice is a device on the page about the device limit.
type LimitDevice struct {
	ID string
	// Name, Platform and App may be empty. Platform is a word of [account.Platforms].
	Name, Platform, App string
	// Seen is when it last logged in or refreshed; zero for a device under a delegation.
	Added, Seen time.Time
}

// A RemovalQuestion asks whether devices are to be removed, which the user chose at the device limit.
type RemovalQuestion struct {
	Devices []LimitDevice
	// Targets are the URLs that the browser may be sent to afterwards.
	Targets []string
}

func (PlaceQuestion) question()   {}
func (HandleQuestion) question()  {}
func (ConsentQuestion) question() {}
func (RemovalQuestion) question() {}
