package verdict_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/imidentity/issuer/verdict"
)

const methods = `"methods":{"hierarchy":{"status":"required","max_age":"15m"},"xsign":{"hops":1,"introducers":2,"max_age":"30d"},` +
	`"places":{"need":2,"min_age":"7d","max_age":"7d"}}`

// The text of the default policy is read as that policy.
func TestParsePolicy(t *testing.T) {
	got, err := verdict.ParsePolicy([]byte(`{"version":1,` + methods + `,"decide":[
		{"hierarchy":"good","xsign":"good","then":"verified"},
		{"hierarchy":"good","xsign":"none","places":"good","then":"verified"},
		{"hierarchy":"good","then":"accepted"},
		{"hierarchy":"none","xsign":"good","then":"accepted","only":["user","device"]},
		{"then":"refused"}]}`))
	if want := verdict.DefaultPolicy(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParsePolicy = %+v, %v, want %+v", got, err, want)
	}
}

// What contradicts itself, the fixed rules or the format is refused, and the error names the part.
func TestParsePolicyRefused(t *testing.T) {
	rules := func(list ...string) string { return `{"version":1,"decide":[` + strings.Join(list, ",") + `]}` }
	with := func(part string) string { return `{"version":1,"methods":` + part + `,"decide":[{"then":"refused"}]}` }
	for text, part := range map[string]string{
		rules(): "decide",
		rules(strings.Repeat(`{"then":"refused"},`, 64) + `{"then":"refused"}`): "decide",
		rules(`{"hierarchy":"good","then":"accepted"}`):                         "decide[0]",
		rules(`{"then":"refused","only":["user"]}`):                             "decide[0]",
		rules(`{"then":"refused"}`, `{"then":"quarantined"}`):                   "decide[1]",
		rules(`{"hierarchy":"good","then":"accepted"}`, `{"hierarchy":"good","xsign":"good","then":"verified"}`,
			`{"then":"refused"}`): "decide[1]",
		rules(`{"then":"accepted"}`):                                                                 "decide[0].then",
		rules(`{"hierarchy":"none","then":"accepted"}`, `{"then":"refused"}`):                        "decide[0].then",
		rules(`{"places":"good","then":"accepted"}`, `{"then":"refused"}`):                           "decide[0]",
		rules(`{"hierarchy":"bad","then":"accepted"}`, `{"then":"refused"}`):                         "decide[0].hierarchy",
		rules(`{"hierarchy":"unknown","then":"accepted"}`, `{"then":"refused"}`):                     "decide[0].hierarchy",
		rules(`{"xsign":"bad","then":"quarantined"}`, `{"then":"refused"}`):                          "decide[0].xsign",
		rules(`{"xsign":"unknown","then":"quarantined"}`, `{"then":"refused"}`):                      "decide[0].xsign",
		rules(`{"places":"unknown","then":"quarantined"}`, `{"then":"refused"}`):                     "decide[0].places",
		rules(`{"hierarchy":"maybe","then":"quarantined"}`, `{"then":"refused"}`):                    "decide[0].hierarchy",
		rules(`{"then":"undecided"}`):                                                                "decide[0].then",
		rules(`{"then":"maybe"}`):                                                                    "decide[0].then",
		rules(`{}`):                                                                                  "decide[0].then",
		rules(`{"hierarchy":"good","then":"accepted","only":["user","user"]}`, `{"then":"refused"}`): "decide[0].only",
		rules(`{"hierarchy":"good","then":"accepted","only":["key"]}`, `{"then":"refused"}`):         "decide[0].only",
		rules(`{"hierarchy":"good","then":"accepted","only":[]}`, `{"then":"refused"}`):              "decide[0].only",
		rules(`{"hierarchy":"good","places":"bad","then":"accepted"}`, `{"then":"refused"}`):         "decide[0]",
		rules(`{"xsign":"good","then":"refused"}`, `{"then":"quarantined"}`):                         "decide[1]",
		rules(`{"hierachy":"good","then":"accepted"}`, `{"then":"refused"}`):                         "decide[0].hierachy",
		rules(`7`):                               "decide[0]",
		`{"version":1,"decide":{}}`:              "decide",
		`{"version":1,"decide":null}`:            "decide",
		`{"version":2,"decide":[]}`:              "version",
		`{"version":"1","decide":[]}`:            "version",
		`{"decide":[{"then":"refused"}]}`:        "version",
		`{"version":1,"rules":[]}`:               "rules",
		with(`{"hierarchy":{"status":"maybe"}}`): "methods.hierarchy.status",
		with(`{"hierarchy":{"max_age":"15"}}`):   "methods.hierarchy.max_age",
		with(`{"hierarchy":{"max_age":"400d"}}`): "methods.hierarchy.max_age",
		with(`{"hierarchy":{"max_age":900}}`):    "methods.hierarchy.max_age",
		with(`{"xsign":{"hops":3}}`):             "methods.xsign.hops",
		with(`{"xsign":{"introducers":0}}`):      "methods.xsign.introducers",
		with(`{"places":{"need":0}}`):            "methods.places.need",
		with(`{"places":{"needs":1}}`):           "methods.places.needs",
		with(`{"web":{}}`):                       "methods.web",
		with(`7`):                                "methods",
	} {
		p, err := verdict.ParsePolicy([]byte(text))
		if refused := (*verdict.PolicyError)(nil); !errors.As(err, &refused) || refused.Part != part {
			t.Errorf("%s: ParsePolicy = %+v, %v, want %s refused", text, p, err, part)
		}
	}
	for _, text := range []string{``, `[]`, `{"version":1,"version":1,"decide":[{"then":"refused"}]}`, strings.Repeat(" ", 64<<10) + `{}`} {
		if p, err := verdict.ParsePolicy([]byte(text)); err == nil {
			t.Errorf("ParsePolicy(%.40q) = %+v, want an error", text, p)
		}
	}
}

