package signin

import (
	"context"

	"github.com/imidentity/issuer/oauth"
)

// cancel sends the user back to the app, which is told access_denied.
func (s *Logins) cancel(ctx context.Context, v *visit, _ Cancel) (Outcome, error) {
	return s.deny(ctx, v, oauth.CodeAccessDenied, "The user cancelled the sign-in.")
}

// useAnother sends a user who wants to use another account back to the OpenID provider, to sign in anew. The step does not
// end: the user may come back to it.
func (s *Logins) useAnother(ctx context.Context, v *visit, _ UseAnother) (Outcome, error) {
	a, err := s.choose(ctx, v.row.Request, "", "")
	if err != nil {
		return v.tell(err)
	}
	a.Hint, a.Prompt = "", "login" // OpenID Connect Core 1.0 §3.1.2.1. Fewer providers know select_account.
	return s.begin(ctx, v, a)
}
