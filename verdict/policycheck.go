package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// maxRules is how many rules a policy may have.
const maxRules = 64

// A PolicyError says which part of a policy is wrong, and how.
type PolicyError struct {
	// Part is the path of the part: "decide[2].then", "methods.xsign.hops".
	Part string
	Err  error
}

// Error says for example "verdict: policy: decide[2]: no rule after one without a condition is reached".
func (e *PolicyError) Error() string { return "verdict: policy: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the fault.
func (e *PolicyError) Unwrap() error { return e.Err }

func wrong(part, format string, args ...any) error {
	return &PolicyError{part, fmt.Errorf(format, args...)}
}

// check returns a *PolicyError for a policy that contradicts the fixed rules or itself.
func (p *Policy) check() error {
	if err := p.Methods.check(); err != nil {
		return err
	}
	if len(p.Decide) > 0 && slices.EqualFunc(p.Decide, p.checked, func(a, b Rule) bool { return a.equal(&b) }) {
		return nil
	}
	switch n := len(p.Decide); {
	case n == 0:
		return wrong("decide", "no rule")
	case n > maxRules:
		return wrong("decide", "more than %d rules", maxRules)
	}
	for i := range p.Decide {
		if err := p.Decide[i].check(rulePart(i)); err != nil {
			return err
		}
	}
	if last := len(p.Decide) - 1; !p.Decide[last].always() {
		return wrong(rulePart(last), "the last rule must have no condition: it decides about everything else")
	}
	return p.checkTable()
}

func rulePart(i int) string { return "decide[" + strconv.Itoa(i) + "]" }

func (m *Requirements) check() error {
	h, x, pl := m.Hierarchy, m.XSign, m.Places
	switch {
	case h.Status != StatusRequired && h.Status != StatusOptional:
		return wrong("methods.hierarchy.status", "must be %s or %s", StatusRequired, StatusOptional)
	case x.Hops != 1 && x.Hops != 2:
		return wrong("methods.xsign.hops", "must be 1 or 2")
	case x.Introducers < 1:
		return wrong("methods.xsign.introducers", "must be at least 1")
	case pl.Need < 1:
		return wrong("methods.places.need", "must be at least 1")
	case pl.MinAge < 0:
		return wrong("methods.places.min_age", "must not be negative")
	case h.MaxAge < 0, x.MaxAge < 0, pl.MaxAge < 0:
		return wrong("methods", "max_age must not be negative")
	}
	return nil
}

func (r *Rule) always() bool {
	return r.Hierarchy == "" && r.XSign == "" && r.Places == "" && len(r.Only) == 0
}

var (
	errHierarchyBad  = errors.New("bad: rule F1 refuses that, whatever the policy says")
	errXSignBad      = errors.New("bad: rules F2 to F4 decide about that, whatever the policy says")
	errHierarchyOpen = errors.New("unknown: by rule F7 that is undecided, whatever the policy says")
	errOpen          = errors.New("unknown: it counts as none, unless rule F7 holds")
	errPlacesAlone   = errors.New("places say nothing about devices and handles: the rule needs another condition, or only: [user]")
)

func (r *Rule) check(part string) error {
	for _, c := range []struct {
		method       Method
		result       Result
		bad, unknown error
	}{
		{Hierarchy, r.Hierarchy, errHierarchyBad, errHierarchyOpen}, {XSign, r.XSign, errXSignBad, errOpen},
		{Places, r.Places, nil, errOpen},
	} {
		part := part + "." + string(c.method)
		switch c.result {
		case "", Good, None:
		case Bad:
			if c.bad != nil {
				return &PolicyError{part, c.bad}
			}
		case Unknown:
			return &PolicyError{part, c.unknown}
		default:
			return wrong(part, "must be %s or %s", Good, None)
		}
	}
	switch r.Then {
	case Verified, Accepted:
		if r.Hierarchy != Good && r.XSign != Good && r.Places != Good {
			return wrong(part+".then", "%s without a method that must be good accepts everybody", r.Then)
		}
		if r.Hierarchy != Good && r.XSign != Good && !slices.Equal(r.Only, []Facet{User}) {
			return &PolicyError{part, errPlacesAlone}
		}
	case UpdateOnly, Quarantined, Refused:
	case Undecided:
		return wrong(part+".then", "a policy decides: undecided is for what cannot be known")
	default:
		return wrong(part+".then", "must be verified, accepted, update_only, quarantined or refused")
	}
	for i, f := range r.Only {
		switch {
		case !slices.Contains(Facets(), f):
			return wrong(part+".only", "must be some of user, device and handle")
		case slices.Contains(r.Only[:i], f):
			return wrong(part+".only", "%s is repeated", f)
		}
	}
	return nil
}

// checkTable tries all results that reach the policy. It refuses a rule that none of them reaches, and a policy by which a worse result of
// a method raises the outcome: then evidence against a subject would help it.
func (p *Policy) checkTable() error {
	reached := make([]bool, len(p.Decide))
	decide := func(f Facet, h, x, pl Result) (Outcome, int) {
		j := Judgment{Facet: f, Findings: map[Method]Finding{Hierarchy: {Result: h}, XSign: {Result: x}, Places: {Result: pl}}}
		p.judge(&j, false)
		rule, _ := strconv.Atoi(j.Rule) // no fixed rule holds for these findings
		reached[rule-1] = true
		return j.Outcome, rule - 1
	}
	worse := map[Result]Result{Good: None, None: Bad}
	for _, f := range Facets() {
		for _, h := range []Result{Good, None} {
			for _, x := range []Result{Good, None} {
				for _, pl := range []Result{Good, None, Bad} {
					outcome, _ := decide(f, h, x, pl)
					for _, c := range []struct {
						method   Method
						from     Result
						h, x, pl Result
						isTried  bool
					}{
						{Hierarchy, h, worse[h], x, pl, h == Good},
						{XSign, x, h, worse[x], pl, x == Good},
						{Places, pl, h, x, worse[pl], pl != Bad},
					} {
						if !c.isTried {
							continue
						}
						if after, rule := decide(f, c.h, c.x, c.pl); outcome.below(after) {
							return wrong(rulePart(rule), "would raise the outcome from %s to %s when %s goes from %s to %s", outcome, after,
								c.method, c.from, worse[c.from])
						}
					}
				}
			}
		}
	}
	if i := slices.Index(reached, false); i >= 0 {
		return wrong(rulePart(i), "is never reached: the rules before it decide")
	}
	return nil
}
