package server_test

import (
	"crypto/ecdsa"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A related is a token to be made for one relation, what introspection is to say of it, and what ends it.
type related struct {
	embedding
	layers       []string
	end          func() // nil: its issuer is suspended at last
	reason, path string // by then
}

// relations are the relations, each in the ways in which its inner token may come about.
var relations = []struct {
	rel  nested.Relation
	name string
	make func(t *testing.T, w *world) related
}{
	{nested.Cascade, "a device of a user's own key", func(t *testing.T, w *world) related {
		phone, laptop, key := newDevice(t), newDevice(t), newKey(t)
		alice := w.account(t, phone, "alice")
		id, delegation := w.made(t, phone, alice, "delegations", delegating(t, key))
		statement := deviceStatement(t, w.site, alice.set, key, delegation, laptop.JKT(), "07a", 1)
		return related{
			embedding{c: accounts, d: laptop, inside: []inside{{rel: "attested_by", token: statement}}},
			[]string{
				"tokens[0] attested_by im-device+jwt " + alice.set.Subject + " checked",
				"tokens[0].tokens[0] cascade im-delegation+jwt " + alice.set.Subject + " checked",
			},
			func() { w.withdrawn(t, phone, alice, "delegations", id) }, "device_removed", "",
		}
	}},
	{nested.Separate, "a device beside its user", func(t *testing.T, w *world) related {
		phone, browser := newDevice(t), newDevice(t)
		alice := w.account(t, phone, "alice")
		user := wantTokens(t, w.token(t, accounts, browser, codeForm(w.code(t, "alice", url.Values{
			"client_id": {accounts.id}, "scope": {"im:handle"},
		}), nil)))
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "separate", token: user.access, typ: typeAccess}}},
			[]string{"tokens[0] separate at+jwt " + alice.set.Subject + " checked"},
			func() { wantStatus(t, w.revokeBy(t, accounts, browser, user.access), http.StatusOK) }, "revoked", "tokens[0]",
		}
	}},
	{nested.ActsFor, "by a grant of the issuer", func(t *testing.T, w *world) related {
		phone, machine := newDevice(t), newDevice(t)
		alice := w.account(t, phone, "alice")
		id, grant := w.made(t, phone, alice, "actors", object{"actor": bot.id, "actor_iss": w.issuer, "scope": "im:handle"})
		return related{
			embedding{c: bot, d: machine, inside: []inside{{rel: "acts_for", token: grant}}},
			[]string{"tokens[0] acts_for im-actor+jwt " + alice.set.Subject + " checked"},
			func() { w.withdrawn(t, phone, alice, "actors", id) }, "revoked", "tokens[0]",
		}
	}},
	{nested.ActsFor, "by a grant of her own key", func(t *testing.T, w *world) related {
		phone, machine, key := newDevice(t), newDevice(t), newKey(t)
		alice := w.account(t, phone, "alice")
		limits := delegating(t, key)
		limits["statements"] = []string{nested.TypeActor}
		id, delegation := w.made(t, phone, alice, "delegations", limits)
		grant := w.says(t, key, nested.TypeActor, alice.set.Subject, delegation, func(s *nested.Statement) {
			s.Party, s.PartyIssuer, s.Scope = bot.id, w.issuer, "im:handle"
		})
		return related{
			embedding{c: bot, d: machine, inside: []inside{{rel: "acts_for", token: grant}}},
			[]string{
				"tokens[0] acts_for im-actor+jwt " + alice.set.Subject + " checked",
				"tokens[0].tokens[0] cascade im-delegation+jwt " + alice.set.Subject + " checked",
			},
			func() { w.withdrawn(t, phone, alice, "delegations", id) }, "revoked", "tokens[0].tokens[0]",
		}
	}},
	{nested.ActsFor, "by a grant of another issuer", func(t *testing.T, w *world) related {
		const kim = "im:k1m@school.example;id-type=user"
		grant := w.school.states(t, nested.TypeActor, kim, w.issuer, func(s *nested.Statement) {
			s.Party, s.PartyIssuer, s.Scope = bot.id, w.issuer, "im:handle"
		})
		return related{
			embedding{c: bot, d: newDevice(t), inside: []inside{{rel: "acts_for", token: grant}}},
			[]string{"tokens[0] acts_for im-actor+jwt " + kim + " not_asked"}, nil, "untrusted_issuer", "tokens[0]",
		}
	}},
	{nested.MemberOf, "of a team abroad", func(t *testing.T, w *world) related {
		const team = "im:wxyz=%23%23engineering@school.example"
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		member := w.school.states(t, nested.TypeMember, team, w.issuer, func(s *nested.Statement) { s.Party, s.Role = alice.set.Subject, "lead" })
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "member_of", token: member}}},
			[]string{"tokens[0] member_of im-member+jwt " + team + " not_asked"}, nil, "untrusted_issuer", "tokens[0]",
		}
	}},
	{nested.MemberOf, "of a team at home", func(t *testing.T, w *world) related {
		const team = "im:wxyz=%23%23engineering@example.com"
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		id, member := w.attested(t, object{"typ": nested.TypeMember, "sub": team, "member": alice.set.Subject})
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "member_of", token: member}}},
			[]string{"tokens[0] member_of im-member+jwt " + team + " checked"},
			func() { w.endAttested(t, "example.com", id) }, "revoked", "tokens[0]",
		}
	}},
	{nested.GuardianOf, "of a child abroad", func(t *testing.T, w *world) related {
		const kim = "im:k1m@school.example;id-type=user"
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		guardian := w.school.states(t, nested.TypeGuardian, kim, "im:example.com", func(s *nested.Statement) {
			s.Party, s.Handle = alice.set.Subject, "im:%40kim@school.example"
		})
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "guardian_of", token: guardian}}},
			[]string{"tokens[0] guardian_of im-guardian+jwt " + kim + " not_asked"}, nil, "untrusted_issuer", "tokens[0]",
		}
	}},
	{nested.GuardianOf, "of a child at home, who is shut out", func(t *testing.T, w *world) related {
		phone := newDevice(t)
		alice, bob := w.account(t, phone, "alice"), w.account(t, newDevice(t), "bob")
		_, guardian := w.attested(t, object{"typ": nested.TypeGuardian, "sub": bob.set.Subject, "guardian": alice.set.Subject})
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "guardian_of", token: guardian}}},
			[]string{"tokens[0] guardian_of im-guardian+jwt " + bob.set.Subject + " checked"},
			func() { wantStatus(t, w.disable(t, "@bob"), http.StatusOK) }, "user_disabled", "tokens[0]",
		}
	}},
	{nested.SameAs, "here and abroad", func(t *testing.T, w *world) related {
		const there = "im:a11ce@old.example;id-type=user"
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		id, half := w.made(t, phone, alice, "links", object{"same_as": there})
		other := w.old.states(t, nested.TypeLink, there, w.issuer, func(s *nested.Statement) { s.Party = alice.set.Subject })
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "same_as", token: half}, {rel: "same_as", token: other}}},
			[]string{
				"tokens[0] same_as im-link+jwt " + alice.set.Subject + " checked",
				"tokens[1] same_as im-link+jwt " + there + " not_asked",
			},
			func() { w.withdrawn(t, phone, alice, "links", id) }, "revoked", "tokens[0]",
		}
	}},
	{nested.RenamedFrom, "a former handle", func(t *testing.T, w *world) related {
		phone := newDevice(t)
		wantStatus(t, w.enable(t, "@bob"), http.StatusOK) // whoever may have shut him out
		before := w.account(t, phone, "bob").set.Handle
		wantStatus(t, w.operate(t, http.MethodPut, "/admin/users/"+handleText(t, before)+"/handle",
			url.Values{"domain": {"example.com"}, "handle": {"robert"}}), http.StatusOK)
		bob := w.account(t, phone, "bob")
		id, rename := w.attested(t, object{"typ": nested.TypeRename, "sub": bob.set.Subject, "old_handle": before})
		return related{
			embedding{c: accounts, d: phone, subject: bob.access, inside: []inside{{rel: "renamed_from", token: rename}}},
			[]string{"tokens[0] renamed_from im-rename+jwt " + bob.set.Subject + " checked"},
			func() { w.endAttested(t, "example.com", id) }, "revoked", "tokens[0]",
		}
	}},
	{nested.MovedFrom, "another issuer's domain", func(t *testing.T, w *world) related {
		const there = "im:a11ce@old.example;id-type=user"
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		move := w.old.states(t, nested.TypeMove, there, w.issuer, func(s *nested.Statement) { s.Party = alice.set.Subject })
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "moved_from", token: move}}},
			[]string{"tokens[0] moved_from im-move+jwt " + there + " not_asked"}, nil, "untrusted_issuer", "tokens[0]",
		}
	}},
	{nested.MovedFrom, "another domain of the issuer's", func(t *testing.T, w *world) related {
		phone := newDevice(t)
		alice, there := w.account(t, phone, "alice"), w.elsewhere(t, newDevice(t), "generic.example", nil)
		id, move := w.attested(t, object{"typ": nested.TypeMove, "sub": there.set.Subject, "moved_to": alice.set.Subject})
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "moved_from", token: move}}},
			[]string{"tokens[0] moved_from im-move+jwt " + there.set.Subject + " checked"},
			func() { w.endAttested(t, "generic.example", id) }, "revoked", "tokens[0]",
		}
	}},
	{nested.AttestedBy, "another issuer", func(t *testing.T, w *world) related {
		phone := newDevice(t)
		alice := w.account(t, phone, "alice")
		vouched := w.vouch.vouches(t, phone.JKT(), w.issuer, nil)
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "attested_by", token: vouched, typ: typeAccess}}},
			[]string{"tokens[0] attested_by at+jwt im:n0b0dy@vouch.example;id-type=user not_asked"}, nil, "untrusted_issuer", "tokens[0]",
		}
	}},
	{nested.AttestedBy, "the same key in another domain", func(t *testing.T, w *world) related {
		phone := newDevice(t)
		alice, there := w.account(t, phone, "alice"), w.elsewhere(t, phone, "wire.example", url.Values{"resource": {w.issuer}})
		return related{
			embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "attested_by", token: there.access, typ: typeAccess}}},
			[]string{"tokens[0] attested_by at+jwt " + there.set.Subject + " checked"},
			func() { w.remove(t, there.set.Device) }, "device_removed", "tokens[0]",
		}
	}},
}

