package nested

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// unknown makes the error for something that cannot be known now.
func (l *Layer) unknown(what string, err error) error {
	if l.Path == "" {
		return fmt.Errorf("nested: %s: %w", what, err)
	}
	return fmt.Errorf("nested: %s: %s: %w", l.Path, what, err)
}

// verify checks one token by itself.
func (op *opener) verify(ctx context.Context, l *Layer) error {
	if err := op.verifySignature(ctx, l); err != nil {
		return err
	}
	if err := op.verifyClaims(l); err != nil {
		return err
	}
	if err := op.verifyDomain(ctx, l); err != nil {
		return err
	}
	if l.unsigned {
		return nil
	}
	return op.verifyAudience(l)
}

// verifySignature looks up the key and verifies the signature. The key of an issuer is looked up by kid. The key of a user is in
// the header, see [opener.readUserKeys].
func (op *opener) verifySignature(ctx context.Context, l *Layer) error {
	if l.unsigned {
		return nil
	}
	h := l.jws.Header
	var key crypto.PublicKey
	var alg string
	if l.byUser() {
		key, alg = l.key, jose.AlgorithmFor(l.key)
	} else {
		// RFC 8725 §3.5, §3.10: the token itself cannot say which key to trust.
		if h.JWK != nil {
			return l.refuse(CodeMalformed, "a token of an issuer must not have a key in its header")
		}
		if l.Issuer == "" || h.Kid == "" {
			return l.refuse(CodeIssuer, "iss or kid is missing")
		}
		var err error
		if key, alg, err = op.Keys.Key(ctx, l.Issuer, h.Kid); err != nil {
			return l.source(err)
		}
		l.Kid = h.Kid
	}
	op.signatures++
	if err := l.jws.Verify(alg, key); err == nil {
		l.key = key
		return nil
	}
	if source, ok := op.Keys.(OtherKeySource); ok && !l.byUser() {
		return op.verifyAgain(ctx, l, source, key)
	}
	return l.refuse(CodeSignature, "")
}

// verifyAgain verifies the signature with the key that its issuer publishes now, if that differs from failed.
func (op *opener) verifyAgain(ctx context.Context, l *Layer, source OtherKeySource, failed crypto.PublicKey) error {
	key, alg, err := source.OtherKey(ctx, l.Issuer, l.Kid, failed)
	switch {
	case errors.Is(err, claims.ErrIssuer):
		return l.refuse(CodeSignature, "")
	case err != nil:
		return l.unknown("keys", err)
	}
	op.signatures++
	if err := l.jws.Verify(alg, key); err != nil {
		return l.refuse(CodeSignature, "")
	}
	l.key = key
	return nil
}

// source translates an error of the key source.
func (l *Layer) source(err error) error {
	switch {
	case errors.Is(err, claims.ErrDomain):
		return l.refuse(CodeDomain, "")
	case errors.Is(err, claims.ErrIssuer):
		return l.refuse(CodeIssuer, "%w", err)
	}
	return l.unknown("keys", err)
}

// verifyClaims checks times and names.
func (op *opener) verifyClaims(l *Layer) error {
	if l.Access != nil {
		if !l.Access.Service() {
			// verifyDomain checks later whether the issuer speaks for the domain. Validate checks that the subject is a user.
			if id, err := (claims.Parser{AllowSingleLabel: true}).Parse(l.Subject); err == nil {
				l.domain = id.Domain()
			}
		}
		err := l.Access.Validate(claims.Expect{
			Issuer: l.Issuer, AnyAudience: true, Domains: []string{l.domain}, Now: op.now, Leeway: op.Leeway, Development: op.Development,
		})
		switch {
		case err != nil:
			return l.claim(err)
		case l.unsigned:
			return nil
		case l.Access.Status != nil && op.Status == nil:
			return l.refuse(CodeStatus, "")
		}
		return l.claim(checkLife(l.Access.IssuedAt, l.Access.Expires))
	}
	if l.Statement.Status != nil && op.Status == nil {
		return l.refuse(CodeStatus, "")
	}
	parser := claims.Parser{AllowSingleLabel: op.Development}
	if err := l.Statement.validate(parser); err != nil {
		return l.claim(err)
	}
	switch {
	case !op.now.Before(l.Until.Add(op.Leeway)):
		return l.refuse(CodeExpired, "")
	case op.now.Add(op.Leeway).Before(l.From):
		return l.refuse(CodeNotYetValid, "")
	}
	id, err := parser.Parse(l.Subject)
	if err != nil {
		return l.claim(&claims.ClaimError{Claim: "sub", Err: err})
	}
	l.domain = id.Domain()
	return nil
}

// checkLife returns an error for a token that is valid for longer than [MaxLife].
func checkLife(issued, expires time.Time) error {
	if expires.Sub(issued) > MaxLife {
		return &claims.ClaimError{Claim: "exp", Err: errLife}
	}
	return nil
}

var errLife = errors.New("more than 366 days after iat")

// claim translates an error of package claims.
func (l *Layer) claim(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, claims.ErrExpired):
		return l.refuse(CodeExpired, "")
	case errors.Is(err, claims.ErrNotYetValid):
		return l.refuse(CodeNotYetValid, "")
	}
	return l.refuse(CodeClaim, "%w", err)
}

// verifyDomain checks that the issuer speaks for the domain of the subject. A user's own key, once it is bound, speaks for the
// user. A service belongs to its issuer and has no domain.
func (op *opener) verifyDomain(ctx context.Context, l *Layer) error {
	if l.unsigned || l.byUser() || l.Access != nil && l.Access.Service() {
		return nil
	}
	if err := op.Keys.Speaks(ctx, l.Issuer, l.domain); err != nil {
		return l.source(err)
	}
	return nil
}

// verifyAudience checks that the outermost token is for the verifier, and an inner one for the verifier or the embedder: the issuer
// of the outer token, by its URL or its domain.
func (op *opener) verifyAudience(l *Layer) error {
	names := op.Audience
	if l.outer == nil {
		if op.AnyAudience {
			return nil
		}
	} else if outer := l.outer; outer.domain != "" {
		names = slices.Concat(names, []string{outer.Issuer}, claims.DomainURIs(outer.domain))
	} else {
		names = slices.Concat(names, []string{outer.Issuer})
	}
	for _, name := range l.audience() {
		if slices.Contains(names, name) {
			return nil
		}
	}
	return l.refuse(CodeAudience, "")
}
