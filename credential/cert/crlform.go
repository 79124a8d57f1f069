package cert

import (
	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// isWhole reports whether a revocation list, which package crypto/x509 has read, has nothing but the fields of RFC 5280 §5.1. That package
// leaves out fields that it does not expect: a list whose entries are in another form would be read as an empty one.
func isWhole(der []byte) bool {
	in, list, tbs := cryptobyte.String(der), cryptobyte.String(nil), cryptobyte.String(nil)
	if !in.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) || !in.Empty() || !list.ReadASN1(&tbs, cryptobyte_asn1.SEQUENCE) ||
		!list.SkipASN1(cryptobyte_asn1.SEQUENCE) || !list.SkipASN1(cryptobyte_asn1.BIT_STRING) || !list.Empty() {
		return false
	}
	if !tbs.SkipASN1(cryptobyte_asn1.INTEGER) || !tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || // version, signature
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || !skipTime(&tbs) { // issuer, thisUpdate
		return false
	}
	skipTime(&tbs) // nextUpdate
	var (
		entries, entry, extensions cryptobyte.String
		present                    bool
	)
	if !tbs.ReadOptionalASN1(&entries, &present, cryptobyte_asn1.SEQUENCE) {
		return false
	}
	for !entries.Empty() {
		if !entries.ReadASN1(&entry, cryptobyte_asn1.SEQUENCE) || !entry.SkipASN1(cryptobyte_asn1.INTEGER) || !skipTime(&entry) ||
			!entry.SkipOptionalASN1(cryptobyte_asn1.SEQUENCE) || !entry.Empty() {
			return false
		}
	}
	if !tbs.ReadOptionalASN1(&extensions, &present, cryptobyte_asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.Empty() {
		return false
	}
	return !present || extensions.SkipASN1(cryptobyte_asn1.SEQUENCE) && extensions.Empty()
}

// skipTime skips a Time, and reports whether there was one.
func skipTime(s *cryptobyte.String) bool {
	return s.PeekASN1Tag(cryptobyte_asn1.UTCTime) && s.SkipASN1(cryptobyte_asn1.UTCTime) ||
		s.PeekASN1Tag(cryptobyte_asn1.GeneralizedTime) && s.SkipASN1(cryptobyte_asn1.GeneralizedTime)
}
