package nested

import (
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
)

// A Tree is what a token and all that it encloses come to.
type Tree struct {
	// Root is the outermost token.
	Root *Layer `json:"token"`
	// Subjects are those whom the tokens are about, each once, outer before inner. For same_as and attested_by they are
	// one person, for renamed_from and moved_from the first is who she is now.
	Subjects []Subject `json:"subjects"`
	// Actor is who acts for somebody: by grants that the outermost token encloses, or because its issuer says so in `act`
	// alone. Nil if nobody does.
	Actor *Subject `json:"actor,omitempty"`
	// Scope is what the whole may do: the words that every access token and grant in it has, in the order of the outermost.
	Scope string `json:"scope,omitempty"`
	// From and Until are when all of it is valid.
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Assurance Assurance `json:"assurance"`

	now   time.Time
	asked bool // whether tokens were revoked
}

// A Subject is somebody whom a token is about.
type Subject struct {
	URI    string `json:"uri"`              // a user's, or what somebody is a member of; of a service its client id
	Handle string `json:"handle,omitempty"` // URI, if the token tells it
	Issuer string `json:"iss"`              // who says so
	Path   string `json:"path"`             // of the token
}

// An Assurance is the least of what the access tokens say about how people logged in.
type Assurance struct {
	ACR      string     `json:"acr,omitempty"`       // that of all; empty if they differ or one has none
	AMR      []string   `json:"amr,omitempty"`       // those that all have
	AuthTime *time.Time `json:"auth_time,omitempty"` // the earliest; nil if one has none
	// Unrevoked says that each token was asked about, and that none was revoked; see [Options].
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

// tree puts together what was found good.
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

// addSubject adds the subject of l, or its handle to a subject that had none. A service's id means something with its issuer
// only, so two services of one id under two issuers are two subjects.
func (t *Tree) addSubject(l *Layer) {
	s := Subject{URI: l.Subject, Handle: l.handle(), Issuer: l.Issuer, Path: l.Path}
	if l.Statement != nil && l.Statement.OldHandle != "" {
		s.Handle = l.Statement.OldHandle
	}
	for i := range t.Subjects {
		known := &t.Subjects[i]
		if known.URI == s.URI && (l.domain != "" || known.Issuer == s.Issuer) && (known.Handle == s.Handle || s.Handle == "" || l.Type != TypeRename) {
			if known.Handle == "" {
				known.Handle = s.Handle
			}
			return
		}
	}
	t.Subjects = append(t.Subjects, s)
}

// scope returns what the token lets be done. Statements about who somebody is do not limit it.
func (l *Layer) scope() (scope string, limited bool) {
	switch {
	case l.Access != nil:
		return l.Access.Scope, true
	case l.Type == TypeActor:
		return l.Statement.Scope, true
	}
	return "", false
}

// intersection returns the words of a that b has too.
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

// add takes the least of a and what the token says.
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
		a.AuthTime = nil // of one nobody knows when it was
	case a.AuthTime != nil && s.AuthTime.Before(*a.AuthTime):
		a.AuthTime = &s.AuthTime
	}
}

// actor returns who acts by the outermost token: whom its issuer names in `act`, or itself by somebody's grant.
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

// granted reports whether the token encloses a grant.
func (l *Layer) granted() bool {
	return slices.ContainsFunc(l.Inner, func(inner *Layer) bool { return inner.Relation == ActsFor })
}
