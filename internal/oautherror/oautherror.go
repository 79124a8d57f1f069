// Package oautherror is the error of the OAuth protocol that the packages of the authorization server share: a registered code
// and a description for the developer of the client.
package oautherror

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/imidentity/issuer/internal/errtext"
)

// Codes (RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5, RFC 8707 §2, OpenID Connect
// Core 1.0 §3.1.2.6 for those about request objects and prompts, draft-yusef-oauth-nested-jwt-08 for embedded tokens).
const (
	InvalidRequest          = "invalid_request"
	InvalidClient           = "invalid_client"
	InvalidGrant            = "invalid_grant"
	InvalidScope            = "invalid_scope"
	InvalidTarget           = "invalid_target"
	InvalidEmbeddedToken    = "invalid_embedded_token"
	UnauthorizedClient      = "unauthorized_client"
	UnsupportedGrantType    = "unsupported_grant_type"
	UnsupportedResponseType = "unsupported_response_type"
	UnsupportedResponseMode = "unsupported_response_mode"
	RequestNotSupported     = "request_not_supported"
	RequestURINotSupported  = "request_uri_not_supported"
	InvalidRequestURI       = "invalid_request_uri"
	AccessDenied            = "access_denied"
	AuthorizationPending    = "authorization_pending"
	SlowDown                = "slow_down"
	ExpiredToken            = "expired_token"
	InteractionRequired     = "interaction_required"
	ConsentRequired         = "consent_required"
	ServerError             = "server_error"
	TemporarilyUnavailable  = "temporarily_unavailable"
)

// An Error is an answer of the protocol: the request is refused, and the client is told why.
type Error struct {
	// Code is a registered OAuth error code.
	Code string
	// Description says what is wrong and what to do, in the characters that RFC 6749 §5.2 allows: printable ASCII
	// without quotation mark and backslash. Of the request it repeats at most the wrong value, cut short.
	Description string
	// Basic tells that the client tried HTTP Basic authentication, and is challenged likewise (RFC 6749 §5.2).
	Basic bool
	// HTTP is the status of the answer, where it is not the usual one of the code. Zero is the usual one.
	HTTP int
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
	if e.HTTP != 0 {
		return e.HTTP
	}
	switch e.Code {
	case InvalidClient:
		return http.StatusUnauthorized
	case AccessDenied:
		return http.StatusForbidden
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// New returns a refusal.
func New(code, description string) *Error { return &Error{Code: code, Description: description} }

// maxNamed is how many bytes of a wrong value a refusal repeats.
const maxNamed = 80

// Named quotes a value of a request for a description.
func Named(value string) string { return errtext.Quote(value, maxNamed) }

// Found ends a sentence about the value that a parameter must have, with the value that it has.
func Found(params url.Values, name string) string {
	if value := params.Get(name); value != "" {
		return ", not " + Named(value)
	}
	return ", and is missing"
}

// maxListed is how many bytes of the values that would have been accepted a refusal names.
const maxListed = 240

// Listed writes the values that would have been accepted into a description: as many as fit, and how many there are more.
func Listed(values []string) string {
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

// Plain writes an error in the characters that RFC 6749 §5.2 allows in a description.
func Plain(err error) string { return errtext.Clean(err.Error()) }
