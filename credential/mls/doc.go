// Package mls binds credentials of devices to leaves of MLS groups (RFC 9420 §5.3, §7.2, §7.3): it reads and writes the structure
// Credential, makes one for a leaf, and is what the groups call their authentication service.
//
// A device makes its credential for a leaf with [Bind], from the one that the issuer gave it. Another member reads it with [Parse], and
// checks it with [Validate] at each of the events of RFC 9420 §5.3.1:
//
//	c, err := mls.Parse(data)
//	…
//	who, err := mls.Validate(ctx, c, mls.Leaf{CipherSuite: 1, SignatureKey: key, Room: room}, options)
//	switch {
//	case err == nil: // good; who.HandleEnded says that only the handle is out of date
//	case errors.Is(err, credential.CodeExpired): // the member may send a new one
//	case errors.Is(err, credential.CodeEnded): // remove the member
//	case errors.As(err, &refused): // refuse the leaf; refused is a *credential.Error
//	default: // not known now: ask again later
//	}
//
// When a member replaces its credential, [Successor] decides whether it is still the same client.
//
// A credential ends while its leaf stays in the tree, and implementations of MLS ask about new credentials alone. So also validate that of
// the sender of each Commit, before it is applied, and those of all members from time to time.
//
// The types of credentials are sd_jwt and sd_cwt (draft-mahy-mls-sd-cwt-credential-02) and x509. A basic credential is a bare name and
// is refused. Package credential/sdjwt verifies an sd_jwt; verifiers of the others are plugged in with [Options.Verifiers]. For an sd_cwt
// that is [VerifySDCWT], on package credential/cwt, and for an x509 one of [Certificates], on package credential/cert.
//
// The credential's key must be the signature_key of the leaf. If it could be another key, a verifier who chooses nonce and audience could
// have a device sign a key binding that is for a leaf of the verifier's own. The key binding names the room, or in a KeyPackage the
// domain of the device, and [Nonce] of the key.
//
// The package does not implement MLS. Signatures of leaves, and that each key is in a group only once (RFC 9420 §7.3), are matters of the
// caller's implementation.
package mls
