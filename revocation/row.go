package revocation

import (
	"time"

	"github.com/imidentity/issuer/storage"
)

// skew is by how much a node's clock may be ahead of the one that a revocation is dated by. A token that such a node
// made just before lives longer by that much.
const skew = 5 * time.Minute

// A Cause says why and when something is revoked.
type Cause struct {
	Reason string
	At     time.Time
	// TokenLife is the longest life of what is revoked, if that is longer than [LongestToken].
	TokenLife time.Duration
}

// LongestToken is the longest life that any settings give an access token. A revocation lasts no shorter, whatever the
// settings say now: the token may have been made under others.
const LongestToken = time.Hour

// row makes a revocation that lives as long as the last token it can touch.
func (c Cause) row(kind storage.RevocationKind, key string) storage.Revocation {
	c.TokenLife = max(c.TokenLife, LongestToken)
	return c.exact(kind, key)
}

func (c Cause) exact(kind storage.RevocationKind, key string) storage.Revocation {
	return storage.Revocation{Kind: kind, Key: key, Reason: c.Reason, At: c.At, ExpiresAt: c.At.Add(c.TokenLife + skew)}
}

// RevokeToken ends one token, whose remaining life c.TokenLife is.
func RevokeToken(jti string, c Cause) storage.Revocation { return c.exact(storage.RevokeToken, jti) }

// RevokeGrant ends all tokens of a session.
func RevokeGrant(sid string, c Cause) storage.Revocation { return c.row(storage.RevokeGrant, sid) }

// RevokeDevice ends all tokens of a device.
func RevokeDevice(domain, device string, c Cause) storage.Revocation {
	r := c.row(storage.RevokeDevice, domain+"/"+device)
	r.Domain = domain
	return r
}

// RevokeBelow ends the tokens of a user that were made in a generation below gen.
func RevokeBelow(domain, user string, gen int64, c Cause) storage.Revocation {
	r := c.row(storage.RevokeGen, domain+"/"+user)
	r.Gen, r.Domain, r.User = gen, domain, user
	return r
}

// RevokeUser ends all tokens of a user, for ever: the user was removed.
func RevokeUser(domain, user string, c Cause) storage.Revocation {
	r := c.row(storage.RevokeUser, domain+"/"+user)
	r.Domain, r.User = domain, user
	return r
}

// RevokeClient ends all tokens that a client was given.
func RevokeClient(client string, c Cause) storage.Revocation {
	return c.row(storage.RevokeClient, client)
}
