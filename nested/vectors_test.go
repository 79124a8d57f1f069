package nested_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

var update = flag.Bool("update", false, "write the vectors of testdata anew")

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
	Issuers   map[string]trusted `json:"issuers,omitempty"` // nil: those of testdata/issuers.json
	Token     string             `json:"token"`
	Tree      json.RawMessage    `json:"tree,omitempty"`
	Error     *vectorError       `json:"error,omitempty"`
}

// A trusted issuer is one whose keys and domains the verifier knows.
type trusted struct {
	Domains []string          `json:"domains"`
	Keys    []json.RawMessage `json:"keys"` // JWKs
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
func (d directory) trusted(t testing.TB) map[string]trusted {
	t.Helper()
	list := map[string]trusted{}
	for issuer, domains := range d {
		s := signers[issuer]
		jwk, err := jose.MarshalJWK(s.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		jwk = fmt.Appendf(nil, `{"kid":%q,"alg":%q,%s`, s.kid, s.alg, jwk[1:])
		list[issuer] = trusted{domains, []json.RawMessage{jwk}}
	}
	return list
}

// issuers is the source of keys that a vector has.
type issuers map[string]trusted

func (i issuers) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	for _, raw := range i[issuer].Keys {
		if key, err := jose.ParseJWK(raw); err == nil && key.Kid == kid {
			return key.Public, key.Alg, nil
		}
	}
	return nil, "", claims.ErrIssuer
}

func (i issuers) Speaks(_ context.Context, issuer, domain string) error {
	if !slices.Contains(i[issuer].Domains, domain) {
		return claims.ErrDomain
	}
	return nil
}

// options are those of the verifier that v describes.
func (v *vector) options(t testing.TB) nested.Options {
	t.Helper()
	known := v.Issuers
	if known == nil {
		readJSON(t, "testdata/issuers.json", &known)
	}
	return nested.Options{
		Keys: issuers(known), Audience: v.Audience, Types: v.Types, Relations: v.Relations, NJWT: v.NJWT, Along: v.Along,
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
	writeJSON(t, "testdata/issuers.json", peers.trusted(t))
	files := map[string]bool{}
	for _, c := range cases() {
		if files[c.name] {
			t.Errorf("two cases have the name %s", c.name)
		}
		files[c.name] = true
		writeJSON(t, "testdata/vectors/"+c.name+".json", vectorOf(t, c))
	}
	for name := range readVectors(t) {
		if !files[name] {
			t.Errorf("testdata/vectors/%s.json has no case", name)
		}
	}
}

// writeJSON writes v to file with -update, and otherwise compares the two.
func writeJSON(t testing.TB, file string, v any) {
	t.Helper()
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what its case makes", file)
	}
}

func readJSON(t testing.TB, file string, to any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// readVectors reads testdata/vectors, by name.
func readVectors(t testing.TB) map[string]*vector {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d vectors, want at least 60: %v", len(files), err)
	}
	vectors := map[string]*vector{}
	for _, file := range files {
		v := new(vector)
		readJSON(t, file, v)
		vectors[strings.TrimSuffix(filepath.Base(file), ".json")] = v
	}
	return vectors
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
