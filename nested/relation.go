package nested

import "slices"

// A Relation is what the outer subject is to the inner one: the `rel` of an entry of `tokens`.
type Relation string

// The relations. There are no others.
const (
	// Cascade: a user's key signed the outer statement, and the inner delegation names that key and allows it.
	Cascade Relation = "cascade"
	// Separate: a device token beside the token of its user, by the same issuer.
	Separate Relation = "separate"
	// ActsFor: a bridge, bot or agent acts for a user, who or whose issuer granted it.
	ActsFor Relation = "acts_for"
	// MemberOf: a person in an organisation, a team or a role.
	MemberOf Relation = "member_of"
	// GuardianOf: a guardian and a child.
	GuardianOf Relation = "guardian_of"
	// SameAs: two identities of one person; both say so.
	SameAs Relation = "same_as"
	// RenamedFrom: a user and her former handle.
	RenamedFrom Relation = "renamed_from"
	// MovedFrom: a user and who she was in another domain.
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

// A relation is a line of the table: what may lie inside what, and what must hold between the two.
type relation struct {
	name         Relation
	outer, inner []string // types
	// derived says that the outer token has its rights from the inner one: it neither lives longer nor may more.
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

// lookup returns the line of the table for r, nil if it has none.
func (r Relation) lookup() *relation {
	i := slices.IndexFunc(relations, func(line relation) bool { return line.name == r })
	if i < 0 {
		return nil
	}
	return &relations[i]
}
