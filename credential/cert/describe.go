package cert

import (
	"bytes"
	"crypto/x509"

	"github.com/imidentity/issuer/internal/jose"
)

// A Description says what a certificate claims to be. Nothing of it was checked.
type Description struct {
	// Kind is the name of the shape, or says in words what the certificate is.
	Kind string
	// Subject and Issuer are the URIs of subjectAltName and issuerAltName, as they are written.
	Subject, Issuer []string
	// Other says that one of these has other names, or cannot be read.
	Other bool
	// Key is the kind of the key in words, and JKT its SHA-256 thumbprint in base64url (RFC 7638), empty if it has none.
	Key, JKT string
}

// Describe describes a certificate for people.
func Describe(c *x509.Certificate) Description {
	d := Description{Kind: kind(c), Key: c.PublicKeyAlgorithm.String()}
	if alg := jose.AlgorithmFor(c.PublicKey); alg != "" {
		d.Key += ", for " + alg
	}
	if jkt, err := jose.Thumbprint(c.PublicKey); err == nil {
		d.JKT = jkt
	}
	if der, ok := extension(c, oidSubjectAltName); ok {
		var err error
		d.Subject, err = readNames(der)
		d.Other = err != nil
	}
	if der, ok := extension(c, oidIssuerAltName); ok {
		var err error
		d.Issuer, err = readNames(der)
		d.Other = d.Other || err != nil
	}
	return d
}

// kind names the shape of a certificate.
func kind(c *x509.Certificate) string {
	switch {
	case c.IsCA && hasURI(c):
		return string(UserCA)
	case c.IsCA && bytes.Equal(c.RawIssuer, c.RawSubject):
		return "root CA"
	case c.IsCA:
		return "CA"
	}
	names, err := namesOf(c, oidSubjectAltName)
	if err != nil {
		return "certificate of another kind"
	}
	id, err := readIdentity(names, true)
	_, below := extension(c, oidIssuerAltName)
	switch {
	case err != nil, !usable(c):
		return "certificate of another kind"
	case below:
		return "device below a user's CA"
	case id.Device.IsZero():
		return string(UserOnly)
	case len(names) == 1:
		return string(DeviceOnly)
	}
	return string(Combined)
}
