package nested

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
)

// Explain says in words what the token comes to: a sentence for each relation, what the whole may do, and a line for each
// token, with who signed it. Times are in UTC, without the date on the day of the check.
func (t *Tree) Explain() string {
	var b strings.Builder
	for _, l := range t.Layers() {
		if sentence := t.sentence(l); sentence != "" {
			b.WriteString(sentence + ".\n")
		}
	}
	switch root := t.person(t.Root.Subject, t.Root.handle()); {
	case t.Actor != nil && !t.Root.granted():
		fmt.Fprintf(&b, "%s acts for %s until %s, as %s says.\n", t.Actor.possessive(), root, t.clock(t.Root.Until), printable(t.Root.Issuer))
	case b.Len() == 0:
		fmt.Fprintf(&b, "This is %s until %s.\n", root, t.clock(t.Until))
	}
	if t.Scope != "" {
		fmt.Fprintf(&b, "Scope: %s.\n", printable(t.Scope))
	}
	if !t.Assurance.Unrevoked {
		b.WriteString("Nobody was asked whether any of it was revoked.\n")
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

// sentence says what relates l to the token around it, and until when, or that it is of the past; "" where another
// sentence says it.
func (t *Tree) sentence(l *Layer) string {
	if l.outer == nil {
		return ""
	}
	outer, inner := t.person(l.outer.Subject, l.outer.handle()), t.person(l.Subject, l.handle())
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
		if l.Subject == l.outer.Subject { // the other half says it
			return ""
		}
		return outer + " and " + inner + " are one person" + until
	case RenamedFrom:
		return name(l.Statement.Handle) + " was " + name(l.Statement.OldHandle) + " before"
	case MovedFrom:
		return outer + " was " + inner + " before"
	case AttestedBy:
		if l.Statement != nil {
			return "A key of " + inner + " vouches for " + name(l.Statement.Device) + until
		}
		return printable(l.Issuer) + " knows the holder as " + inner + until
	}
	return ""
}

// delegated says what the key of a delegation signed.
func (l *Layer) delegated(user string) string {
	switch l.outer.Type {
	case TypeDevice:
		return name(l.outer.Statement.Device) + " belongs to " + user + ", by a key of their own,"
	case TypeDelegation:
		return "A key of " + user + " lets another key speak"
	}
	return user + " speaks by a key of their own"
}

// person names a user as others know her: with a handle "Alice (@alice@example.com)", else by what the URI says. A handle
// that is not given is that of the subjects.
func (t *Tree) person(uri, handle string) string {
	if i := slices.IndexFunc(t.Subjects, func(s Subject) bool { return s.URI == uri }); i >= 0 && handle == "" {
		handle = t.Subjects[i].Handle
	}
	id, err := parser.Parse(handle)
	if err != nil {
		return name(uri)
	}
	local := id.Local()
	if local == "" || local[0] < 'a' || local[0] > 'z' || strings.ContainsFunc(local, func(r rune) bool { return r >= 0x7F }) {
		return claims.Display(id)
	}
	return strings.ToUpper(local[:1]) + local[1:] + " (" + claims.Display(id) + ")"
}

// possessive names an actor by its home: "bridge.example's bot".
func (s *Subject) possessive() string {
	uri := s.Handle
	if uri == "" {
		uri = s.URI
	}
	id, err := parser.Parse(uri)
	switch {
	case err != nil:
		return printable(s.Issuer) + "'s client " + printable(s.URI)
	case strings.ContainsFunc(id.Local(), func(r rune) bool { return r >= 0x7F }):
		return claims.Display(id)
	}
	return id.Domain() + "'s " + id.Local()
}

// name shows an identifier, or what cannot be read as one.
func name(uri string) string {
	id, err := parser.Parse(uri)
	if err != nil {
		return printable(uri)
	}
	return claims.Display(id)
}

// parser reads what has been checked.
var parser = claims.Parser{AllowSingleLabel: true}

// printable returns text that cannot be mistaken for another line, or change how one runs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r >= 0x7F {
			return '?'
		}
		return r
	}, s)
}

// quote returns text in quotation marks, without control characters, and where it is not ASCII set off from the text
// around it by isolates (UAX #9 §2.4).
func quote(s string) string {
	s = strconv.Quote(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x7F }) {
		return "\u2068" + s + "\u2069"
	}
	return s
}

// signer says who signed, and by which key.
func (l *Layer) signer() string {
	switch {
	case l.unsigned:
		return printable(l.Issuer) + " (not yet signed)"
	case l.byUser():
		return name(l.Issuer) + " (own key " + l.JKT + ")"
	}
	return printable(l.Issuer) + " (key " + printable(l.Kid) + ")"
}

// clock writes a time of the day, on another day with the date.
func (t *Tree) clock(at time.Time) string {
	at, now := at.UTC(), t.now.UTC()
	if at.Year() == now.Year() && at.YearDay() == now.YearDay() {
		return at.Format("15:04 UTC")
	}
	return at.Format("2006-01-02 15:04 UTC")
}
