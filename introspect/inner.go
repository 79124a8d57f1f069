package introspect

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// An inner token lies in a token of the issuer.
type inner struct {
	*nested.Layer
	// asked says that the issuer itself knows whether it was revoked; of others it would have to ask theirs.
	asked   bool
	subject Token
	// domain is that of the subject of a foreign token, whose issuer must still be believed.
	domain string
}

// open holds what t encloses to the rules of package nested. Its own signature and claims have been checked.
func (i *Introspector) open(ctx context.Context, t *token, along []string) error {
	if i.cfg.Authority == nil {
		return &nested.Error{Code: nested.CodeIssuer} // nobody is believed: a no, not that it cannot be known
	}
	tree, err := nested.Check(ctx, t.Set, nested.Options{
		Keys: i.cfg.Authority, Audience: t.Audience, Along: along, Now: i.cfg.Now, Leeway: leeway,
		Development: i.cfg.Development,
	})
	if err != nil {
		return err
	}
	t.tree = tree
	for _, l := range tree.Layers()[1:] {
		in, err := i.inner(l)
		if err != nil {
			return err
		}
		t.inner = append(t.inner, in)
	}
	return nil
}

// inner says by what a layer may be revoked.
func (i *Introspector) inner(l *nested.Layer) (inner, error) {
	in := inner{Layer: l, asked: l.Issuer == i.cfg.Issuer}
	if l.Access != nil {
		t, err := newToken(*l.Access, l.Kid)
		if err != nil {
			return in, err
		}
		in.subject, in.domain = t.subject, t.subject.Domain // nobody acts by it: no relation takes such a token
		return in, nil
	}
	// A statement is about somebody, whatever she is called, and does not grow old with her generation.
	in.subject = Token{JTI: l.RevocationKey(), KID: l.Kid, Gen: math.MaxInt64, Statement: l.Issuer == i.cfg.Issuer}
	id, err := (claims.Parser{AllowSingleLabel: true}).Parse(l.Subject)
	if err != nil {
		return in, err
	}
	in.domain = id.Domain()
	if l.Issuer == l.Subject { // by her own key: her issuer knows what became of it
		for _, own := range i.cfg.Domains {
			in.asked = in.asked || own == in.domain
		}
	}
	if id.Type() == claims.TypeUser {
		in.subject.Domain, in.subject.User = id.Domain(), id.Local()
	}
	return in, nil
}

// judgeInner looks at what may have changed about enclosed tokens since they were opened: time, revocation, and whether
// their issuers are still believed. The session of an actor is one more thing that the whole stands on.
func (i *Introspector) judgeInner(ctx context.Context, t *token, now time.Time) (verdict, error) {
	for _, actor := range t.actors {
		if reason, err := i.cfg.Source.Revoked(ctx, actor); err != nil || reason != "" {
			return verdict{reason: reason}, err
		}
	}
	for _, in := range t.inner {
		if !now.Before(in.Until) {
			return verdict{Expired, in.Path}, nil
		}
		if in.asked {
			if reason, err := i.cfg.Source.Revoked(ctx, in.subject); err != nil || reason != "" {
				return verdict{reason, in.Path}, err
			}
		}
		if in.Kid == "" { // signed by a user's key, under a delegation that is looked at in its turn
			continue
		}
		err := i.believed(ctx, in)
		switch {
		case errors.Is(err, errOtherKey):
			return verdict{Reason(nested.CodeSignature), in.Path}, nil
		case errors.Is(err, claims.ErrDomain):
			return verdict{Reason(nested.CodeDomain), in.Path}, nil
		case errors.Is(err, claims.ErrIssuer):
			return verdict{Reason(nested.CodeIssuer), in.Path}, nil
		case err != nil:
			return verdict{}, err
		}
	}
	return verdict{}, nil
}

// errOtherKey is about a key that its issuer replaced under the same kid.
var errOtherKey = errors.New("introspect: signed by a key that its issuer has replaced")

// believed reports whether the issuer of an enclosed token still has the key, and the say about its subject.
func (i *Introspector) believed(ctx context.Context, in inner) error {
	key, _, err := i.cfg.Authority.Key(ctx, in.Issuer, in.Kid)
	if err != nil {
		return err
	}
	if !in.SignedBy(key) {
		return errOtherKey
	}
	if in.domain == "" {
		return nil // a service is its issuer's own
	}
	return i.cfg.Authority.Speaks(ctx, in.Issuer, in.domain)
}

// A Layer is what an answer says of a token that is enclosed.
type Layer struct {
	// Path is where it lies: "tokens[0].tokens[1]".
	Path     string          `json:"path"`
	Relation nested.Relation `json:"rel"`
	Type     string          `json:"typ"`
	// Active is true for a token that was checked for revocation. It is left out for one that nobody was asked about, as is
	// another issuer's, which may have been revoked.
	Active bool `json:"active,omitempty"`
	// Revocation is "checked", or "not_asked" where only another issuer knows whether the token was revoked.
	Revocation string `json:"revocation"`
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Handle     string `json:"handle,omitempty"`
	Device     string `json:"device,omitempty"`
	// What a statement says beside its subject, by the names of its claims. Which it has depends on its type.
	OldHandle string `json:"old_handle,omitempty"` // of a user who was renamed
	Role      string `json:"role,omitempty"`       // of a member, in words
	MayAct    *Actor `json:"may_act,omitempty"`    // who may act for the subject
	SameAs    string `json:"same_as,omitempty"`    // who else the subject is
	MovedTo   string `json:"moved_to,omitempty"`   // who the subject is now
	Member    string `json:"member,omitempty"`     // who belongs to the subject
	Guardian  string `json:"guardian,omitempty"`   // of the subject
	JTI       string `json:"jti"`
	ExpiresAt int64  `json:"exp"`
}

// say fills in what a statement says.
func (l *Layer) say(s *nested.Statement) {
	l.Handle, l.Device, l.OldHandle, l.Role = s.Handle, s.Device, s.OldHandle, s.Role
	switch s.Type {
	case nested.TypeActor:
		l.MayAct = &Actor{Subject: s.Party, Issuer: s.PartyIssuer}
	case nested.TypeLink:
		l.SameAs = s.Party
	case nested.TypeMove:
		l.MovedTo = s.Party
	case nested.TypeMember:
		l.Member = s.Party
	case nested.TypeGuardian:
		l.Guardian = s.Party
	}
}

// layers says what the enclosed tokens of an active one are.
func (t *token) layers() []Layer {
	var list []Layer
	for _, in := range t.inner {
		l := Layer{
			Path: in.Path, Relation: in.Relation, Type: in.Type, Revocation: "not_asked",
			Issuer: in.Issuer, Subject: in.Subject, JTI: in.JTI(), ExpiresAt: in.Until.Unix(),
		}
		if in.asked {
			l.Active, l.Revocation = true, "checked"
		}
		if in.Access != nil {
			l.Handle, l.Device = in.Access.Handle, in.Access.Device
		} else {
			l.say(in.Statement)
		}
		list = append(list, l)
	}
	return list
}
