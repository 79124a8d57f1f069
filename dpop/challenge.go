package dpop

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/imidentity/issuer/internal/errtext"
)

// A bearerError refuses a token that was sent under the scheme Bearer.
type bearerError struct{ error }

func (e *bearerError) Unwrap() error { return e.error }

// A refusal is an error in the form of its answer.
type refusal struct {
	status      int
	code        string // empty if the request has no token: neither the challenge nor the body has an error code (RFC 6750 §3.1)
	description string
	retryAfter  string // seconds
}

// classify returns the answer to an error. An error that this package does not declare means that nothing was decided, so
// its answer is 503, never a refusal.
func classify(err error) refusal {
	var proof *ProofError
	switch {
	case errors.Is(err, errNoToken):
		return refusal{status: http.StatusUnauthorized, description: "The request has no access token: send the header Authorization, " +
			"with a scheme that WWW-Authenticate names. With DPoP, also send a proof in the header DPoP."}
	case errors.Is(err, errMalformed):
		return refusal{http.StatusBadRequest, "invalid_request", words(err), ""}
	case errors.Is(err, errOrigin):
		return refusal{http.StatusForbidden, "invalid_request",
			"The proxy forwarded the request under a host that this resource does not serve.", ""}
	case errors.Is(err, ErrInvalidToken):
		return refusal{http.StatusUnauthorized, "invalid_token", "The access token is not valid: " + words(err), ""}
	case errors.Is(err, ErrUseNonce):
		return refusal{http.StatusUnauthorized, "use_dpop_nonce",
			"The proof needs the nonce of the DPoP-Nonce header of this answer.", ""}
	case errors.As(err, &proof):
		return refusal{http.StatusUnauthorized, "invalid_dpop_proof",
			"The DPoP proof is not valid: " + proof.Part + ": " + proof.Err.Error(), ""}
	case errors.Is(err, ErrReplayFull):
		return refusal{http.StatusTooManyRequests, "temporarily_unavailable", "Too many requests from this address.", "60"}
	}
	return refusal{http.StatusServiceUnavailable, "temporarily_unavailable",
		"The resource cannot check the request now. Try again with a new proof.", "1"}
}

// words returns the reason of an error of this package, and a general text for any other error.
func words(err error) string {
	var r *reason
	if errors.As(err, &r) {
		return r.words
	}
	return "expired, revoked, or not for this resource"
}

// Refuse answers a request that [Resource.Check] refused with err (RFC 9449 §7.1, RFC 6750 §3), as [Resource.Protect]
// does. An error that package dpop does not know is answered 503: nothing was decided.
func (s *Resource) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if s.cfg.Report != nil {
		s.cfg.Report(r, err)
	}
	h := w.Header()
	if again := errors.Is(err, ErrUseNonce); again || h.Get("DPoP-Nonce") == "" {
		// A nonce that the server set before the check is replaced, too: if the store has begun a new epoch since, that nonce
		// is as stale as the one of the proof.
		if failed := s.setNonce(r.Context(), h); failed != nil && again {
			err = failed
		}
	}
	f := classify(err)
	h.Set("Cache-Control", "no-store")
	if f.status == http.StatusUnauthorized || f.status == http.StatusBadRequest {
		s.challenge(h, r, f, errors.As(err, new(*bearerError)))
	}
	if f.retryAfter != "" {
		h.Set("Retry-After", f.retryAfter)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(struct { // an error means that the client has disconnected
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description"`
	}{f.code, f.description})
}

// challenge adds the WWW-Authenticate headers. If both schemes are accepted, the challenge of the scheme that the request
// used contains the error (RFC 9449 §7.2).
func (s *Resource) challenge(h http.Header, r *http.Request, f refusal, bearer bool) {
	var common, fault []string
	if s.cfg.Realm != "" {
		common = append(common, "realm="+quoted(s.cfg.Realm))
	}
	if f.code != "" {
		fault = []string{"error=" + quoted(f.code), "error_description=" + quoted(f.description)}
	}
	if url := s.MetadataURL(r); url != "" { // RFC 9728 §5.1; classify has no challenge for an origin that is not ours
		common = append(common, "resource_metadata="+quoted(url))
	}
	algs := "algs=" + quoted(strings.Join(s.cfg.Verifier.Algorithms(), " "))
	for _, c := range []struct {
		scheme string
		offer  bool
		tried  bool
		params []string
	}{
		{schemeDPoP, true, !bearer || !s.cfg.AllowBearer, []string{algs}},
		{schemeBearer, s.cfg.AllowBearer, bearer, nil},
	} {
		params := append(c.params, common...)
		if c.tried {
			params = append(fault, params...)
		}
		if c.offer {
			h.Add("WWW-Authenticate", strings.TrimSuffix(c.scheme+" "+strings.Join(params, ", "), " "))
		}
	}
}

// quoted returns s as a quoted-string with only the characters that RFC 6750 §3 allows in an error description.
func quoted(s string) string { return `"` + errtext.Clean(s) + `"` }
