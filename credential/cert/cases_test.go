package cert_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
)

// A testCase is a chain with its verifier, and the result: a credential, a refusal, or that nothing can be known.
type testCase struct {
	name, comment string
	chain         [][]byte
	roots         map[string][]*x509.Certificate // nil: the usual ones
	crls          [][]byte
	noCRLs        bool // the verifier has no source of revocation lists
	at            time.Time
	code          credential.Code
	part          string
	unknown       bool
}

// A fixture has the CAs of example.com with im: and with mimi: URIs, of example.org, and a user's.
type fixture struct {
	root, issuing         party
	mimiRoot, mimiIssuing party
	other                 party
	user, mimiUser        party
	bob                   party
	id, mimiID            claims.Identity
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{id: identity(t, alice, aliceHandle, alicePhone), mimiID: identity(t, mimiAlice, mimiHandle, mimiPhone)}
	im, mimi := cert.CATemplate{Domain: "example.com", PathLen: 2}, cert.CATemplate{Domain: "example.com", PathLen: 2, MIMI: true}
	f.root, f.mimiRoot = newRoot(t, "root", im), newRoot(t, "mimi root", mimi)
	f.other = newRoot(t, "other root", cert.CATemplate{Domain: "example.org", PathLen: 2})
	im.PathLen, mimi.PathLen = 1, 1
	f.issuing, f.mimiIssuing = f.root.issuing(t, "issuing", im), f.mimiRoot.issuing(t, "mimi issuing", mimi)
	f.user = party{f.issuing.issue(t, cert.UserCA, f.id, crlAt), key("alice")}
	f.mimiUser = party{f.mimiIssuing.issue(t, cert.UserCA, f.mimiID, crlAt), key("alice")}
	f.bob = party{f.issuing.forge(t, forgery{san: []string{bob}, edit: userCA(0), key: key("bob").Public()}), key("bob")}
	return f
}

// usual are the roots that the verifier knows.
func (f *fixture) usual() map[string][]*x509.Certificate {
	return map[string][]*x509.Certificate{"example.com": {f.root.Certificate, f.mimiRoot.Certificate}, "example.org": {f.other.Certificate}}
}