// A policy that was accepted decides about every result, and never accepts a subject about which no method says anything.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"version":1,` + methods + `,"decide":[{"hierarchy":"good","then":"accepted"},{"then":"refused"}]}`))
	f.Add([]byte(`{"version":1,"decide":[{"places":"bad","then":"quarantined","only":["user"]},{"then":"refused"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := verdict.ParsePolicy(data)
		if err != nil {
			return
		}
		about := alice(t)
		for _, result := range []verdict.Result{"", verdict.Unknown} {
			d, err := verdict.Decide(p, []verdict.Verdict{
				{Method: verdict.XSign, About: about, User: verdict.Finding{Result: result}, Device: verdict.Finding{Result: result}},
			}, now)
			if err != nil || d.Outcome.Yes() || len(d.Judgments) != 3 {
				t.Errorf("Decide = %+v, %v", d, err)
			}
		}
		for _, j := range decide(t, p, verdict.Verdict{Method: verdict.Hierarchy, About: about, Device: findings[verdict.Hierarchy][0]}).Judgments {
			if j.Outcome == "" || j.Rule == "" {
				t.Errorf("no decision about %s: %s", j.Facet, fmt.Sprint(j))
			}
		}
	})
}

// A policy that is changed after it was read is checked again, in its rules and below them.
func TestChangedPolicy(t *testing.T) {
	verdicts := []verdict.Verdict{{Method: verdict.Hierarchy, About: verdict.About{User: someone}, User: goodUntil}}
	for name, change := range map[string]func(*verdict.Policy){
		"rule":    func(p *verdict.Policy) { p.Decide[4].Then = verdict.Accepted },
		"only":    func(p *verdict.Policy) { p.Decide[3].Only[1] = verdict.User },
		"no rule": func(p *verdict.Policy) { p.Decide = nil },
		"shorter": func(p *verdict.Policy) { p.Decide = p.Decide[:4] },
		"methods": func(p *verdict.Policy) { p.Methods.XSign.Hops = 3 },
	} {
		p := verdict.DefaultPolicy()
		if _, err := verdict.Decide(p, verdicts, now); err != nil {
			t.Fatal(err)
		}
		change(&p)
		var wrong *verdict.PolicyError
		if d, err := verdict.Decide(p, verdicts, now); !errors.As(err, &wrong) {
			t.Errorf("%s: Decide = %s, %v, want a PolicyError", name, d.Outcome, err)
		}
	}
}
