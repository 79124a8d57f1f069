package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/storage"
)

// The OAuth error codes that this package answers with (RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2, OpenID Connect
// Core 1.0 §3.1.2.6 for those about request objects and prompts, draft-yusef-oauth-nested-jwt-08 for embedded tokens).
const (
	CodeInvalidRequest          = "invalid_request"
	CodeInvalidClient           = "invalid_client"
	CodeInvalidGrant            = "invalid_grant"
	CodeInvalidScope            = "invalid_scope"
	CodeInvalidTarget           = "invalid_target"
	CodeInvalidEmbeddedToken    = "invalid_embedded_token"
	CodeUnauthorizedClient      = "unauthorized_client"
	CodeUnsupportedGrantType    = "unsupported_grant_type"
	CodeUnsupportedResponseType = "unsupported_response_type"
	CodeUnsupportedResponseMode = "unsupported_response_mode"
	CodeRequestNotSupported     = "request_not_supported"
	CodeRequestURINotSupported  = "request_uri_not_supported"
	CodeInvalidRequestURI       = "invalid_request_uri"
	CodeAccessDenied            = "access_denied"
	CodeInteractionRequired     = "interaction_required"
	CodeConsentRequired         = "consent_required"
	CodeServerError             = "server_error"
	CodeTemporarilyUnavailable  = "temporarily_unavailable"
)

// An Error is an answer of the protocol: the request is refused, and the client is told why. Errors of this package
// that are none (nor of package dpop) mean that the server cannot know or has failed.
type Error struct {
	// Code is a registered OAuth error code.
	Code string
	// Description says what is wrong and what to do, in the characters that RFC 6749 §5.2 allows: printable ASCII
	// without quotation mark and backslash. It repeats little of the request: what is wrong, cut short.
	Description string
	// Basic tells that the client tried HTTP Basic authentication, and is challenged likewise (RFC 6749 §5.2).
	Basic bool
	// Cause is for the log, never for the client. It may be nil.
	Cause error
}

func (e *Error) Error() string {
	s := "oauth: " + e.Code + ": " + e.Description
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Status is the HTTP status for the error at an endpoint that programs call.
func (e *Error) Status() int {
	switch e.Code {
	case CodeInvalidClient:
		return http.StatusUnauthorized
	case CodeAccessDenied:
		return http.StatusForbidden
	case CodeServerError:
		return http.StatusInternalServerError
	case CodeTemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func refuse(code, description string) *Error { return &Error{Code: code, Description: description} }

// notFound turns the absence of a record into a refusal, and leaves every other error as it is.
func notFound(err error, refusal *Error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return refusal
	}
	return err
}

// maxNamed is how many bytes of a wrong value a refusal repeats.
const maxNamed = 80

// named quotes a value of a request for a description.
func named(value string) string { return errtext.Quote(value, maxNamed) }

// found ends a sentence that says what a parameter must be, with what it is.
func found(params url.Values, name string) string {
	if value := params.Get(name); value != "" {
		return ", not " + named(value)
	}
	return ", and is missing"
}

// maxListed is how many bytes of the values that would have been accepted a refusal names.
const maxListed = 240

// listed writes the values that would have been accepted into a description: as many as fit, and how many there are more.
func listed(values []string) string {
	if len(values) == 0 {
		return "none"
	}
	list, end := "", ""
	for i, v := range values {
		if i > 0 && len(list)+len(v) > maxListed {
			end = " and " + strconv.Itoa(len(values)-i) + " more"
			break
		}
		if i > 0 {
			list += ", "
		}
		list += v[:min(len(v), maxListed)]
	}
	return errtext.Clean(list) + end
}

// plain writes an error in the characters that RFC 6749 §5.2 allows in a description.
func plain(err error) string { return errtext.Clean(err.Error()) }
