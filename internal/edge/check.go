package edge

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

// A Check is a question of an operator: what would become of this request?
type Check struct {
	Method string `json:"method"`
	URL    string `json:"url"` // the public URL
	// Authorization and DPoP are the lines of these headers.
	Authorization []string `json:"authorization,omitempty"`
	DPoP          []string `json:"dpop,omitempty"`
}

// A Checked is the answer to a [Check].
type Checked struct {
	Outcome     string `json:"outcome"` // allowed, unauthenticated, forbidden or unknown
	Reason      string `json:"reason"`
	Explanation string `json:"explanation"`
	Shadowed    bool   `json:"shadowed,omitempty"` // the request passes although it is not allowed
	// Route is the path of the route, Upstream the name of its service.
	Route    string   `json:"route,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Steps    []Step   `json:"steps"`
	Cause    string   `json:"cause,omitempty"` // of an unknown outcome, for the operator
	User     string   `json:"user,omitempty"`
	Handle   string   `json:"handle,omitempty"`
	Device   string   `json:"device,omitempty"`
	Domain   string   `json:"domain,omitempty"`
	Issuer   string   `json:"issuer,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Scope    []string `json:"scope,omitempty"`
}

// A Step is one check of a decision.
type Step struct {
	Check  string `json:"check"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail"`
}

// Check decides about a request as for a client, and explains each step. It does not spend the proof, and does not find out whether it
// was spent before.
func (i *Instance) Check(ctx context.Context, c Check) Checked {
	s := i.state.Load()
	steps := []Step{}
	target, err := s.reader.Parse(c.Method, c.URL)
	if wrong := (*forwardauth.TargetError)(nil); errors.As(err, &wrong) {
		return Checked{
			Outcome: "forbidden", Reason: string(wrong.Reason), Explanation: wrong.Text,
			Steps: append(steps, Step{"request", false, wrong.Text}),
		}
	}
	steps = append(steps, Step{"request", true, "The URL is in normal form, and at the public origin " + target.Origin + "."})
	header := make(http.Header)
	header["Authorization"], header["Dpop"] = c.Authorization, c.DPoP
	a := s.check.Decide(ctx, target, header, true)
	d := &a.Decision
	answer := Checked{
		Outcome: d.Outcome.String(), Reason: string(d.Reason), Explanation: d.Explanation, Shadowed: d.Shadowed, Issuer: d.Issuer,
	}
	if a.Route == nil {
		answer.Steps = append(steps, Step{"route", false, d.Explanation})
		return answer
	}
	answer.Route, answer.Upstream = a.Route.Path, a.Route.Upstream
	steps = append(steps, Step{"route", true, "The route " + a.Route.Path + " decides; its upstream is " + a.Route.Upstream + "."})
	for _, step := range d.Steps {
		if step.Check == "replay" && step.Passed {
			step.Detail = "The proof is not spent by a check. Whether it was used before is not checked."
		}
		steps = append(steps, Step{step.Check, step.Passed, step.Detail})
	}
	answer.Steps = steps
	if d.Err != nil {
		answer.Cause = strings.ToValidUTF8(d.Err.Error(), "?")
	}
	if id := d.Identity; id != nil {
		answer.User, answer.Handle, answer.Device, answer.Domain = id.User, id.Handle, id.Device, id.Domain
		answer.Issuer, answer.ClientID, answer.Scope = id.Issuer, id.ClientID, id.Scope
	}
	return answer
}

// unspent is a store of spent proofs by which proofs can be checked without spending them.
type unspent struct{ dpop.Replay }

func (unspent) Spend(context.Context, dpop.Epoch, [32]byte, time.Time, netip.Addr) error { return nil }

// noReplay is the store of a gateway that only checks.
type noReplay struct{}

func (noReplay) Epoch(context.Context) (dpop.Epoch, error) { return dpop.Epoch{}, nil }

func (noReplay) Spend(context.Context, dpop.Epoch, [32]byte, time.Time, netip.Addr) error { return nil }
