package verdict_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/verdict"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func parse(t testing.TB, uri string) claims.ID {
	t.Helper()
	id, err := claims.Parser{}.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func alice(t testing.TB) verdict.About {
	return verdict.About{
		User: parse(t, "im:u@example.com;id-type=user"), Device: parse(t, "im:u/72b@example.com"),
		Handle: parse(t, "im:%40alice@example.com"), JKT: "jkt",
	}
}

// findings are those that can decide, for each method.
var findings = map[verdict.Method][]verdict.Finding{
	verdict.Hierarchy: {
		{Result: verdict.Good, Checked: now}, {Result: verdict.Good}, {Result: verdict.Good, Checked: now.Add(-16 * time.Minute)},
		{Result: verdict.Good, Checked: now, Until: now}, {}, {Result: verdict.None, Code: verdict.CodeExpired},
		{Result: verdict.Bad, Code: verdict.CodeEnded}, {Result: verdict.Unknown},
	},
	verdict.XSign: {
		{Result: verdict.Good, Checked: now}, {}, {Result: verdict.Unknown}, {Result: verdict.Bad, Code: verdict.CodeDistrusted},
		{Result: verdict.Bad, Code: verdict.CodeNotListed}, {Result: verdict.Bad, Code: verdict.CodeMaster},
	},
	verdict.Places: {
		{Result: verdict.Good, Checked: now}, {}, {Result: verdict.Unknown}, {Result: verdict.Bad, Code: verdict.CodeMaster},
		{Result: verdict.Bad, Code: verdict.CodeMassLoss},
	},
}

