// Package credential holds what a lasting credential says, in whatever format it comes: a device of a user, perhaps with the user's
// handle, is bound to a key. An issuer signs it for weeks, and it is shown where the issuer is not asked, as in a leaf of an MLS group.
// An access token lives for minutes and cannot be one.
//
// The formats are packages below this one, which read and check the envelope. Each gives a [Credential] and applies the same rules, which
// are methods of [Options]: the issuer may speak for the domain, the identifiers agree ([claims.Identity.Check]), the time is right,
// and the status list says that the credential has not ended.
//
// Four answers stay apart, because a member of a group is treated differently for each:
//
//   - a nil error: the credential is good. If only its handle is out of date, [Credential.HandleEnded] is set;
//   - an [*Error] with [CodeExpired] or [CodeEnded]: the credential was good. It is returned with the error, and everything but that was
//     checked. A member with an expired credential may still send a new one, an ended one may not;
//   - any other [*Error]: a refusal;
//   - any other error: it cannot be known now, as while the status list cannot be fetched. It is never a "no".
package credential

import (
	"crypto"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/statuslist"
)

// VCT is the type of a device's credential: the claim vct of an SD-JWT VC (draft-ietf-oauth-sd-jwt-vc §3.2.2.1.1). It is a name and is
// never fetched.
const VCT = "tag:imidentity.github.io,2026:im-device:1"

// A Format is a format of credentials, as metadata of OpenID4VCI names it.
type Format string

// The formats.
const (
	SDJWT Format = "dc+sd-jwt" // OpenID4VCI 1.0 appendix A.3
	SDCWT Format = "im-sd-cwt" // ours: OpenID4VCI has none for draft-ietf-spice-sd-cwt
	X509  Format = "im-x5c"    // a chain of X.509 certificates; the name is ours
)

// MaxLife is the longest time from the beginning to the end of a credential that a verifier accepts. The issuer's own live 90 days at
// most.
const MaxLife = 366 * 24 * time.Hour

// StatusHandleEnded is the status of a credential of which only the handle has ended: the user has another one now, or none. Device and
// user are still good. It is application specific (draft-ietf-oauth-status-list-20 §7.1), so other verifiers take it for "not valid".
const StatusHandleEnded = statuslist.Application

// StatusUnused is the status of an entry that no credential has. Nothing that an issuer signed has it.
const StatusUnused = statuslist.Suspended

// A Credential is what a credential says.
type Credential struct {
	Format Format
	// ID is its jti, or its serial number in hexadecimal. It is unique at its issuer.
	ID string
	// Issuer is the URL of the issuer; of a certificate the name of the CA.
	Issuer string
	// Identity holds the identifiers that were shown. Those that the credential does not have, or does not disclose, are zero, and so
	// is a handle that has ended.
	Identity claims.Identity
	// HandleEnded says that the status list reports the handle as ended, also if the handle is not disclosed. FormerHandle is then the
	// handle that the credential states, zero if it is not disclosed.
	HandleEnded  bool
	FormerHandle claims.ID
	// Key is the key that the credential is bound to, and JKT its SHA-256 thumbprint in base64url (RFC 7638).
	Key crypto.PublicKey
	JKT string
	// From and Until are the times between which it is valid.
	From, Until time.Time
	// Status is its place in a status list; nil if it has none. Checked says that the status was looked up.
	Status  *statuslist.Reference
	Checked bool
}

// Client returns the device with its handle and key, for [claims.Successor]. Its handle is the one that the credential states, also
// if that has ended.
func (c *Credential) Client() claims.Client {
	id := c.Identity
	if c.HandleEnded {
		id.Handle = c.FormerHandle
	}
	return claims.Client{Identity: id, JKT: c.JKT}
}

// domain returns the domain of the identity. It is empty if there is no identifier.
func domain(id claims.Identity) string {
	for _, one := range []claims.ID{id.User, id.Device, id.Handle} {
		if !one.IsZero() {
			return one.Domain()
		}
	}
	return ""
}
