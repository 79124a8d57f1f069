package cert_test

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/vectortest"
)

// A vector is one file of testdata/vectors, for other implementations. testdata/README.md describes the members.
type vector struct {
	Comment string              `json:"comment"`
	Now     int64               `json:"now"`
	Roots   map[string][][]byte `json:"roots"`
	Chain   [][]byte            `json:"chain"`
	Lists   [][]byte            `json:"crls"` // null: the verifier looks up none
	Result  *vectorResult       `json:"result,omitempty"`
	Error   *vectorError        `json:"error,omitempty"`
	Unknown bool                `json:"unknown,omitempty"`
}

type vectorResult struct {
	Device  string `json:"device,omitempty"`
	User    string `json:"user,omitempty"`
	Handle  string `json:"handle,omitempty"`
	Serial  string `json:"serial"`
	Issuer  string `json:"issuer"`
	JKT     string `json:"jkt"`
	From    int64  `json:"from"`
	Until   int64  `json:"until"`
	Checked bool   `json:"checked"`
}

type vectorError struct {
	Code credential.Code `json:"code"`
	Part string          `json:"part,omitempty"`
}

// lists is the source of revocation lists of a vector. The first list of the CA counts.
type lists struct {
	der [][]byte
	now time.Time
}

func (l lists) CRL(_ context.Context, issuer *x509.Certificate, _ []string) (*cert.CRL, error) {
	failed := cert.ErrNoList
	for _, der := range l.der {
		list, err := cert.ParseCRL(der)
		if err == nil {
			err = list.Verify(issuer, l.now)
		}
		if err == nil {
			return list, nil
		}
		failed = err
	}
	return nil, failed
}

func (v *vector) verify(t testing.TB) (credential.Credential, error) {
	t.Helper()
	at := time.Unix(v.Now, 0)
	o := cert.Options{Roots: rootsOf(t, v.Roots), Now: func() time.Time { return at }, Development: true}
	if v.Lists != nil {
		o.CRLs = lists{v.Lists, at}
	}
	return cert.Verify(t.Context(), v.Chain, o)
}

func rootsOf(t testing.TB, list map[string][][]byte) cert.Roots {
	t.Helper()
	roots := make(cert.Roots)
	for domain, ders := range list {
		roots[domain] = x509.NewCertPool()
		for _, der := range ders {
			root, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			roots[domain].AddCert(root)
		}
	}
	return roots
}

// vectorOf writes a case down.
func vectorOf(t testing.TB, c testCase) *vector {
	t.Helper()
	v := &vector{Comment: c.comment, Now: c.at.Unix(), Roots: make(map[string][][]byte), Chain: c.chain, Lists: c.crls, Unknown: c.unknown}
	for domain, roots := range c.roots {
		v.Roots[domain] = chainOf(roots...)
	}
	if v.Lists == nil && !c.noCRLs {
		v.Lists = [][]byte{}
	}
	switch {
	case c.unknown:
	case c.code != "":
		v.Error = &vectorError{c.code, c.part}
	default:
		good, err := v.verify(t)
		if err != nil {
			t.Fatalf("%s: Verify = %v, want a credential: %s", c.name, err, c.comment)
		}
		v.Result = resultOf(good)
	}
	return v
}

func resultOf(c credential.Credential) *vectorResult {
	text := func(id claims.ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	return &vectorResult{
		Device: text(c.Identity.Device), User: text(c.Identity.User), Handle: text(c.Identity.Handle), Serial: c.ID, Issuer: c.Issuer,
		JKT: c.JKT, From: c.From.Unix(), Until: c.Until.Unix(), Checked: c.Checked,
	}
}

// TestWriteVectors checks the files against the cases. Signatures are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	vectortest.WriteAll(t, cases(t), func(c testCase) (string, any) { return c.name, vectorOf(t, c) })
}

// readVectors reads testdata/vectors, by name.
func readVectors(t testing.TB) map[string]*vector {
	t.Helper()
	return vectortest.ReadAll[vector](t, "vectors/*.json", 80)
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		v := vectors[name]
		t.Run(name, func(t *testing.T) {
			got, err := v.verify(t)
			var refused *credential.Error
			isRefusal := errors.As(err, &refused)
			switch {
			case v.Unknown:
				if err == nil || isRefusal {
					t.Errorf("Verify = %v, want that it cannot be known: %s", err, v.Comment)
				}
			case v.Error != nil:
				if !isRefusal || refused.Code != v.Error.Code || refused.Part != v.Error.Part {
					t.Errorf("Verify = %v, want %s of %q: %s", err, v.Error.Code, v.Error.Part, v.Comment)
				}
			case err != nil:
				t.Errorf("Verify = %v, want a credential: %s", err, v.Comment)
			case *resultOf(got) != *v.Result:
				t.Errorf("Verify = %+v, want %+v", resultOf(got), v.Result)
			}
			if stands := credential.Stands(err); stands != (got.JKT != "") {
				t.Errorf("Verify returned a credential: %t, want %t after %v", got.JKT != "", stands, err)
			}
		})
	}
}
