package signin

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// An ending is what the transaction that ends a step stores.
type ending struct {
	// signIn stores the user of a first login.
	signIn account.PendingSignIn
	// session is the secret of the session that last stores for the browser. It is stored, sealed, for repeats of the form, too.
	session string
	// location is where the browser is sent. It is stored for repeats of the form that ends the step.
	location string
	// next is the next step. Nil if the login is over.
	next *pendingLogin
	// last is the last part of the transaction. Nil adds nothing.
	last func(ctx context.Context, tx storage.Tx) error
	// events are recorded about the user, after that of a first login.
	events []audit.Kind
}

// end ends the step of a visit by one transaction. It returns errOver if another request has ended the step, or if the provider has
// reported since that it ended this login, and the errors of e; then nothing has changed.
func (s *Logins) end(ctx context.Context, v *visit, e ending) error {
	var answer *storage.Login
	if v.decides && e.location != "" {
		var err error
		if answer, err = s.answerRow(v, e); err != nil {
			return err
		}
	}
	update := func() error {
		return s.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if err := removeRow(ctx, tx, v.row); err != nil {
				return err
			}
			if id := v.identity; id.Subject != "" {
				if ended, err := tx.LoggedOut(ctx, v.row.Domain, id.Issuer, id.Subject, id.SID, id.IssuedAt); err != nil {
					return err
				} else if ended {
					return errOver
				}
			}
			if err := e.signIn.Insert(ctx, tx); err != nil {
				return err
			}
			if answer != nil {
				if err := tx.InsertLogin(ctx, *answer); err != nil {
					return err
				}
			}
			if e.next != nil {
				if err := tx.InsertLogin(ctx, e.next.row); err != nil {
					return err
				}
			}
			if e.last != nil {
				if err := e.last(ctx, tx); err != nil {
					return err
				}
			}
			return record(ctx, tx, v, e)
		})
	}
	if e.next != nil {
		if err := s.quota.carry(e.next.row.State, v.place, e.next.row.ExpiresAt, update); err != nil {
			return err
		}
	} else if err := update(); err != nil {
		return err
	}
	s.quota.free(v.row.State)
	v.facts.user(e.signIn.User)
	s.settle(v, e.next)
	return nil
}

// record adds the events of an ending to the audit log.
func record(ctx context.Context, tx storage.Tx, v *visit, e ending) error {
	facts := v.facts
	facts.user(e.signIn.User)
	kinds := e.events
	if e.signIn.New {
		kinds = append([]audit.Kind{audit.UserCreated}, kinds...)
	}
	for _, kind := range kinds {
		err := audit.Append(ctx, tx, audit.Event{
			Kind: kind, Actor: audit.ActorUser, Domain: facts.Domain, User: facts.User,
			Client: v.row.Request.Get("client_id"), Address: v.From,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle completes an ending that is durable: it binds the next step to the browser. The cookie of the step that has ended goes
// away; if its form can be repeated, the cookie stays for as long as the answer is stored.
func (s *Logins) settle(v *visit, next *pendingLogin) {
	if !v.decides {
		v.cookie(v.Token, "", -1)
	}
	if next != nil {
		v.cookie(next.token, next.browser, s.life)
	}
	if v.decides {
		life := s.oauth.CodeLife()
		if v.row.Provider == "" { // anybody can come this far: the answer takes the place of the login
			s.quota.hold(answerKey(v.Token), v.place, s.now().Add(life))
		}
		v.cookie(v.Token, v.Browser, life)
	}
}

// deny ends a login without a code, tells the app an error code of OAuth, and records the events.
func (s *Logins) deny(ctx context.Context, v *visit, code, description string, events ...audit.Kind) (Outcome, error) {
	return s.refuse(ctx, v, account.PendingSignIn{}, s.refusal(v.row.Request, code, description), events...)
}

// refuse ends a login without a code, and tells the app why: answer is the [*oauth.AuthorizeError]. A pushed request is spent,
// as by a code (RFC 9126 §4). The events are recorded. Any other error is returned, and then nothing has ended.
func (s *Logins) refuse(ctx context.Context, v *visit, signIn account.PendingSignIn, answer error, events ...audit.Kind) (Outcome, error) {
	var refused *oauth.AuthorizeError
	if !errors.As(answer, &refused) {
		return nil, answer
	}
	if errors.Is(refused, oauth.ErrDeviceLimit) {
		events = append(events, audit.DeviceLimitReached)
	}
	e := ending{signIn: signIn, location: refused.Location, events: events}
	uri := v.row.Request.Get("request_uri")
	if uri != "" {
		e.last = func(ctx context.Context, tx storage.Tx) error { return s.oauth.Spend(ctx, tx, v.row.Request) }
	}
	if err := s.end(ctx, v, e); err != nil {
		return nil, err
	}
	if uri != "" {
		// Anybody can begin logins and have them refused. The record that the request is spent takes the place of the
		// login.
		s.quota.hold(sha256.Sum256([]byte(uri)), v.place, s.now().Add(oauth.PushedSpent))
	}
	if v.row.Provider != "" { // otherwise the user has not chosen one
		s.count(v.row.Provider, Refused)
	}
	return Refuse{v.answer(), refused, v.cause}, nil
}

// tell tells the app that its request cannot go on, without ending the step.
func (v *visit) tell(err error) (Outcome, error) {
	var refused *oauth.AuthorizeError
	if !errors.As(err, &refused) {
		return nil, err
	}
	return Refuse{v.answer(), refused, nil}, nil
}
