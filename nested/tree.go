package nested

import (
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
)

// A Tree is the checked content of a token and all tokens inside it.
type Tree struct {
	// Root is the outermost token.
	Root *Layer `json:"token"`
	// Subjects are the subjects of the tokens, each once, outer before inner. With same_as and attested_by they are one person; with
	// renamed_from and moved_from the first is the current identity.
	Subjects []Subject `json:"subjects"`
	// Actor is the actor, by grants inside the outermost token or only by its `act`. Nil if there is none.
	Actor *Subject `json:"actor,omitempty"`
	// Scope is the scope of the whole: the words that all access tokens and grants have, in the order of the outermost token.
	Scope string `json:"scope,omitempty"`
	// From and Until are the times between which all tokens are valid.
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Assurance Assurance `json:"assurance"`

	now   time.Time
	asked bool // revocations were looked up
}

// A Subject is the subject of a token.
type Subject struct {
	URI    string `json:"uri"`              // of a user or a group; the client id of a service
	Handle string `json:"handle,omitempty"` // a URI, if a token has it
	Issuer string `json:"iss"`              // of the token
	Path   string `json:"path"`             // of the token
}

// An Assurance is what all access tokens say about the logins behind them.
type Assurance struct {
	ACR      string     `json:"acr,omitempty"`       // empty if the tokens differ or one has none
	AMR      []string   `json:"amr,omitempty"`       // the values that all tokens have
	AuthTime *time.Time `json:"auth_time,omitempty"` // the earliest; nil if one has none
	// Unrevoked says that the revocation of each token was looked up, and that none was revoked; see [Options].
	Unrevoked bool `json:"unrevoked"`
}

// Layers returns all tokens in the order of the text, outer before inner.
func (t *Tree) Layers() []*Layer { return appendLayers(nil, t.Root) }

func appendLayers(list []*Layer, l *Layer) []*Layer {
	list = append(list, l)
	for _, inner := range l.Inner {
		list = appendLayers(list, inner)
	}
	return list
}

// tree makes the tree of the checked tokens.
func (op *opener) tree() *Tree {
	layers := op.read.layers
	root := layers[0]
	t := &Tree{
		Root: root, now: op.now, asked: op.Revoked != nil, From: root.From, Until: root.Until,
		Assurance: Assurance{Unrevoked: op.Revoked != nil && !op.notAsked},
	}
	for i, l := range layers {
		t.From = later(t.From, l.From)
		if l.Until.Before(t.Until) {
			t.Until = l.Until
		}
		t.addSubject(l)
		if scope, limited := l.scope(); limited {
			if i == 0 {
				t.Scope = scope
			} else {
				t.Scope = intersection(t.Scope, scope)
			}
		}
		if l.Access != nil {
			t.Assurance.add(l.Access, i == 0)
		}
	}
	t.Actor = actor(root)
	return t
}

// addSubject adds the subject of l, or its handle to a known subject without one. A client id is unique only at its issuer, so
// services with the same id at two issuers are two subjects.
func (t *Tree) addSubject(l *Layer) {
	s := Subject{URI: l.Subject, Handle: l.handle(), Issuer: l.Issuer, Path: l.Path}
	if l.Statement != nil && l.Statement.OldHandle != "" {
		s.Handle = l.Statement.OldHandle
	}
	for i := range t.Subjects {
		known := &t.Subjects[i]
		if known.URI == s.URI && (l.domain != "" || known.Issuer == s.Issuer) &&
			(known.Handle == s.Handle || s.Handle == "" || l.Type != TypeRename) {
			if known.Handle == "" {
				known.Handle = s.Handle
			}
			return
		}
	}
	t.Subjects = append(t.Subjects, s)
}

// scope returns the scope of the token. Statements about identities do not limit the scope of the whole.
func (l *Layer) scope() (scope string, limited bool) {
	switch {
	case l.Access != nil:
		return l.Access.Scope, true
	case l.Type == TypeActor:
		return l.Statement.Scope, true
	}
	return "", false
}

// intersection returns the words that are in a and b.
func intersection(a, b string) string {
	words := strings.Fields(b)
	var both []string
	for word := range strings.FieldsSeq(a) {
		if slices.Contains(words, word) {
			both = append(both, word)
		}
	}
	return strings.Join(both, " ")
}

// add reduces a to what s says too.
func (a *Assurance) add(s *claims.Set, first bool) {
	if first {
		a.ACR, a.AMR = s.ACR, slices.Clone(s.AMR)
		if !s.AuthTime.IsZero() {
			a.AuthTime = &s.AuthTime
		}
	}
	if a.ACR != s.ACR {
		a.ACR = ""
	}
	a.AMR = slices.DeleteFunc(a.AMR, func(method string) bool { return !slices.Contains(s.AMR, method) })
	switch {
	case s.AuthTime.IsZero():
		a.AuthTime = nil // the time of one login is unknown
	case a.AuthTime != nil && s.AuthTime.Before(*a.AuthTime):
		a.AuthTime = &s.AuthTime
	}
}

// actor returns the actor of the outermost token: the one in `act`, or its subject if there is a grant inside.
func actor(root *Layer) *Subject {
	if root.Access == nil {
		return nil
	}
	if act := root.Access.Actor; act != nil {
		return &Subject{URI: act.Subject, Issuer: act.Issuer, Path: root.Path}
	}
	if !root.granted() {
		return nil
	}
	return &Subject{URI: root.Subject, Handle: root.handle(), Issuer: root.Issuer, Path: root.Path}
}

// granted reports whether there is a grant inside the token.
func (l *Layer) granted() bool {
	return slices.ContainsFunc(l.Inner, func(inner *Layer) bool { return inner.Relation == ActsFor })
}
