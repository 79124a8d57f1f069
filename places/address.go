package places

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base32"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"github.com/imidentity/issuer/internal/jose"
)

var b32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// fingerprintBytes are those of the thumbprint that a fingerprint has (Ariadne Signature Profile 0, "fingerprint").
const fingerprintBytes = 16

// Fingerprint returns the fingerprint of a master key: the first 16 bytes of its thumbprint by SHA-512 (RFC 7638), in base32.
func Fingerprint(key crypto.PublicKey) (string, error) {
	switch key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return "", errKey
	}
	if !jose.Allows(algorithms, jose.AlgorithmFor(key)) {
		return "", errKey
	}
	canonical, err := jose.MarshalJWK(key)
	if err != nil {
		return "", err
	}
	sum := sha512.Sum512(canonical)
	return b32.EncodeToString(sum[:fingerprintBytes]), nil
}

var errKey = errors.New("neither a P-256 nor an Ed25519 key")

// algorithms are those that profiles may be signed with.
var algorithms = []string{jose.ES256, jose.EdDSA}

// isFingerprint reports whether s is a fingerprint in upper case.
func isFingerprint(s string) bool {
	raw, err := b32.DecodeString(s)
	return err == nil && len(raw) == fingerprintBytes && b32.EncodeToString(raw) == s
}

// An Address says where a profile is, and of which key it is. Places show it.
type Address struct {
	Host        string // in lower case
	Fingerprint string // in upper case
}

// ParseAddress parses "aspe:HOST:FINGERPRINT", in letters of any case.
func ParseAddress(text string) (Address, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	host, fingerprint, ok := strings.Cut(rest, ":")
	if !ok || !asciiFold(scheme, "aspe") {
		return Address{}, refuse("address", CodeMalformed, "not aspe:HOST:FINGERPRINT")
	}
	a := Address{Host: asciiLower(host), Fingerprint: asciiUpper(fingerprint)}
	if err := checkHost(a.Host, false); err != nil {
		return Address{}, &Error{"address", CodeMalformed, err}
	}
	if !isFingerprint(a.Fingerprint) {
		return Address{}, refuse("address", CodeMalformed, "the fingerprint is not 16 bytes in base32")
	}
	return a, nil
}

// String returns "aspe:HOST:FINGERPRINT", as a place shows it.
func (a Address) String() string { return "aspe:" + a.Host + ":" + a.Fingerprint }

// URL is where the profile is served.
func (a Address) URL() string { return "https://" + a.Host + "/.well-known/aspe/id/" + a.Fingerprint }

// separators end an address in the text that a place shows, as white space does. So an address inside a longer word is none.
const separators = "<>\"'`()[]{},;|=*"

// addresses returns the fingerprints of the addresses in a text, without repetition.
func addresses(text string) []string {
	var shown []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(separators, r)
	}) {
		a, err := ParseAddress(strings.TrimRight(word, ".!?"))
		if err == nil && len(shown) < maxShown && !slices.Contains(shown, a.Fingerprint) {
			shown = append(shown, a.Fingerprint)
		}
	}
	return shown
}

// checkHost checks that host is a name of the public Internet in lower case: no address, no port, no public suffix. Names of records may
// have underscores.
func checkHost(host string, record bool) error {
	if len(host) > 253 {
		return errors.New("the host is too long")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return errors.New("the host is an IP address")
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', record && c == '_':
			default:
				return errors.New("the host is not a name in lower-case ASCII (A-labels)")
			}
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("the host has a label that is empty, too long, or begins or ends with a hyphen")
		}
		if i == len(labels)-1 && strings.Trim(label, "0123456789") == "" {
			return errors.New("the host is an IP address")
		}
	}
	if _, err := registrable(host); err != nil {
		return errors.New("the host is not below a registrable domain")
	}
	return nil
}

// registrable returns the registered domain above a host. Places below the same one count once.
func registrable(host string) (string, error) { return publicsuffix.EffectiveTLDPlusOne(host) }

// isBelow reports whether a registered domain is a domain, or below it.
func isBelow(registered, domain string) bool {
	return registered == domain || strings.HasSuffix(registered, "."+domain)
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func asciiUpper(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r + 'A' - 'a'
		}
		return r
	}, s)
}

func asciiFold(a, b string) bool { return asciiLower(a) == asciiLower(b) }
