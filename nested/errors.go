package nested

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
)

// A Code says why a token was refused. It is an error itself, so that callers can branch with
// errors.Is(err, nested.CodeExpired). Its value is a stable lower-case word.
type Code string

// Error returns the code's word.
func (c Code) Error() string { return string(c) }

// Faults of form and size. They are found before any signature is checked.
const (
	CodeMalformed Code = "malformed"        // not a token, or malformed claims or entry
	CodeTooLarge  Code = "too_large"        // MaxToken or MaxTotal
	CodeTooDeep   Code = "too_deep"         // MaxDepth
	CodeTooMany   Code = "too_many"         // MaxTokens
	CodeType      Code = "wrong_type"       // a type that is unknown or cannot be used here
	CodeRelation  Code = "unknown_relation" // a relation that is unknown or not accepted by this verifier
	CodeRepeated  Code = "repeated_jti"     // two tokens with the same jti
	CodeCycle     Code = "cycle"            // a token that refers to one around it
	CodeDigest    Code = "wrong_digest"     // a digest of another form or algorithm, or of a token with another jti
	CodeAbsent    Code = "absent"           // a digest whose token was not sent
	CodeBearer    Code = "bearer_token"     // an access token without a key, which embedding would give away
)

// Faults of one token by itself.
const (
	CodeSignature   Code = "bad_signature"
	CodeIssuer      Code = "untrusted_issuer" // not trusted, or without such a key
	CodeDomain      Code = "foreign_domain"   // the issuer does not speak for the domain of the subject
	CodeExpired     Code = "expired"
	CodeNotYetValid Code = "not_yet_valid"
	CodeAudience    Code = "wrong_audience"   // neither for the verifier nor for the embedder
	CodeClaim       Code = "bad_claim"        // a claim is missing or contradicts another
	CodeStatus      Code = "unchecked_status" // it refers to a status list, which is not checked
	CodeRevoked     Code = "revoked"
)

// Faults between two tokens. They name the inner one.
const (
	CodeBinding    Code = "not_bound"          // the binding of the relation does not hold
	CodeHalf       Code = "one_half"           // same_as without the other half
	CodeDelegation Code = "outside_delegation" // the user's key signed more than the delegation allows
	CodeWider      Code = "wider"              // a wider scope or a later exp than the token it is derived from
)

// ErrNotAsked is returned by the function [Options.Revoked] for a token whose revocation it cannot look up, such as another
// issuer's. The token is accepted, and the tree says that not all tokens were looked up.
var ErrNotAsked = errors.New("nested: only the issuer of the token knows whether it was revoked")

// An Error names the token that was refused and the reason. Its text is fit for the sender: it contains no token, key or secret.
type Error struct {
	// Path is the position of the token: "tokens[0].tokens[1]", "njwt", or "" for the outermost.
	Path string
	Code Code
	// Err has details; it may be nil.
	Err error
	// Access is the outermost token, if that is an access token which is good in itself, and it or a token in it has expired or was
	// revoked: its issuer has signed it and may speak for its subject, and it is for the verifier. Nil for all other refusals.
	Access *claims.Set
}

// Error says for example "nested: tokens[0].tokens[1]: expired".
func (e *Error) Error() string {
	s := "nested: "
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += string(e.Code)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the code and the details.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}

// refuse makes an [Error] about l.
func (l *Layer) refuse(code Code, format string, args ...any) error {
	e := &Error{Path: l.Path, Code: code}
	if format != "" {
		e.Err = fmt.Errorf(format, args...)
	}
	return e
}
