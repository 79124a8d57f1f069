package nested

import (
	"errors"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
)

// relate checks the relation between l and the token around it.
func (op *opener) relate(l *Layer) error {
	if l.outer == nil {
		return nil
	}
	rule := l.Relation.lookup()
	if err := rule.binds(l.outer, l); err != nil {
		code := CodeBinding
		var f *faultError
		if errors.As(err, &f) {
			code = f.code
		}
		return l.refuse(code, "%w", err)
	}
	if rule.derived {
		return l.within()
	}
	return nil
}

// within checks that the outer token does not expire later than l, and has no wider scope.
func (l *Layer) within() error {
	if l.outer.Until.After(l.Until) {
		return l.refuse(CodeWider, "the outer token expires later")
	}
	if l.Relation == ActsFor && !subset(l.outer.Access.Scope, l.Statement.Scope) {
		return l.refuse(CodeWider, "the outer token has a wider scope")
	}
	return nil
}

// subset reports whether every word of scope is in of.
func subset(scope, of string) bool {
	words := strings.Fields(of)
	for word := range strings.FieldsSeq(scope) {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return true
}

var (
	errSubject = errors.New("does not name the subject of the outer token")
	errKey     = errors.New("the two tokens are bound to different keys")
	errActing  = errors.New("a token with act does not say who holds it")
)

// acts reports whether the holder of the token is an actor, not its subject (RFC 8693 §4.1).
func (l *Layer) acts() bool { return l.Access != nil && l.Access.Actor != nil }

// bindCascade: the key that the delegation names signed the outer statement, which is about the same user. The delegation allows
// that statement and all statements that follow from it.
func bindCascade(outer, inner *Layer) error {
	if err := bindKey(outer, inner); err != nil {
		return err
	}
	d := inner.Statement
	l := outer
	for steps := 1; ; steps++ {
		if err := d.Limits.allow(l.Statement, d, steps); err != nil {
			return fault(CodeDelegation, err.Error())
		}
		if l.Relation != Cascade {
			return nil
		}
		l = l.outer
	}
}

// bindSeparate: a device and its user, named by one issuer, without an actor. That the device belongs to the user of its own token
// is checked with that token.
func bindSeparate(outer, inner *Layer) error {
	switch {
	case outer.acts() || inner.acts():
		return errActing
	case outer.Issuer != inner.Issuer:
		return errors.New("the two tokens have different issuers")
	case outer.Access.Device == "" || inner.Access.Device != "":
		return errors.New("the outer token must have a device, and the inner one none")
	case outer.Subject != inner.Subject:
		return errSubject
	}
	return nil
}

// bindActsFor: the grant names the actor. Either the outer token is about the user who made the grant, with the actor in `act`
// (RFC 8693 §4.1; only the current actor counts), or it is the actor's own token.
func bindActsFor(outer, inner *Layer) error {
	grant := inner.Statement
	actor := claims.Actor{Subject: outer.Subject, Issuer: outer.Issuer}
	if act := outer.Access.Actor; act != nil {
		if outer.Subject != inner.Subject {
			return errSubject
		}
		actor = *act
	}
	named := actor.Subject == grant.Party && (grant.PartyIssuer == "" || actor.Issuer == grant.PartyIssuer)
	// A client id identifies a client only together with its issuer.
	if _, err := (claims.Parser{AllowSingleLabel: true}).Parse(grant.Party); err != nil && grant.PartyIssuer == "" {
		named = false
	}
	if !named {
		return errors.New("does not name the actor")
	}
	return nil
}

// bindParty: the statement names the outer subject exactly. The subject is a user, because a client id alone identifies nobody.
func bindParty(outer, inner *Layer) error {
	if inner.Statement.Party != outer.Subject || outer.domain == "" {
		return errSubject
	}
	return nil
}

// bindSameAs: two identities of one person name each other, and one of them is the outer subject.
func bindSameAs(outer, inner *Layer) error {
	s := inner.Statement
	if s.Subject != outer.Subject && s.Party != outer.Subject {
		return errSubject
	}
	for _, other := range outer.Inner {
		if other.Relation == SameAs && other.Subject == s.Party && other.Statement.Party == s.Subject {
			return nil
		}
	}
	return fault(CodeHalf, "the statement of the other identity is missing")
}

// bindRenamedFrom: the same user, whose handle is the new handle of the statement, now or before a later change.
func bindRenamedFrom(outer, inner *Layer) error {
	if outer.Subject != inner.Subject {
		return errSubject
	}
	handle := outer.handle()
	if outer.Type == TypeRename {
		handle = outer.Statement.OldHandle
	}
	if handle != "" && handle != inner.handle() {
		return errors.New("names another handle than the token around it")
	}
	return nil
}

// bindAttestedBy: both tokens are bound to the same key, and its holder is the subject of both: with the token of an actor, the actor
// would be taken for the user. A statement by the user's own key attests a device of the user, and names it.
func bindAttestedBy(outer, inner *Layer) error {
	switch {
	case outer.acts() || inner.acts():
		return errActing
	case outer.boundTo() == "" || outer.boundTo() != inner.boundTo():
		return errKey
	case inner.Statement == nil:
		return nil
	case outer.Subject != inner.Subject || outer.Access.Device != inner.Statement.Device:
		return errSubject
	}
	return nil
}
