// Package feed is what programs need to follow the revocations of an issuer: the events of GET /events, how to match them with
// tokens, and a client that keeps following.
//
// An [Event] names what was revoked by a keyed hash. The key is the caller's own and comes with each [Page], so that two callers
// cannot compare what they see, and a copy is of no use to others. A caller that knows a token finds out with [Key.Matches] whether
// an event ends it. Events name no user, device, session or client by its id, and never a handle.
//
// The feed is complete in this sense: every token of the domains of a page that was valid at a cursor, was revoked since, and has
// not expired, is matched by an event after that cursor. It is no history. A revocation that was replaced by a later one of the
// same thing, or whose last token has expired, is left out.
//
// The package needs the standard library alone. The side of the issuer is in package revocation.
package feed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// Path is where an issuer serves its feed, below its URL.
const Path = "/events"

// A Kind says what an event ends.
type Kind string

// The kinds. Each ends all tokens that name the same thing, but [Generation] only those of earlier generations.
const (
	Token      Kind = "jti"    // one token
	Session    Kind = "sid"    // the tokens of a session
	Device     Kind = "device" // the tokens of a device
	User       Kind = "user"   // all tokens of a user
	Generation Kind = "gen"    // the tokens of a user whose gen is below the event's
	Client     Kind = "client" // the tokens that a client was given
	SigningKey Kind = "kid"    // everything that a key of the issuer signed
)

// claims has for each kind the claim of a token that its hash is of, as introspection answers show it.
var claims = map[Kind]string{
	Token: "jti", Session: "sid", Device: "device", User: "sub", Generation: "sub", Client: "client_id", SigningKey: "kid",
}

// An Event is one revocation.
type Event struct {
	Kind Kind `json:"kind"`
	// Hash is [Key.Hash] of what was revoked.
	Hash string `json:"hash"`
	// Gen is the least generation that is still valid, for [Generation] only.
	Gen int64 `json:"gen,omitempty"`
	// Expires is when the last token that the event ends has expired, in seconds since 1970; zero if that is not known.
	Expires int64 `json:"exp,omitempty"`
}

// A Page is an answer of the feed.
type Page struct {
	// Events are in the order in which they were committed.
	Events []Event `json:"events"`
	// Cursor is the position after the events, for the next request.
	Cursor string `json:"cursor"`
	// More tells that the next request is answered at once.
	More bool `json:"more"`
	// Key is the key of the hashes. It is the same in each page for a caller, until the issuer replaces its secrets.
	Key Key `json:"hash_key"`
	// Domains are those whose events the caller sees. Tokens of other domains may end without an event.
	Domains []string `json:"domains"`
}

// A Start is the data of the first event of a stream, whose type is start.
type Start struct {
	Key     Key      `json:"hash_key"`
	Domains []string `json:"domains"`
}

// A Key is the key of a caller's hashes. In JSON it is base64url without padding.
type Key [32]byte

// errKey is returned by [Key.UnmarshalText].
var errKey = errors.New("feed: a hash key is 32 bytes in base64url without padding")

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(k[:])), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses every other spelling of the same key.
func (k *Key) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil || len(raw) != len(k) || len(text) != base64.RawURLEncoding.EncodedLen(len(k)) {
		return errKey
	}
	*k = Key(raw)
	return nil
}

// Hash returns the hash that an event of a kind has for a value, which is that of the claim as introspection answers show it: the
// HMAC-SHA-256 of the claim's name, a colon and the value, in base64url without padding. The claim is sub for [User] and
// [Generation], client_id for [Client], and kid in the header of the token for [SigningKey]. For an unknown kind it is empty.
func (k Key) Hash(kind Kind, value string) string {
	claim, known := claims[kind]
	if !known {
		return ""
	}
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte(claim + ":" + value))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// A Subject holds what events can match: the claims of a token, as introspection answers show them. Absent ones are empty.
type Subject struct {
	JTI, SID, Device string
	Sub              string // the user
	ClientID         string
	KID              string // of the key that signed the token
	// Gen is the generation of the user in the token. Introspection answers do not show it: zero means that it is not known,
	// and every event about generations of the user matches.
	Gen int64
}

// value returns the claim of s that events of a kind are about.
func (s Subject) value(kind Kind) string {
	switch kind {
	case Token:
		return s.JTI
	case Session:
		return s.SID
	case Device:
		return s.Device
	case User, Generation:
		return s.Sub
	case Client:
		return s.ClientID
	case SigningKey:
		return s.KID
	}
	return ""
}

// Matches reports whether an event ends the token with these claims. An event of an unknown kind matches every token: an issuer
// that has learned to revoke something else is not ignored.
func (k Key) Matches(e Event, s Subject) bool { return k.matcher(s)(e) }

// matcher returns [Key.Matches] for one token and many events: each hash is made once.
func (k Key) matcher(s Subject) func(Event) bool {
	hashes := make(map[string]string, len(claims)) // by claim
	return func(e Event) bool {
		claim := claims[e.Kind]
		if claim == "" {
			return true
		}
		value := s.value(e.Kind)
		if value == "" || e.Kind == Generation && s.Gen >= e.Gen {
			return false
		}
		hash, ok := hashes[claim]
		if !ok {
			hash = k.Hash(e.Kind, value)
			hashes[claim] = hash
		}
		return hmac.Equal([]byte(hash), []byte(e.Hash))
	}
}