// TestRelations lets each relation be embedded by value, by digest and by a JSON body, asks about the whole and each layer,
// and ends one layer: then the whole is inactive, and who may know is told which layer it was.
func TestRelations(t *testing.T) {
	w := startWorld(t, nil)
	type held struct {
		related
		nests []nest
	}
	var abroad []held
	var seen []nested.Relation
	for _, test := range relations {
		seen = append(seen, test.rel)
		t.Run(string(test.rel)+" "+test.name, func(t *testing.T) {
			h := held{related: test.make(t, w)}
			for _, by := range []how{asValue, asDigest, asJSON} {
				n := w.nested(t, h.embedding, by)
				a := w.wantLayers(t, n, h.layers...)
				if set := claimsOf(t, n.token); a.text("sub") != set.Subject || a.json["exp"] != float64(set.Expires.Unix()) || set.JKT != h.d.JKT() {
					t.Errorf("%s: introspection = %v of %+v, want it to agree", by, a, set)
				}
				h.nests = append(h.nests, n)
			}
			if by := h.nests[1]; len(h.layers) > 0 { // without what goes along nothing is known of it
				w.wantOver(t, nest{token: by.token}, "absent", "tokens[0]")
			}
			if h.end == nil {
				abroad = append(abroad, h)
				return
			}
			h.end()
			for _, n := range h.nests {
				w.wantOver(t, n, h.reason, h.path)
			}
			for _, by := range []how{asValue, asDigest, asJSON} {
				if a, _ := w.embed(t, h.embedding, by); a.text("error") != "invalid_embedded_token" {
					t.Errorf("%s: answer = %v afterwards, want invalid_embedded_token", by, a)
				}
			}
		})
	}
	for _, rel := range nested.Relations() {
		if !slices.Contains(seen, rel) {
			t.Errorf("no test of %s", rel)
		}
	}

	// The operator believes the peers no more.
	settings := w.fill["peers"]
	w.restart(t, map[string]string{"peers": suspended(settings)})
	for _, h := range abroad {
		for _, n := range h.nests {
			w.wantOver(t, n, h.reason, h.path)
		}
		a, _ := w.embed(t, h.embedding, asValue)
		wantRefusedAt(t, a, h.path, h.reason)
	}
	w.restart(t, map[string]string{"peers": settings})
	for _, h := range abroad {
		w.wantLayers(t, h.nests[0], h.layers...)
	}
}

// delegating is a delegation to a key: of three devices with an id like 07a, for three hours.
func delegating(t *testing.T, key *ecdsa.PrivateKey) object {
	t.Helper()
	return object{"jkt": thumbprint(t, key), "devices": "07*", "count": 3, "lifetime": 10800, "depth": 1}
}

// suspended are settings of peers that are all suspended.
func suspended(peers string) string {
	return strings.ReplaceAll(peers, "{domain:", "{suspended: true, domain:")
}

// elsewhere logs Alice in at another domain of the issuer's.
func (s *site) elsewhere(t *testing.T, d *device, domain string, change url.Values) tokens {
	t.Helper()
	q := url.Values{"client_id": {manyApp.id}, "im_domain": {domain}}
	maps.Copy(q, change)
	return wantTokens(t, s.token(t, manyApp, d, codeForm(s.code(t, "alice", q), nil)))
}

// handleText is a handle as operators write it: @alice.
func handleText(t *testing.T, handle string) string {
	t.Helper()
	id, err := claims.Parse(handle)
	if err != nil {
		t.Fatal(err)
	}
	return "@" + id.Local()
}
