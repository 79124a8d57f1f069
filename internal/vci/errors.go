package vci

import "errors"

// The codes of an [Error] (OpenID4VCI 1.0 §8.3.1.2).
const (
	InvalidRequest       = "invalid_credential_request"
	UnknownConfiguration = "unknown_credential_configuration"
	UnknownIdentifier    = "unknown_credential_identifier"
	InvalidProof         = "invalid_proof"
	InvalidNonce         = "invalid_nonce"
	InvalidEncryption    = "invalid_encryption_parameters"
	Denied               = "credential_request_denied"
)

// ErrEnded refuses a token whose session, user, device, client or generation has ended by the rows. The token is not valid any more.
var ErrEnded = errors.New("vci: the token is not active any more")

// An Error refuses a credential request.
type Error struct {
	// Code is one of the codes above.
	Code string
	// Description says what is wrong and what to do, in the characters of RFC 6749 §5.2. It repeats nothing of a proof but short
	// names.
	Description string
	// Cause is for the log; it may be nil. It is not unwrapped: a key proof that is refused is no refused DPoP proof.
	Cause error
}

func (e *Error) Error() string {
	s := "vci: " + e.Code + ": " + e.Description
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// A TokenError refuses an active token for which no credential is issued, although it has the scope (RFC 6750 §3.1, invalid_token).
type TokenError struct{ Description string }

func (e *TokenError) Error() string { return "vci: token: " + e.Description }

func refuse(code, description string) error { return &Error{Code: code, Description: description} }
