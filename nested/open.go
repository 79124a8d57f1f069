package nested

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A KeySource knows the trusted issuers and their keys; trust.Table is one. An error that wraps [claims.ErrIssuer] (not trusted, or
// without such a key) or [claims.ErrDomain] refuses the token. Any other error means that the answer cannot be known now.
type KeySource interface {
	// Key returns the key that issuer publishes under kid, and its algorithm, such as ES256.
	Key(ctx context.Context, issuer, kid string) (key crypto.PublicKey, alg string, err error)
	// Speaks returns nil if issuer may speak for domain, which is in canonical form.
	Speaks(ctx context.Context, issuer, domain string) error
}

// An OtherKeySource is a [KeySource] that can check whether an issuer has published a new key under an old kid. It is asked if a
// signature does not verify.
type OtherKeySource interface {
	KeySource
	// OtherKey returns the key that issuer publishes under kid, if it differs from failed. The error wraps [claims.ErrIssuer] if
	// there is none. Any other error means that this cannot be known now.
	OtherKey(ctx context.Context, issuer, kid string, failed crypto.PublicKey) (key crypto.PublicKey, alg string, err error)
}

// Options are the requirements of a verifier. Zero values are strict, except that all relations are accepted and revocation is not
// looked up.
type Options struct {
	// Keys finds the keys of issuers. Required.
	Keys KeySource
	// Audience are the verifier's own names. The outermost token must be for one of them. An inner token must be for one of them,
	// or for its embedder.
	Audience []string
	// AnyAudience is for an issuer that opens its own tokens. Another verifier would accept tokens made for others.
	AnyAudience bool
	// Types are the accepted types of the outermost token. Nil means only at+jwt.
	Types []string
	// Relations are the accepted relations. Nil means all.
	Relations []Relation
	// NJWT is the relation of a token in `njwt`, which has no place for one. Empty refuses such tokens.
	NJWT Relation
	// Along are the tokens that entries name by digest. Tokens that no entry names are ignored.
	Along []string
	// Revoked reports whether a token was revoked. [ErrNotAsked] means that this cannot be looked up at all, any other error that
	// it cannot be known now. It is called last, once for each token, outer before inner. Nil looks nothing up, as offline. The
	// tree says whether all tokens were looked up.
	Revoked func(ctx context.Context, l *Layer) (bool, error)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Leeway is how far clocks may differ. Zero is none.
	Leeway time.Duration
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

// Open checks a token and all tokens inside it, and returns its content. The token need not enclose others.
//
// A refusal is an [*Error], which names the first token at fault by its path. Any other error means that keys or a status cannot
// be known now, or that ctx has ended.
func Open(ctx context.Context, token string, o Options) (*Tree, error) {
	op, err := newOpener(&o)
	if err != nil {
		return nil, err
	}
	root := &Layer{depth: 1}
	if err := op.read.token(root, token); err != nil {
		return nil, err
	}
	return op.open(ctx)
}

// Check applies all rules of [Open], except those about its own signature and audience, to the claims of an access token that the
// caller is about to sign, and returns its content. The caller is the issuer, and speaks for the domain of the subject. The Types
// of o are ignored.
func Check(ctx context.Context, set claims.Set, o Options) (*Tree, error) {
	o.Types = nil
	op, err := newOpener(&o)
	if err != nil {
		return nil, err
	}
	payload := set.AppendJSON(nil)
	root := &Layer{depth: 1, Type: TypeAccessToken, unsigned: true}
	const markup = 1024 // the header and the signature, even with RSA
	if err := op.read.admit(root, base64.RawURLEncoding.EncodedLen(len(payload))+markup); err != nil {
		return nil, err
	}
	if err := op.read.payload(root, payload, ""); err != nil {
		return nil, err
	}
	return op.open(ctx)
}

// An opener opens one token.
type opener struct {
	*Options
	read       reader
	now        time.Time
	signatures int  // how many were verified
	notAsked   bool // the revocation of a token could not be looked up
}

func newOpener(o *Options) (*opener, error) {
	if o.Keys == nil {
		return nil, errors.New("nested: Options.Keys is required")
	}
	if o.Types == nil {
		o.Types = []string{TypeAccessToken}
	}
	op := &opener{Options: o, read: reader{njwt: o.NJWT, take: o.Relations}}
	if o.Now != nil {
		op.now = o.Now()
	} else {
		op.now = time.Now()
	}
	return op, op.read.index(o.Along)
}

// open checks the tokens that were read: first the keys of users, then each token by itself from the outside in, then the relations
// from the inside out, and last the revocations, which may cost a request.
func (op *opener) open(ctx context.Context) (*Tree, error) {
	layers := op.read.layers
	if root := layers[0]; !slices.Contains(op.Types, root.Type) {
		return nil, root.refuse(CodeType, "typ is not accepted here")
	}
	if err := op.readUserKeys(); err != nil {
		return nil, err
	}
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return nil, l.unknown("keys", err)
		}
		if err := op.verify(ctx, l); err != nil {
			return nil, err
		}
	}
	for _, l := range slices.Backward(layers) {
		if err := op.relate(l); err != nil {
			return nil, err
		}
	}
	if op.Revoked != nil {
		for _, l := range layers {
			if l.unsigned {
				continue
			}
			switch revoked, err := op.Revoked(ctx, l); {
			case errors.Is(err, ErrNotAsked):
				op.notAsked = true
			case err != nil:
				return nil, l.unknown("status", err)
			case revoked:
				return nil, l.refuse(CodeRevoked, "")
			}
		}
	}
	return op.tree(), nil
}

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
		case l.Access.Status != nil:
			return l.refuse(CodeStatus, "")
		}
		return l.claim(checkLife(l.Access.IssuedAt, l.Access.Expires))
	}
	if l.Statement.Status != nil {
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
