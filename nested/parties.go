package nested

// Parties is the party that a statement names, in the field of its role. At most one role is set, that of the statement's
// type: an im-actor+jwt names an actor, an im-member+jwt a member.
type Parties struct {
	Actor       string // sub of may_act: who may act for the subject
	ActorIssuer string // iss of may_act
	SameAs      string // same_as: another user who is the same person as the subject
	MovedTo     string // moved_to: the new identity of the subject
	Member      string // member: who belongs to the subject
	Guardian    string // guardian: the guardian of the subject
}

// Parties returns [Statement.Party] by its role.
func (s *Statement) Parties() Parties {
	switch s.Type {
	case TypeActor:
		return Parties{Actor: s.Party, ActorIssuer: s.PartyIssuer}
	case TypeLink:
		return Parties{SameAs: s.Party}
	case TypeMove:
		return Parties{MovedTo: s.Party}
	case TypeMember:
		return Parties{Member: s.Party}
	case TypeGuardian:
		return Parties{Guardian: s.Party}
	}
	return Parties{}
}
