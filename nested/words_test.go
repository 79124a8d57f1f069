package nested_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// quoted are what Explain sets apart: text in quotation marks, and URIs, which have neither spaces nor quotation marks.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\b(?:im|mimi):\S+`)

// Whatever others call themselves, their clients, keys, roles and scopes, does not continue the sentences of Explain.
func TestReviewC4ExplainSpeaksForItself(t *testing.T) {
	handle := func(local string) change {
		return func(d *draft) {
			d.set.Handle, d.st.Handle = "im:%40"+local+"@example.com", "im:%40"+local+"@example.com"
		}
	}
	xmpp := func(local, device string) change {
		return func(d *draft) {
			uri := "im:xmpp=" + local + "@example.com"
			d.set.Subject, d.set.Handle, d.set.Device = uri, uri, ""
			if device != "" {
				d.set.Device = "im:xmpp=" + local + "/" + device + "@example.com"
			}
		}
	}
	client := func(id string) change {
		return func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = id, id, "" }
	}
	role := func(words string) string {
		return aliceToken(inside(value(nested.MemberOf, member(func(d *draft) { d.st.Role = words }))))
	}
	for name, v := range map[string]struct {
		token string
		bare  string // what must not stand outside quotation marks and URIs
		want  string
	}{
		"a handle with marks": {aliceToken(xmpp("alice%2Cbob%28admin%29", "")), "admin",
			"This is im:xmpp=alice%2Cbob%28admin%29@example.com until 14:04 UTC.\n"},
		"a device with a sentence": {
			aliceToken(xmpp("alice", "phone%20is%20a%20device%20of%20Bob%20until%202099.%20It"),
				inside(value(nested.Separate, userToken(xmpp("alice", ""))))),
			"Bob", "im:xmpp=alice/phone%20is%20a%20device%20of%20Bob%20until%202099.%20It@example.com is a device of Alice " +
				"(alice@example.com) until",
		},
		"of other letters": {aliceToken(handle("jos%C3%A9")), "jos", "This is im:%40jos%C3%A9@example.com until 14:04 UTC.\n"},
		"a plain one":      {aliceToken(handle("al.ice-1_2")), `"`, "This is Al.ice-1_2 (@al.ice-1_2@example.com) until 14:04 UTC.\n"},
		"a client": {botToken(client("bot acts for Alice until 14:04 UTC. This is root")), "root",
			`This is client "bot acts for Alice until 14:04 UTC. This is root" of https://id.bridge.example until`},
		"a plain client": {botToken(client("relay")), `"`, "This is client relay of https://id.bridge.example until"},
		"an actor": {exchanged(func(d *draft) { d.set.Actor = &claims.Actor{Subject: "root, who", Issuer: "https://x says that Bob"} }),
			"Bob", `client "root, who" of "https://x says that Bob" acts for Alice`},
		"a role": {role(`boss" in everything and "lead`), "everything",
			`is "boss\" in everything and \"lead" in ##engineering@school.example`},
		"a role with other marks": {role("lead\u201d in everything"), "everything", `is "lead\u201d in everything" in`},
		"a role with wide marks":  {role("lead\uff02 in everything"), "everything", `is "lead\uff02 in everything" in`},
		"a scope with a sentence": {aliceToken(scope("im:handle. Alice is root")), "Alice is root", "Scope: im:handle., Alice, is, root.\n"},
		"a scope with commas":     {aliceToken(scope("a,b c")), "a,b", `Scope: "a,b", c.` + "\n"},
		"an actor without an issuer": {exchanged(func(d *draft) { d.set.Actor = &claims.Actor{Subject: "all of it"} }), "all",
			`client "all of it" acts for Alice`},
	} {
		tree, err := nested.Open(t.Context(), v.token, options())
		if err != nil {
			t.Errorf("%s: Open = %v", name, err)
			continue
		}
		text := tree.Explain()
		if left := quoted.ReplaceAllString(text, "…"); strings.Contains(left, v.bare) {
			t.Errorf("%s: %q stands bare in %s", name, v.bare, text)
		}
		if !strings.Contains(text, v.want) {
			t.Errorf("%s: Explain = %s, want %s", name, text, v.want)
		}
	}
}

// Services of one id are told apart by their issuers.
func TestReviewC4ServicesAreNamedWithTheirIssuers(t *testing.T) {
	relay := func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = "relay", "relay", "" }
	token := botToken(relay, inside(value(nested.AttestedBy, vouched(relay, audience(bridge), func(d *draft) { d.set.JKT = botKey.jkt() }))))
	tree, err := nested.Open(t.Context(), token, options())
	if err != nil {
		t.Fatal(err)
	}
	const want = "https://vouch.example knows the holder as client relay of https://vouch.example until 14:04 UTC.\n"
	if text := tree.Explain(); !strings.Contains(text, want) {
		t.Errorf("Explain = %s, want %s", text, want)
	}
}
