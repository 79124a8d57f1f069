// Package xsign reads, makes and verifies cross signing: the web of trust of draft-mahy-mimi-identity-00. A user has a master key and,
// below it, a key that signs the list of the user's devices and a key that vouches for other users. A server stores and serves the
// statements, and is not believed.
//
// There are five statements, each a compact JWS by ES256 or EdDSA whose kid is the thumbprint of the key that signs it (RFC 7638):
//
//	im-keys+jwt        by the master key        the two keys below it                        [Keys]
//	im-succession+jwt  by a former master key   the thumbprint of the next master key        [Succession]
//	im-devices+jwt     by the device-signing    all devices of the user and their keys       [Devices]
//	im-vouch+jwt       by the user-signing key  "I have compared this user's master key"     [Vouch]
//	im-distrust+jwt    by the user-signing key  "I distrust this user's master key"          [Distrust]
//
// The statements of a master key have the key in their header (jwk); those of the other keys do not.
//
// [Verify] judges a [Bundle], the statements of one user, for a verifier: it returns a [verdict.Verdict] for [verdict.Decide]. The verifier
// keeps [Pins]: the master key of each user that it has seen, how it knows the key, and the newest statements. So it notices a server
// that shows an older list, another master key, or nothing.
//
// A user is verified if the verifier has compared the master key by hand or vouched for it, or if enough introducers have: people whom
// the verifier has verified and marked. A key that was kept at first use makes nothing good. A device is good if the current list of a
// verified user has it with its key. A handle is good only if a vouch that counts names it.
package xsign

import (
	"errors"
	"fmt"
	"time"
)

// The limits.
const (
	MaxStatement  = 8 << 10             // bytes of a statement
	MaxOwn        = 1000                // vouches and distrusts of one user
	MaxSuccession = 16                  // former master keys in a bundle
	MaxDeviceKeys = 8                   // keys of one device
	MaxListLife   = 90 * 24 * time.Hour // of a device list, from iat to exp: how long a server can hide a newer one
	MaxLife       = 366 * 24 * time.Hour
	maxID         = 255 // bytes of a jti
	maxHow        = 64  // bytes of how
	maxSeq        = 1<<53 - 1
	skew          = time.Minute // how far ahead the clock of a signer may be
	defaultNeed   = 2
)

// A Code says why a statement or a bundle is refused or does not count. Verdicts have it as their code.
type Code string

// The codes.
const (
	CodeMalformed   Code = "malformed"
	CodeTooLarge    Code = "too_large"
	CodeType        Code = "type"          // another typ
	CodeAlgorithm   Code = "algorithm"     // neither ES256 nor EdDSA
	CodeKey         Code = "key"           // kid or jwk is not the key that must sign, or a key has two purposes
	CodeSignature   Code = "signature"     // the signature does not verify
	CodeClaim       Code = "claim"         // a claim is missing or has no acceptable value
	CodeUser        Code = "user"          // it is about another user
	CodeLife        Code = "life"          // no end, an end before the beginning, or a life that is too long
	CodeSuccession  Code = "succession"    // the chain of master keys is broken or circular
	CodeTooMany     Code = "too_many"      // more own statements or introductions than a verifier reads
	CodeMissing     Code = "missing"       // there is no bundle, or no device list
	CodeExpired     Code = "expired"       // its time is over
	CodeNotYetValid Code = "not_yet_valid" // made in the future
	CodeOlder       Code = "older"         // older than a statement that the verifier has seen: a rollback
	CodeConflict    Code = "conflict"      // another content under a sequence number that the verifier has seen
	CodeFirstUse    Code = "first_use"     // the master key was kept at first use, and nothing confirms it
	CodeFormerVouch Code = "former_master" // the verifier's vouch is for a master key that has a successor
)

// Error returns the code's word, so that callers can branch with errors.Is(err, xsign.CodeKey).
func (c Code) Error() string { return string(c) }

// An Error says which statement was refused, and why. It contains nothing of the statement.
type Error struct {
	Statement string // the typ of the statement, "" for a bundle
	Part      string // the header parameter or claim, "" for the whole
	Code      Code
	Err       error
}

// Error says for example "xsign: im-devices+jwt: exp: missing".
func (e *Error) Error() string {
	text := "xsign: "
	if e.Statement != "" {
		text += e.Statement + ": "
	}
	if e.Part != "" {
		text += e.Part + ": "
	}
	return text + e.Err.Error()
}

// Unwrap returns the code and the fault.
func (e *Error) Unwrap() []error { return []error{e.Code, e.Err} }

func refuse(typ, part string, code Code, format string, args ...any) *Error {
	return &Error{typ, part, code, fmt.Errorf(format, args...)}
}

var errMissing = errors.New("missing")