// cases returns all vectors.
func cases(t testing.TB) []testCase {
	f := newFixture(t)
	ca, empty := f.issuing.Certificate, f.issuing.crl(t, nil)
	mimiEmpty := f.mimiIssuing.crl(t, nil)
	phone := f.issuing.issue(t, cert.Combined, f.id, crlAt)
	below := f.user.signDevice(t, alicePhone)
	// device returns the chain of a forged certificate below the issuing CA; under returns it below a user's CA.
	device := func(g forgery) [][]byte {
		if g.san == nil && g.rawSAN == nil {
			g.san = []string{alicePhone, alice, aliceHandle}
		}
		return chainOf(f.issuing.forge(t, g), ca)
	}
	under := func(user party, g forgery) [][]byte { return chainOf(user.forge(t, g), user.Certificate, ca) }
	edited := func(edit func(*x509.Certificate)) [][]byte { return device(forgery{edit: edit}) }
	exts := func(ids ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.UnknownExtKeyUsage = ids }
	}

	list := []testCase{
		// Accepted.
		{name: "combined", comment: "device, user and handle", chain: chainOf(phone, ca), crls: [][]byte{empty}},
		{name: "combined-mimi", comment: "mimi: URIs below a CA that is constrained to the domain",
			chain: chainOf(f.mimiIssuing.issue(t, cert.Combined, f.mimiID, crlAt), f.mimiIssuing.Certificate), crls: [][]byte{mimiEmpty}},
		{name: "combined-without-handle", comment: "a user without a handle",
			chain: chainOf(f.issuing.issue(t, cert.Combined, identity(t, alice, "", alicePhone), crlAt), ca), crls: [][]byte{empty}},
		{name: "device-only", comment: "the separate certificate of a device",
			chain: chainOf(f.issuing.issue(t, cert.DeviceOnly, f.id, crlAt), ca), crls: [][]byte{empty}},
		{name: "user-only", comment: "the separate certificate of a user, who signs the profile",
			chain: chainOf(f.issuing.issue(t, cert.UserOnly, f.id, crlAt), ca), crls: [][]byte{empty}},
		{name: "cascade", comment: "a device below a user's CA", chain: chainOf(below, f.user.Certificate, ca), crls: [][]byte{empty}},
		{name: "cascade-mimi", comment: "the same with mimi: URIs",
			chain: chainOf(f.mimiUser.signDevice(t, mimiPhone), f.mimiUser.Certificate, f.mimiIssuing.Certificate), crls: [][]byte{mimiEmpty}},
		{name: "with-root", comment: "the root is sent along", chain: chainOf(phone, ca, f.root.Certificate), crls: [][]byte{empty}},
		{name: "above-root", comment: "the verifier trusts the issuing CA, and more is sent along", chain: chainOf(phone, ca, f.root.Certificate),
			roots: map[string][]*x509.Certificate{"example.com": {ca}}, crls: [][]byte{empty}},
		{name: "surplus-above-root", comment: "the verifier trusts the issuing CA, and a certificate that does not certify it is sent along",
			chain: chainOf(phone, ca, f.other.Certificate), roots: map[string][]*x509.Certificate{"example.com": {ca}},
			code: credential.CodeIssuer, part: "x5c"},
		{name: "below-root", comment: "the root issued the certificate, and is not sent",
			chain: chainOf(f.root.forge(t, forgery{san: []string{alicePhone}}))},
		{name: "no-list", comment: "the certificate names no revocation list, so nothing is looked up", chain: device(forgery{})},
		{name: "xmpp", comment: "the bare JID is the handle and the user, and is written once",
			chain: chainOf(f.issuing.issue(t, cert.Combined,
				identity(t, "im:xmpp=juliet@example.com", "im:xmpp=juliet@example.com", "im:xmpp=juliet/balcony@example.com"), ""), ca)},
		{name: "wire", comment: "identifiers of Wire as im: URIs", chain: device(forgery{san: []string{
			"im:wire=0b36df16-30ce-42b7-a709-b0f156682717/594930e9d50bb175@example.com", "im:wire=%40alice@example.com"}})},
		{name: "wireapp", comment: "wireapp: URIs as Wire writes them", chain: device(forgery{san: []string{
			"wireapp://CzbfFjDOQrenCbDxVmgnFw!594930e9d50bb175@example.com", "wireapp://%40alice@example.com"}})},
		{name: "wireapp-encoded", comment: "wireapp: URIs as software in Go writes them, with %21", chain: device(forgery{san: []string{
			"wireapp://CzbfFjDOQrenCbDxVmgnFw%21594930e9d50bb175@example.com", "wireapp://%40alice@example.com"}})},
		{name: "p256", comment: "a key for ES256", chain: device(forgery{key: p256(t, "p256")})},
		{name: "other-purposes", comment: "id-kp-imUri beside another purpose, which RFC 9734 §4 advises issuers against",
			chain: edited(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},

		// Sizes and form.
		{name: "empty", comment: "no certificate", chain: [][]byte{}, code: credential.CodeMalformed, part: "x5c"},
		{name: "five-certificates", comment: "five certificates",
			chain: chainOf(phone, ca, f.root.Certificate, f.root.Certificate, f.root.Certificate), code: credential.CodeTooLarge, part: "x5c"},
		{name: "large", comment: "a certificate of more than 8 KiB", chain: edited(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, Value: make([]byte, 8<<10)})
		}), code: credential.CodeTooLarge, part: "x5c[0]"},
		{name: "trailing-bytes", comment: "a byte after the certificate", chain: [][]byte{append(slices.Clone(phone.Raw), 0), ca.Raw},
			code: credential.CodeMalformed, part: "x5c[0]"},
		{name: "truncated", comment: "a byte of the certificate is missing", chain: [][]byte{phone.Raw[:len(phone.Raw)-1], ca.Raw},
			code: credential.CodeMalformed, part: "x5c[0]"},
		{name: "trailing-bytes-in-name", comment: "bytes after the names of subjectAltName",
			chain: device(forgery{rawSAN: append(names(alicePhone), 5, 0)}), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "critical-extension", comment: "a critical extension that is not known", chain: edited(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, Critical: true, Value: []byte{5, 0}})
		}), code: credential.CodeMalformed, part: "x5c"},
		{name: "md5", comment: "signed with MD5", chain: [][]byte{withAlgorithm(phone, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}), ca.Raw},
			code: credential.CodeAlgorithm, part: "x5c[0]"},
		{name: "sha1", comment: "signed with SHA-1", chain: [][]byte{withAlgorithm(phone, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}), ca.Raw},
			code: credential.CodeAlgorithm, part: "x5c[0]"},
		{name: "sha1-ca", comment: "a CA whose certificate is signed with SHA-1",
			chain: [][]byte{phone.Raw, withAlgorithm(ca, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5})}, code: credential.CodeAlgorithm, part: "x5c[1]"},
		{name: "rsa-1024", comment: "a key of RSA with 1024 bits", chain: device(forgery{key: rsaKey(1024)}), code: credential.CodeAlgorithm, part: "x5c[0]"},

		// The path.
		{name: "other-root", comment: "a root that counts for another domain",
			chain: chainOf(f.other.forge(t, forgery{san: []string{alicePhone, alice}})), code: credential.CodeIssuer, part: "x5c"},
		{name: "unknown-domain", comment: "a domain without roots",
			chain: chainOf(f.other.forge(t, forgery{san: []string{"im:u/1@example.net"}})), code: credential.CodeDomain, part: "x5c"},
		{name: "no-root", comment: "no root certifies the CA", chain: chainOf(phone, ca), roots: map[string][]*x509.Certificate{"example.com": {f.mimiRoot.Certificate}},
			code: credential.CodeIssuer, part: "x5c"},
		{name: "ca-missing", comment: "the issuing CA is not sent", chain: chainOf(phone), code: credential.CodeIssuer, part: "x5c"},
		{name: "order", comment: "the certificates are not in their order", chain: chainOf(below, ca, f.user.Certificate),
			code: credential.CodeIssuer, part: "x5c"},
		{name: "surplus", comment: "a certificate that certifies none of the others", chain: chainOf(phone, ca, f.other.Certificate),
			code: credential.CodeIssuer, part: "x5c"},
		{name: "signature", comment: "a changed bit of the signature", chain: [][]byte{changed(phone.Raw), ca.Raw}, code: credential.CodeSignature, part: "x5c[0]"},
		{name: "not-a-ca", comment: "issued with the key of a device", chain: chainOf(
			party{device0(t, f), key("phone")}.forge(t, forgery{san: []string{bobPhone}}), device0(t, f), ca), code: credential.CodeIssuer, part: "x5c"},
		{name: "outside-constraint", comment: "a domain that the name constraints of the CA exclude",
			chain: chainOf(f.mimiIssuing.forge(t, forgery{san: []string{"mimi://example.org/d/u/1"}}), f.mimiIssuing.Certificate),
			roots: map[string][]*x509.Certificate{"example.org": {f.mimiRoot.Certificate}}, code: credential.CodeDomain, part: "x5c"},
		{name: "im-below-constraint", comment: "an im: URI below a CA that constrains URIs (RFC 5280 §4.2.1.10)",
			chain: chainOf(f.mimiIssuing.forge(t, forgery{san: []string{alicePhone}}), f.mimiIssuing.Certificate), code: credential.CodeDomain, part: "x5c"},

		// What the certificate is for.
		{name: "client-auth", comment: "the draft's figure: the purpose is TLS, and the key usage has keyAgreement", chain: edited(func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			c.KeyUsage |= x509.KeyUsageKeyAgreement
		}), code: credential.CodeType, part: "extKeyUsage"},
		{name: "any-purpose", comment: "anyExtendedKeyUsage beside id-kp-imUri",
			chain: edited(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), code: credential.CodeType, part: "extKeyUsage"},
		{name: "no-purpose", comment: "no extKeyUsage", chain: edited(exts()), code: credential.CodeType, part: "extKeyUsage"},
		{name: "ca-other-purpose", comment: "a CA for other purposes", chain: func() [][]byte {
			sub := party{f.root.forge(t, forgery{rawSAN: withName(names(), 2, "ca.example.com"), key: key("tls ca").Public(), edit: func(c *x509.Certificate) {
				userCA(0)(c)
				c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}}), key("tls ca")}
			return chainOf(sub.forge(t, forgery{san: []string{alicePhone}}), sub.Certificate)
		}(), code: credential.CodeType, part: "extKeyUsage"},
		{name: "no-signature", comment: "a key that is not for signatures",
			chain: edited(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), code: credential.CodeType, part: "keyUsage"},
		{name: "ca-as-device", comment: "a user's CA in the place of a device", chain: chainOf(f.user.Certificate, ca), code: credential.CodeType, part: "basicConstraints"},

		// Names.
		{name: "no-names", comment: "no subjectAltName", chain: edited(func(c *x509.Certificate) { c.ExtraExtensions = nil }), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "two-handles", comment: "two handles", chain: device(forgery{san: []string{alicePhone, aliceHandle, "im:%40bob@example.com"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "two-devices", comment: "two devices", chain: device(forgery{san: []string{alicePhone, "im:3h3aNq0mWk2o1c8vXfYJrg/1@example.com"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "two-users", comment: "two users", chain: device(forgery{san: []string{alice, bob}}), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "mimi-two-handles", comment: "three mimi: URIs of users", chain: device(forgery{san: []string{mimiAlice, mimiHandle, "mimi://example.com/u/bob"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "mimi-order", comment: "the handle before the user, where only the order tells them apart",
			chain: device(forgery{san: []string{mimiPhone, mimiHandle, mimiAlice}}), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "dns-name", comment: "a DNS name beside the URIs", chain: device(forgery{rawSAN: withName(names(alicePhone), 2, "example.com")}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "mail-name", comment: "a mail address beside the URIs", chain: device(forgery{rawSAN: withName(names(alicePhone), 1, "alice@example.com")}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "four-names", comment: "four URIs", chain: device(forgery{san: []string{alicePhone, alice, aliceHandle, aliceHandle}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "not-encoded", comment: "@ in the place of %40", chain: device(forgery{san: []string{alicePhone, "im:@alice@example.com"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "upper-case", comment: "a domain in capitals", chain: device(forgery{san: []string{"im:3h3aNq0mWk2o1c8vXfYJrg/72b@EXAMPLE.com"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "other-scheme", comment: "a URI that is no identifier", chain: device(forgery{san: []string{alicePhone, "https://example.com/alice"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "room", comment: "the URI of a room", chain: device(forgery{san: []string{"mimi://example.com/r/clubhouse"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "wireapp-spelling", comment: "a wireapp: URI with needless encoding", chain: device(forgery{san: []string{
			"wireapp://%43zbfFjDOQrenCbDxVmgnFw!594930e9d50bb175@example.com"}}), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "two-domains", comment: "a handle of another domain", chain: device(forgery{san: []string{alicePhone, "im:%40alice@example.org"}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "device-of-another", comment: "a device of another user", chain: device(forgery{san: []string{bobPhone, alice}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "issuer-name", comment: "issuerAltName in a certificate that the domain's CA issued",
			chain: device(forgery{san: []string{alicePhone}, ian: []string{alice}}), code: credential.CodeClaim, part: "issuerAltName"},

		// Below a user's CA.
		{name: "cascade-no-issuer-name", comment: "no issuerAltName", chain: under(f.user, forgery{san: []string{alicePhone}}),
			code: credential.CodeClaim, part: "issuerAltName"},
		{name: "cascade-two-issuer-names", comment: "issuerAltName with two URIs",
			chain: under(f.user, forgery{san: []string{alicePhone}, ian: []string{alice, aliceHandle}}), code: credential.CodeClaim, part: "issuerAltName"},
		{name: "cascade-other-issuer-name", comment: "issuerAltName of another user",
			chain: under(f.user, forgery{san: []string{alicePhone}, ian: []string{bob}}), code: credential.CodeClaim, part: "issuerAltName"},
		{name: "cascade-handle-as-issuer", comment: "issuerAltName has the handle, in the place of the user",
			chain: under(f.user, forgery{san: []string{alicePhone}, ian: []string{aliceHandle}}), code: credential.CodeClaim, part: "issuerAltName"},
		{name: "cascade-handle-as-user", comment: "the user's CA has a handle, in the place of the user", chain: func() [][]byte {
			ca := party{f.issuing.forge(t, forgery{san: []string{aliceHandle}, edit: userCA(0), key: key("alice").Public()}), key("alice")}
			return under(ca, forgery{san: []string{alicePhone}, ian: []string{aliceHandle}})
		}(), code: credential.CodeClaim, part: "x5c[1]"},
		{name: "cascade-device-of-another", comment: "a device of another user",
			chain: under(f.user, forgery{san: []string{bobPhone}, ian: []string{alice}}), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "cascade-device-without-user", comment: "a mimi: device that does not name its user, and so could be anybody's",
			chain: chainOf(f.mimiUser.forge(t, forgery{san: []string{"mimi://example.com/d/ClientA1"}, ian: []string{mimiAlice}}),
				f.mimiUser.Certificate, f.mimiIssuing.Certificate), code: credential.CodeClaim, part: "subjectAltName"},
		{name: "cascade-handle", comment: "the user's key asserts a handle", chain: under(f.user, forgery{san: []string{alicePhone, aliceHandle}, ian: []string{alice}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "cascade-user", comment: "the user's key asserts a user", chain: under(f.user, forgery{san: []string{alice}, ian: []string{alice}}),
			code: credential.CodeClaim, part: "subjectAltName"},
		{name: "cascade-ca", comment: "a user's CA issues a CA", chain: func() [][]byte {
			sub := party{f.user.forge(t, forgery{san: []string{alice}, edit: userCA(0), key: key("sub").Public()}), key("sub")}
			return chainOf(sub.forge(t, forgery{san: []string{alicePhone}, ian: []string{alice}}), sub.Certificate, f.user.Certificate, ca)
		}(), code: credential.CodeIssuer, part: "x5c"},
		{name: "cascade-long", comment: "a user's CA without a limit of its path issues a CA", chain: func() [][]byte {
			top := party{f.root.forge(t, forgery{san: []string{alice}, edit: userCA(-1), key: key("alice").Public()}), key("alice")}
			sub := party{top.forge(t, forgery{san: []string{alice}, edit: userCA(0), key: key("sub").Public()}), key("sub")}
			return chainOf(sub.forge(t, forgery{san: []string{alicePhone}, ian: []string{alice}}), sub.Certificate, top.Certificate)
		}(), code: credential.CodeClaim, part: "x5c[2]"},
		{name: "cascade-hidden-ca", comment: "a user's CA issues a CA without names, and that speaks for another user", chain: func() [][]byte {
			top := party{f.root.forge(t, forgery{san: []string{alice}, edit: userCA(-1), key: key("alice").Public()}), key("alice")}
			sub := party{top.forge(t, forgery{rawSAN: withName(names(), 2, "x.example"), edit: userCA(0), key: key("sub").Public()}), key("sub")}
			return chainOf(sub.forge(t, forgery{san: []string{bobPhone}}), sub.Certificate, top.Certificate)
		}(), code: credential.CodeClaim, part: "x5c[2]"},
		{name: "cascade-no-limit", comment: "a user's CA whose path is not limited to devices", chain: func() [][]byte {
			top := party{f.root.forge(t, forgery{san: []string{alice}, edit: userCA(-1), key: key("alice").Public()}), key("alice")}
			return chainOf(top.forge(t, forgery{san: []string{alicePhone}, ian: []string{alice}}), top.Certificate)
		}(), code: credential.CodeClaim, part: "x5c[1]"},

		// Time.
		{name: "expired", comment: "the certificate has expired", chain: chainOf(phone, ca), crls: [][]byte{empty}, at: now.Add(29 * day),
			code: credential.CodeExpired},
		{name: "ca-expired", comment: "the CA has expired", chain: func() [][]byte {
			old := f.root.issuing(t, "old", cert.CATemplate{Domain: "example.com", From: now.AddDate(-1, 0, 0), Until: now.Add(-time.Hour)})
			return chainOf(old.forge(t, forgery{san: []string{alicePhone}}), old.Certificate)
		}(), code: credential.CodeExpired},
		{name: "not-yet-valid", comment: "the certificate is not valid yet", chain: chainOf(phone, ca), at: now.Add(-2 * day), code: credential.CodeNotYetValid},
		{name: "never-together", comment: "the CA had expired when the certificate began", chain: func() [][]byte {
			old := f.root.issuing(t, "old", cert.CATemplate{Domain: "example.com", From: now.AddDate(-1, 0, 0), Until: now.Add(-2 * day)})
			return chainOf(old.forge(t, forgery{san: []string{alicePhone}}), old.Certificate)
		}(), code: credential.CodeClaim, part: "validity"},
		{name: "long-life", comment: "a certificate for more than 366 days",
			chain: edited(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(367 * day) }), code: credential.CodeClaim, part: "validity"},
		{name: "root-expired", comment: "the root has expired", chain: func() [][]byte { return chainOf(oldRoot(t).forge(t, forgery{san: []string{alicePhone}})) }(),
			roots: map[string][]*x509.Certificate{"example.com": {oldRoot(t).Certificate}}, code: credential.CodeIssuer, part: "x5c"},

		// Revocation.
		{name: "revoked", comment: "the device was removed", chain: chainOf(phone, ca), crls: [][]byte{f.issuing.crl(t, nil, phone.SerialNumber)},
			code: credential.CodeEnded},
		{name: "revoked-handle", comment: "the handle has ended (affiliationChanged)", chain: chainOf(phone, ca),
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) {
				l.RevokedCertificateEntries[0].ReasonCode = int(cert.AffiliationChanged)
			}, phone.SerialNumber)}, code: credential.CodeEnded},
		{name: "revoked-user", comment: "the certificate of the user's CA was revoked", chain: chainOf(below, f.user.Certificate, ca),
			crls: [][]byte{f.issuing.crl(t, nil, f.user.SerialNumber)}, code: credential.CodeEnded},
		{name: "revoked-user-key", comment: "others know the key of the user's CA", chain: chainOf(below, f.user.Certificate, ca),
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) {
				l.RevokedCertificateEntries[0].ReasonCode = int(cert.KeyCompromise)
			}, f.user.SerialNumber)}, code: credential.CodeIssuer, part: "x5c[1]"},
		{name: "revoked-ca", comment: "the certificate of the domain's CA was revoked", chain: func() [][]byte {
			sub := revocable(t, f)
			return chainOf(sub.forge(t, forgery{san: []string{alicePhone}}), sub.Certificate)
		}(), crls: [][]byte{f.root.crl(t, nil, revocable(t, f).SerialNumber)}, code: credential.CodeIssuer, part: "x5c[1]"},
		{name: "list-missing", comment: "there is no list of the CA", chain: chainOf(phone, ca), unknown: true},
		{name: "list-expired", comment: "the list has expired, and has the certificate", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) { l.NextUpdate = now }, phone.SerialNumber)}},
		{name: "list-early", comment: "the list is of the future", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) { l.ThisUpdate = now.Add(2 * time.Minute) })}},
		{name: "list-of-another", comment: "the list of another CA", chain: chainOf(phone, ca), unknown: true, crls: [][]byte{f.root.crl(t, nil)}},
		{name: "list-forged", comment: "a list with the name of the CA and the key of another", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{forgedCRL(t, f)}},
		{name: "list-delta", comment: "a delta CRL", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) {
				l.ExtraExtensions = []pkix.Extension{{Id: oidDelta, Critical: true, Value: []byte{2, 1, 6}}}
			})}},
		{name: "list-part", comment: "the list of the part that the certificate is in, by the URL that it names", chain: chainOf(phone, ca),
			crls: [][]byte{f.issuing.crl(t, about(crlAt), bigInt(5))}},
		{name: "list-part-revoked", comment: "the device was removed, as the list of its part says", chain: chainOf(phone, ca),
			crls: [][]byte{f.issuing.crl(t, about("ldap://example.net/", crlAt), phone.SerialNumber)}, code: credential.CodeEnded},
		{name: "list-other-part", comment: "the list of another part of the CA", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, about(crlAt+"/0"))}},
		{name: "list-part-indirect", comment: "the list of a part that also has certificates of other CAs (indirect CRL)", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) {
				about(crlAt)(l)
				value := l.ExtraExtensions[0].Value
				value[1] += 3
				l.ExtraExtensions[0].Value = append(value, 0x84, 1, 0xff) // indirectCRL
			})}},
		{name: "list-partial", comment: "a list about users only (issuingDistributionPoint)", chain: chainOf(phone, ca), unknown: true,
			crls: [][]byte{f.issuing.crl(t, func(l *x509.RevocationList) {
				l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Critical: true, Value: []byte{0x30, 3, 0x82, 1, 0xff}}}
			})}},
		{name: "list-truncated", comment: "a byte of the list is missing", chain: chainOf(phone, ca), unknown: true, crls: [][]byte{empty[:len(empty)-1]}},
		{name: "list-trailing", comment: "a byte after the list", chain: chainOf(phone, ca), unknown: true, crls: [][]byte{append(slices.Clone(empty), 0)}},
		{name: "list-unchecked", comment: "the verifier looks up no lists", chain: chainOf(phone, ca), noCRLs: true, code: credential.CodeUnchecked,
			part: "cRLDistributionPoints"},
		{name: "list-form", comment: "the place of the list is not a URL", chain: edited(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidCRLDP, Value: []byte{0x30, 2, 0x30, 0}})
		}), unknown: true},
		{name: "expired-and-revoked", comment: "time comes before status", chain: chainOf(phone, ca), at: now.Add(29 * day),
			crls: [][]byte{f.issuing.crl(t, nil, phone.SerialNumber)}, code: credential.CodeExpired},
	}
	for i := range list {
		if list[i].roots == nil {
			list[i].roots = f.usual()
		}
		if list[i].at.IsZero() {
			list[i].at = now
		}
	}
	return list
}

// about makes a list one about the certificates that name one of URLs.
func about(urls ...string) func(*x509.RevocationList) {
	point := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}
	for _, url := range urls {
		point.Bytes = append(point.Bytes, append([]byte{0x86, byte(len(url))}, url...)...)
	}
	for range 2 { // fullName, distributionPoint
		der, err := asn1.Marshal(point)
		if err != nil {
			panic(err)
		}
		point.Bytes = der
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: point.Bytes})
	if err != nil {
		panic(err)
	}
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Critical: true, Value: der}}
	}
}

