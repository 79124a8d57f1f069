package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// People and organisations abroad.
const (
	kim      = "im:k1m@school.example;id-type=user"
	oldAlice = "im:a11ce@old.example;id-type=user"
	aTeam    = "im:wxyz=%23%23engineering@school.example"
)

// A cast are those about whom the tests of refusals are: Alice with her app, Bob with his, and a bot.
type cast struct {
	*world
	phone, bobs, machine *device
	alice, bob           tokens
}

func startCast(t *testing.T) *cast { return startCastWith(t, nil) }

// startCastWith is startCast with other settings.
func startCastWith(t *testing.T, fill map[string]string) *cast {
	w := startWorld(t, fill)
	c := &cast{world: w, phone: newDevice(t), bobs: newDevice(t), machine: newDevice(t)}
	c.alice, c.bob = w.account(t, c.phone, "alice"), w.account(t, c.bobs, "bob")
	wantTokens(t, w.token(t, accounts, c.phone, refreshForm(c.alice.refresh))) // again and again, and nothing is written
	return c
}

// her is a request of Alice's app, its what the bot asks.
func (c *cast) her(list ...inside) embedding {
	return embedding{c: accounts, d: c.phone, subject: c.alice.access, inside: list}
}

func (c *cast) its(list ...inside) embedding { return embedding{c: bot, d: c.machine, inside: list} }

// member is a statement about Alice's membership.
func (c *cast) member(t *testing.T, change func(s *nested.Statement)) inside {
	return inside{rel: "member_of", token: c.school.states(t, nested.TypeMember, aTeam, c.issuer, func(s *nested.Statement) {
		s.Party = c.alice.set.Subject
		if change != nil {
			change(s)
		}
	})}
}

// move is a statement about where Alice comes from.
func (c *cast) move(t *testing.T, change func(s *nested.Statement)) inside {
	return inside{rel: "moved_from", token: c.old.states(t, nested.TypeMove, oldAlice, c.issuer, func(s *nested.Statement) {
		s.Party = c.alice.set.Subject
		if change != nil {
			change(s)
		}
	})}
}

// chain is a move of so many statements one inside the other.
func (c *cast) chain(t *testing.T, length int) inside {
	var inner json.RawMessage
	var i inside
	for n := range length {
		i = c.move(t, func(s *nested.Statement) {
			s.Subject, s.Audience = "im:a"+strings.Repeat("x", n)+"@old.example;id-type=user", []string{c.old.issuer, c.issuer}
			if n < length-1 {
				s.Party = "im:a" + strings.Repeat("x", n+1) + "@old.example;id-type=user"
			}
			s.Tokens = inner
		})
		inner = encode([]object{byValue(typeJWT, "moved_from", i.token)})
	}
	return i
}

// sized is a membership whose token has as few octets more than at, or as few less, as there can be.
func (c *cast) sized(t *testing.T, at int, over bool) inside {
	var best inside
	short := c.member(t, func(s *nested.Statement) { s.Role = "r" })
	for pad := at*3/4 - 700; ; pad++ {
		i := short // what is too large is not signed as a statement
		i.token = c.school.edited(t, nested.TypeMember, short.token, `"role":"r"`, `"role":"`+strings.Repeat("r", pad)+`"`)
		if n := len(i.token); n > at && over {
			return i
		} else if n > at {
			return best
		}
		best = i
	}
}

