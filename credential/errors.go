package credential

import "errors"

// A Code says why a credential was refused. It is an error itself, so that callers can branch with
// errors.Is(err, credential.CodeExpired). Its value is a stable lower-case word.
type Code string

// Error returns the code's word.
func (c Code) Error() string { return string(c) }

// Faults of the form.
const (
	CodeMalformed  Code = "malformed"
	CodeTooLarge   Code = "too_large"
	CodeType       Code = "wrong_type"      // another kind of object, or a credential of another type
	CodeAlgorithm  Code = "wrong_algorithm" // one that is not accepted, or does not fit the key
	CodeDisclosure Code = "bad_disclosure"  // without a digest, twice, or of a claim that must not be hidden
)

// Faults of what the issuer signed.
const (
	CodeSignature   Code = "bad_signature"
	CodeIssuer      Code = "untrusted_issuer" // not trusted, or without such a key
	CodeDomain      Code = "foreign_domain"   // the issuer does not speak for the domain of the identifiers
	CodeClaim       Code = "bad_claim"        // missing, malformed, or in contradiction to another one
	CodeNotYetValid Code = "not_yet_valid"
	CodeExpired     Code = "expired"
)

// Faults of the status. That a status cannot be known is no fault, see [Options.Status].
const (
	CodeEnded     Code = "ended"            // device removed, user disabled, or the credential itself was revoked
	CodeStatus    Code = "wrong_status"     // a status that no credential of an issuer has
	CodeUnchecked Code = "unchecked_status" // it has a status, and the verifier looks none up
)

// Faults of the proof of possession: a key binding, or the place where the credential is shown.
const (
	CodeNoBinding Code = "no_binding" // nothing shows who holds the key
	CodeBinding   Code = "bad_binding"
	CodeAudience  Code = "wrong_audience"
	CodeNonce     Code = "wrong_nonce"
	CodeHash      Code = "wrong_hash" // the binding was made for another credential or other disclosures
	CodeAge       Code = "wrong_age"  // the binding is too old, or of the future
	CodeKey       Code = "wrong_key"  // made by, or shown with, another key than the credential's
)

// An Error names the part of a credential that was refused and the reason. Its text is fit for the sender: it contains nothing of the
// credential but names of claims.
type Error struct {
	// Part is the part that was refused, such as "key binding", "disclosure 2" or the name of a claim. Empty stands for the whole.
	Part string
	Code Code
	// Err has details; it may be nil.
	Err error
}

// Error says for example "credential: exp: expired".
func (e *Error) Error() string {
	s := "credential: "
	if e.Part != "" {
		s += e.Part + ": "
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

// Stands reports whether err leaves the credential that was returned with it: err is nil, or says that a credential which is otherwise
// good has expired or ended.
func Stands(err error) bool {
	return err == nil || errors.Is(err, CodeExpired) || errors.Is(err, CodeEnded)
}
