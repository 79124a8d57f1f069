package introspect

import (
	"context"
	"math"

	"github.com/imidentity/issuer/claims"
)

// OwnOfAnyGeneration is [Introspector.Own] for a token of any generation of its user: one that is active, or was until the generation
// of the user was raised, as by a rename or by the replacement of a key. A token that encloses others is not among them. The caller
// compares the generation with that of the user.
func (i *Introspector) OwnOfAnyGeneration(ctx context.Context, accessToken string) (claims.Set, bool, error) {
	t, genuine, err := i.token(ctx, Question{Token: accessToken})
	if err != nil && refusal(err) == nil {
		return claims.Set{}, false, err
	}
	reason, err := i.revokedOfAnyGeneration(ctx, t)
	if err != nil || !genuine || reason != "" || t.Tokens != nil || !i.cfg.Now().Before(t.Expires) {
		return claims.Set{}, false, err
	}
	return t.Set, true, nil
}

// revokedOfAnyGeneration returns the reason of a revocation that matches a token, other than one of all tokens below a generation.
func (i *Introspector) revokedOfAnyGeneration(ctx context.Context, t *token) (Reason, error) {
	ids := t.ids
	ids.Gen = math.MaxInt64
	return i.cfg.Revocations.Revoked(ctx, ids)
}
