package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
)

// Explain says the decision in words, for people: one line for the outcome, one for each identifier, with the rule and what each method
// says, and one for the time when it should be made again. The times are in UTC, and ages are as of now.
func (d Decision) Explain(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Outcome, d.reason())
	for _, j := range d.Judgments {
		fmt.Fprintf(&b, "%s %s: %s by %s", j.Facet, d.About.name(j.Facet), j.Outcome, ruleName(j.Rule))
		for i, m := range Methods() {
			separator := ", "
			if i == 0 {
				separator = "; "
			}
			b.WriteString(separator + string(m) + " " + j.Findings[m].words(now))
		}
		b.WriteByte('\n')
	}
	if !d.Until.IsZero() {
		fmt.Fprintf(&b, "valid until %s, then decide again\n", clock(d.Until))
	}
	return b.String()
}

// reason says why the outcome is as it is: by the first facet that has it.
func (d Decision) reason() string {
	for _, j := range d.Judgments {
		if j.Outcome != d.Outcome {
			continue
		}
		name := d.About.name(j.Facet)
		details := func(m Method) string {
			if text := j.Findings[m].Details; text != "" {
				return " (" + text + ")"
			}
			return ""
		}
		good := ""
		if f := j.Findings[Hierarchy]; f.Result == Good {
			good = "is good"
			if f.Details != "" {
				good += " by " + f.Details
			}
			if !f.Until.IsZero() {
				good += " until " + clock(f.Until)
			}
			good += ", but "
		}
		switch j.Rule + " " + string(j.By) {
		case "F1 hierarchy":
			return name + " was ended by its own issuer" + details(Hierarchy)
		case "F2 xsign":
			return name + " is distrusted by a statement of your own" + details(XSign)
		case "F3 xsign":
			return name + " " + good + notConfirmed(j.Findings[XSign])
		case "F4 xsign":
			return name + " " + good + "shows another master key than the one that you know, and no succession" + details(XSign)
		case "F5 places":
			return name + " " + good + "has places that now name another master key" + details(Places)
		case "F6 hierarchy":
			return name + " has expired" + details(Hierarchy) + ": it may send a new credential, and nothing else"
		case "F7 hierarchy":
			return "it cannot be known now whether " + name + " is good" + details(Hierarchy)
		case "F7 xsign":
			return "it cannot be known now whether the keys of the user, which you know, confirm " + name + details(XSign)
		}
		var says []string
		for _, m := range Methods() {
			if r := j.Findings[m].Result; r == Good || r == Bad {
				says = append(says, fmt.Sprintf("%s by %s%s", r, m, details(m)))
			}
		}
		if len(says) == 0 {
			return "nothing says that " + name + " is good"
		}
		return name + " is " + strings.Join(says, ", and ")
	}
	return "there is nothing to decide about"
}

// notConfirmed says how the user's own keys do not confirm a device.
func notConfirmed(f Finding) string {
	if f.Details == "" {
		return "is not confirmed by the user's own keys"
	}
	return f.Details
}

func ruleName(rule string) string {
	if strings.HasPrefix(rule, "F") {
		return "rule " + rule
	}
	return "rule " + rule + " of the policy"
}

// words says a finding: "good (status 2 min old)", "bad (device_not_listed)".
func (f Finding) words(now time.Time) string {
	if f.Result == "" {
		return string(None)
	}
	var notes []string
	if f.Code != "" {
		notes = append(notes, string(f.Code))
	}
	if f.Result == Good {
		switch {
		case f.Checked.IsZero():
			notes = append(notes, "not looked up")
		default:
			notes = append(notes, "looked up "+age(now.Sub(f.Checked)))
		}
	}
	if len(notes) == 0 {
		return string(f.Result)
	}
	return string(f.Result) + " (" + strings.Join(notes, ", ") + ")"
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "now"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/day)
}

func clock(t time.Time) string { return t.UTC().Format("15:04 UTC on 2 Jan 2006") }

// name returns the identifier of a facet as people read it.
func (a About) name(f Facet) string {
	switch f {
	case User:
		return claims.Display(a.User)
	case Device:
		return claims.Display(a.Device)
	}
	return claims.Display(a.Handle)
}
