package vci

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

func refuse(code, description string) error { return &Error{Code: code, Description: description} }
