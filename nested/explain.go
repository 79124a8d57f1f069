package nested

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
)

// Explain describes the token: a sentence for each relation, the scope of the whole, and a line for each token with its signer.
// Times are in UTC, without the date if it is the day of the check.
//
// Others chose the names in it. A name of letters, digits, dots, hyphens and underscores is written as it is, an identifier with
// other characters as its URI, and all other text in quotation marks, so that no name can continue a sentence.
func (t *Tree) Explain() string {
	var b strings.Builder
	for _, l := range t.Layers() {
		if sentence := t.sentence(l); sentence != "" {
			b.WriteString(sentence + ".\n")
		}
	}
	switch root := t.person(t.Root); {
	case t.Actor != nil && !t.Root.granted():
		fmt.Fprintf(&b, "%s acts for %s until %s, as %s says.\n", t.Actor.possessive(), root, t.clock(t.Root.Until),
			issuerName(t.Root.Issuer))
	case b.Len() == 0:
		fmt.Fprintf(&b, "This is %s until %s.\n", root, t.clock(t.Until))
	}
	if t.Scope != "" {
		fmt.Fprintf(&b, "Scope: %s.\n", scopeNames(t.Scope))
	}
	switch {
	case !t.asked:
		b.WriteString("Revocation was not checked.\n")
	case !t.Assurance.Unrevoked:
		b.WriteString("Revocation was not checked for every token.\n")
	}
	b.WriteByte('\n')
	for _, l := range t.Layers() {
		where := l.Path
		if where == "" {
			where = "token"
		}
		if l.ByDigest {
			where += " (by digest)"
		}
		fmt.Fprintf(&b, "%s: %s by %s, valid from %s until %s\n", where, l.Type, l.signer(), t.clock(l.From), t.clock(l.Until))
	}
	return b.String()
}

// sentence describes the relation of l to the token around it, and how long it holds. It returns "" if another sentence says the
// same.
func (t *Tree) sentence(l *Layer) string {
	if l.outer == nil {
		return ""
	}
	outer, inner := t.person(l.outer), t.person(l)
	end := l.Until
	if l.outer.Until.Before(end) {
		end = l.outer.Until
	}
	until := " until " + t.clock(end)
	switch l.Relation {
	case Cascade:
		return l.delegated(inner) + until
	case Separate:
		return name(l.outer.Access.Device) + " is a device of " + outer + until
	case ActsFor:
		return actor(l.outer).possessive() + " acts for " + inner + until
	case MemberOf:
		if role := l.Statement.Role; role != "" {
			return outer + " is " + quote(role) + " in " + name(l.Subject) + until
		}
		return outer + " is a member of " + name(l.Subject) + until
	case GuardianOf:
		return outer + " is a guardian of " + inner + until
	case SameAs:
		if l.Subject == l.outer.Subject { // the sentence of the other half says the same
			return ""
		}
		return outer + " and " + inner + " are the same person" + until
	case RenamedFrom:
		return name(l.Statement.Handle) + " was formerly " + name(l.Statement.OldHandle)
	case MovedFrom:
		return outer + " was formerly " + inner
	case AttestedBy:
		if l.Statement != nil {
			return "A key of " + inner + " vouches for " + name(l.Statement.Device) + until
		}
		return issuerName(l.Issuer) + " knows the holder as " + inner + until
	}
	return ""
}

// delegated describes the statement that the key of a delegation signed.
func (l *Layer) delegated(user string) string {
	switch l.outer.Type {
	case TypeDevice:
		return name(l.outer.Statement.Device) + " belongs to " + user + ", signed with the user's own key,"
	case TypeDelegation:
		return "A key of " + user + " delegates to another key"
	}
	return user + " signs with their own key"
}

// person names the subject of a token: with a handle as in "Alice (@alice@example.com)", else by its URI, and a service with its
// issuer. If the token has no handle, another token about the same subject may have one.
func (t *Tree) person(l *Layer) string {
	if l.domain == "" {
		return clientName(l.Subject, l.Issuer)
	}
	handle := l.handle()
	if i := slices.IndexFunc(t.Subjects, func(s Subject) bool { return s.URI == l.Subject }); i >= 0 && handle == "" {
		handle = t.Subjects[i].Handle
	}
	id, err := parser.Parse(handle)
	switch {
	case err != nil:
		return name(l.Subject)
	case !bare(id):
		return id.String()
	}
	local := id.Local()
	if local == "" || local[0] < 'a' || local[0] > 'z' {
		return claims.Display(id)
	}
	return strings.ToUpper(local[:1]) + local[1:] + " (" + claims.Display(id) + ")"
}

// possessive names an actor by its domain: "bridge.example's bot".
func (s *Subject) possessive() string {
	uri := s.Handle
	if uri == "" {
		uri = s.URI
	}
	id, err := parser.Parse(uri)
	switch {
	case err != nil:
		return clientName(s.URI, s.Issuer)
	case !bare(id):
		return id.String()
	}
	return id.Domain() + "'s " + id.Local()
}

// clientName names a service, whose id is unique only at its issuer.
func clientName(id, issuer string) string {
	if issuer == "" { // an actor without iss
		return "client " + word(id)
	}
	return "client " + word(id) + " of " + issuerName(issuer)
}

// signer names the signer and the key.
func (l *Layer) signer() string {
	switch {
	case l.unsigned:
		return issuerName(l.Issuer) + " (not yet signed)"
	case l.byUser():
		return name(l.Issuer) + " (own key " + l.JKT + ")"
	}
	return issuerName(l.Issuer) + " (key " + word(l.Kid) + ")"
}

// clock writes a time, with the date if that is not the day of the check.
func (t *Tree) clock(at time.Time) string {
	at, now := at.UTC(), t.now.UTC()
	if at.Year() == now.Year() && at.YearDay() == now.YearDay() {
		return at.Format("15:04 UTC")
	}
	return at.Format("2006-01-02 15:04 UTC")
}