func decide(t testing.TB, p verdict.Policy, verdicts ...verdict.Verdict) verdict.Decision {
	t.Helper()
	d, err := verdict.Decide(p, verdicts, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every finding that a method can have about a user, with every one of the others, is decided as the table says.
func TestDecideTable(t *testing.T) {
	about := alice(t)
	about.Device, about.Handle = claims.ID{}, claims.ID{}
	var table strings.Builder
	for _, h := range findings[verdict.Hierarchy] {
		for _, x := range findings[verdict.XSign] {
			for _, pinned := range []bool{false, true} {
				for _, p := range findings[verdict.Places] {
					d := decide(t, verdict.DefaultPolicy(),
						verdict.Verdict{Method: verdict.Hierarchy, About: about, User: h},
						verdict.Verdict{Method: verdict.XSign, About: about, User: x, Pinned: pinned},
						verdict.Verdict{Method: verdict.Places, About: about, User: p})
					fmt.Fprintf(&table, "hierarchy %-26s xsign %-26s pinned %-5t places %-20s  %s by %s\n",
						words(h), words(x), pinned, words(p), d.Outcome, d.Judgments[0].Rule)
				}
			}
		}
	}
	file := filepath.Join("testdata", "decisions.txt")
	if *update {
		if err := os.WriteFile(file, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.String(); got != string(want) {
		for i, line := range strings.Split(got, "\n") {
			if !strings.Contains(string(want), line) {
				t.Errorf("line %d: %s: not in %s", i+1, line, file)
			}
		}
		t.Errorf("the decisions differ from %s; run the test with -update and review the difference", file)
	}
}

func words(f verdict.Finding) string {
	s := string(f.Result)
	if s == "" {
		s = "none"
	}
	switch {
	case f.Code != "":
		s += " " + string(f.Code)
	case f.Result != verdict.Good:
	case f.Checked.IsZero():
		s += " unchecked"
	case !f.Until.IsZero():
		s += " ended"
	case f.Checked.Before(now):
		s += " looked up long ago"
	}
	return s
}

// drawFinding draws a finding of a method, as that method gives them.
func drawFinding(t *rapid.T, m verdict.Method, label string) verdict.Finding {
	return rapid.SampledFrom(findings[m]).Draw(t, label)
}

func drawVerdicts(t *rapid.T, about verdict.About) []verdict.Verdict {
	var list []verdict.Verdict
	for _, m := range verdict.Methods() {
		if !rapid.Bool().Draw(t, "has "+string(m)) {
			continue
		}
		v := verdict.Verdict{Method: m, About: about, User: drawFinding(t, m, "user")}
		if m != verdict.Places {
			v.Device, v.Handle = drawFinding(t, m, "device"), drawFinding(t, m, "handle")
		}
		v.Pinned = m == verdict.XSign && rapid.Bool().Draw(t, "pinned")
		list = append(list, v)
	}
	return list
}

// drawPolicy draws a policy that is accepted: rules in any order, of which those that the check refuses are left out.
func drawPolicy(t *rapid.T) verdict.Policy {
	results := []verdict.Result{"", verdict.Good, verdict.None}
	p := verdict.DefaultPolicy()
	p.Decide = []verdict.Rule{{Then: rapid.SampledFrom([]verdict.Outcome{verdict.Refused, verdict.Quarantined}).Draw(t, "last")}}
	for range rapid.IntRange(0, 5).Draw(t, "rules") {
		r := verdict.Rule{
			Hierarchy: rapid.SampledFrom(results).Draw(t, "hierarchy"), XSign: rapid.SampledFrom(results).Draw(t, "xsign"),
			Places: rapid.SampledFrom(append(results, verdict.Bad)).Draw(t, "places"),
			Then: rapid.SampledFrom([]verdict.Outcome{
				verdict.Verified, verdict.Accepted, verdict.UpdateOnly, verdict.Quarantined, verdict.Refused,
			}).Draw(t, "then"),
			Only: rapid.SampledFrom([][]verdict.Facet{nil, {verdict.User}, {verdict.User, verdict.Device}}).Draw(t, "only"),
		}
		longer := p
		longer.Decide = append([]verdict.Rule{r}, p.Decide...)
		if _, err := verdict.Decide(longer, []verdict.Verdict{{Method: verdict.Hierarchy, About: verdict.About{User: someone}}}, now); err == nil {
			p = longer
		}
	}
	return p
}

var someone = func() claims.ID { id, _ := claims.Parser{}.Parse("im:u@example.com;id-type=user"); return id }()

var rank = map[verdict.Outcome]int{
	verdict.Refused: 0, verdict.Quarantined: 1, verdict.Undecided: 2, verdict.UpdateOnly: 3, verdict.Accepted: 4, verdict.Verified: 5,
}

// The order of the verdicts does not matter.
func TestDecideOrder(t *testing.T) {
	about := alice(t)
	rapid.Check(t, func(r *rapid.T) {
		p, list := drawPolicy(r), drawVerdicts(r, about)
		if len(list) == 0 {
			return
		}
		first := decide(t, p, list...)
		again := decide(t, p, rapid.Permutation(list).Draw(r, "order")...)
		if fmt.Sprint(first) != fmt.Sprint(again) {
			r.Fatalf("%v, and in another order %v", first, again)
		}
	})
}

// Evidence against a subject never raises an outcome, whatever the policy says.
func TestDecideBad(t *testing.T) {
	about := alice(t)
	codes := map[verdict.Method][]verdict.Code{
		verdict.Hierarchy: {verdict.CodeEnded}, verdict.XSign: {verdict.CodeDistrusted, verdict.CodeNotListed, verdict.CodeMaster},
		verdict.Places: {verdict.CodeMaster, verdict.CodeMassLoss},
	}
	rapid.Check(t, func(r *rapid.T) {
		p, list := drawPolicy(r), drawVerdicts(r, about)
		if len(list) == 0 {
			return
		}
		before := decide(t, p, list...)
		i := rapid.IntRange(0, len(list)-1).Draw(r, "which")
		bad := verdict.Finding{Result: verdict.Bad, Code: rapid.SampledFrom(codes[list[i].Method]).Draw(r, "code")}
		f := facet(r, &list[i])
		if f.Result == verdict.Bad {
			return
		}
		*f = bad
		if after := decide(t, p, list...); rank[after.Outcome] > rank[before.Outcome] {
			r.Fatalf("%s, and with %v more %s", before.Outcome, bad, after.Outcome)
		}
	})
}

// A finding that cannot be known leaves the decision open, or does no more harm than none: it is never evidence.
func TestDecideUnknown(t *testing.T) {
	about := alice(t)
	rapid.Check(t, func(r *rapid.T) {
		p, list := drawPolicy(r), drawVerdicts(r, about)
		if len(list) == 0 {
			return
		}
		i := rapid.IntRange(0, len(list)-1).Draw(r, "which")
		f := facet(r, &list[i])
		*f = verdict.Finding{}
		none := decide(t, p, list...)
		*f = verdict.Finding{Result: verdict.Unknown}
		unknown := decide(t, p, list...)
		for j, judged := range unknown.Judgments {
			if judged.Outcome != verdict.Undecided && rank[judged.Outcome] < rank[none.Judgments[j].Outcome] {
				r.Fatalf("%s: %s, and with none %s", judged.Facet, judged.Outcome, none.Judgments[j].Outcome)
			}
		}
	})
}

func facet(r *rapid.T, v *verdict.Verdict) *verdict.Finding {
	if v.Method == verdict.Places {
		return &v.User
	}
	return rapid.SampledFrom([]*verdict.Finding{&v.User, &v.Device, &v.Handle}).Draw(r, "facet")
}

// Only the hierarchy, or a vouch that names the handle, makes a handle good.
func TestDecideHandle(t *testing.T) {
	about := alice(t)
	good := verdict.Finding{Result: verdict.Good, Checked: now}
	d := decide(t, verdict.DefaultPolicy(),
		verdict.Verdict{Method: verdict.XSign, About: about, User: good, Device: good},
		verdict.Verdict{Method: verdict.Places, About: about, User: good})
	if d.Outcome != verdict.Refused || d.Judgments[0].Outcome != verdict.Accepted || d.Judgments[2].Facet != verdict.Handle {
		t.Errorf("Decide = %+v", d)
	}
	about.Handle = claims.ID{}
	d = decide(t, verdict.DefaultPolicy(), verdict.Verdict{Method: verdict.XSign, About: about, User: good, Device: good})
	if d.Outcome != verdict.Accepted || len(d.Judgments) != 2 {
		t.Errorf("without a handle Decide = %+v", d)
	}
}

// A decision ends with the first finding that ends.
func TestDecideUntil(t *testing.T) {
	about := alice(t)
	about.Handle = claims.ID{}
	finding := func(d time.Duration) verdict.Finding {
		return verdict.Finding{Result: verdict.Good, Checked: now, Until: now.Add(d)}
	}
	d := decide(t, verdict.DefaultPolicy(),
		verdict.Verdict{Method: verdict.Hierarchy, About: about, User: finding(time.Hour), Device: finding(time.Minute)},
		verdict.Verdict{Method: verdict.XSign, About: about, User: finding(2 * time.Minute)})
	if !d.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("Until = %v, want a minute from now", d.Until)
	}
}

// A decision ends when a finding gets older than the policy permits, too: a device that is removed must not pass until its credential ends.
func TestDecideUntilStale(t *testing.T) {
	about := alice(t)
	about.Device, about.Handle = claims.ID{}, claims.ID{}
	for _, until := range []time.Time{{}, now.AddDate(0, 1, 0)} {
		v := verdict.Verdict{Method: verdict.Hierarchy, About: about, User: verdict.Finding{
			Result: verdict.Good, Checked: now.Add(-5 * time.Minute), Until: until,
		}}
		d := decide(t, verdict.DefaultPolicy(), v)
		if want := now.Add(10 * time.Minute); d.Outcome != verdict.Accepted || !d.Until.Equal(want) {
			t.Errorf("Decide = %s until %v, want accepted until %v", d.Outcome, d.Until, want)
		}
		d, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{v}, d.Until.Add(time.Second))
		if err != nil || d.Outcome != verdict.Undecided {
			t.Errorf("Decide after that = %s, %v, want undecided", d.Outcome, err)
		}
	}
}

// Faults of the caller are errors, not decisions.
func TestDecideWrong(t *testing.T) {
	about := alice(t)
	other := about
	other.Device = parse(t, "im:u/9@example.com")
	key := about
	key.JKT = "another"
	ahead := verdict.Finding{Result: verdict.Good, Checked: now.Add(2 * time.Minute)}
	for name, c := range map[string]struct {
		verdicts []verdict.Verdict
		want     error
	}{
		"none":           {nil, verdict.ErrNoSubject},
		"about nothing":  {[]verdict.Verdict{{Method: verdict.Hierarchy}}, verdict.ErrNoSubject},
		"two devices":    {[]verdict.Verdict{{Method: verdict.Hierarchy, About: about}, {Method: verdict.XSign, About: other}}, verdict.ErrSubjects},
		"two keys":       {[]verdict.Verdict{{Method: verdict.Hierarchy, About: about}, {Method: verdict.XSign, About: key}}, verdict.ErrSubjects},
		"twice":          {[]verdict.Verdict{{Method: verdict.XSign, About: about}, {Method: verdict.XSign, About: about}}, verdict.ErrRepeated},
		"unknown method": {[]verdict.Verdict{{Method: "horoscope", About: about}}, verdict.ErrUnknown},
		"unknown result": {[]verdict.Verdict{{Method: verdict.XSign, About: about, User: verdict.Finding{Result: "maybe"}}}, verdict.ErrUnknown},
		"places, device": {[]verdict.Verdict{{Method: verdict.Places, About: about, Device: verdict.Finding{Result: verdict.Good}}}, verdict.ErrUnknown},
		"pinned issuer":  {[]verdict.Verdict{{Method: verdict.Hierarchy, About: about, Pinned: true}}, verdict.ErrUnknown},
		"ahead":          {[]verdict.Verdict{{Method: verdict.Places, About: about, User: ahead}}, verdict.ErrFuture},
	} {
		if d, err := verdict.Decide(verdict.DefaultPolicy(), c.verdicts, now); !errors.Is(err, c.want) {
			t.Errorf("%s: Decide = %+v, %v, want %v", name, d, err, c.want)
		}
	}
}

// The words name the outcome, the rule and each method.
func ExampleDecision_Explain() {
	about := verdict.About{User: someone, Device: mustParse("im:u/72b@example.com"), JKT: "jkt"}
	d, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{
		{Method: verdict.Hierarchy, About: about, User: goodUntil, Device: goodUntil},
		{Method: verdict.XSign, About: about, Pinned: true, Device: verdict.Finding{
			Result: verdict.Bad, Code: verdict.CodeNotListed, Details: "device list 7 of 20 Nov does not have its key",
		}, User: verdict.Finding{Result: verdict.Good, Checked: now}},
	}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(d.Explain(now))
	// Output:
	// quarantined: u/72b@example.com is good by https://id.example.com until 14:04 UTC on 1 Dec 2026, but device list 7 of 20 Nov does not have its key
	// user u@example.com: verified by rule 1 of the policy; hierarchy good (looked up 2 min ago), xsign good (looked up now), places none
	// device u/72b@example.com: quarantined by rule F3; hierarchy good (looked up 2 min ago), xsign bad (device_not_listed), places none
	// valid until 12:13 UTC on 1 Dec 2026, then decide again
}

var goodUntil = verdict.Finding{
	Result: verdict.Good, Checked: now.Add(-2 * time.Minute), Until: now.Add(124 * time.Minute), Details: "https://id.example.com",
}

func mustParse(uri string) claims.ID {
	id, err := claims.Parser{}.Parse(uri)
	if err != nil {
		panic(err)
	}
	return id
}
