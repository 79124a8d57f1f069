package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuerAltName    = asn1.ObjectIdentifier{2, 5, 29, 18}
	oidDistributionList = asn1.ObjectIdentifier{2, 5, 29, 31} // cRLDistributionPoints

	oidDeltaCRL          = asn1.ObjectIdentifier{2, 5, 29, 27} // deltaCRLIndicator
	oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28} // issuingDistributionPoint
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29} // certificateIssuer

	// oidIMURI is id-kp-imUri (RFC 9734 §3).
	oidIMURI = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 40}
)

// tagURI is the tag of uniformResourceIdentifier in a GeneralName (RFC 5280 §4.2.1.6).
var tagURI = cryptobyte_asn1.Tag(6).ContextSpecific()

var (
	errNames    = errors.New("not a list of names in DER")
	errNotURI   = errors.New("a name that is not a URI")
	errTooMany  = errors.New("too many names")
	errNoNames  = errors.New("missing")
	errEncoding = errors.New("an identifier that cannot be written in IA5")
)

// maxNames bounds how many names an extension may have: a device, a user and a handle.
const maxNames = 3

// generalNames returns GeneralNames with URIs. It writes their bytes as they are: package crypto/x509 would encode some characters anew.
func generalNames(uris ...string) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, uri := range uris {
			b.AddASN1(tagURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
		}
	})
	for _, uri := range uris {
		if !isIA5(uri) {
			return nil, errEncoding
		}
	}
	return b.Bytes()
}

// readNames reads GeneralNames that are all URIs.
func readNames(der []byte) ([]string, error) {
	in, list := cryptobyte.String(der), cryptobyte.String(nil)
	if !in.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) || !in.Empty() {
		return nil, errNames
	}
	var uris []string
	for !list.Empty() {
		var (
			value cryptobyte.String
			tag   cryptobyte_asn1.Tag
		)
		switch {
		case !list.ReadAnyASN1(&value, &tag):
			return nil, errNames
		case tag != tagURI:
			return nil, errNotURI
		case len(uris) == maxNames:
			return nil, errTooMany
		case len(value) == 0 || !isIA5(string(value)):
			return nil, errNames
		}
		uris = append(uris, string(value))
	}
	if uris == nil { // SIZE (1..MAX)
		return nil, errNames
	}
	return uris, nil
}

// hasURI reports whether the subjectAltName of a CA has a URI, as that of a user's CA has. It is true as well if the extension cannot be
// read.
func hasURI(c *x509.Certificate) bool {
	der, ok := extension(c, oidSubjectAltName)
	if !ok {
		return false
	}
	in, list := cryptobyte.String(der), cryptobyte.String(nil)
	if !in.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) {
		return true
	}
	for !list.Empty() {
		var (
			value cryptobyte.String
			tag   cryptobyte_asn1.Tag
		)
		if !list.ReadAnyASN1(&value, &tag) || tag == tagURI {
			return true
		}
	}
	return false
}

func isIA5(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// extension returns the value of an extension, and false if the certificate does not have it. Package crypto/x509 has refused repeated
// ones.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) ([]byte, bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value, true
		}
	}
	return nil, false
}

// namesOf returns the URIs of an extension of a certificate.
func namesOf(c *x509.Certificate, id asn1.ObjectIdentifier) ([]string, error) {
	der, ok := extension(c, id)
	if !ok {
		return nil, errNoNames
	}
	return readNames(der)
}

// altName returns an extension with URIs.
func altName(id asn1.ObjectIdentifier, critical bool, uris ...string) (pkix.Extension, error) {
	der, err := generalNames(uris...)
	return pkix.Extension{Id: id, Critical: critical, Value: der}, err
}
