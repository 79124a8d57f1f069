package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/scim"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/recheck"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/web"
)

// A failure is an error in the form of its answer.
type failure struct {
	status      int
	code        string
	description string
	challenge   string // WWW-Authenticate
	retryAfter  string // seconds
	// serverTime is the server's time in seconds since 1970, for a client whose clock is wrong; else zero.
	serverTime int64
}

// answerError answers a request that failed. It is the one place where an error becomes an answer: a page for a browser in a
// login, and the JSON of OAuth (RFC 6749 §5.2) for everybody else.
func (s *Server) answerError(c echo.Context, err error) {
	if c.Response().Committed { // by a protected resource, or because the answer broke off
		if status := c.Response().Status; status >= 400 && status < 500 {
			s.refusal(c, status, err)
		}
		return
	}
	s.metrics.refused(err)
	if errors.Is(err, dpop.ErrUseNonce) {
		// The nonce of this answer was made before the proof was checked. The store of spent proofs may have begun a new epoch
		// since, and then that nonce is as stale as the one of the proof.
		if failed := s.setNonce(c); failed != nil {
			err = failed
		}
	}
	f := classify(err)
	trailOf(c).code = f.code
	if f.status >= http.StatusInternalServerError && (c.Request().Context().Err() != nil || errors.Is(err, signin.ErrFull) ||
		errors.Is(err, revocation.ErrClosed)) {
		// The caller disconnected, too many logins are unfinished, or the server stops. This is not logged as an error: anybody can
		// cause the first two.
		s.refusal(c, f.status, err)
	} else if f.status >= http.StatusInternalServerError {
		s.Log.ErrorContext(c.Request().Context(), "request failed", slog.String("id", requestID(c)), slog.String("route", c.Path()),
			slog.Any("error", err))
	} else {
		s.refusal(c, f.status, err)
	}
	h := c.Response().Header()
	if f.challenge != "" {
		h.Set("WWW-Authenticate", f.challenge)
	}
	if f.retryAfter != "" {
		h.Set("Retry-After", f.retryAfter)
	}
	if isPage(c) {
		err = s.showPage(c, s.errorPage(c, f, err))
	} else if isSCIM(c) {
		err = writeSCIMError(c, err, f)
	} else {
		err = c.JSON(f.status, api.Error{Code: f.code, Description: f.description, ServerTime: f.serverTime})
	}
	if err != nil {
		s.Log.Debug("answer not written", slog.String("id", requestID(c)), slog.Any("error", err))
	}
}

// errorPage returns the page of a failure. It is in the language of the user; the details for the developer of the app are as in
// an answer for programs.
func (s *Server) errorPage(c echo.Context, f failure, err error) web.Page {
	l := language(c)
	page := web.Page{Status: f.status, Title: l.Say("error.title")}
	often := (*limited)(nil)
	own := strings.HasPrefix(c.Path(), "/account")
	if own {
		page.Account = s.path("/account")
	}
	switch {
	case own && f.status >= http.StatusInternalServerError:
		page.Text, page.Account = l.Say("account.error.server"), ""
	case errors.Is(err, errForeignForm):
		page.Text = l.Say("account.error.form")
	case errors.Is(err, account.ErrNoBrowser):
		page.Text = l.Say("account.error.request")
	case own && f.status == http.StatusNotFound:
		page.Text = l.Say("account.error.missing")
	case own && !errors.As(err, &often):
		page.Text = l.Say("account.error.request")
	case errors.Is(err, signin.ErrPartly):
		page.Text = l.Say("error.partly")
	case f.status >= http.StatusInternalServerError:
		page.Text = l.Say("error.server")
	case errors.As(err, &often):
		page.Text = often.words(l)
	case f.status == http.StatusNotFound:
		page.Text = l.Say("error.missing")
	default:
		page.Text, page.Facts = l.Say("error.request"), s.facts(trailOf(c), f)
	}
	return page
}

