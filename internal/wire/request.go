package wire

import (
	"errors"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// ParseRequest reads the body of a request, {"proof": …}, and returns the Wire proof. It refuses repeated members and any other one. The
// error is an [*Error].
func ParseRequest(body []byte) (proof string, err error) {
	err = jose.ObjectText(body, func(name, raw string) error {
		if name != "proof" {
			return errors.New("another member than proof")
		}
		text, err := jose.String(raw)
		if err != nil {
			return &jose.ParseError{Part: "proof", Err: err}
		}
		proof = text
		return nil
	})
	var member *jose.ParseError
	switch {
	case errors.As(err, &member):
		return "", refuse(InvalidRequest, "The member proof is "+member.Err.Error()+".")
	case err != nil:
		return "", refuse(InvalidRequest, "The body is not a JSON object with the one member proof: "+err.Error()+".")
	case strings.TrimSpace(proof) == "":
		return "", refuse(InvalidRequest, "The member proof is missing: it is the Wire proof by the ACME account key.")
	}
	return proof, nil
}
