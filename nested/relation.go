package nested

import "slices"

// A Relation is the relation of the outer subject to the inner one: the `rel` of an entry of `tokens`.
type Relation string

// The relations. There are no others.
const (
	// Cascade: a user's key signed the outer statement, and the inner delegation names that key and allows it.
	Cascade Relation = "cascade"
	// Separate: a device token beside the token of its user, by the same issuer.
	Separate Relation = "separate"
	// ActsFor: a bridge, bot or agent acts for a user, by a grant of the user or of the user's issuer.
	ActsFor Relation = "acts_for"
	// MemberOf: a person in an organisation, a team or a role.
	MemberOf Relation = "member_of"
	// GuardianOf: a guardian and a child.
	GuardianOf Relation = "guardian_of"
	// SameAs: two identities of one person, each naming the other.
	SameAs Relation = "same_as"
	// RenamedFrom: a user and a former handle of the user.
	RenamedFrom Relation = "renamed_from"
	// MovedFrom: a user and the user's former identity in another domain.
	MovedFrom Relation = "moved_from"
	// AttestedBy: the same key in a token of another issuer, or in a device statement of the user's own key.
	AttestedBy Relation = "attested_by"
)

// Relations returns all relations.
func Relations() []Relation {
	list := make([]Relation, len(relations))
	for i, r := range relations {
		list[i] = r.name
	}
	return list
}

// A relation is a rule of the table: which types may be inside which, and the binding between the two.
type relation struct {
	name         Relation
	outer, inner []string // types
	// derived says that the rights of the outer token come from the inner one: it must not expire later or have a wider scope.
	derived bool
	binds   func(outer, inner *Layer) error
}

var relations = []relation{
	{Cascade, []string{TypeDevice, TypeActor, TypeLink, TypeDelegation}, []string{TypeDelegation}, true, bindCascade},
	{Separate, []string{TypeAccessToken}, []string{TypeAccessToken}, false, bindSeparate},
	{ActsFor, []string{TypeAccessToken}, []string{TypeActor}, true, bindActsFor},
	{MemberOf, []string{TypeAccessToken}, []string{TypeMember}, false, bindParty},
	{GuardianOf, []string{TypeAccessToken}, []string{TypeGuardian}, false, bindParty},
	{SameAs, []string{TypeAccessToken}, []string{TypeLink}, false, bindSameAs},
	{RenamedFrom, []string{TypeAccessToken, TypeRename}, []string{TypeRename}, false, bindRenamedFrom},
	{MovedFrom, []string{TypeAccessToken, TypeMove}, []string{TypeMove}, false, bindParty},
	{AttestedBy, []string{TypeAccessToken}, []string{TypeAccessToken, TypeDevice}, false, bindAttestedBy},
}

// lookup returns the rule for r, and nil if there is none.
func (r Relation) lookup() *relation {
	i := slices.IndexFunc(relations, func(rule relation) bool { return rule.name == r })
	if i < 0 {
		return nil
	}
	return &relations[i]
}