// isPage reports whether the answer is a page for a person.
func isPage(c echo.Context) bool { return isPagePath(c.Path()) }

// isPagePath reports whether browsers go to a path or route.
func isPagePath(path string) bool {
	return path == "/" || path == "/account" || strings.HasPrefix(path, "/account/") ||
		path == oauth.DevicePath || strings.HasPrefix(path, oauth.DevicePath+"/") ||
		path == "/authorize" || strings.HasPrefix(path, "/authorize/") ||
		strings.HasPrefix(path, "/login/") && !strings.HasPrefix(path, backchannelPath)
}

// classify maps an error to its answer. An unknown error means that nothing was decided, so its answer is 503, never a
// refusal.
func classify(err error) failure {
	var (
		refused *oauth.Error
		proof   *dpop.ProofError
		routing *echo.HTTPError
		often   *limited
		scope   *scopeError
		taken   *clients.TakenError
		denied  *httpapi.RefusedError
		rekey   *rekeyError

		unregistered *unregisteredError
		manager      *managerRefusal
		ofSCIM       *scim.Error
	)
	if f, ok := ofRegistration(err); ok {
		return f
	}
	if f, ok := ofCredential(err); ok {
		return f
	}
	if f, ok := ofWire(err); ok {
		return f
	}
	if f, ok := ofHolder(err); ok {
		return f
	}
	if f, ok := ofCrossSigning(err); ok {
		return f
	}
	if f, ok := ofProfile(err); ok {
		return f
	}
	switch {
	case errors.As(err, &manager):
		return manager.failure
	case errors.As(err, &ofSCIM):
		return failure{status: ofSCIM.Status, code: ofSCIM.Type, description: ofSCIM.Detail}
	case errors.As(err, &often):
		return failure{status: http.StatusTooManyRequests, code: oauth.CodeTemporarilyUnavailable,
			description: "Too many requests: wait as long as Retry-After says. Nothing was changed.",
			retryAfter:  strconv.Itoa(often.seconds())}
	case errors.Is(err, signin.ErrFull):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "Too many logins are unfinished: try again in a minute.", retryAfter: "60"}
	case errors.Is(err, recheck.ErrUnavailable):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "The OpenID provider of the user must be asked, and does not answer. The session goes on: try again later.",
			retryAfter:  "30"}
	case errors.Is(err, httpapi.ErrTooLarge):
		return failure{status: http.StatusRequestEntityTooLarge, code: oauth.CodeInvalidRequest,
			description: "The request or one of its parameters is too long."}
	case errors.Is(err, dpop.ErrUseNonce):
		return failure{status: http.StatusBadRequest, code: "use_dpop_nonce",
			description: "The proof needs the nonce of the DPoP-Nonce header of this answer."}
	case errors.Is(err, dpop.ErrNoProof):
		return failure{status: http.StatusBadRequest, code: "invalid_dpop_proof",
			description: "The request needs exactly one DPoP header with a proof."}
	case errors.Is(err, dpop.ErrReplayed):
		return failure{status: http.StatusBadRequest, code: "invalid_dpop_proof",
			description: "The proof was used before: make a new one for each request."}
	case errors.As(err, &proof):
		f := failure{status: http.StatusBadRequest, code: "invalid_dpop_proof", description: describeProof(proof)}
		if clock := (*dpop.ClockError)(nil); errors.As(err, &clock) {
			f.serverTime = clock.Server.Unix()
		}
		return f
	case errors.Is(err, dpop.ErrReplayFull):
		return failure{status: http.StatusTooManyRequests, code: oauth.CodeTemporarilyUnavailable,
			description: "Too many requests from this address.", retryAfter: "60"}
	case errors.As(err, &refused):
		return ofOAuth(refused)
	case errors.Is(err, revocation.ErrCursor):
		return failure{status: http.StatusBadRequest, code: "invalid_cursor",
			description: "The cursor is not one that this issuer gave to this caller: leave out the parameter after, " +
				"and discard all that is kept about tokens."}
	case needsFreshStart(err) != "":
		return failure{status: http.StatusGone, code: "fresh_start_required",
			description: needsFreshStart(err) + ": leave out the parameter after, and discard all that is kept about tokens."}
	case errors.Is(err, revocation.ErrCallerBusy):
		return failure{status: http.StatusTooManyRequests, code: oauth.CodeTemporarilyUnavailable,
			description: "The caller has too many requests for events open: end one first.", retryAfter: "5"}
	case errors.Is(err, revocation.ErrBusy):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "Too many callers follow the events now: try again later.", retryAfter: "30"}
	case errors.Is(err, revocation.ErrClosed):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "The server is about to restart: ask again.", retryAfter: "1"}
	case errors.Is(err, introspect.ErrNotItsURL):
		return failure{status: http.StatusBadRequest, code: oauth.CodeInvalidRequest,
			description: "The proof_htu is not under a URL among the resources of the client: ask the operator to register it."}
	case errors.Is(err, introspect.ErrNotItsName):
		return failure{status: http.StatusBadRequest, code: oauth.CodeInvalidRequest,
			description: "The presentation_aud is neither a resource of the caller nor a URI in one of its domains."}
	case errors.As(err, &rekey):
		return rekey.failure()
	case errors.As(err, &unregistered):
		return failure{status: http.StatusForbidden, code: oauth.CodeUnauthorizedClient,
			description: "The client is not registered for the scope " + unregistered.scope + "."}
	case errors.Is(err, account.ErrNoEvent):
		return failure{status: http.StatusGone, code: "fresh_start_required",
			description: "The number in since was never given by this issuer, which may have been set back: leave out since, " +
				"and read the list of devices again."}
	case errors.Is(err, errOwnWaiting):
		return failure{status: http.StatusTooManyRequests, code: oauth.CodeTemporarilyUnavailable,
			description: "The user has too many requests for events open: end one first.", retryAfter: "5"}
	case errors.Is(err, errAllWaiting):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "Too many requests wait for events now: leave out wait, or try again later.", retryAfter: "30"}
	case errors.Is(err, errForeignForm):
		return failure{status: http.StatusForbidden, code: oauth.CodeAccessDenied,
			description: "The form was not sent by a page of this sign-in. Open your account page again, and repeat what you did there."}
	case errors.Is(err, account.ErrNoBrowser):
		return failure{status: http.StatusForbidden, code: oauth.CodeAccessDenied,
			description: "You are signed out. Open your account page again, and sign in."}
	case errors.Is(err, account.ErrNoSession):
		return failure{status: http.StatusForbidden, code: oauth.CodeAccessDenied,
			description: "This is for a device that logged in, and whose session is alive: log in again."}
	case errors.Is(err, oauth.ErrNoUserCode):
		return failure{status: http.StatusNotFound, code: "not_found",
			description: "No device waits under this user code: compare it with the device, which gets another one when it has expired."}
	case errors.Is(err, account.ErrDeviceName):
		return failure{status: http.StatusBadRequest, code: oauth.CodeInvalidRequest,
			description: fmt.Sprintf("The name of a device must be 1 to %d printable characters.", account.MaxDeviceName)}
	case errors.Is(err, account.ErrNoDevice):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such device in the domain."}
	case errors.Is(err, account.ErrUnknownSession):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such session."}
	case errors.Is(err, account.ErrNoCredential):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such credential."}
	case errors.Is(err, account.ErrNoLink):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such link."}
	case errors.Is(err, account.ErrLastLink):
		return failure{status: http.StatusConflict, code: "last_link",
			description: "This is the only account with which the user can sign in: it cannot be removed."}
	case errors.Is(err, account.ErrLoginAge):
		return loginTooOld()
	case errors.Is(err, account.ErrNoUser):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such user in the domain."}
	case errors.Is(err, account.ErrNoStatement):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such statement."}
	case errors.As(err, &scope):
		return failure{status: http.StatusForbidden, code: "insufficient_scope",
			description: "The access token lacks the scope " + scope.scope + ".",
			challenge:   `DPoP error="insufficient_scope", scope="` + scope.scope + `"`}
	case errors.Is(err, errService):
		return failure{status: http.StatusForbidden, code: oauth.CodeAccessDenied,
			description: "Only people can do this: the token belongs to a service, or to somebody who acts for another."}
	case errors.Is(err, statuses.ErrNotFound):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such status list."}
	case errors.Is(err, certs.ErrNotFound):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such CA."}
	case errors.Is(err, keys.ErrNoKey):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such signing key."}
	case errors.As(err, &denied):
		return failure{status: denied.Status, code: denied.Code, description: denied.Description, retryAfter: denied.RetryAfter}
	case errors.As(err, &taken):
		f := failure{status: http.StatusConflict, code: "client_taken", description: "There is a client with this ID already."}
		if !taken.RemovedAt.IsZero() {
			f.description = "A client with this ID was removed on " + taken.RemovedAt.Format(time.DateOnly) +
				". IDs of removed clients cannot be reused."
		}
		return f
	case errors.Is(err, clients.ErrNotFound):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no such client."}
	case errors.As(err, &routing):
		return ofRouting(routing)
	case errors.Is(err, context.Canceled):
		return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
			description: "The request was cancelled.", retryAfter: "1"}
	}
	return failure{status: http.StatusServiceUnavailable, code: oauth.CodeTemporarilyUnavailable,
		description: "The server cannot do this now. Nothing was changed: try again.", retryAfter: "1"}
}

