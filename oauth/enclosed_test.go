package oauth_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statements"
)

// nestedCodes returns every code with which package nested refuses a token, from its source.
func nestedCodes(t *testing.T) (list []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../nested/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Code" {
				code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, code)
			}
		}
		return true
	})
	if len(list) < 20 {
		t.Fatalf("found only the codes %q", list)
	}
	return list
}

// A cast are the issuer, its peers, and alice with a device.
type cast struct {
	*issuer
	school, old, rogue *peer // rogue is not trusted
	phone, machine     *device
	alice              claims.Set
	held               string // alice's access token
	actor              string // the access token of the service
}

func newCast(t *testing.T) *cast {
	t.Helper()
	c := &cast{issuer: newIssuer(t, true), phone: newDevice(t), machine: newDevice(t)}
	c.school, c.old, c.rogue = c.peer(t, "school.example"), c.peer(t, "old.example"), c.stranger(t, "rogue.example")
	c.held = c.login(t, c.user(t, "alice"), c.phone).AccessToken
	c.alice = claimsOf(t, c.held)
	c.actor = c.token(t, "service", c.machine, serviceForm).AccessToken
	return c
}

const team, oldAlice = "im:wxyz=%23%23engineering@school.example", "im:a11ce@old.example;id-type=user"

// member is a statement of the school that alice is a member, after change.
func (c *cast) member(t *testing.T, change func(s *nested.Statement)) string {
	t.Helper()
	return c.school.states(t, nested.TypeMember, team, func(s *nested.Statement) {
		s.Party, s.Role = c.alice.Subject, "engineer"
		if change != nil {
			change(s)
		}
	})
}

// move is a statement that alice came from another domain, after change.
func (c *cast) move(t *testing.T, change func(s *nested.Statement)) string {
	t.Helper()
	return c.old.states(t, nested.TypeMove, oldAlice, func(s *nested.Statement) {
		s.Party, s.Audience = c.alice.Subject, []string{c.old.issuer, issuerURL}
		if change != nil {
			change(s)
		}
	})
}

// moves is a chain of so many moves, one inside the other, the last of them to alice.
func (c *cast) moves(t *testing.T, length int) string {
	t.Helper()
	name := func(n int) string { return fmt.Sprintf("im:a%d@old.example;id-type=user", n) }
	var text string
	var inside json.RawMessage
	for n := range length {
		text = c.move(t, func(s *nested.Statement) {
			s.Subject, s.Tokens = name(n), inside
			if n < length-1 {
				s.Party = name(n + 1)
			}
		})
		inside = json.RawMessage(`[{"type":"` + statement + `","rel":"moved_from","token":"` + text + `"}]`)
	}
	return text
}

// byDigest is the parameter tokens with a token by its digest; edit replaces text of it.
func byDigest(t *testing.T, rel nested.Relation, token string, edit ...string) string {
	t.Helper()
	text, err := nested.Build(nested.Entry{Relation: rel, Token: token, ByDigest: true})
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(edit...).Replace(string(text))
}

// list is the parameter tokens with several entries.
func list(entries ...string) string {
	for n := range entries {
		entries[n] = strings.TrimSuffix(strings.TrimPrefix(entries[n], "["), "]")
	}
	return "[" + strings.Join(entries, ",") + "]"
}

// raw is the parameter tokens with anything for a token.
func raw(typ string, rel, token string) string {
	return fmt.Sprintf(`[{"type":%q,"rel":%q,"token":%q}]`, typ, rel, token)
}

