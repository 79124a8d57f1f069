package cert

import (
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// digits are the names of the parts.
const digits = "0123456789abcdef"

// Parts is how many revocation lists a CA has that splits them ([CAConfig.Split]).
const Parts = len(digits)

// PartOf returns the part that a certificate is in: the last hexadecimal digit of its serial number. Serial numbers are random, so the
// parts are of about the same size, and no user chooses in which one a certificate is.
func PartOf(serial *big.Int) string {
	text := serial.Text(16)
	return text[len(text)-1:]
}

// IsPart reports whether text is the name of a part.
func IsPart(text string) bool { return len(text) == 1 && strings.Contains(digits, text) }

// tagName is the tag of distributionPoint in an issuing distribution point, and of fullName in that. Other members have other tags: lists
// with some reasons only, of certificates of others, or about CAs or users only.
var tagName = cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()

// scope returns the extension of a list that is about the certificates that name it at a URL (RFC 5280 §5.2.5).
func scope(url string) pkix.Extension {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tagName, func(b *cryptobyte.Builder) {
			b.AddASN1(tagName, func(b *cryptobyte.Builder) {
				b.AddASN1(tagURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
			})
		})
	})
	return pkix.Extension{Id: oidDistributionPoint, Critical: true, Value: b.BytesOrPanic()}
}

// readScope returns the URLs of an issuing distribution point. One with any other member or name is refused.
func readScope(der []byte) ([]string, error) {
	in := cryptobyte.String(der)
	var point, name, names cryptobyte.String
	if !in.ReadASN1(&point, cryptobyte_asn1.SEQUENCE) || !in.Empty() || !point.ReadASN1(&name, tagName) || !point.Empty() ||
		!name.ReadASN1(&names, tagName) || !name.Empty() || names.Empty() {
		return nil, fmt.Errorf("%w: an issuing distribution point with other than full names", ErrMalformed)
	}
	var urls []string
	for !names.Empty() {
		var url cryptobyte.String
		if !names.ReadASN1(&url, tagURI) || len(urls) == maxAddresses {
			return nil, fmt.Errorf("%w: an issuing distribution point that is not one to %d URIs", ErrMalformed, maxAddresses)
		}
		urls = append(urls, string(url))
	}
	return urls, nil
}

// About reports whether the list is about certificates that name these URLs in cRLDistributionPoints (RFC 5280 §6.3.3, step b): all of the
// CA, or those that name a URL that the list names. Another list says nothing about them.
func (c *CRL) About(urls []string) bool {
	return c.places == nil || slices.ContainsFunc(c.places, func(place string) bool { return slices.Contains(urls, place) })
}