// payload signs any claims as an issuer abroad.
func (a *abroad) payload(t *testing.T, typ, claims string) string {
	t.Helper()
	token, err := a.sign(typ, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// edited signs the claims of a token of an issuer abroad again, with some text replaced.
func (a *abroad) edited(t *testing.T, typ, token, from, to string) string {
	t.Helper()
	text := string(payloadOf(t, token))
	if !strings.Contains(text, from) {
		t.Fatalf("no %s in %s", from, text)
	}
	return a.payload(t, typ, strings.Replace(text, from, to, 1))
}

// TestNotEmbedded holds that nothing is embedded that does not hold by itself and with the token around it: the refusal
// names the token at fault, nothing was written, and the proof is good for another request.
func TestNotEmbedded(t *testing.T) {
	c := startCast(t)
	spare := map[string]url.Values{accounts.id: refreshForm(c.alice.refresh), bot.id: {"grant_type": {"client_credentials"}}}
	for _, test := range []struct {
		name string
		by   how
		make func(t *testing.T) embedding
		path string
		code nested.Code
	}{
		// Form and size.
		{"too deep by one", asValue, func(t *testing.T) embedding { return c.her(c.chain(t, 3)) }, "tokens[0].tokens[0].tokens[0]", nested.CodeTooDeep},
		{"one entry too many", asValue, func(t *testing.T) embedding {
			var list []inside
			for range nested.MaxTokens {
				list = append(list, c.member(t, nil))
			}
			return c.her(list...)
		}, "", nested.CodeTooMany},
		{"one token too many", asValue, func(t *testing.T) embedding {
			var list []inside
			for range nested.MaxTokens - 2 {
				list = append(list, c.member(t, nil))
			}
			return c.her(append(list, c.chain(t, 2))...)
		}, "tokens[6].tokens[0]", nested.CodeTooMany},
		{"one token too large", asDigest, func(t *testing.T) embedding {
			return c.her(c.sized(t, nested.MaxToken, true))
		}, "tokens[0]", nested.CodeTooLarge},
		{"all together too large", asDigest, func(t *testing.T) embedding {
			return c.her(c.sized(t, 7900, false), c.sized(t, 7900, false))
		}, "tokens[1]", nested.CodeTooLarge},
		{"the outer one too large", asValue, func(t *testing.T) embedding { return c.her(c.sized(t, 6000, false)) }, "", nested.CodeTooLarge},
		{"cycle by digest", asValue, func(t *testing.T) embedding {
			return c.her(c.move(t, func(s *nested.Statement) {
				s.Tokens = json.RawMessage(`[{"type":"` + typeJWT + `:reference","rel":"moved_from","jti":"` + s.JTI +
					`","digest":{"alg":"sha-256","hash":"` + strings.Repeat("0", 64) + `"}}]`)
			}))
		}, "tokens[0].tokens[0]", nested.CodeCycle},
		{"repeated jti", asValue, func(t *testing.T) embedding {
			same := func(s *nested.Statement) { s.JTI = "same" }
			return c.her(c.member(t, same), c.move(t, same))
		}, "tokens[1]", nested.CodeRepeated},
		{"no token", asValue, func(*testing.T) embedding { return c.her(inside{rel: "member_of", token: "garbage"}) }, "tokens[0]", nested.CodeMalformed},
		{"not an array", asValue, func(*testing.T) embedding { return c.with(`{"0":{}}`, "") }, "", nested.CodeMalformed},
		{"empty", asValue, func(*testing.T) embedding { return c.with(`[]`, "") }, "", nested.CodeMalformed},
		{"null", asValue, func(*testing.T) embedding { return c.with(`null`, "") }, "", nested.CodeMalformed},
		{"two arrays", asValue, func(*testing.T) embedding { return c.with(`[][]`, "") }, "", nested.CodeMalformed},
		{"both token and digest", asValue, func(t *testing.T) embedding {
			entry := c.member(t, nil).byDigest(t)
			entry["token"] = c.member(t, nil).token
			return c.with(string(encode([]object{entry})), "")
		}, "tokens[0]", nested.CodeMalformed},
		{"a member twice", asValue, func(t *testing.T) embedding {
			return c.with(`[{"type":"`+typeJWT+`","rel":"member_of","rel":"guardian_of","token":"`+c.member(t, nil).token+`"}]`, "")
		}, "tokens[0]", nested.CodeMalformed},
		{"a member in capitals", asValue, func(t *testing.T) embedding {
			return c.with(`[{"type":"`+typeJWT+`","rel":"member_of","Token":"`+c.member(t, nil).token+`"}]`, "")
		}, "tokens[0]", nested.CodeMalformed},
		{"unknown relation", asValue, func(t *testing.T) embedding { return c.her(inside{rel: "knows", token: c.member(t, nil).token}) }, "tokens[0]", nested.CodeRelation},
		{"no relation", asValue, func(t *testing.T) embedding {
			return c.with(`[{"type":"`+typeJWT+`","token":"`+c.member(t, nil).token+`"}]`, "")
		}, "tokens[0]", nested.CodeRelation},
		{"digest by another algorithm", asValue, func(t *testing.T) embedding { return c.digest(t, "sha-256", "sha-512") }, "tokens[0]", nested.CodeDigest},
		{"digest in capitals", asValue, func(t *testing.T) embedding { return c.digest(t, "", "") }, "tokens[0]", nested.CodeDigest},
		{"digest with another jti", asValue, func(t *testing.T) embedding { return c.digest(t, `"jti":"`, `"jti":"x`) }, "tokens[0]", nested.CodeDigest},
		{"digest without jti", asValue, func(t *testing.T) embedding { return c.digest(t, `"jti":`, `"other":`) }, "tokens[0]", nested.CodeDigest},
		{"digest of a token that did not come", asDigest, func(t *testing.T) embedding {
			e := c.her(c.member(t, nil))
			e.form = url.Values{"im_along": {string(encode([]string{c.member(t, nil).token}))}}
			return e
		}, "tokens[0]", nested.CodeAbsent},
		{"more tokens along than can be inside", asDigest, func(t *testing.T) embedding {
			e := c.her(c.member(t, nil))
			e.form = url.Values{"im_along": {string(encode(slices.Repeat([]string{"x"}, nested.MaxTokens)))}}
			return e
		}, "", nested.CodeTooMany},

		// The type.
		{"the outer token's type", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "member_of", token: c.vouch.vouches(t, c.phone.JKT(), c.issuer, nil), typ: typeAccess})
		}, "tokens[0]", nested.CodeType},
		{"an unknown type", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "member_of", token: c.school.payload(t, "im-friend+jwt", string(payloadOf(t, c.member(t, nil).token)))})
		}, "tokens[0]", nested.CodeType},
		{"another statement's type", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "guardian_of", token: c.member(t, nil).token})
		}, "tokens[0]", nested.CodeType},
		{"called an access token", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "member_of", token: c.member(t, nil).token, typ: typeAccess})
		}, "tokens[0]", nested.CodeType},
		{"claims of two types", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "member_of", token: c.school.edited(t, nested.TypeMember, c.member(t, nil).token, `"member":`, `"guardian":"x","member":`)})
		}, "tokens[0]", nested.CodeMalformed},
		{"a user's access token for her grant", asValue, func(*testing.T) embedding {
			return c.its(inside{rel: "acts_for", token: c.alice.access, typ: typeAccess})
		}, "tokens[0]", nested.CodeType},
		{"a bearer token", asValue, func(t *testing.T) embedding {
			bearer := c.service(t, mute, nil, url.Values{"resource": {c.issuer}})
			return c.her(inside{rel: "attested_by", token: bearer, typ: typeAccess})
		}, "tokens[0]", nested.CodeBearer},
		{"a bearer token of another issuer for a resource", asDigest, func(t *testing.T) embedding {
			bearer := c.vouch.vouches(t, "", "https://rooms.example.com", nil)
			return c.her(inside{rel: "attested_by", token: bearer, typ: typeAccess})
		}, "tokens[0]", nested.CodeBearer},

		// Who signed it, and when.
		{"an issuer that is nobody's peer", asValue, func(t *testing.T) embedding {
			token := c.rogue.states(t, nested.TypeMember, "im:wxyz=%23%23engineering@rogue.example", c.issuer, func(s *nested.Statement) { s.Party = c.alice.set.Subject })
			return c.her(inside{rel: "member_of", token: token})
		}, "tokens[0]", nested.CodeIssuer},
		{"a key that the peer does not have", asValue, func(t *testing.T) embedding {
			other := *c.school
			other.kid = "school.example-2"
			return c.her(inside{rel: "member_of", token: other.payload(t, nested.TypeMember, string(payloadOf(t, c.member(t, nil).token)))})
		}, "tokens[0]", nested.CodeIssuer},
		{"another's signature", asValue, func(t *testing.T) embedding {
			other := *c.school
			other.key = newKey(t)
			return c.her(inside{rel: "member_of", token: other.payload(t, nested.TypeMember, string(payloadOf(t, c.member(t, nil).token)))})
		}, "tokens[0]", nested.CodeSignature},
		{"the peer's key in the token", asValue, func(t *testing.T) embedding {
			jwk, err := jose.MarshalJWK(c.school.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			header := `{"typ":"` + nested.TypeMember + `","alg":"ES256","kid":"` + c.school.kid + `","jwk":` + string(jwk) + `}`
			token, err := jose.Sign(c.school.key, jose.ES256, []byte(header), payloadOf(t, c.member(t, nil).token))
			if err != nil {
				t.Fatal(err)
			}
			return c.her(inside{rel: "member_of", token: token})
		}, "tokens[0]", nested.CodeMalformed},
		{"a peer for another peer's domain", asValue, func(t *testing.T) embedding {
			token := c.vouch.states(t, nested.TypeMember, aTeam, c.issuer, func(s *nested.Statement) { s.Party = c.alice.set.Subject })
			return c.her(inside{rel: "member_of", token: token})
		}, "tokens[0]", nested.CodeDomain},
		{"a peer for a domain of this issuer", asValue, func(t *testing.T) embedding {
			token := c.school.states(t, nested.TypeGuardian, c.bob.set.Subject, c.issuer, func(s *nested.Statement) { s.Party = c.alice.set.Subject })
			return c.her(inside{rel: "guardian_of", token: token})
		}, "tokens[0]", nested.CodeDomain},
		{"a peer that says to be this issuer", asValue, func(t *testing.T) embedding {
			other := *c.school
			other.issuer = c.issuer
			token := other.states(t, nested.TypeGuardian, c.bob.set.Subject, c.issuer, func(s *nested.Statement) { s.Party = c.alice.set.Subject })
			return c.her(inside{rel: "guardian_of", token: token})
		}, "tokens[0]", nested.CodeIssuer},
		{"expired", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.IssuedAt, s.Expires = s.IssuedAt.Add(-time.Hour), s.IssuedAt }))
		}, "tokens[0]", nested.CodeExpired},
		{"expired inside", asValue, func(t *testing.T) embedding {
			inner := c.move(t, func(s *nested.Statement) {
				s.Subject, s.Party, s.Audience = "im:a@old.example;id-type=user", oldAlice, []string{c.old.issuer}
				s.IssuedAt, s.Expires = s.IssuedAt.Add(-time.Hour), s.IssuedAt
			})
			return c.her(c.move(t, func(s *nested.Statement) {
				s.Tokens = encode([]object{byValue(typeJWT, "moved_from", inner.token)})
			}))
		}, "tokens[0].tokens[0]", nested.CodeExpired},
		{"not yet made", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.IssuedAt = s.IssuedAt.Add(5 * time.Minute) }))
		}, "tokens[0]", nested.CodeNotYetValid},
		{"not yet valid", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.NotBefore = s.IssuedAt.Add(5 * time.Minute) }))
		}, "tokens[0]", nested.CodeNotYetValid},
		{"for somebody else", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.Audience = []string{"https://rooms.example.com", "im:rooms.example"} }))
		}, "tokens[0]", nested.CodeAudience},
		{"revoked", asValue, func(t *testing.T) embedding {
			id, half := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
			c.withdrawn(t, c.phone, c.alice, "links", id)
			other := c.old.states(t, nested.TypeLink, oldAlice, c.issuer, func(s *nested.Statement) { s.Party = c.alice.set.Subject })
			return c.her(inside{rel: "same_as", token: half}, inside{rel: "same_as", token: other})
		}, "tokens[0]", nested.CodeRevoked},

		// What was stolen: it names somebody else.
		{"Bob's membership", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.Party = c.bob.set.Subject }))
		}, "tokens[0]", nested.CodeBinding},
		{"Alice's membership in other letters", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) {
				s.Party = strings.Replace(c.alice.set.Subject, "example.com", "EXAMPLE.com", 1)
			}))
		}, "tokens[0]", nested.CodeBinding},
		{"the membership of Alice's handle", asValue, func(t *testing.T) embedding {
			return c.her(c.member(t, func(s *nested.Statement) { s.Party = c.alice.set.Handle }))
		}, "tokens[0]", nested.CodeBinding},
		{"Bob's child", asValue, func(t *testing.T) embedding {
			token := c.school.states(t, nested.TypeGuardian, kim, c.issuer, func(s *nested.Statement) { s.Party = c.bob.set.Subject })
			return c.her(inside{rel: "guardian_of", token: token})
		}, "tokens[0]", nested.CodeBinding},
		{"Bob's move", asValue, func(t *testing.T) embedding {
			return c.her(c.move(t, func(s *nested.Statement) { s.Party = c.bob.set.Subject }))
		}, "tokens[0]", nested.CodeBinding},
		{"Bob's link", asValue, func(t *testing.T) embedding {
			_, half := c.made(t, c.bobs, c.bob, "links", object{"same_as": oldAlice})
			other := c.old.states(t, nested.TypeLink, oldAlice, c.issuer, func(s *nested.Statement) { s.Party = c.bob.set.Subject })
			return c.her(inside{rel: "same_as", token: half}, inside{rel: "same_as", token: other})
		}, "tokens[1]", nested.CodeBinding},
		{"Bob's token beside Alice's", asValue, func(*testing.T) embedding {
			return c.her(inside{rel: "separate", token: c.bob.access, typ: typeAccess})
		}, "tokens[0]", nested.CodeBinding},
		{"a token of another key", asValue, func(t *testing.T) embedding {
			return c.her(inside{rel: "attested_by", token: c.vouch.vouches(t, c.bobs.JKT(), c.issuer, nil), typ: typeAccess})
		}, "tokens[0]", nested.CodeBinding},
		{"another bot's grant", asValue, func(t *testing.T) embedding {
			_, grant := c.made(t, c.phone, c.alice, "actors", object{"actor": "im:b07@bridge.example;id-type=user", "scope": "im:handle"})
			return c.its(inside{rel: "acts_for", token: grant})
		}, "tokens[0]", nested.CodeBinding},
		{"a grant to this client's id at another issuer", asValue, func(t *testing.T) embedding {
			_, grant := c.made(t, c.phone, c.alice, "actors", object{"actor": bot.id, "actor_iss": c.bridge.issuer, "scope": "im:handle", "audience": c.issuer})
			return c.its(inside{rel: "acts_for", token: grant})
		}, "tokens[0]", nested.CodeBinding},
		{"a grant to a client id of no issuer", asValue, func(t *testing.T) embedding {
			grant := c.school.states(t, nested.TypeActor, kim, c.issuer, func(s *nested.Statement) { s.Party, s.Scope = bot.id, "im:handle" })
			return c.its(inside{rel: "acts_for", token: grant})
		}, "tokens[0]", nested.CodeBinding},
		{"a grant of less scope", asValue, func(t *testing.T) embedding {
			_, grant := c.made(t, c.phone, c.alice, "actors", object{"actor": bot.id, "actor_iss": c.issuer, "scope": "introspect"})
			e := c.its(inside{rel: "acts_for", token: grant})
			e.form = url.Values{"scope": {"im:handle"}}
			return e
		}, "tokens[0]", nested.CodeWider},
		{"one half of two", asValue, func(t *testing.T) embedding {
			_, half := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
			return c.her(inside{rel: "same_as", token: half})
		}, "tokens[0]", nested.CodeHalf},
		{"two halves of two people", asValue, func(t *testing.T) embedding {
			_, half := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
			other := c.old.states(t, nested.TypeLink, oldAlice, c.issuer, func(s *nested.Statement) { s.Party = c.bob.set.Subject })
			return c.her(inside{rel: "same_as", token: half}, inside{rel: "same_as", token: other})
		}, "tokens[1]", nested.CodeBinding},
		{"Bob's rename", asValue, func(t *testing.T) embedding {
			wantStatus(t, c.operate(t, http.MethodPut, "/admin/users/@bob/handle", url.Values{"domain": {"example.com"}, "handle": {"robert"}}), http.StatusOK)
			_, rename := c.attested(t, object{"typ": nested.TypeRename, "sub": c.bob.set.Subject, "old_handle": c.bob.set.Handle})
			return c.her(inside{rel: "renamed_from", token: rename})
		}, "tokens[0]", nested.CodeBinding},
		{"a rename that this issuer did not sign", asValue, func(t *testing.T) embedding { // Alice has never had another one
			now := c.clock.now().Truncate(time.Second)
			set := claims.Set{
				Issuer: c.issuer, Subject: c.alice.set.Subject, Handle: "im:%40eve@example.com", Audience: []string{c.issuer}, JTI: "r",
				IssuedAt: now, Expires: now.Add(time.Hour),
			}
			token := c.school.payload(t, nested.TypeRename, strings.Replace(string(set.AppendJSON(nil)), "}", `,"old_handle":"im:%40mallory@example.com"}`, 1))
			return c.her(inside{rel: "renamed_from", token: token})
		}, "tokens[0]", nested.CodeIssuer},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := test.make(t)
			a := c.without(t, e, test.by, spare[e.c.id])
			wantRefusedAt(t, a, test.path, string(test.code))
		})
	}

	// What is just within the bounds is embedded.
	for name, e := range map[string]embedding{
		"as deep as can be":   c.her(c.chain(t, 2)),
		"as many as can be":   c.her(slices.Repeat([]inside{{}}, nested.MaxTokens-1)...),
		"as large as can be":  c.her(c.sized(t, nested.MaxToken, false)),
		"and another as well": c.her(c.sized(t, 6000, false), c.sized(t, 6000, false)),
	} {
		t.Run(name, func(t *testing.T) {
			for i := range e.inside {
				if e.inside[i] == (inside{}) {
					e.inside[i] = c.member(t, nil)
				}
			}
			n := c.nested(t, e, asDigest)
			if a := c.about(t, peer, n); a.json["active"] != true || len(layers(a)) < len(e.inside) {
				t.Errorf("introspection = %v, want active", a)
			}
		})
	}
}

