package nested_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/vectortest"
	"github.com/imidentity/issuer/nested"
)

// A vector is one file of testdata/vectors, for other implementations. testdata/README.md describes the members.
type vector struct {
	Comment   string             `json:"comment"`
	Now       int64              `json:"now"`
	Audience  []string           `json:"audience"`
	Types     []string           `json:"types,omitempty"`
	Relations []nested.Relation  `json:"relations,omitempty"`
	NJWT      nested.Relation    `json:"njwt,omitempty"`
	Along     []string           `json:"along,omitempty"`
	Revoked   []string           `json:"revoked,omitempty"`
	Issuers   vectortest.Issuers `json:"issuers,omitempty"` // nil: those of testdata/issuers.json
	Token     string             `json:"token"`
	Tree      json.RawMessage    `json:"tree,omitempty"`
	Error     *vectorError       `json:"error,omitempty"`
}

type vectorError struct {
	Path string      `json:"path"`
	Code nested.Code `json:"code"`
}

// vectorOf writes a case down.
func vectorOf(t testing.TB, c testCase) vector {
	t.Helper()
	o := options()
	if c.verifier != nil {
		c.verifier(&o)
	}
	v := vector{
		Comment: c.comment, Now: now.Unix(), Audience: o.Audience, Types: o.Types, Relations: o.Relations, NJWT: o.NJWT,
		Along: o.Along, Revoked: c.revoked, Token: c.token,
	}
	if d := o.Keys.(directory); !maps.EqualFunc(d, peers, slices.Equal) {
		v.Issuers = d.trusted(t)
	}
	if c.code != "" {
		v.Error = &vectorError{c.path, c.code}
		return v
	}
	tree, err := v.open(t)
	if err != nil {
		t.Fatalf("Open = %v, want a tree: %s", err, c.comment)
	}
	if v.Tree, err = json.Marshal(tree); err != nil {
		t.Fatal(err)
	}
	return v
}

// trusted writes the directory down.
func (d directory) trusted(t testing.TB) vectortest.Issuers {
	t.Helper()
	list := vectortest.Issuers{}
	for issuer, domains := range d {
		s := signers[issuer]
		list[issuer] = vectortest.Issuer{Domains: domains, Keys: []json.RawMessage{vectortest.JWK(t, s.kid, s.alg, s.key)}}
	}
	return list
}

// options are those of the verifier that v describes.
func (v *vector) options(t testing.TB) nested.Options {
	t.Helper()
	known := v.Issuers
	if known == nil {
		vectortest.ReadJSON(t, "testdata/issuers.json", &known)
	}
	return nested.Options{
		Keys: known, Audience: v.Audience, Types: v.Types, Relations: v.Relations, NJWT: v.NJWT, Along: v.Along,
		Now: func() time.Time { return time.Unix(v.Now, 0).UTC() }, Development: true,
		Revoked: func(_ context.Context, l *nested.Layer) (bool, error) {
			return slices.Contains(v.Revoked, l.JTI()), nil
		},
	}
}

func (v *vector) open(t testing.TB) (*nested.Tree, error) {
	t.Helper()
	return nested.Open(t.Context(), v.Token, v.options(t))
}

// TestWriteVectors checks the files against the cases. Signatures are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	vectortest.WriteJSON(t, "testdata/issuers.json", peers.trusted(t))
	vectortest.WriteAll(t, cases(), func(c testCase) (string, any) { return c.name, vectorOf(t, c) })
}

// readVectors reads testdata/vectors, by name.
func readVectors(t testing.TB) map[string]*vector {
	t.Helper()
	return vectortest.ReadAll[vector](t, "vectors/*.json", 60)
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		v := vectors[name]
		t.Run(name, func(t *testing.T) {
			tree, err := v.open(t)
			if v.Error != nil {
				wantRefused(t, v.Comment, err, v.Error.Path, v.Error.Code)
				return
			}
			if err != nil {
				t.Fatalf("Open = %v, want a tree: %s", err, v.Comment)
			}
			got, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Compact(&want, v.Tree); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("Open = %s\nwant %s", got, want.Bytes())
			}
		})
	}
}

func wantRefused(t testing.TB, what string, err error, path string, code nested.Code) {
	t.Helper()
	var refused *nested.Error
	switch {
	case !errors.As(err, &refused):
		t.Errorf("Open = %v, want %s at %q: %s", err, code, path, what)
	case refused.Path != path || !errors.Is(err, code):
		t.Errorf("Open = %v, want %s at %q: %s", err, code, path, what)
	}
}
