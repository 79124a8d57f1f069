package nested

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
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
	// Status reports whether the `status` of a token is valid: by the list that it refers to (package statuslist reads it), or by what
	// the verifier knows about the token in another way. [ErrNotAsked] refuses the token, any other error means that the status
	// cannot be known now. It is called for each token that has a `status`, after all other checks. Nil refuses such tokens.
	Status func(ctx context.Context, l *Layer) (bool, error)
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
	tree, err := op.open(ctx)
	if refused := (*Error)(nil); errors.As(err, &refused) && (refused.Code == CodeExpired || refused.Code == CodeRevoked) {
		refused.Access = op.standing(ctx, root)
	}
	return tree, err
}

// standing returns the claims of the outermost token, whose signature was verified, if nothing but its time may be wrong with it, and nil
// otherwise.
func (op *opener) standing(ctx context.Context, root *Layer) *claims.Set {
	if root.Access == nil {
		return nil
	}
	then := *op
	then.now = root.Access.Expires.Add(-time.Second)
	if then.verifyClaims(root) != nil || then.verifyDomain(ctx, root) != nil || then.verifyAudience(root) != nil {
		return nil
	}
	return root.Access
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
	op := &opener{Options: o, read: reader{njwt: o.NJWT, accepted: o.Relations}}
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
	for _, l := range layers {
		if l.unsigned || !l.refersToList() {
			continue
		}
		switch valid, err := op.Status(ctx, l); {
		case errors.Is(err, ErrNotAsked):
			return nil, l.refuse(CodeStatus, "")
		case err != nil:
			return nil, l.unknown("status", err)
		case !valid:
			return nil, l.refuse(CodeRevoked, "")
		}
	}
	return op.tree(), nil
}
