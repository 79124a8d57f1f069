package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// An Outcome is what a verifier does.
type Outcome string

// The outcomes, from the lowest to the highest.
const (
	Refused     Outcome = "refused"
	Quarantined Outcome = "quarantined" // shown with a warning, until the person has confirmed it
	Undecided   Outcome = "undecided"   // it cannot be known now; try again
	UpdateOnly  Outcome = "update_only" // may send a new credential, and nothing else
	Accepted    Outcome = "accepted"
	Verified    Outcome = "verified"
)

// outcomes are in order, the lowest first.
var outcomes = []Outcome{Refused, Quarantined, Undecided, UpdateOnly, Accepted, Verified}

// below reports whether an outcome is lower than another one.
func (o Outcome) below(other Outcome) bool { return o.rank() < other.rank() }

func (o Outcome) rank() int {
	for i, known := range outcomes {
		if o == known {
			return i
		}
	}
	return -1
}

// Yes reports whether the subject is accepted.
func (o Outcome) Yes() bool { return o == Accepted || o == Verified }

// The errors of [Decide]. Each is a fault of its caller.
var (
	ErrSubjects  = errors.New("verdict: the verdicts are about different subjects")
	ErrRepeated  = errors.New("verdict: two verdicts of one method")
	ErrUnknown   = errors.New("verdict: a method or result that does not exist")
	ErrFuture    = errors.New("verdict: a time in the future")
	ErrNoSubject = errors.New("verdict: the verdicts are about no user, device or handle")
)

// skew is how far ahead the clock of a method may be.
const skew = time.Minute

// A Judgment is the decision about one facet.
type Judgment struct {
	Facet   Facet
	Outcome Outcome
	// Rule is the fixed rule, "F1" to "F7", or the number of the rule of the policy, "1" for the first.
	Rule string
	// Findings are what the methods say about the facet, as they were counted: a finding that is too old is unknown.
	Findings map[Method]Finding
	// By is the method that a fixed rule looked at; empty for rules of the policy.
	By Method
}

// A Decision is what a verifier does about a subject, and why.
type Decision struct {
	// Outcome is the lowest of the judgments.
	Outcome Outcome
	About   About
	// Judgments are those of the facets that the subject has, in the order of [Facets].
	Judgments []Judgment
	// Until is when the first finding that the decision was made of ends, or gets older than the policy permits; zero if none does. Decide
	// again then.
	Until time.Time
}

// Decide decides about one subject, by the fixed rules and then by the policy. The order of the verdicts does not matter, and a method
// without a verdict says nothing. now is the time of the decision. The errors are [ErrSubjects], [ErrRepeated], [ErrUnknown],
// [ErrFuture] and [ErrNoSubject]; a Policy that was changed, or made otherwise than by [ParsePolicy] and [DefaultPolicy], is checked, and
// may also give the errors of ParsePolicy.
func Decide(p Policy, verdicts []Verdict, now time.Time) (Decision, error) {
	if err := p.check(); err != nil {
		return Decision{}, err
	}
	d, pinned := Decision{Outcome: Verified}, false
	by := make(map[Method]Verdict, len(verdicts))
	for _, v := range verdicts {
		if err := v.check(now); err != nil {
			return Decision{}, err
		}
		if _, repeated := by[v.Method]; repeated {
			return Decision{}, fmt.Errorf("%w: %s", ErrRepeated, v.Method)
		}
		about, agree := d.About.merge(v.About)
		if !agree {
			return Decision{}, ErrSubjects
		}
		d.About, by[v.Method] = about, v
		pinned = pinned || v.Pinned
	}
	for _, f := range Facets() {
		if !d.About.has(f) {
			continue
		}
		j := Judgment{Facet: f, Findings: make(map[Method]Finding, len(by))}
		for _, m := range Methods() {
			v := by[m] // a method without a verdict says nothing
			found := v.Finding(f)
			if f == Device && found.Result == Good && v.About.JKT != d.About.JKT { // it does not say that the device has that key
				found = Finding{}
			}
			found = p.Methods.count(m, found, now)
			j.Findings[m] = found
			for _, end := range []time.Time{found.Until, p.Methods.stale(m, found)} {
				if end.After(now) && (d.Until.IsZero() || end.Before(d.Until)) {
					d.Until = end
				}
			}
		}
		p.judge(&j, pinned)
		if j.Outcome.below(d.Outcome) {
			d.Outcome = j.Outcome
		}
		d.Judgments = append(d.Judgments, j)
	}
	if len(d.Judgments) == 0 {
		return Decision{}, ErrNoSubject
	}
	return d, nil
}

