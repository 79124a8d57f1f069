package nested

import (
	"crypto"
	"crypto/rsa"
	"errors"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// maxUserRSA is the size of the largest RSA key that a user may sign with.
const maxUserRSA = 4096

var errUserKey = errors.New("must be P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits and the exponent 65537")

// checkUserKey returns an error for a key whose signatures cost too much to verify. Anyone can send a statement with a key of their
// choice, so users' keys have the same limits as those of DPoP proofs: ES512 costs 40 times as much as ES256.
func checkUserKey(key crypto.PublicKey) error {
	switch alg := jose.AlgorithmFor(key); alg {
	case jose.ES256, jose.ES384, jose.EdDSA:
		return nil
	case jose.PS256:
		if pub := key.(*rsa.PublicKey); pub.N.BitLen() <= maxUserRSA && pub.E == 65537 {
			return nil
		}
	}
	return errUserKey
}

// readUserKeys reads the keys of users from the headers of their statements, and makes the cheap checks: whether they may sign at
// all, and whether the delegations inside name them. This comes before any signature, so that no sender can make a verifier
// check signatures of a key that no delegation names.
func (op *opener) readUserKeys() error {
	for _, l := range op.read.layers {
		if err := op.readUserKey(l); err != nil {
			return err
		}
		if l.Relation != Cascade || l.outer == nil || !l.outer.byUser() {
			continue
		}
		if err := bindKey(l.outer, l); err != nil {
			return l.refuse(CodeBinding, "%w", err)
		}
	}
	return nil
}

func (op *opener) readUserKey(l *Layer) error {
	if l.unsigned || !l.byUser() {
		return nil
	}
	key, err := jose.ParseJWK(l.jws.Header.JWK)
	if err == nil {
		err = checkUserKey(key.Public)
	}
	if err != nil {
		return l.refuse(CodeMalformed, "the key of a user in the header: %w", err)
	}
	l.JKT, l.key = key.JKT, key.Public
	if err := l.Statement.validate(claims.Parser{AllowSingleLabel: op.Development}); err != nil {
		return l.claim(err)
	}
	cascades := 0
	for _, inner := range l.Inner {
		if inner.Relation == Cascade {
			cascades++
		}
	}
	if cascades != 1 {
		return l.refuse(CodeBinding, "signed by a user's key, which needs exactly one delegation inside")
	}
	return nil
}

// bindKey: the key that the delegation names is in the header of the outer statement, which is about the same user.
func bindKey(outer, delegation *Layer) error {
	switch {
	case !outer.byUser() || outer.JKT != delegation.Statement.JKT:
		return errors.New("the key of the delegation did not sign the outer statement")
	case outer.Subject != delegation.Subject:
		return errSubject
	}
	return nil
}
