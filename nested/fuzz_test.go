package nested_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// FuzzOpen opens anything, and anything that an issuer would sign: the payload of an inner token is signed by a trusted
// issuer and wrapped in Alice's. What stands after white space comes along. Whatever it is, the work is bounded; and what is
// accepted is about Alice or the key of Alice, has no more rights than the token of Alice, and can be explained.
func FuzzOpen(f *testing.F) {
	for _, v := range readVectors(f) {
		how := uint8(0)
		if v.Types != nil {
			how |= anyType
		}
		if v.NJWT != "" {
			how |= withNJWT
		}
		f.Add(strings.Join(append([]string{v.Token}, v.Along...), " "), []byte(nil), uint8(0), how)
	}
	for _, token := range []string{userToken(), grant(), delegation(), deviceStatement(), half(signers[home], alice, aliceOld), rename(),
		move(), member(), guardian(), vouched()} {
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
		if by&anyType != 0 {
			o.Types = statementTypes
		}
		if by&withNJWT != 0 {
			o.NJWT = nested.ActsFor
		}
		if parts := strings.Fields(token); len(parts) > 1 {
			token, o.Along = parts[0], parts[1:]
		}
		var n int
		var err error
		if allocated := allocates(func() { n, err = nested.OpenCounting(t.Context(), token, o) }); allocated > maxAllocated {
			t.Errorf("%d bytes allocated, want at most %d", allocated, maxAllocated)
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
			if by&anyType == 0 {
				t.Fatalf("the outermost token is a %s", root.Type)
			}
			if tree.Scope != "" && root.Type != nested.TypeActor {
				t.Errorf("scope %q of a %s", tree.Scope, root.Type)
			}
			return
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

// How an input of FuzzOpen is opened.
const (
	anyType  = 1 << 6 // a statement may be the outermost
	withNJWT = 1 << 7
)

var statementTypes = []string{
	nested.TypeAccessToken, nested.TypeActor, nested.TypeDelegation, nested.TypeDevice, nested.TypeLink, nested.TypeRename,
	nested.TypeMove, nested.TypeMember, nested.TypeGuardian,
}

// FuzzReadEntries reads entries of a request. Accepted entries are within the limits, and a token that is built of them is
// read back as the same.
func FuzzReadEntries(f *testing.F) {
	g := grant()
	f.Add("["+element(jwtType, `"rel":"acts_for"`, tokenMember(g))+"]", "")
	f.Add("["+element(jwtType+":reference", `"rel":"acts_for"`, digestOf("sha-256", hexSum(g)), `"jti":"grant"`)+"]", g)
	f.Add("["+element(accessType, `"rel":"separate"`, tokenMember(userToken()))+","+element(jwtType, `"rel":"member_of"`,
		tokenMember(member()))+"]", "a b")
	f.Add(`[]`, "")
	f.Fuzz(func(t *testing.T, raw, along string) {
		list := strings.Fields(along)
		entries, err := nested.ReadEntries(json.RawMessage(raw), list)
		if err != nil {
			return
		}
		if len(entries) == 0 || len(entries) >= nested.MaxTokens || len(raw) > 2*nested.MaxTotal {
			t.Errorf("%d entries of %d bytes", len(entries), len(raw))
		}
		built, err := nested.Build(entries...)
		if err != nil {
			return // of a type or a relation that cannot be built
		}
		again, err := nested.ReadEntries(built, list)
		if err != nil {
			t.Fatalf("ReadEntries of %s = %v", built, err)
		}
		for i, e := range entries {
			if a := again[i]; a.Relation != e.Relation || a.Token != e.Token || a.ByDigest != e.ByDigest {
				t.Errorf("entry %d is %+v, and read back %+v", i, e, a)
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