// needsFreshStart returns why a cursor of the feed cannot be used any more, and "" if that is not the error.
func needsFreshStart(err error) string {
	switch {
	case errors.Is(err, revocation.ErrCursorAge):
		return "The cursor is too old"
	case errors.Is(err, revocation.ErrCursorDomains):
		return "The domains of the caller have changed since the cursor was given"
	case errors.Is(err, revocation.ErrGap):
		return "Events after the cursor are no longer kept"
	case errors.Is(err, revocation.ErrAhead):
		return "The cursor is ahead of this issuer, which was set back since it was given"
	}
	return ""
}

// isFailure reports whether a request was refused because of its content. A stale nonce does not count here.
func isFailure(c echo.Context, err error) bool {
	if err == nil || errors.Is(err, dpop.ErrUseNonce) {
		return false
	}
	status := c.Response().Status
	if !c.Response().Committed {
		status = classify(err).status
	}
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

func ofOAuth(e *oauth.Error) failure {
	f := failure{status: e.Status(), code: e.Code, description: e.Description}
	if f.status == http.StatusUnauthorized {
		// RFC 6749 §5.2 requires it if the client used the header; RFC 9110 §15.5.2 in every 401.
		f.challenge = `Basic realm="issuer", charset="UTF-8"`
	}
	if f.status == http.StatusServiceUnavailable {
		f.retryAfter = "1"
	}
	return f
}

func ofRouting(e *echo.HTTPError) failure {
	switch e.Code {
	case http.StatusNotFound:
		return failure{status: e.Code, code: "not_found",
			description: "There is nothing here. The metadata of the issuer names its endpoints."}
	case http.StatusMethodNotAllowed:
		return failure{status: e.Code, code: oauth.CodeInvalidRequest,
			description: "The endpoint does not serve this method: see the Allow header."}
	}
	return failure{status: http.StatusBadRequest, code: oauth.CodeInvalidRequest, description: "The request is malformed."}
}

// describeProof describes the fault of a proof, in the characters that an OAuth error may have (RFC 6749 §5.2).
func describeProof(e *dpop.ProofError) string {
	return errtext.Clean("The DPoP proof is not valid: " + e.Part + ": " + e.Err.Error() + ".")
}
