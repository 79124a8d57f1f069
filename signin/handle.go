package signin

import (
	"context"
	"errors"
	"strings"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// askHandle goes on to the choice of a handle. refusal says why the provider's cannot be used.
func (s *Logins) askHandle(ctx context.Context, v *visit, id login.Identity, refusal error) (Outcome, error) {
	if oauth.Silent(v.row.Request) {
		return s.deny(ctx, v, oauth.CodeInteractionRequired,
			"The user has to choose a handle first: ask again without prompt=none.")
	}
	next, err := s.newPending("", storage.Login{Domain: v.row.Domain, Provider: v.row.Provider, Request: v.row.Request},
		progress{Step: stepHandle, Identity: id, Upstream: v.upstream})
	if err != nil {
		return nil, err
	}
	if err := s.end(ctx, v, ending{next: &next}); err != nil {
		return nil, err
	}
	return s.handleQuestion(v, next.token, id.Handle, refusal)
}

// chooseHandle signs the user in with the chosen handle. If that cannot be had, it asks again.
func (s *Logins) chooseHandle(ctx context.Context, v *visit, in ChooseHandle) (Outcome, error) {
	out, err := s.signIn(ctx, v, v.progress.Identity, in.Handle)
	reason, refused := reasonOf(err)
	switch {
	case !refused:
		return out, err
	case s.mayChoose(v.row.Domain, err):
		return s.handleQuestion(v, v.Token, in.Handle, err)
	}
	s.count(v.row.Provider, NotAccepted)
	return v.page(reason, err), nil
}

// mayChoose reports whether another handle would help, and the domain lets users choose one.
func (s *Logins) mayChoose(domain string, err error) bool {
	var bad *claims.Error
	return s.domains[domain].ChooseHandle &&
		(errors.Is(err, account.ErrHandleTaken) || errors.Is(err, account.ErrNoHandle) || errors.As(err, &bad))
}

func (s *Logins) handleQuestion(v *visit, token, handle string, fault error) (Outcome, error) {
	q := HandleQuestion{
		Handle: handle, Fault: fault, System: s.domains[v.row.Domain].System,
		Renames: s.accounts.RenamedBy(v.row.Domain) == account.RenameByUser,
		Targets: []string{s.returnURI(v.row.Request), s.providerURL(v.row.Provider)},
	}
	q.Result, _ = s.accounts.Display(storage.User{Domain: v.row.Domain, Handle: handle}) // an invalid handle has none
	const sample = "sample"
	shown, err := s.accounts.Display(storage.User{Domain: v.row.Domain, Handle: sample})
	if err != nil {
		return nil, err
	}
	q.Before, q.After, _ = strings.Cut(shown, sample)
	return Ask{v.answer(), token, q}, nil
}

// reasonOf says why an account cannot be used; false for any other error, and for nil.
func reasonOf(err error) (Reason, bool) {
	var bad *claims.Error
	switch {
	case errors.Is(err, account.ErrRemoved): // it is an ErrDisabled, too
		return UserRemoved, true
	case errors.Is(err, account.ErrDisabled):
		return UserDisabled, true
	case errors.Is(err, account.ErrHandleTaken):
		return HandleTaken, true
	case errors.Is(err, account.ErrUserID):
		return UserIDInvalid, true
	case errors.Is(err, account.ErrOtherClaim):
		return LinkedOtherwise, true
	case errors.Is(err, account.ErrUserTaken):
		return UserIDTaken, true
	case errors.Is(err, account.ErrNoHandle):
		return HandleMissing, true
	case errors.As(err, &bad):
		return HandleInvalid, true
	}
	return 0, false
}
