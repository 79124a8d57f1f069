package claims_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// Keys that are kept are compared with new ones only if the same tables made both.
func TestCollisionTables(t *testing.T) {
	known := map[string]string{"15.0.0 15.0.0 15.0 2": "f7a3bfb077d4d864"}
	h := sha256.New()
	for _, span := range [][2]rune{{0, 0x33ff}, {0xa000, 0xabff}, {0xf900, 0x1ffff}} { // all but ideographs and Hangul
		for r := span[0]; r <= span[1]; r++ {
			fmt.Fprintln(h, claims.CollisionKeyOf(string(r)))
		}
	}
	sum := hex.EncodeToString(h.Sum(nil)[:8])
	want, ok := known[claims.CollisionTables()]
	if !ok {
		t.Logf("the keys of %q are %s: write that down here", claims.CollisionTables(), sum)
	} else if sum != want {
		t.Errorf("the keys of %q are %s, and were %s: if they are to change, raise the number in CollisionTables", claims.CollisionTables(),
			sum, want)
	}
}

func TestPolicy(t *testing.T) {
	strict := claims.Policy{Protected: []string{"Acme", "acme.com"}}
	admin := strict
	admin.Administrator = true
	for _, c := range []struct {
		name         string
		strict, byAd claims.Code
	}{
		{"alice", "", ""},
		{"日本", "", ""},
		{"日本のalice", "", ""},
		{"한글日本abc", "", ""},
		{"ㄅ日a", "", ""},
		{"かㄅ", claims.CodeMixedScript, claims.CodeMixedScript},
		{"한か", claims.CodeMixedScript, claims.CodeMixedScript},
		{"аlice", claims.CodeMixedScript, claims.CodeMixedScript},
		{"алиса2", "", ""},
		{"aβ", claims.CodeMixedScript, claims.CodeMixedScript},
		{"مرحبا", "", ""},
		{"admin", claims.CodeReservedHandle, ""},
		{"Root", claims.CodeReservedHandle, ""},
		{"me", claims.CodeReservedHandle, ""},
		{"everyone", claims.CodeReservedHandle, ""},
		{"channels", "", ""},
		{"m.e", "", ""}, // only protected names are guarded against look-alikes
		{"adm1n", claims.CodeConfusable, claims.CodeConfusable},
		{"a.d.m.i.n", claims.CodeConfusable, claims.CodeConfusable},
		{"supp0rt", claims.CodeConfusable, claims.CodeConfusable},
		{"5upport", claims.CodeConfusable, claims.CodeConfusable},
		{"ѕуѕтем", claims.CodeConfusable, claims.CodeConfusable},
		{"acme", claims.CodeReservedHandle, ""},
		{"асме", claims.CodeConfusable, claims.CodeConfusable},
		{"acme-com", claims.CodeConfusable, claims.CodeConfusable},
		{"acme.com", claims.CodeReservedHandle, ""},
		{"acmeist", "", ""},
	} {
		for policy, want := range map[*claims.Policy]claims.Code{&strict: c.strict, &admin: c.byAd} {
			id, err := claims.Parser{Reading: claims.Registration, Policy: policy}.Parse("im:@" + c.name + "@provider.com")
			if want != "" && !errors.Is(err, want) || want == "" && err != nil {
				t.Errorf("register %q (administrator: %v) = %v, %v, want %q", c.name, policy.Administrator, id, err, want)
			}
		}
	}
	for uri, want := range map[string]claims.Code{
		"im:%40alice@provider.com":           "",
		"im:%40Alice@provider.com":           "", // registration maps as the lenient reading does
		"im:admin@provider.com;id-type=user": "",
		"im:u/admin@provider.com":            "",
		"mimi://provider.com/u/admin":        claims.CodeReservedHandle,
		"im:xmpp=a/%20b@provider.com":        claims.CodeDisallowedChar,
		"im:xmpp=a/b%20@provider.com":        claims.CodeDisallowedChar,
		"mimi://provider.com/u/a%CD%B8":      claims.CodeDisallowedChar, // U+0378 is unassigned
		"im:%40alice@example.com":            claims.CodeReservedDomain,
		"im:%40alice@local.invalid":          claims.CodeReservedDomain,
		"im:%40al ice@provider.com":          claims.CodeDisallowedChar,
	} {
		if id, err := claims.ParseRegistration(uri); want != "" && !errors.Is(err, want) || want == "" && err != nil {
			t.Errorf("ParseRegistration(%q) = %v, %v, want %q", uri, id, err, want)
		}
	}
	development := claims.Policy{Development: true}
	if err := development.Check(read(t, "im:%40alice@example.com")); err != nil {
		t.Errorf("Check in development = %v", err)
	}
}