// TestEmbedRefusesEnclosed holds that a token is embedded only if it is valid by itself and bound to the token around it: for each
// code of package nested there is a request that is refused with it, and that names the token at fault.
func TestEmbedRefusesEnclosed(t *testing.T) {
	c := newCast(t)
	key := newKey(t)
	delegation := c.delegate(t, c.held, key)
	laptop := newDevice(t)
	link := func(t *testing.T) statements.Statement {
		return c.state(t, c.held, nested.Statement{Type: nested.TypeLink, Party: oldAlice})
	}
	other := func(t *testing.T, party string) string {
		return c.old.states(t, nested.TypeLink, oldAlice, func(s *nested.Statement) { s.Party = party })
	}
	withdrawn := link(t)
	if err := c.made.Withdraw(t.Context(), person(t, c.held), nested.TypeLink, withdrawn.JTI); err != nil {
		t.Fatal(err)
	}
	grant := c.state(t, c.held, grantTo("service", "introspect"))
	ofPeer := func(change func(s *nested.Statement)) func(t *testing.T) string {
		return func(t *testing.T) string { return entry(t, nested.MemberOf, c.member(t, change)) }
	}
	edited := func(from, to string) func(t *testing.T) string {
		return func(t *testing.T) string {
			return raw(statement, "member_of", c.school.edited(t, nested.TypeMember, c.member(t, nil), from, to))
		}
	}
	her := with(embedForm(""), subjectForm(c.held))
	its := embedForm("")
	covered := map[string]bool{}
	for name, test := range map[string]struct {
		client string
		d      *device
		form   url.Values
		tokens func(t *testing.T) string
		want   string // the path and the code
	}{
		"not a token": {"app", c.phone, her, func(*testing.T) string { return raw(statement, "member_of", "garbage") }, "tokens[0]: malformed"},
		"no array":    {"app", c.phone, her, func(*testing.T) string { return `{}` }, "malformed"},
		"too large": {"app", c.phone, her, edited(`"role":"engineer"`, `"role":"`+strings.Repeat("r", nested.MaxToken)+`"`),
			"tokens[0]: too_large"},
		"too deep": {"app", c.phone, her, func(t *testing.T) string { return raw(statement, "moved_from", c.moves(t, 3)) },
			"tokens[0].tokens[0].tokens[0]: too_deep"},
		"too many": {"app", c.phone, her, func(t *testing.T) string {
			return list(slices.Repeat([]string{entry(t, nested.MemberOf, c.member(t, nil))}, nested.MaxTokens)...)
		}, "too_many"},
		"a statement of another type": {"app", c.phone, her, func(t *testing.T) string {
			return raw(statement, "member_of", link(t).Token)
		}, "tokens[0]: wrong_type"},
		"a user's access token as a grant": {"service", c.machine, its, func(*testing.T) string {
			return raw(accessToken, "acts_for", c.held)
		}, "tokens[0]: wrong_type"},
		"an unknown relation": {"app", c.phone, her, func(t *testing.T) string {
			return raw(statement, "knows", c.member(t, nil))
		}, "tokens[0]: unknown_relation"},
		"one token twice": {"app", c.phone, her, func(t *testing.T) string {
			text := entry(t, nested.MemberOf, c.member(t, nil))
			return list(text, text)
		}, "tokens[1]: repeated_jti"},
		"a token that encloses itself": {"app", c.phone, her, func(t *testing.T) string {
			return raw(statement, "moved_from", c.move(t, func(s *nested.Statement) {
				s.Tokens = json.RawMessage(`[{"type":"` + statement + `:reference","rel":"moved_from","jti":"` + s.JTI +
					`","digest":{"alg":"sha-256","hash":"` + strings.Repeat("0", 64) + `"}}]`)
			}))
		}, "tokens[0].tokens[0]: cycle"},
		"a digest by another algorithm": {"app", c.phone, her, func(t *testing.T) string {
			return byDigest(t, nested.MemberOf, c.member(t, nil), "sha-256", "sha-512")
		}, "tokens[0]: wrong_digest"},
		"a digest without its token": {"app", c.phone, her, func(t *testing.T) string {
			return byDigest(t, nested.MemberOf, c.member(t, nil))
		}, "tokens[0]: absent"},
		"a bearer token": {"app", c.phone, her, func(t *testing.T) string {
			return raw(accessToken, "attested_by", c.old.vouches(t, ""))
		}, "tokens[0]: bearer_token"},

		"another key's signature": {"app", c.phone, her, func(t *testing.T) string {
			forger := *c.school
			forger.key = newKey(t)
			return raw(statement, "member_of", forger.edited(t, nested.TypeMember, c.member(t, nil), `"engineer"`, `"head"`))
		}, "tokens[0]: bad_signature"},
		"an issuer that is not trusted": {"app", c.phone, her, func(t *testing.T) string {
			return entry(t, nested.MemberOf, c.rogue.states(t, nested.TypeMember, "im:wxyz=%23%23engineering@rogue.example",
				func(s *nested.Statement) { s.Party = c.alice.Subject }))
		}, "tokens[0]: untrusted_issuer"},
		"a peer about another domain": {"app", c.phone, her, func(t *testing.T) string {
			return entry(t, nested.MemberOf, c.old.states(t, nested.TypeMember, team,
				func(s *nested.Statement) { s.Party = c.alice.Subject }))
		}, "tokens[0]: foreign_domain"},
		"expired": {"app", c.phone, her, ofPeer(func(s *nested.Statement) {
			s.IssuedAt, s.Expires = s.IssuedAt.Add(-time.Hour), s.IssuedAt
		}), "tokens[0]: expired"},
		"expired inside": {"app", c.phone, her, func(t *testing.T) string {
			inner := c.move(t, func(s *nested.Statement) {
				s.Subject, s.Party = "im:a@old.example;id-type=user", oldAlice
				s.IssuedAt, s.Expires = s.IssuedAt.Add(-time.Hour), s.IssuedAt
			})
			return entry(t, nested.MovedFrom, c.move(t, func(s *nested.Statement) {
				s.Tokens = json.RawMessage(raw(statement, "moved_from", inner))
			}))
		}, "tokens[0].tokens[0]: expired"},
		"not valid yet": {"app", c.phone, her, ofPeer(func(s *nested.Statement) {
			s.NotBefore = s.IssuedAt.Add(10 * time.Minute)
		}), "tokens[0]: not_yet_valid"},
		"for somebody else": {"app", c.phone, her, ofPeer(func(s *nested.Statement) {
			s.Audience = []string{"https://rooms.example.com"}
		}), "tokens[0]: wrong_audience"},
		"valid for years": {"app", c.phone, her, edited(`"exp":`, `"exp":9`), "tokens[0]: bad_claim"},
		"with a place in a status list": {"app", c.phone, her, edited(`"member":`,
			`"status":{"status_list":{"idx":1,"uri":"https://id.school.example/list"}},"member":`), "tokens[0]: unchecked_status"},
		"withdrawn": {"app", c.phone, her, func(t *testing.T) string {
			return list(entry(t, nested.SameAs, withdrawn.Token), entry(t, nested.SameAs, other(t, c.alice.Subject)))
		}, "tokens[0]: revoked"},

		"about somebody else": {"app", c.phone, her, ofPeer(func(s *nested.Statement) {
			s.Party = "im:b0b@example.com;id-type=user"
		}), "tokens[0]: not_bound"},
		"a grant to another client": {"service", c.machine, its, func(t *testing.T) string {
			return entry(t, nested.ActsFor, c.state(t, c.held, grantTo("bearer", "im:handle")).Token)
		}, "tokens[0]: not_bound"},
		"a token of another key": {"app", c.phone, her, func(t *testing.T) string {
			return raw(accessToken, "attested_by", c.old.vouches(t, laptop.JKT()))
		}, "tokens[0]: not_bound"},
		"one half of a link": {"app", c.phone, her, func(t *testing.T) string {
			return entry(t, nested.SameAs, link(t).Token)
		}, "tokens[0]: one_half"},
		"more devices than the delegation allows": {"app", laptop, its, func(t *testing.T) string {
			return entry(t, nested.AttestedBy, c.deviceBy(t, func(s nested.Statement) string { return c.byKey(t, key, delegation, s) },
				c.alice, laptop.JKT(), "07c", 5))
		}, "tokens[0].tokens[0]: outside_delegation"},
		"more scope than the grant": {"service", c.machine, with(its, url.Values{"scope": {"im:handle"}}), func(t *testing.T) string {
			return entry(t, nested.ActsFor, grant.Token)
		}, "tokens[0]: wider"},
	} {
		want := refusal{code: "invalid_embedded_token", description: test.want}
		covered[test.want[strings.LastIndexByte(test.want, ' ')+1:]] = true
		t.Run(name, func(t *testing.T) {
			c.refuses(t, c.request(t, test.client, test.d, with(test.form, url.Values{"tokens": {test.tokens(t)}})), want)
		})
	}
	for _, code := range nestedCodes(t) {
		if !covered[code] {
			t.Errorf("no request is refused with the code %s", code)
		}
	}
	c.token(t, "app", c.phone, with(her, url.Values{"tokens": {ofPeer(nil)(t)}}))
}

