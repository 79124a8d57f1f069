package verdict

import (
	"slices"
	"time"
)

// The values of [HierarchyRequirements].Status.
const (
	StatusRequired = "required" // a finding whose status was not looked up is unknown
	StatusOptional = "optional"
)

// Requirements are what a policy demands of the findings of each method. A maximum age of zero is none.
type Requirements struct {
	Hierarchy HierarchyRequirements
	XSign     XSignRequirements
	Places    PlacesRequirements
}

// HierarchyRequirements are those on tokens and credentials.
type HierarchyRequirements struct {
	Status string        // StatusRequired or StatusOptional
	MaxAge time.Duration // how long ago the status was looked up
}

// XSignRequirements are those on cross signing.
type XSignRequirements struct {
	// Hops is 1 if only the verifier's own vouches count, and 2 if those of introducers do, too: Introducers of them must agree.
	Hops, Introducers int
	MaxAge            time.Duration // how long ago the statements of the user were fetched
}

// PlacesRequirements are those on places.
type PlacesRequirements struct {
	Need   int           // how many places must agree
	MinAge time.Duration // how long ago each must have been seen for the first time
	MaxAge time.Duration // how long ago they were last looked at
}

// A Rule is a line of a policy. It matches if each method with a condition has that result.
type Rule struct {
	// Hierarchy and XSign are Good or None, Places is Good, None or Bad, which for places is what no fixed rule decides. Empty has no
	// condition.
	Hierarchy, XSign, Places Result
	// Then is Verified, Accepted, UpdateOnly, Quarantined or Refused.
	Then Outcome
	// Only are the facets that the rule is about. Empty means all.
	Only []Facet
}

// A Policy decides where no fixed rule does. Make one with [ParsePolicy], or take [DefaultPolicy].
type Policy struct {
	Methods Requirements
	// Decide are the rules. The first that matches decides. The last one has no condition.
	Decide []Rule

	checked []Rule // a copy of rules that were checked as a whole, so that Decide does not repeat that; nil if there are none
}

// DefaultPolicy returns a policy for people's messengers. The issuer of a domain is enough to be accepted; verified takes the agreement of
// another method.
func DefaultPolicy() Policy {
	p := Policy{
		Methods: Requirements{
			Hierarchy: HierarchyRequirements{Status: StatusRequired, MaxAge: 15 * time.Minute},
			XSign:     XSignRequirements{Hops: 1, Introducers: 2, MaxAge: 30 * day},
			Places:    PlacesRequirements{Need: 2, MinAge: 7 * day, MaxAge: 7 * day},
		},
		Decide: []Rule{
			{Hierarchy: Good, XSign: Good, Then: Verified},
			{Hierarchy: Good, XSign: None, Places: Good, Then: Verified},
			{Hierarchy: Good, Then: Accepted},
			{Hierarchy: None, XSign: Good, Then: Accepted, Only: []Facet{User, Device}},
			{Then: Refused},
		},
	}
	p.checked = cloneRules(p.Decide) // a test has checked them
	return p
}

func cloneRules(rules []Rule) []Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Only = slices.Clone(rules[i].Only)
	}
	return rules
}

func (r *Rule) equal(o *Rule) bool {
	return r.Hierarchy == o.Hierarchy && r.XSign == o.XSign && r.Places == o.Places && r.Then == o.Then && slices.Equal(r.Only, o.Only)
}

const day = 24 * time.Hour

// matches reports whether a rule decides about a facet. A fixed rule has decided where the hierarchy is bad or unknown, or where cross
// signing is bad and the policy does not refuse; what is left of unknown and bad counts as none.
func (r *Rule) matches(f Facet, found map[Method]Finding) bool {
	if len(r.Only) > 0 && !slices.Contains(r.Only, f) {
		return false
	}
	return is(r.Hierarchy, found[Hierarchy].Result, Good) && is(r.XSign, found[XSign].Result, Good) &&
		is(r.Places, found[Places].Result, Good, Bad)
}

// is reports whether a result meets a condition, if every result but those counted is none.
func is(condition, result Result, counted ...Result) bool {
	if condition == "" {
		return true
	}
	if !slices.Contains(counted, result) {
		result = None
	}
	return condition == result
}