// with is a request of Alice's app with the parameters tokens and im_along as they stand.
func (c *cast) with(tokens, along string) embedding {
	e := c.her()
	e.form = url.Values{"tokens": {tokens}}
	if along != "" {
		e.form.Set("im_along", along)
	}
	return e
}

// digest is a request of Alice's app for a membership by its digest, in which some text is replaced; without, the digest is
// in capitals.
func (c *cast) digest(t *testing.T, from, to string) embedding {
	i := c.member(t, nil)
	entry := i.byDigest(t)
	if from == "" {
		digest := entry["digest"].(object)
		digest["hash"] = strings.ToUpper(digest["hash"].(string))
	}
	text := string(encode([]object{entry}))
	if !strings.Contains(text, from) {
		t.Fatalf("no %s in %s", from, text)
	}
	return c.with(strings.Replace(text, from, to, 1), string(encode([]string{i.token})))
}

// TestBomb holds that tokens without end are refused for their number, depth or size, and before any signature is checked:
// none of these is signed.
func TestBomb(t *testing.T) {
	c := startCast(t)
	unsigned := func(inner string) string {
		payload := `{"iss":"https://id.old.example","sub":"im:a@old.example","aud":"x","jti":"` + strings.Repeat("j", len(inner)%97+1) +
			`","iat":1,"exp":2,"moved_to":"x"` + inner + `}`
		header := `{"typ":"` + nested.TypeMove + `","alg":"ES256","kid":"x"}`
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + strings.Repeat("A", 86)
	}
	// By value each layer is a third larger than what it has inside: a thousand do not fit into any memory.
	deep := unsigned("")
	for len(deep) < 20<<10 {
		deep = unsigned(`,"tokens":[{"type":"` + typeJWT + `","rel":"moved_from","token":"` + deep + `"}]`)
	}
	fits := deep
	for len(fits) > 4<<10 {
		fits = inner(t, fits)
	}
	// By digest they do.
	thousand := []string{unsigned("")}
	for range 999 {
		last := inside{rel: "moved_from", token: thousand[len(thousand)-1]}
		thousand = append(thousand, unsigned(`,"tokens":`+string(encode([]object{last.byDigest(t)}))))
	}
	last := inside{rel: "moved_from", token: thousand[999]}
	few := thousand[999-6:]
	for name, test := range map[string]struct {
		tokens, along string
		path          string
		code          nested.Code
	}{
		"by value":                 {entries(t, byValue(typeJWT, "moved_from", deep)), "", "tokens[0]", nested.CodeTooLarge},
		"by value, as it fits":     {entries(t, byValue(typeJWT, "moved_from", fits)), "", "tokens[0].tokens[0].tokens[0]", nested.CodeTooDeep},
		"by digest, as it fits":    {entries(t, last.byDigest(t)), string(encode(few)), "tokens[0].tokens[0].tokens[0]", nested.CodeTooDeep},
		"one beside the other":     {entries(t, slices.Repeat([]object{byValue(typeJWT, "moved_from", unsigned(""))}, 30)...), "", "", nested.CodeTooMany},
		"one beside the other, in": {entries(t, byValue(typeJWT, "moved_from", unsigned(`,"tokens":[`+strings.TrimSuffix(strings.Repeat(`{"type":"x"},`, 300), ",")+`]`))), "", "tokens[0].tokens[0]", nested.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusedAt(t, c.without(t, c.with(test.tokens, test.along), asValue, refreshForm(c.alice.refresh)), test.path, string(test.code))
		})
	}
	for name, form := range map[string]url.Values{
		"a thousand by digest": {"tokens": {entries(t, last.byDigest(t))}, "im_along": {string(encode(thousand))}},
		"a body without end":   {"tokens": {entries(t, byValue(typeJWT, "moved_from", strings.Repeat("A", 1<<20)))}},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.her()
			e.form = form
			wantError(t, c.without(t, e, asValue, refreshForm(c.alice.refresh)), 413, "invalid_request")
		})
	}
}

// inner returns the first token that a token has inside.
func inner(t *testing.T, token string) string {
	t.Helper()
	var payload struct{ Tokens []struct{ Token string } }
	decode(t, payloadOf(t, token), &payload)
	return payload.Tokens[0].Token
}