func TestReviewC1Warnings(t *testing.T) {
	policy := claims.Policy{Protected: []string{"acme"}}
	for uri, want := range map[string][]string{
		"im:%40alice@example.com":                   nil,
		"im:%40admin@example.com":                   nil,
		"im:%40josé@bücher.example":                 nil,
		"im:%40aсme@example.com":                    {"claims: local: mixed_script at byte 1", "claims: local: confusable at byte 0"},
		"im:xmpp=king/ x@example.com":               {"claims: device: disallowed_char at byte 0"},
		"mimi://\u0440\u0430ypal.example/u/a":       {"claims: domain: mixed_script at byte 4"},
		"mimi://www.xn--80ak6aa92e.com/u/a":         {"claims: domain: confusable at byte 4"},
		"mimi://\u043f\u043e\u0447\u0442\u0430.com": nil,
		"sip:a@192.0.2.1":                           nil,
		"im:%40ꓮꓓꓟꓲꓠ@example.com":                   {"claims: local: confusable at byte 0"},
		"im:%40кот@example.com":                     {"claims: local: confusable at byte 0"},
		"im:%40ꜰox@example.com":                     {"claims: local: confusable at byte 0"},
		"im:%40næs@example.com":                     nil, // looks like two letters
		"im:%40straße@example.com":                  nil,
		"im:%40алиса@example.com":                   nil,
		"im:%40кот1@пример.example":                 {"claims: local: confusable at byte 0"},
	} {
		var got []string
		for _, w := range policy.Warnings(read(t, uri)) {
			got = append(got, w.Error())
		}
		if !slices.Equal(got, want) {
			t.Errorf("Warnings(%q) = %q, want %q", uri, got, want)
		}
	}
}

func TestReviewC1Display(t *testing.T) {
	for uri, want := range map[string]string{
		"im:%40alice@example.com":           "@alice@example.com",
		"im:%40alice@bücher.example":        "@alice@bücher.example",
		"mimi://example.com/u/alice":        "mimi://example.com/u/alice",
		"im:%40مرحبا@example.com":           "\u2068@مرحبا@example.com\u2069",
		"im:%40alice@xn--80ak6aa92e.com":    "@alice@\u0430\u0440\u0440\u04CF\u0435.com (xn--80ak6aa92e.com)",
		"im:irc=irc.example.com/a,isuser":   "@a@irc.example.com",
		"im:wxyz=%40alice@bücher.example":   "@alice@xn--bcher-kva.example",
		"im:wxyz=%40alice@local.invalid":    "@alice",
		"im:irc=irc.example.com/%23x":       "#x@irc.example.com",
		"im:irc=irc.example.com/!u@h.a.com": "!u@h.a.com@irc.example.com",
		"im:%40ꓮꓓꓟꓲꓠ@example.com":           "@ꓮꓓꓟꓲꓠ@example.com (looks like admin)",
		"im:%40аdmin@example.com":           "@аdmin@example.com (mixed scripts, looks like admin)",
		"im:%40раураl@example.com":          "@раураl@example.com (mixed scripts, looks like paypal)",
		"im:%40мама@example.com":            "@мама@example.com (looks like mama)",
		"im:%40аm@xn--80ak6aa92e.com":       "@аm@\u0430\u0440\u0440\u04CF\u0435.com (mixed scripts, looks like am) (xn--80ak6aa92e.com)",
	} {
		if got := claims.Display(read(t, uri)); got != want {
			t.Errorf("Display(%q) = %q, want %q", uri, got, want)
		}
	}
}
