package vci

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/jose"
)

// A Request is a credential request that [ParseRequest] accepted.
type Request struct {
	// Configuration is the id of a credential configuration in the metadata.
	Configuration string
	// Proofs are 1 to [BatchSize] key proofs, which nothing has been checked of.
	Proofs []string
}

// ParseRequest reads the body of a credential request (OpenID4VCI 1.0 §8.2) for one of some configurations. It refuses a repeated member,
// at any depth, and a name that differs from a known one only in case. Unknown members are ignored, as §8.2 demands. The error is
// an [*Error].
func ParseRequest(body []byte, configured func(id string) bool) (Request, error) {
	var (
		r                              Request
		identified, encrypted, provers bool
		proofs                         *Error
	)
	err := jose.ReadMembers(body,
		jose.Member{Name: "credential_configuration_id", Text: &r.Configuration},
		jose.Member{Name: "credential_identifier", Read: presence(&identified)},
		jose.Member{Name: "credential_response_encryption", Read: presence(&encrypted)},
		jose.Member{Name: "proofs", Read: func(raw []byte) error {
			provers = true
			r.Proofs, proofs = parseProofs(raw)
			return nil
		}},
	)
	var member *jose.ParseError
	switch {
	case errors.As(err, &member):
		return Request{}, refuse(InvalidRequest, "The member "+member.Part+" is "+errtext.Clean(member.Err.Error())+".")
	case err != nil:
		return Request{}, refuse(InvalidRequest, "The body is not a credential request: "+errtext.Clean(err.Error())+".")
	case identified && r.Configuration != "":
		return Request{}, refuse(InvalidRequest, "The request has both credential_configuration_id and credential_identifier.")
	case identified:
		return Request{}, refuse(UnknownIdentifier,
			"This issuer gives no credential identifiers: send credential_configuration_id, as the metadata lists it.")
	case r.Configuration == "":
		return Request{}, refuse(InvalidRequest, "The member credential_configuration_id is missing.")
	case encrypted:
		return Request{}, refuse(InvalidEncryption, "This issuer does not encrypt its answers: leave out credential_response_encryption.")
	case !configured(r.Configuration):
		return Request{}, refuse(UnknownConfiguration,
			"There is no credential configuration "+errtext.Quote(r.Configuration, 100)+": the metadata lists those that there are.")
	case !provers:
		return Request{}, refuse(InvalidProof, `The member proofs is missing: send {'jwt': [...]} with 1 to `+
			fmt.Sprint(BatchSize)+` key proofs.`)
	case proofs != nil:
		return Request{}, proofs
	}
	return r, nil
}

// presence returns a reader that notes that a member is there.
func presence(there *bool) func([]byte) error {
	return func([]byte) error {
		*there = true
		return nil
	}
}

// parseProofs reads the member proofs: exactly one proof type, with an array that is not empty (§8.2). Its repeated members have been
// refused.
func parseProofs(raw []byte) (list []string, refused *Error) {
	wrong := func(words string) (_ []string, e *Error) { return nil, &Error{Code: InvalidProof, Description: words} }
	types, jwt := 0, []byte(nil)
	err := jose.Object(raw, func(name string, value []byte) error {
		types++
		if name == "jwt" {
			jwt = value
		}
		return jose.CheckCase(name, proofTypes)
	})
	switch {
	case err != nil:
		return wrong("The member proofs is not an object with the member jwt.")
	case jwt == nil || types != 1:
		return wrong("The member proofs must have the one member jwt: this issuer knows no other type of key proof.")
	}
	if list, err = jose.Strings(jwt); err != nil {
		return wrong("The member jwt of proofs is not an array of strings.")
	}
	switch {
	case len(list) == 0:
		return wrong("The member jwt of proofs is empty.")
	case len(list) > BatchSize:
		return wrong(fmt.Sprintf("There are %d key proofs, and a request may have at most %d.", len(list), BatchSize))
	}
	return list, nil
}

var proofTypes = []string{"jwt"}
