package cert_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/imidentity/issuer/credential/cert"
)

// rewrite signs a revocation list again after an edit of the fields that are signed, and appends bytes to the outer sequence.
func (p party) rewrite(t *testing.T, der []byte, edit func(fields [][]byte) [][]byte, more ...byte) []byte {
	t.Helper()
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	in, tbs := cryptobyte.String(list.RawTBSRevocationList), cryptobyte.String(nil)
	if !in.ReadASN1(&tbs, cbasn1.SEQUENCE) {
		t.Fatal("not a sequence")
	}
	var fields [][]byte
	for !tbs.Empty() {
		var (
			field cryptobyte.String
			tag   cbasn1.Tag
		)
		if !tbs.ReadAnyASN1Element(&field, &tag) {
			t.Fatal("not an element")
		}
		fields = append(fields, append([]byte(nil), field...))
	}
	algorithm := append([]byte(nil), fields[1]...)
	sequence := func(parts ...[]byte) []byte {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, part := range parts {
				b.AddBytes(part)
			}
		})
		return b.BytesOrPanic()
	}
	signed := sequence(edit(fields)...)
	signature, err := p.key.Sign(random("crl"), signed, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	var bits cryptobyte.Builder
	bits.AddASN1BitString(signature)
	return sequence(signed, algorithm, bits.BytesOrPanic(), more)
}

// A list that the CA has signed, but whose entries or extensions stand where a reader does not expect them, is not read as an empty or
// complete one.
func TestParseCRLWhole(t *testing.T) {
	f := newFixture(t)
	der := f.issuing.crl(t, nil, bigInt(5))
	const entries, extensions = 5, 6 // version, signature, issuer, thisUpdate, nextUpdate, entries, extensions
	whole := func(fields [][]byte) [][]byte { return fields }
	for name, c := range map[string]struct {
		edit func([][]byte) [][]byte
		more []byte
		want error
	}{
		"as it was": {whole, nil, nil},
		"entries as a set": {func(fields [][]byte) [][]byte {
			fields[entries][0] = 0x31
			return fields[:extensions]
		}, nil, cert.ErrMalformed},
		"entries after the extensions": {func(fields [][]byte) [][]byte {
			fields[entries], fields[extensions] = fields[extensions], fields[entries]
			return fields
		}, nil, cert.ErrMalformed},
		"second entries": {func(fields [][]byte) [][]byte { return append(fields, fields[entries]) }, nil, cert.ErrMalformed},
		"extensions with another tag": {func(fields [][]byte) [][]byte {
			fields[extensions][0] = 0xa1
			return fields
		}, nil, cert.ErrMalformed},
		"bytes after the signature": {whole, []byte{5, 0}, cert.ErrMalformed},
	} {
		list, err := cert.ParseCRL(f.issuing.rewrite(t, der, c.edit, c.more...))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: ParseCRL = %v, want %v", name, err, c.want)
		}
		if err == nil {
			if err := list.Verify(f.issuing.Certificate, now); err != nil || list.Len() != 1 {
				t.Errorf("%s: %d entries, %v", name, list.Len(), err)
			}
		}
	}
}

// The extensions that make a list partial or indirect count also if they are not critical, as RFC 5280 demands.
func TestParseCRLPartial(t *testing.T) {
	f := newFixture(t)
	for name, edit := range map[string]func(*x509.RevocationList){
		"issuingDistributionPoint": func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Value: []byte{0x30, 3, 0x82, 1, 0xff}}}
		},
		"certificateIssuer": func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 29}, Value: []byte{0x30, 0}}}
		},
	} {
		if _, err := cert.ParseCRL(f.issuing.crl(t, edit, bigInt(5))); !errors.Is(err, cert.ErrMalformed) {
			t.Errorf("%s: ParseCRL = %v, want %v", name, err, cert.ErrMalformed)
		}
	}
}

// Without a source of roots no answer is given, and in particular no refusal.
func TestVerifyWithoutRoots(t *testing.T) {
	f := newFixture(t)
	chain := chainOf(f.issuing.issue(t, cert.Combined, f.id, ""), f.issuing.Certificate)
	if got, err := cert.Verify(t.Context(), chain, cert.Options{}); err == nil || errors.Is(err, cert.ErrUnknown) {
		t.Errorf("Verify = %+v, %v", got, err)
	}
}
