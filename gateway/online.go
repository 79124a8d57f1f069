package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/statuslist"
)

// A confirmation is when the issuer, or its status list, last called a token active.
type confirmation struct {
	at time.Time
	// starts is how many fresh starts the feed of the issuer had then; zero if it is not followed.
	starts uint64
}

// A device is one of an issuer, which called it active in the answers of a mode.
type device struct {
	mode        Mode
	issuer, uri string
}

func (t *token) device(m Mode) device { return device{m, t.identity.Issuer, t.identity.Device} }

// online finds out by the mode of the policy whether a token was revoked. It returns nil if the token is active, and a reason of [Allowed]
// if it may pass in an outage.
func (v *Verifier) online(ctx context.Context, r *Request, p *Policy, t *token, text string) *refusal {
	if p.cfg.Mode == Offline || v.fresh(p, t) {
		return nil
	}
	now := v.cfg.Now()
	var starts uint64
	if f := v.feedOf(t); f != nil {
		_, starts = f.state() // before the question: an event may overtake its answer
	}
	var failed *refusal
	if p.cfg.Mode == Introspect {
		failed = v.ask(ctx, t, text)
	} else {
		failed = v.lookUp(ctx, t)
	}
	switch {
	case failed == nil:
		t.confirmed(p.cfg.Mode).Store(&confirmation{now, starts})
		if d := t.device(p.cfg.Mode); d.uri != "" {
			v.devices.put(d, now, overheadDevice+len(d.issuer)+len(d.uri))
		}
		return v.checkFeeds(t)
	case failed.reason == ReasonInactive, failed.reason == ReasonRevoked:
		v.devices.drop(t.device(Introspect)) // it may have been removed
		v.devices.drop(t.device(Status))
	case failed.reason == ReasonNoAnswer, failed.reason == ReasonNoList:
		return v.outage(r, p, t, failed)
	}
	return failed
}

// overheadDevice is how many bytes a known device takes beside its strings.
const overheadDevice = 192

func (v *Verifier) feedOf(t *token) *Feed {
	if v.cfg.Feed == nil {
		return nil
	}
	return v.cfg.Feed(t.identity.Issuer)
}

// fresh reports whether the token need not be asked about again.
func (v *Verifier) fresh(p *Policy, t *token) bool {
	c := t.confirmed(p.cfg.Mode).Load()
	if c == nil || p.cfg.Freshness == 0 {
		return false
	}
	now := v.cfg.Now()
	if age := now.Sub(c.at); age < 0 {
		return false // the clock was set back
	} else if age < p.cfg.Freshness {
		return true
	}
	f := v.feedOf(t)
	// Not everything that ends a token with others inside, or with an actor, is an event.
	if f == nil || c.starts == 0 || t.identity.Tree != nil || t.identity.Actor != "" || t.identity.Domain == "" {
		return false
	}
	_, starts := f.state()
	return starts == c.starts && f.follower.Alive(now, p.cfg.Freshness) && f.follower.Covers(t.identity.Domain)
}

// ask asks the issuer of a token about it.
func (v *Verifier) ask(ctx context.Context, t *token, text string) *refusal {
	var asker Asker
	if v.cfg.Ask != nil {
		asker = v.cfg.Ask(t.identity.Issuer)
	}
	if asker == nil {
		return unknown(ReasonMisconfigured, errors.New("gateway: no client for questions to "+t.identity.Issuer))
	}
	result, err := asker.Introspect(ctx, introspect.Question{Token: text})
	var known *introspect.UnknownError
	switch a := &result.Answer; {
	case errors.As(err, &known):
		return &refusal{reason: ReasonNoAnswer, retry: known.RetryAfter, err: err}
	case errors.Is(err, introspect.ErrUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unknown(ReasonNoAnswer, err)
	case err != nil:
		return unknown(ReasonMisconfigured, err)
	case result.Stale:
		return unknown(ReasonNoAnswer, errStale)
	case !a.Active:
		return refuse(ReasonInactive)
	case a.Confirmation == nil && t.identity.JKT != "", a.Confirmation != nil && a.Confirmation.JKT != t.identity.JKT:
		return unknown(ReasonMisconfigured, errOtherToken)
	}
	return nil
}

var (
	errStale      = errors.New("gateway: the issuer does not answer, and its last answer is too old")
	errOtherToken = errors.New("gateway: the answer of the issuer is about another token")
)

// lookUp looks up the token, and those that it encloses, in their status lists.
func (v *Verifier) lookUp(ctx context.Context, t *token) *refusal {
	if v.cfg.Statuses == nil {
		return unknown(ReasonMisconfigured, errors.New("gateway: no reader of status lists"))
	}
	if len(t.statuses) == 0 || !t.statuses[0].own {
		return refuse(ReasonNoStatus)
	}
	for _, ref := range t.statuses {
		err := v.cfg.Statuses.Check(ctx, ref.issuer, ref.Reference)
		var status *statuslist.StatusError
		switch {
		case errors.As(err, &status):
			return refuse(ReasonRevoked)
		case err != nil:
			return unknown(ReasonNoList, err)
		}
	}
	return nil
}

// outage decides about a token while the issuer cannot be asked.
func (v *Verifier) outage(r *Request, p *Policy, t *token, failed *refusal) *refusal {
	within := func(at time.Time) bool {
		age := v.cfg.Now().Sub(at)
		return age >= 0 && age <= p.cfg.MaxOutage
	}
	c := t.confirmed(p.cfg.Mode).Load()
	switch p.cfg.Outage {
	case Cache:
		if c != nil && within(c.at) {
			return &refusal{reason: ReasonCached, err: failed.err}
		}
	case Grace:
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
			return failed
		}
		at, known := v.devices.get(t.device(p.cfg.Mode))
		if c != nil && within(c.at) || known && within(at) {
			return &refusal{reason: ReasonGrace, err: failed.err}
		}
	}
	return failed
}
