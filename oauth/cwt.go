package oauth

import (
	"context"
	"crypto"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/statements"
)

// TypeCWT is the requested_token_type and issued_token_type of an access token in the form of a CWT.
const TypeCWT = "tag:imidentity.github.io,2026:cwt"

// CWTs write and read access tokens in the form of CWTs (RFC 8392). They are safe for concurrent use.
type CWTs interface {
	// Signer returns a function that signs CWTs with the key that signs now, nil if they cannot be signed with that. The function
	// returns the twin of the JWT with those claims, as text. The key is that of the token's proofs.
	Signer() func(set claims.Set, key crypto.PublicKey) (string, error)
	// Parse reads the text of a CWT, of which it verifies nothing, and reports false for any other text.
	Parse(text string) (statements.UnverifiedToken, bool)
}

// noCWTs neither writes nor reads CWTs.
type noCWTs struct{}

func (noCWTs) Signer() func(claims.Set, crypto.PublicKey) (string, error) { return nil }
func (noCWTs) Parse(string) (statements.UnverifiedToken, bool)            { return nil, false }

// Refusals of exchanges for CWTs.
var (
	errNoCWTs = refuse(CodeInvalidRequest, "The server signs with a key that cannot sign CWTs: only ES256 and EdDSA can. Request an "+
		"access token of the type "+typeAccessToken+".")
	errCWTSubject = refuse(CodeInvalidRequest, "The subject_token is a CWT already: send the JWT that it was made of, as "+
		typeAccessToken+".")
	errCWTAlone = refuse(CodeInvalidRequest, "A CWT is made of the client's own token alone: send no actor_token, im_evidence or im_along.")
	errCWTOwn   = refuse(CodeInvalidRequest, "A CWT is made of a token that names no actor and encloses no tokens: "+
		"send the one that the subject_token was made of.")
	errCWTScope  = refuse(CodeInvalidScope, "A CWT has the scope of the subject_token, "+cwtNarrow)
	errCWTTarget = refuse(CodeInvalidTarget, "A CWT is for the resources of the subject_token, "+cwtNarrow)
)

const cwtNarrow = "because a revocation of one is that of both: exchange the subject_token for a narrower JWT first, and that for a CWT."

// RequestedTokenTypes returns the types of access tokens that a token exchange can request.
func (p *Provider) RequestedTokenTypes() []string {
	if p.cwts.Signer() == nil {
		return []string{typeAccessToken}
	}
	return []string{typeAccessToken, TypeCWT}
}

// twin makes the CWT with the claims of the client's own JWT (RFC 8693). Since it has the same jti, sid and gen, what ends one of the
// two ends both.
func (g *exchangeGrant) twin(ctx context.Context) (*token, error) {
	form := g.r.Form
	if g.r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	sign := g.cwts.Signer()
	switch subject := form.Get("subject_token"); {
	case sign == nil:
		return nil, errNoCWTs
	case subject == "":
		return nil, refuse(CodeInvalidRequest, "The parameter subject_token is missing.")
	case form.Get("subject_token_type") == TypeCWT, looksLikeCWT(subject):
		return nil, errCWTSubject
	case form.Get("subject_token_type") != typeAccessToken:
		return nil, refuse(CodeInvalidRequest,
			"The subject_token_type must be "+typeAccessToken+" for a CWT"+found(form, "subject_token_type")+".")
	case form.Has("actor_token"), form.Has("actor_token_type"), form.Has("im_evidence"), form.Has("im_along"):
		return nil, errCWTAlone
	}
	t, err := g.subjectToken(ctx, form.Get("subject_token"))
	switch {
	case err != nil:
		return nil, err
	case !g.holds(t):
		return nil, errSubjectKey
	case t.Claims.Actor != nil, t.Claims.Tokens != nil:
		return nil, errCWTOwn
	}
	scope, err := g.narrowedScope(t.Claims.Scope)
	if err != nil {
		return nil, err
	}
	audience, err := g.narrowedAudience(t.Claims.Audience)
	switch {
	case err != nil:
		return nil, err
	// Each is a part of those of the token.
	case len(strings.Fields(scope)) != len(strings.Fields(t.Claims.Scope)):
		return nil, errCWTScope
	case len(audience) != len(t.Claims.Audience):
		return nil, errCWTTarget
	}
	if err := g.stillRegistered(t.User, t.Claims); err != nil {
		return nil, err
	}
	return &token{
		claims: t.Claims, user: t.User, issuedType: TypeCWT,
		sign: func(set claims.Set) (string, error) { return sign(set, g.r.proof.Key) },
	}, nil
}

// looksLikeCWT reports whether a text begins like a COSE_Sign1 in base64url: with tag 18, an array of four, and a header of 24 bytes or
// more. It is for errors only.
func looksLikeCWT(text string) bool {
	return strings.HasPrefix(text, "0oRY") && !strings.Contains(text, ".")
}