// check checks the form of a verdict.
func (v *Verdict) check(now time.Time) error {
	if v.Method != Hierarchy && v.Method != XSign && v.Method != Places {
		return fmt.Errorf("%w: method %q", ErrUnknown, v.Method)
	}
	if v.Pinned && v.Method != XSign {
		return fmt.Errorf("%w: only cross signing knows pinned users", ErrUnknown)
	}
	for _, f := range Facets() {
		found := v.Finding(f)
		switch found.Result {
		case "", Good, Bad, None, Unknown:
		default:
			return fmt.Errorf("%w: result %q", ErrUnknown, found.Result)
		}
		if v.Method == Places && f != User && found.Result != "" && found.Result != None {
			return fmt.Errorf("%w: places say nothing about the %s", ErrUnknown, f)
		}
		if late := now.Add(skew); found.Since.After(late) || found.Checked.After(late) {
			return fmt.Errorf("%w: %s, %s", ErrFuture, v.Method, f)
		}
	}
	return nil
}

// judge decides about a facet: by the fixed rules, and if none holds by the policy. A fixed rule that quarantines does not raise what
// the policy refuses, unless the policy lacks something that is not known, or may be renewed.
func (p *Policy) judge(j *Judgment, pinned bool) {
	fixed := j.fixed(pinned)
	if len(fixed) > 0 {
		first := slices.MinFunc(fixed, func(a, b fixedRule) int { return a.outcome.rank() - b.outcome.rank() })
		j.Outcome, j.Rule, j.By = first.outcome, first.name, first.by
		if j.Outcome != Quarantined || slices.ContainsFunc(fixed, func(r fixedRule) bool { return Quarantined.below(r.outcome) }) {
			return
		}
	}
	for i, r := range p.Decide {
		if r.matches(j.Facet, j.Findings) {
			if len(fixed) == 0 || r.Then.below(j.Outcome) {
				j.Outcome, j.Rule, j.By = r.Then, strconv.Itoa(i+1), ""
			}
			return
		}
	}
}

// A fixedRule is a rule that holds whatever the policy says.
type fixedRule struct {
	name    string
	holds   bool
	outcome Outcome
	by      Method
}

// fixed returns the fixed rules that hold.
func (j *Judgment) fixed(pinned bool) []fixedRule {
	h, x, pl := j.Findings[Hierarchy], j.Findings[XSign], j.Findings[Places]
	rules := []fixedRule{
		{"F1", h.Result == Bad, Refused, Hierarchy},
		{"F2", x.Result == Bad && x.Code == CodeDistrusted, Refused, XSign},
		{"F3", x.Result == Bad && x.Code != CodeDistrusted && x.Code != CodeMaster, Quarantined, XSign},
		{"F4", x.Result == Bad && x.Code == CodeMaster, Quarantined, XSign},
		{"F5", pl.Result == Bad && pl.Code == CodeMaster, Quarantined, Places},
		{"F6", h.Result == None && h.Code == CodeExpired, UpdateOnly, Hierarchy},
		{"F7", h.Result == Unknown, Undecided, Hierarchy},
		{"F7", pinned && x.Result == Unknown, Undecided, XSign},
	}
	return slices.DeleteFunc(rules, func(r fixedRule) bool { return !r.holds })
}

// count returns a finding as the requirements count it: an old one is unknown, and so is one of the hierarchy whose status was not looked
// up, if the policy wants that. Evidence against a subject does not get old.
func (m *Requirements) count(method Method, f Finding, now time.Time) Finding {
	if f.Result == "" {
		f.Result = None
	}
	if f.Result != Good {
		return f
	}
	ended := !f.Until.IsZero() && !now.Before(f.Until)
	switch {
	case ended && method == Hierarchy:
		f.Result, f.Code = None, CodeExpired
	case ended:
		f.Result, f.Code = Unknown, CodeStale
	case method == Hierarchy && m.Hierarchy.Status == StatusRequired && f.Checked.IsZero():
		f.Result, f.Code = Unknown, CodeUnchecked
	case !m.stale(method, f).IsZero() && now.After(m.stale(method, f)):
		f.Result, f.Code = Unknown, CodeStale
	}
	return f
}

// stale returns when a good finding gets older than the requirements permit; zero for never.
func (m *Requirements) stale(method Method, f Finding) time.Time {
	maxAge := map[Method]time.Duration{Hierarchy: m.Hierarchy.MaxAge, XSign: m.XSign.MaxAge, Places: m.Places.MaxAge}[method]
	if f.Result != Good || f.Checked.IsZero() || maxAge == 0 {
		return time.Time{}
	}
	return f.Checked.Add(maxAge)
}
