package httpapi

import (
	"time"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/types/api"
)

// Statement returns a statement as the wire has it. The token is empty unless the request made the statement.
func Statement(s nested.Statement, token string) api.Statement {
	party := s.Parties()
	v := api.Statement{
		ID: s.JTI, Type: s.Type, Subject: s.Subject, Actor: party.Actor, ActorIssuer: party.ActorIssuer, Scope: s.Scope, JKT: s.JKT,
		SameAs: party.SameAs, MovedTo: party.MovedTo, Member: party.Member, Role: s.Role, Guardian: party.Guardian,
		Handle: s.Handle, OldHandle: s.OldHandle, Audience: s.Audience, CreatedAt: s.IssuedAt.UTC(), ExpiresAt: s.Expires.UTC(),
		Token: token,
	}
	if l := s.Limits; l != nil {
		v.Limits = &api.Limits{
			Devices: l.Devices, Count: l.Count, Lifetime: int64(l.Lifetime / time.Second), Depth: l.Depth, Statements: l.Statements,
		}
	}
	return v
}