// TestExchangeRefusesEnclosed holds that a statement is exchanged only if it is valid by itself, with all that it encloses.
func TestExchangeRefusesEnclosed(t *testing.T) {
	c := newCast(t)
	key := newKey(t)
	delegation := c.delegate(t, c.held, key)
	ended := c.delegate(t, c.held, key)
	if err := c.made.Withdraw(t.Context(), person(t, c.held), nested.TypeDelegation, ended.JTI); err != nil {
		t.Fatal(err)
	}
	// forged signs the claims of a grant with the key of a peer.
	forged := func(p *peer, change func(s *nested.Statement)) func(t *testing.T) string {
		return func(t *testing.T) string {
			return p.states(t, nested.TypeActor, oldAlice, func(s *nested.Statement) {
				s.Party, s.PartyIssuer, s.Scope = "service", issuerURL, "im:handle"
				if change != nil {
					change(s)
				}
			})
		}
	}
	keyed := func(by statements.Statement, change func(s *nested.Statement)) func(t *testing.T) string {
		return func(t *testing.T) string {
			s := grantTo("service", "im:handle")
			if change != nil {
				change(&s)
			}
			return c.byKey(t, key, by, s)
		}
	}
	granted := func(t *testing.T) nested.Statement { // with the delegation by its digest
		s := grantTo("service", "im:handle")
		s.Tokens = json.RawMessage(byDigest(t, nested.Cascade, delegation.Token))
		return s
	}
	for name, test := range map[string]struct {
		token func(t *testing.T) string
		want  string
	}{
		"not a token":          {func(*testing.T) string { return "garbage" }, "malformed"},
		"another statement":    {func(t *testing.T) string { return c.member(t, nil) }, "wrong_type"},
		"nobody's":             {forged(c.rogue, nil), "untrusted_issuer"},
		"about another domain": {forged(c.school, nil), "foreign_domain"},
		"expired": {forged(c.old, func(s *nested.Statement) {
			s.IssuedAt, s.Expires = s.IssuedAt.Add(-time.Hour), s.IssuedAt
		}), "expired"},
		"not valid yet": {forged(c.old, func(s *nested.Statement) { s.NotBefore = s.IssuedAt.Add(time.Hour / 2) }), "not_yet_valid"},
		"for others":    {forged(c.old, func(s *nested.Statement) { s.Audience = []string{"https://rooms.example.com"} }), "wrong_audience"},
		"another key's signature": {func(t *testing.T) string {
			forger := *c.old
			forger.key = newKey(t)
			return forged(&forger, nil)(t)
		}, "bad_signature"},
		"with a key in its header": {func(t *testing.T) string {
			jwk, err := jose.MarshalJWK(c.old.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			good := strings.Split(forged(c.old, nil)(t), ".")
			payload, err := jose.DecodeBase64(good[1])
			if err != nil {
				t.Fatal(err)
			}
			header := fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q,"jwk":%s}`, nested.TypeActor, peerKID, jwk)
			text, err := jose.Sign(c.old.key, jose.ES256, header, payload)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}, "malformed"},
		"with a place in a status list": {func(t *testing.T) string {
			return c.old.edited(t, nested.TypeActor, forged(c.old, nil)(t), `"scope":`,
				`"status":{"status_list":{"idx":1,"uri":"https://id.old.example/list"}},"scope":`)
		}, "unchecked_status"},
		"valid for years": {func(t *testing.T) string {
			return c.old.edited(t, nested.TypeActor, forged(c.old, nil)(t), `"exp":`, `"exp":9`)
		}, "bad_claim"},
		"by a key of an ended delegation": {keyed(ended, nil), "tokens[0]: revoked"},
		"by a key, for longer than the delegation": {func(t *testing.T) string {
			short := c.state(t, c.held, nested.Statement{
				Type: nested.TypeDelegation, JKT: delegation.JKT, Limits: delegation.Limits, Expires: c.clock.now().Add(time.Minute),
			})
			return keyed(short, nil)(t)
		}, "tokens[0]: wider"},
		"by a key that may not grant": {func(t *testing.T) string {
			limits := *delegation.Limits
			limits.Statements = nil
			without := c.state(t, c.held, nested.Statement{Type: nested.TypeDelegation, JKT: delegation.JKT, Limits: &limits})
			return keyed(without, nil)(t)
		}, "tokens[0]: outside_delegation"},
		"by another key than that of the delegation": {func(t *testing.T) string {
			return c.byKey(t, newKey(t), delegation, grantTo("service", "im:handle"))
		}, "tokens[0]: not_bound"},
		"a delegation by its digest alone": {func(t *testing.T) string {
			return c.byKey(t, key, delegation, granted(t))
		}, "tokens[0]: absent"},
	} {
		t.Run(name, func(t *testing.T) {
			form := exchangeForm(test.token(t), statement, c.actor)
			c.refuses(t, c.request(t, "service", c.machine, form),
				refusal{code: "invalid_request", description: "The subject_token is not valid: " + test.want})
		})
	}
	t.Run("a delegation by its digest", func(t *testing.T) {
		form := exchangeForm(c.byKey(t, key, delegation, granted(t)), statement, c.actor)
		along, err := json.Marshal([]string{delegation.Token})
		if err != nil {
			t.Fatal(err)
		}
		c.token(t, "service", c.machine, with(form, url.Values{"im_along": {string(along)}}))
	})
	t.Run("a grant in a domain of a peer", func(t *testing.T) {
		c.refuses(t, c.request(t, "service", c.machine, exchangeForm(forged(c.old, nil)(t), statement, c.actor)),
			refusal{code: "invalid_request", description: "The subject is of a domain that this server does not issue in"})
	})
	t.Run("a grant of a peer in a domain of the issuer", func(t *testing.T) { // no authority should let that happen
		liar := &peer{"https://liar.example", "example.com", newKey(t), c.clock.now}
		c.peers.peers[liar.issuer] = liar
		token := liar.states(t, nested.TypeActor, c.alice.Subject, func(s *nested.Statement) {
			s.Party, s.PartyIssuer, s.Scope = "service", issuerURL, "im:handle"
		})
		c.refuses(t, c.request(t, "service", c.machine, exchangeForm(token, statement, c.actor)),
			refusal{code: "invalid_request", description: "The subject_token is another issuer's"})
	})
}
