package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// refusedStatus returns the error for an answer with another status than 200.
func refusedStatus(resp *http.Response, code string) error {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotAcceptable,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return &CallerError{resp.StatusCode, code}
	}
	e := &UnknownError{Status: resp.StatusCode, Err: fmt.Errorf("the issuer answers with status %d", resp.StatusCode)}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return e
}
