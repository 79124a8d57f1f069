package oauth

import (
	"errors"

	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/storage"
)

// An Error is an answer of the protocol: the request is refused, and the client is told why. Any error of this package that is
// neither an Error nor an error of package dpop means that the server cannot know, or has failed.
type Error = oautherror.Error

// The error codes of the answers.
const (
	CodeInvalidRequest          = oautherror.InvalidRequest
	CodeInvalidClient           = oautherror.InvalidClient
	CodeInvalidGrant            = oautherror.InvalidGrant
	CodeInvalidScope            = oautherror.InvalidScope
	CodeInvalidTarget           = oautherror.InvalidTarget
	CodeInvalidEmbeddedToken    = oautherror.InvalidEmbeddedToken
	CodeUnauthorizedClient      = oautherror.UnauthorizedClient
	CodeUnsupportedGrantType    = oautherror.UnsupportedGrantType
	CodeUnsupportedResponseType = oautherror.UnsupportedResponseType
	CodeUnsupportedResponseMode = oautherror.UnsupportedResponseMode
	CodeRequestNotSupported     = oautherror.RequestNotSupported
	CodeRequestURINotSupported  = oautherror.RequestURINotSupported
	CodeInvalidRequestURI       = oautherror.InvalidRequestURI
	CodeAccessDenied            = oautherror.AccessDenied
	CodeAuthorizationPending    = oautherror.AuthorizationPending
	CodeSlowDown                = oautherror.SlowDown
	CodeExpiredToken            = oautherror.ExpiredToken
	CodeInteractionRequired     = oautherror.InteractionRequired
	CodeConsentRequired         = oautherror.ConsentRequired
	CodeServerError             = oautherror.ServerError
	CodeTemporarilyUnavailable  = oautherror.TemporarilyUnavailable
)

var (
	refuse = oautherror.New
	named  = oautherror.Named
	found  = oautherror.Found
	listed = oautherror.Listed
	plain  = oautherror.Plain
)

// notFound turns the absence of a record into a refusal, and leaves every other error as it is.
func notFound(err error, refusal *Error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return refusal
	}
	return err
}
