package introspect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/jose"
)

var (
	// ErrUnknown is wrapped by the errors of a [Client] that cannot know now whether a token is active: the issuer does not answer, or
	// not in time, or is overloaded, or its answer cannot be used. It does not mean that the token is inactive. It is an
	// *[UnknownError].
	ErrUnknown = errors.New("introspect: cannot know now")
	// ErrCaller is wrapped by the errors of a [Client] whose requests the issuer refuses: its credentials, scope or parameters are
	// wrong. Asking again does not help. It is a *[CallerError].
	ErrCaller = errors.New("introspect: the issuer refuses the request")
)

// An UnknownError tells why it is not known whether a token is active. It is an [ErrUnknown].
type UnknownError struct {
	// Status is that of the issuer's answer; zero if there was none, or if it was 200 and cannot be used.
	Status int
	// RetryAfter is how long the issuer asks to wait (RFC 9110 §10.2.3); zero if it does not say.
	RetryAfter time.Duration
	Err        error // the cause
}

func (e *UnknownError) Error() string { return ErrUnknown.Error() + ": " + e.Err.Error() }

// Unwrap returns [ErrUnknown] and the cause.
func (e *UnknownError) Unwrap() []error { return []error{ErrUnknown, e.Err} }

// A CallerError tells how the issuer refuses a request. It is an [ErrCaller].
type CallerError struct {
	Status int
	Code   string // of the OAuth error, such as invalid_client; empty if there is none
	// Description is the issuer's explanation for developers (RFC 6749 §5.2), of printable ASCII; empty if there is none. It is not
	// part of the text of the error.
	Description string
}

func (e *CallerError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%v: %d %s", ErrCaller, e.Status, e.Code))
}

// Unwrap returns [ErrCaller].
func (e *CallerError) Unwrap() error { return ErrCaller }

// unknown returns err as an [ErrUnknown]. It leaves an error of the client alone.
func unknown(err error) error {
	if errors.Is(err, ErrUnknown) || errors.Is(err, ErrCaller) {
		return err
	}
	return &UnknownError{Err: err}
}

// malformed returns the error for an answer that cannot be used.
func malformed(format string, args ...any) error {
	return &UnknownError{Err: fmt.Errorf("the answer cannot be used: "+format, args...)}
}

var (
	errPending   = &UnknownError{Err: errors.New("too many questions wait")}
	errOvertaken = &UnknownError{Err: errors.New("a revocation overtook the answer")}
)

// maxRetryAfter bounds what an issuer may ask for.
const maxRetryAfter = time.Hour

// maxErrorText bounds an answer that refuses a request, in bytes.
const maxErrorText = 16 << 10

// oauthError returns the code and the description of an OAuth error, both empty if there is none, and without characters that
// RFC 6749 §5.2 does not allow.
func oauthError(body io.Reader) (code, description string) {
	text, err := io.ReadAll(io.LimitReader(body, maxErrorText))
	if err != nil {
		return "", ""
	}
	err = jose.ReadMembers(text,
		jose.Member{Name: "error", Text: &code, Max: 64}, jose.Member{Name: "error_description", Text: &description})
	if err != nil || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "", ""
	}
	return code, errtext.Clean(description)
}

// refusedStatus returns the error for an answer with another status than 200.
func refusedStatus(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotAcceptable,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		code, description := oauthError(resp.Body)
		return &CallerError{resp.StatusCode, code, description}
	}
	e := &UnknownError{Status: resp.StatusCode, Err: fmt.Errorf("the issuer answers with status %d", resp.StatusCode)}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return e
}
