package signin

import (
	"context"
	"errors"
	"net/url"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// proceed ends the step of a login whose user is known: with a code for the app or, if the user must be asked for consent
// first, with the page that asks. It is the one place where the app's request is checked again, against the client and the
// user as they are now.
func (s *Logins) proceed(ctx context.Context, v *visit, id login.Identity, user account.PendingSignIn, consented bool) (Outcome, error) {
	if forBrowser(v.row.Request) {
		return s.openSession(ctx, v, id, user)
	}
	if !consented {
		asked, err := s.oauth.ConsentNeeded(ctx, v.row.Request, user.User)
		if err != nil {
			return s.refuse(ctx, v, user, err)
		}
		if asked.Needed {
			return s.askConsent(ctx, v, id, user, asked)
		}
	}
	code, err := s.oauth.PrepareCode(ctx, v.row.Request, oauth.Login{
		User: user.User, Consented: consented, Issuer: id.Issuer, UpstreamSID: id.SID, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
		NewToken: v.upstream,
	})
	if err != nil {
		return s.refuse(ctx, v, user, err)
	}
	e := ending{signIn: user, location: code.Location(), last: code.Insert, events: []audit.Kind{audit.UserSignedIn}}
	if consented {
		e.events = []audit.Kind{audit.ConsentGiven, audit.UserSignedIn}
	}
	if err := s.end(ctx, v, e); err != nil {
		return s.refuse(ctx, v, user, code.Refused(err))
	}
	s.quota.leave(v.row)
	s.count(v.row.Provider, Done)
	return v.redirect(code.Location()), nil
}

// askConsent goes on to the page that asks for consent. The page has a URL of its own, so that it can be loaded again.
func (s *Logins) askConsent(
	ctx context.Context, v *visit, id login.Identity, user account.PendingSignIn, asked oauth.Consent,
) (Outcome, error) {
	next, err := s.newPending("", storage.Login{Domain: v.row.Domain, Provider: v.row.Provider, Request: v.row.Request},
		progress{Step: stepConsent, Identity: id, Upstream: v.upstream, User: user.User.ID})
	if err != nil {
		return nil, err
	}
	to := s.consentPage + "?" + url.Values{"state": {next.token}}.Encode()
	e := ending{signIn: user, location: to, next: &next}
	if asked.Full && asked.KeyNamed { // the page offers no way on but to remove a device
		e.events = []audit.Kind{audit.DeviceLimitReached}
	}
	if err := s.end(ctx, v, e); err != nil {
		return nil, err
	}
	return v.redirect(to), nil
}

// showConsent asks for consent. It changes nothing.
func (s *Logins) showConsent(ctx context.Context, v *visit, _ ShowConsent) (Outcome, error) {
	user, over, err := s.asked(ctx, v)
	if over != nil || err != nil {
		return over, err
	}
	asked, err := s.oauth.Consent(ctx, v.row.Request, user)
	if err != nil {
		return v.tell(err)
	}
	person, err := s.accounts.Display(user)
	if err != nil {
		return nil, err
	}
	q := ConsentQuestion{Consent: asked, Person: person, Provider: s.providerURL(v.row.Provider)}
	if asked.Full {
		if q.Devices, err = s.atLimit(ctx, user); err != nil {
			return nil, err
		}
	}
	return Ask{v.answer(), v.Token, q}, nil
}

// decide ends a login with the user's decision. It comes from the page that asked, in the browser that was asked: no other
// site knows the state, and no other browser has the cookie.
func (s *Logins) decide(ctx context.Context, v *visit, in Decide) (Outcome, error) {
	user, over, err := s.asked(ctx, v)
	if over != nil || err != nil {
		return over, err
	}
	if !in.Allow {
		return s.deny(ctx, v, oauth.CodeAccessDenied, "The user did not allow it.", audit.ConsentDenied)
	}
	return s.proceed(ctx, v, v.progress.Identity, account.PendingSignIn{User: user}, true)
}

// asked returns the user who is asked for consent, as they are now. If the account cannot be used any more, the page says why. If the
// account at the provider was linked to another user meanwhile, or to none, the error is errOver.
func (s *Logins) asked(ctx context.Context, v *visit) (user storage.User, page Outcome, err error) {
	id := v.progress.Identity
	found, err := s.accounts.PrepareSignIn(ctx, account.SignIn{
		Domain: v.row.Domain, Issuer: id.Issuer, Subject: id.Subject, Sub: id.Sub, User: id.User,
	})
	v.facts.user(found.User)
	if errors.Is(err, account.ErrNoHandle) || err == nil && found.User.ID != v.progress.User {
		return storage.User{}, nil, errOver
	}
	if reason, refused := reasonOf(err); refused {
		if v.decides {
			s.count(v.row.Provider, NotAccepted)
		}
		return storage.User{}, v.page(reason, err), nil
	}
	return found.User, nil, err
}