// device0 is the certificate of a device that is no CA.
func device0(t testing.TB, f *fixture) *x509.Certificate {
	t.Helper()
	return f.issuing.issue(t, cert.Combined, f.id, "")
}

func oldRoot(t testing.TB) party {
	t.Helper()
	return newRoot(t, "old root", cert.CATemplate{Domain: "example.com", PathLen: 2, From: now.AddDate(-2, 0, 0), Until: now.Add(-2 * time.Hour)})
}

// revocable is an issuing CA whose certificate names the revocation list of the root.
func revocable(t testing.TB, f *fixture) party {
	t.Helper()
	made, err := f.root.ca(t, "https://im-id.example.net/crl/root").IssueCA(key("revocable").Public(), cert.CATemplate{
		Domain: "example.com", Name: "revocable", From: now.AddDate(0, -1, 0), Until: now.AddDate(0, 6, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return party{made, key("revocable")}
}

// forgedCRL is signed by a key that is not that of the issuing CA, under its name.
func forgedCRL(t testing.TB, f *fixture) []byte {
	t.Helper()
	impostor := *f.issuing.Certificate
	impostor.PublicKey = key("impostor").Public()
	return party{&impostor, key("impostor")}.crl(t, nil)
}

// changed returns a certificate whose last byte, of the signature, is another one.
func changed(der []byte) []byte {
	der = slices.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

// rsaKey returns a public key of so many bits, whose private key does not exist.
func rsaKey(bits int) crypto.PublicKey {
	n := new(big.Int)
	for i := byte(0); n.BitLen() < bits; i++ {
		sum := sha512.Sum512([]byte{i})
		sum[0] |= 0x80
		n.Lsh(n, 512).Or(n, new(big.Int).SetBytes(sum[:]))
	}
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}
