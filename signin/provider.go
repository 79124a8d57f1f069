package signin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// identify goes on with what the OpenID provider says of the user who comes back from it. The login must have begun at that
// very provider: each has a callback of its own (RFC 9700 §4.4.2.2).
func (s *Logins) identify(ctx context.Context, v *visit, in Return) (Outcome, error) {
	provider, known := s.providers[v.row.Provider]
	if !known || v.row.Provider != in.Provider {
		return nil, errOver
	}
	upstream, cancel := context.WithTimeout(ctx, upstreamTime)
	defer cancel()
	id, err := provider.Finish(upstream, login.Pending{
		State: v.Token, Nonce: v.row.Nonce, Verifier: v.row.Verifier, AuthAfter: authAfter(v.row),
	}, in.Query)
	var refused *login.Refused
	switch {
	case errors.Is(err, login.ErrCodeSent):
		if err := s.markAgain(ctx, v); err != nil {
			return nil, err
		}
		return s.providerDown(v, v.row.Provider, err), nil
	case errors.Is(err, login.ErrUnavailable):
		return s.providerDown(v, v.row.Provider, err), nil
	case errors.As(err, &refused):
		return s.providerRefused(ctx, v, refused)
	case err != nil: // of two callbacks at once, one may find its code used: the login is left to the other
		s.count(v.row.Provider, NotBelieved)
		if errors.Is(err, login.ErrCodeRefused) {
			return v.page(CodeRefused, err), nil
		}
		return v.page(ResponseInvalid, err), nil
	}
	v.identity, v.facts.Ignored = id, id.Ignored
	if s.upstream != nil {
		if v.upstream, err = s.upstream.Keep(v.row.Provider, id); err != nil {
			return nil, err
		}
	}
	return s.enter(ctx, v, provider, id)
}

// enter signs a user in whom the provider has identified. If their handle cannot be used and the domain lets users choose, it
// asks for another one. Any other refusal ends the login.
func (s *Logins) enter(ctx context.Context, v *visit, provider Provider, id login.Identity) (Outcome, error) {
	handle := id.Handle
	if !provider.AuthoritativeHandles() {
		handle = "" // a proposal only
	}
	out, err := s.signIn(ctx, v, id, handle)
	reason, refused := reasonOf(err)
	switch {
	case !refused:
		return out, err
	case s.mayChoose(v.row.Domain, err):
		return s.askHandle(ctx, v, id, err)
	}
	if err := s.end(ctx, v, ending{}); err != nil {
		return nil, err
	}
	s.count(v.row.Provider, NotAccepted)
	return v.page(reason, err), nil
}

// signIn goes on with the user that an identity belongs to, who is created at the first login. Its errors include those of
// [account.Accounts.PrepareSignIn] and [account.PendingSignIn.Insert].
func (s *Logins) signIn(ctx context.Context, v *visit, id login.Identity, handle string) (Outcome, error) {
	for first := true; ; first = false {
		user, refusal := s.accounts.PrepareSignIn(ctx, account.SignIn{
			Domain: v.row.Domain, Issuer: id.Issuer, Subject: id.Subject, Sub: id.Sub, Handle: handle, User: id.User,
		})
		if !user.New {
			v.facts.user(user.User)
		}
		// A login counts once: at the callback, and not again after it has lost to another first login.
		if v.progress.Step == stepProvider && first && !user.New && user.User.ID != "" {
			if err := s.limiter.User(user.User, v.row.Request.Get("client_id")); err != nil {
				return nil, err
			}
		}
		if refusal != nil {
			return nil, refusal
		}
		if v.progress.Step == stepProvider && first && !user.New {
			if renamed, err := s.follow(ctx, v, user.User, handle); err != nil {
				return nil, err
			} else if renamed {
				continue
			}
		}
		out, err := s.proceed(ctx, v, id, user, false)
		if !errors.Is(err, account.ErrSignedIn) {
			return out, err
		}
	}
}

// follow renames a user who is stored as their authoritative provider says, if the domain wants that. A handle that cannot be had is
// no reason to refuse the login: the user keeps theirs.
func (s *Logins) follow(ctx context.Context, v *visit, user storage.User, handle string) (renamed bool, err error) {
	ctx = audit.WithOrigin(ctx, audit.Origin{
		Actor: audit.ActorProvider, Peer: v.identity.Issuer, Address: v.From, Client: v.row.Request.Get("client_id"),
	})
	done, err := s.accounts.FollowProvider(ctx, user, handle)
	if _, refused := reasonOf(err); refused {
		v.facts.Kept = err
		return false, nil
	}
	return done.Changed, err
}

// providerRefused tells the app what the provider said, as far as OAuth has a word for it.
func (s *Logins) providerRefused(ctx context.Context, v *visit, upstream *login.Refused) (Outcome, error) {
	code, description := oauth.CodeAccessDenied, "The user or the sign-in service refused."
	switch upstream.Code {
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		// OpenID Connect Core 1.0 §3.1.2.6: the app asked for prompt=none, and that was not enough.
		code, description = upstream.Code, "The sign-in service must interact with the user: ask again without prompt=none."
	case oauth.CodeTemporarilyUnavailable, oauth.CodeServerError:
		code, description = oauth.CodeTemporarilyUnavailable, "The sign-in service cannot work now."
	}
	v.cause = upstream
	return s.deny(ctx, v, code, description)
}

// authAfter returns the earliest login at the provider that the app's prompt and max_age allow; zero if they allow any.
func authAfter(l storage.Login) time.Time {
	wanted := login.BeginParams{Prompt: l.Request.Get("prompt")}
	if seconds, err := strconv.ParseUint(l.Request.Get("max_age"), 10, 31); err == nil {
		age := time.Duration(seconds) * time.Second
		wanted.MaxAge = &age
	}
	return wanted.AuthAfter(l.CreatedAt)
}
