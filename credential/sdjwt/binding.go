package sdjwt

import (
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// algorithms are the signature algorithms of holders. Verification by them is cheap.
var algorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.ES384, jose.ES512}

// A Binding names the verifier and the transaction that a key binding is for. The verifier must accept each nonce only once. It cannot
// recognize a presentation by its text instead, because each ECDSA signature has a second form.
type Binding struct {
	Audience string // aud: who verifies, as agreed between both
	Nonce    string // nonce, chosen by the verifier

	// Only for verifiers.
	credential.BindingAge
}

// A KeyBinding is what the key binding of a presentation says (RFC 9901 §4.3). It counts only after [Token.VerifyBinding].
type KeyBinding struct {
	Alg             string
	Audience, Nonce string
	IssuedAt        time.Time
	// Expires and NotBefore are zero if they are not there, as is usual.
	Expires, NotBefore time.Time
	// Hash is sd_hash: of the text that is bound.
	Hash string

	jws *jose.JWS
}

// parseBinding reads a key binding JWT. The error is a refusal.
func parseBinding(text string) (*KeyBinding, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxBinding})
	if err != nil {
		return nil, &credential.Error{Part: credential.BindingPart, Code: credential.CodeBinding, Err: err}
	}
	if jws.Header.Typ != jose.TypeKeyBinding {
		return nil, refuse(credential.BindingPart, credential.CodeBinding, "typ is not %s", jose.TypeKeyBinding)
	}
	b := &KeyBinding{Alg: jws.Header.Alg, jws: jws}
	err = jose.ReadMembers(jws.Payload,
		jose.Member{Name: "aud", Text: &b.Audience, Required: true, Max: credential.MaxAudience}, // §4.3: a single string
		jose.Member{Name: "nonce", Text: &b.Nonce, Required: true, Max: credential.MaxNonce},
		jose.Member{Name: "iat", Date: &b.IssuedAt, Required: true},
		jose.Member{Name: "sd_hash", Text: &b.Hash, Required: true},
		jose.Member{Name: "exp", Date: &b.Expires},
		jose.Member{Name: "nbf", Date: &b.NotBefore})
	if err != nil {
		return nil, &credential.Error{Part: credential.BindingPart, Code: credential.CodeBinding, Err: err}
	}
	return b, nil
}

// VerifyBinding checks that the key binding was made by the holder of key, for this audience, nonce and text, and recently (RFC 9901
// §7.3, step 5). The error is a [*credential.Error] about the "key binding", with [credential.CodeNoBinding], CodeAlgorithm,
// CodeAudience, CodeNonce, CodeHash, CodeAge or CodeKey; any other error is about an incomplete b.
func (t *Token) VerifyBinding(key crypto.PublicKey, b Binding, now time.Time) error {
	if err := t.checkBinding(key, &b, now, 0); err != nil {
		return err
	}
	return t.verifyBinding(key)
}

// checkBinding makes all checks of a key binding but that of its signature.
func (t *Token) checkBinding(key crypto.PublicKey, b *Binding, now time.Time, leeway time.Duration) error {
	if err := b.check(); err != nil {
		return err
	}
	kb := t.KeyBinding
	switch {
	case kb == nil:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeNoBinding}
	case !jose.Allows(algorithms, kb.Alg) || !jose.FitsKey(kb.Alg, key):
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAlgorithm}
	case kb.Audience != b.Audience:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAudience}
	case subtle.ConstantTimeCompare([]byte(kb.Nonce), []byte(b.Nonce)) != 1:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeNonce}
	case kb.Hash != digest(t.unbound()):
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeHash}
	case !b.Fresh(kb.IssuedAt, kb.NotBefore, kb.Expires, now, leeway):
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAge}
	}
	return nil
}

// verifyBinding verifies the signature of the key binding, which is there.
func (t *Token) verifyBinding(key crypto.PublicKey) error {
	if err := t.KeyBinding.jws.Verify(t.KeyBinding.Alg, key); err != nil {
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeKey}
	}
	return nil
}

// check returns an error if b would accept a key binding that is for any verifier or any transaction.
func (b *Binding) check() error {
	if err := credential.CheckBinding(b.Audience, b.Nonce, b.BindingAge); err != nil {
		return fmt.Errorf("sdjwt: %w", err)
	}
	if !utf8.ValidString(b.Audience) || !utf8.ValidString(b.Nonce) {
		return errors.New("sdjwt: a Binding has an Audience and a Nonce in UTF-8")
	}
	return nil
}

// Disclose returns the SD-JWT with the disclosures of the named claims at the top level, and those inside them, and without a key
// binding. It is for verifiers that ask for no key binding. The error is a [*credential.Error] with [credential.CodeDisclosure] about a
// claim of which there is no disclosure.
func (t *Token) Disclose(claims ...string) (string, error) {
	wanted := make(map[string]bool, len(claims))
	for _, claim := range claims {
		wanted[claim] = false
	}
	text := t.text[:strings.IndexByte(t.text, '~')+1]
	for _, d := range t.disclosures {
		if _, asked := wanted[d.Claim]; asked {
			wanted[d.Claim] = true
			text += d.Text + "~"
		}
	}
	for _, claim := range claims {
		if !wanted[claim] {
			return "", refuse(claim, credential.CodeDisclosure, "there is no disclosure of it")
		}
	}
	return text, nil
}

// Present returns a presentation (RFC 9901 §7.2): the SD-JWT with the disclosures of the named claims alone, as [Token.Disclose] makes
// it, and a key binding by the holder. Of the device's credential, the only such claim is "handle".
//
// The error is a [*credential.Error] with [credential.CodeKey] if the holder's key is not the one in the credential, CodeClaim if no key
// is, CodeBinding if the text has a key binding already, and CodeDisclosure. Any other error is about an incomplete b, or comes from
// the holder.
func (t *Token) Present(holder crypto.Signer, b Binding, now time.Time, claims ...string) (string, error) {
	if err := b.check(); err != nil {
		return "", err
	}
	if t.KeyBinding != nil {
		return "", refuse(credential.BindingPart, credential.CodeBinding,
			"there is one already: only the issued credential can be presented")
	}
	key, err := t.key()
	if err != nil {
		return "", err
	}
	if own, err := jose.Thumbprint(holder.Public()); err != nil || own != key.JKT {
		return "", &credential.Error{Part: "cnf", Code: credential.CodeKey}
	}
	text, err := t.Disclose(claims...)
	if err != nil {
		return "", err
	}
	alg := jose.AlgorithmFor(holder.Public())
	payload := appendString([]byte(`{"aud":`), b.Audience)
	payload = appendString(append(payload, `,"nonce":`...), b.Nonce)
	payload = fmt.Appendf(payload, `,"iat":%d,"sd_hash":"%s"}`, now.Unix(), digest(text))
	binding, err := jose.Sign(holder, alg, fmt.Appendf(nil, `{"typ":"%s","alg":"%s"}`, jose.TypeKeyBinding, alg), payload)
	if err != nil {
		return "", fmt.Errorf("sdjwt: bind the key: %w", err)
	}
	return text + binding, nil
}
