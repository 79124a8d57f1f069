package wire

import (
	"errors"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/errtext"
)

// The codes of an [Error].
const (
	InvalidRequest = "invalid_request"
	// InvalidProof refuses a Wire proof, and a claim of it that the rows contradict.
	InvalidProof = "invalid_proof"
	// InvalidNonce asks for a proof with a new nonce.
	InvalidNonce = "invalid_nonce"
	// Denied refuses a domain that has no certificate authority of Wire.
	Denied = "access_denied"
)

// An Error refuses a request.
type Error struct {
	// Code is one of the codes above.
	Code string
	// Description says what is wrong and what to do, in the characters of RFC 6749 §5.2.
	Description string
	// Cause is for the log; it may be nil. It is not unwrapped: a Wire proof that is refused is no refused DPoP proof.
	Cause error
}

func (e *Error) Error() string {
	s := "wire: " + e.Code + ": " + e.Description
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func refuse(code, description string) error {
	return &Error{Code: code, Description: errtext.Clean(description)}
}

// refuseClaim refuses a claim of a proof.
func refuseClaim(claim, words string) error {
	return refuse(InvalidProof, "The Wire proof is not valid: "+claim+": "+words+".")
}

// refusedProof returns err as the refusal of the proof, if it is one.
func refusedProof(err error) error {
	var proof *dpop.ProofError
	switch {
	case !errors.As(err, &proof):
		return err
	case errors.Is(err, dpop.ErrUseNonce):
		return &Error{Code: InvalidNonce, Cause: err, Description: "The nonce of the Wire proof is missing, too old, or not one for " +
			"Wire proofs: get a new one at the nonce endpoint of Wire, and make a new proof."}
	case errors.Is(err, dpop.ErrReplayed):
		return &Error{Code: InvalidProof, Cause: err, Description: "The Wire proof was used before: make a new one for each request."}
	}
	return &Error{Code: InvalidProof, Cause: err,
		Description: errtext.Clean("The Wire proof is not valid: " + proof.Part + ": " + proof.Err.Error() + ".")}
}
