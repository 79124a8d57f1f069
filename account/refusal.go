package account

import (
	"errors"

	"github.com/imidentity/issuer/claims"
)

// HandleRefusal returns the reason for which a user cannot have a handle, in words for people, and "" for an error that is
// not about the handle.
func HandleRefusal(err error) string {
	var bad *claims.Error
	switch {
	case errors.Is(err, ErrHandleTaken):
		return "Somebody else has or had this name, or one that looks like it. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeReservedHandle:
		return "This name is reserved. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeConfusable:
		return "This name looks like a reserved one. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeMixedScript:
		return "This name mixes alphabets. Use letters of one alphabet."
	case errors.As(err, &bad):
		return "This name has characters that are not allowed, or is too short or too long. Choose another one."
	}
	return ""
}
