package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/errtext"
)

// A Decision says whether a request may pass, and why.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	// Explanation says the reason in plain words: printable ASCII without token, proof or secret, fit for the client.
	Explanation string
	// Code is the OAuth error code, such as invalid_token; empty if the request is allowed, or has no token at all (RFC 6750 §3.1).
	Code string
	// Challenge is the value of the one WWW-Authenticate header; empty if the answer has none.
	Challenge string
	// Nonce is for the DPoP-Nonce header of every answer, with Cache-Control: no-store; empty with nonces off.
	Nonce string
	// RetryAfter is how long the client should wait; set for [Unknown].
	RetryAfter time.Duration
	// Identity says who sent the request. It is nil unless the outcome is Allowed. It is shared with other decisions: do not change it.
	Identity *Identity
	// Issuer is that of the token, once it is trusted and has signed the token; empty before. It is for logs and metrics.
	Issuer string
	// Seen says that the token was verified for an earlier request.
	Seen bool
	// Steps are the checks in their order, up to the one that refused the request. They are recorded if [Request.Explain] is set.
	Steps []Step
	// Shadowed says that the policy only watches: the request passes, although the outcome is another. See [Decision.Passes].
	Shadowed bool
	// Err is the cause of an [Unknown], for the log of the operator and never for the client. It may be nil.
	Err error
}

// A Step is one check of a decision.
type Step struct {
	Check  string // such as "signature"
	Passed bool
	Detail string // in plain words
}

// Passes reports whether the request may pass: it is allowed, or the policy only watches.
func (d *Decision) Passes() bool { return d.Outcome == Allowed || d.Shadowed }

// Status returns the HTTP status of the decision: 200, 401, 403 or 503.
func (d *Decision) Status() int {
	if d.Passes() {
		return http.StatusOK
	}
	return d.Outcome.Status()
}

// SetHeaders sets the headers of the answer: DPoP-Nonce and no-store, and those of a refusal. All answers need the first two, also those
// of a handler that the request reached.
func (d *Decision) SetHeaders(h http.Header) {
	if d.Nonce != "" {
		h.Set("DPoP-Nonce", d.Nonce) // RFC 9449 §8.2, §9
		h.Set("Cache-Control", "no-store")
	}
	if d.Passes() {
		return
	}
	h.Set("Cache-Control", "no-store")
	if d.Challenge != "" {
		h.Set("WWW-Authenticate", d.Challenge)
	}
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d.RetryAfter+time.Second-1)/time.Second), 10))
	}
}

// Write answers a request that may not pass, with the headers of [Decision.SetHeaders] and the error as JSON (RFC 6749 §5.2).
func (d *Decision) Write(w http.ResponseWriter) {
	d.SetHeaders(w.Header())
	if d.Code == "" {
		w.WriteHeader(d.Status())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(d.Status())
	_ = json.NewEncoder(w).Encode(struct { // an error means that the client has disconnected
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{d.Code, d.Explanation})
}

// A refusal is a decision in the making: a reason and its details. It also stands for the two reasons of [Allowed] in an outage.
type refusal struct {
	reason Reason
	detail string // follows the text of the reason; may be empty
	retry  time.Duration
	err    error
}

func refuse(reason Reason) *refusal { return &refusal{reason: reason} }

func refuseFor(reason Reason, detail string) *refusal {
	return &refusal{reason: reason, detail: detail}
}

func unknown(reason Reason, err error) *refusal { return &refusal{reason: reason, err: err} }

// defaultRetry is how long a client should wait if nobody says anything else.
const defaultRetry = time.Second

// explain puts a refusal into the decision.
func (d *Decision) explain(f *refusal) {
	rule := f.reason.rule()
	d.Outcome, d.Reason, d.Code, d.Explanation, d.Err = rule.outcome, f.reason, rule.code, rule.text, f.err
	if f.detail != "" {
		d.Explanation = strings.TrimSuffix(rule.text, ".") + ": " + errtext.Clean(f.detail)
		if !strings.HasSuffix(d.Explanation, ".") {
			d.Explanation += "."
		}
	}
	if rule.outcome == Unknown {
		d.RetryAfter = max(f.retry, defaultRetry)
	}
}

// challenge returns the WWW-Authenticate header (RFC 6750 §3, RFC 9449 §7.1): one challenge, of the scheme DPoP.
func (v *Verifier) challenge(d *Decision, r *Request, p *Policy) string {
	if d.Outcome != Unauthenticated && d.Reason != ReasonScope {
		return ""
	}
	var b strings.Builder
	b.WriteString("DPoP ")
	param := func(name, value string) { b.WriteString(name + `="` + errtext.Clean(value) + `", `) }
	if d.Code != "" {
		param("error", d.Code)
		param("error_description", d.Explanation)
	}
	switch d.Reason {
	case ReasonScope:
		param("scope", strings.Join(p.cfg.Scopes, " "))
	case ReasonAuthentication: // RFC 9470 §3
		if len(p.cfg.ACR) > 0 {
			param("acr_values", strings.Join(p.cfg.ACR, " "))
		}
		if p.cfg.MaxLoginAge > 0 {
			param("max_age", strconv.FormatInt(int64(p.cfg.MaxLoginAge/time.Second), 10))
		}
	}
	if r.MetadataURL != "" { // RFC 9728 §5.1
		param("resource_metadata", r.MetadataURL)
	}
	b.WriteString(`algs="` + v.algorithms + `"`)
	return b.String()
}

// A trace records the steps of a decision. A nil trace records nothing.
type trace struct{ steps []Step }

// passed records a check. Detail is in plain words.
func (t *trace) passed(check, detail string) {
	if t != nil {
		t.steps = append(t.steps, Step{check, true, detail})
	}
}

// ended records the check that refused the request, or that let it pass in an outage.
func (t *trace) ended(d *Decision) {
	if t != nil {
		t.steps = append(t.steps, Step{d.Reason.rule().check, d.Outcome == Allowed, d.Explanation})
	}
}
