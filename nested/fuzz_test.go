package nested_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// FuzzOpen opens anything, and anything that an issuer would sign: the payload of an inner token is signed by a trusted
// issuer and wrapped in Alice's. Whatever it is, the work is bounded; and what is accepted is about Alice, or about her
// key, has no more rights than her token, and can be explained.
func FuzzOpen(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.Token, []byte(nil), uint8(0), uint8(0))
	}
	for _, token := range []string{userToken(), grant(), delegation(), deviceStatement(), half(signers[home], alice, aliceOld), rename(), move(), member(), guardian(), vouched()} {
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			f.Fatal(err)
		}
		for i := range nested.Relations() {
			f.Add(jws.Header.Typ, jws.Payload, uint8(i), uint8(0))
			f.Add(jws.Header.Typ, jws.Payload, uint8(i), uint8(2))
		}
	}
	issuers := []string{home, bridge, school, old, vouch}
	f.Fuzz(func(t *testing.T, text string, payload []byte, rel, by uint8) {
		token := text
		if payload != nil { // text is the typ of a token to sign
			if len(payload) > 2*nested.MaxToken || len(text) > 255 || strings.ContainsAny(text, "\"\\") {
				return
			}
			s := signers[issuers[int(by)%len(issuers)]]
			inner, err := s.sign(text, payload)
			if err != nil {
				return
			}
			typ := jwtType
			if text == nested.TypeAccessToken {
				typ = accessType
			}
			relations := nested.Relations()
			token = aliceToken(raw(element(typ, `"rel":"`+string(relations[int(rel)%len(relations)])+`"`, tokenMember(inner))))
		}
		o := options()
		var n int
		var err error
		if allocated := allocates(func() { n, err = nested.OpenCounting(t.Context(), token, o) }); allocated > maxAllocated {
			t.Errorf("%d octets allocated, want at most %d", allocated, maxAllocated)
		}
		if n > nested.MaxTokens {
			t.Errorf("%d signatures checked, want at most %d", n, nested.MaxTokens)
		}
		if err != nil {
			return
		}
		tree, err := nested.Open(t.Context(), token, o)
		if err != nil {
			t.Fatalf("Open = %v the second time", err)
		}
		if tree.Explain() == "" {
			t.Error("Explain has no words")
		}
		root := tree.Root
		if root.Access == nil {
			t.Fatalf("the outermost token is a %s", root.Type)
		}
		for _, l := range root.Inner {
			named := l.Subject == root.Subject || l.Statement != nil && l.Statement.Party == root.Subject ||
				l.Access != nil && l.Access.JKT == root.Access.JKT || l.Relation == nested.ActsFor && l.Statement.Party == actorOf(root)
			if !named {
				t.Errorf("%s of %s does not name %s", l.Relation, l.Subject, root.Subject)
			}
			if l.Until.Before(tree.Until) {
				t.Errorf("until %v, and %q until %v", tree.Until, l.Path, l.Until)
			}
		}
		for word := range strings.FieldsSeq(tree.Scope) {
			if !slices.Contains(strings.Fields(root.Access.Scope), word) {
				t.Errorf("scope %q of a token that has %q", tree.Scope, root.Access.Scope)
			}
		}
	})
}

// actorOf returns who acts by an access token.
func actorOf(l *nested.Layer) string {
	if act := l.Access.Actor; act != nil {
		return act.Subject
	}
	return l.Subject
}
