package storage

import (
	"net/url"
	"time"
)

// A User is a person in one domain (she may be another user in another). ID never changes and is never reused.
type User struct {
	Domain string
	ID     string
	// Handle is the canonical local part of the handle she has now.
	Handle string
	// Gen is her generation: it rises with what ends her earlier tokens and leaves her sessions alive.
	Gen        int64
	CreatedAt  time.Time
	DisabledAt time.Time
}

// A Link ties an account at an OpenID provider to a user.
type Link struct {
	Domain    string
	Issuer    string // the provider's iss
	Subject   string // the provider's sub
	User      string
	CreatedAt time.Time
}

// A Name is a handle or a user id of a domain, held or once held. Both share one namespace, kept by collision key.
type Name struct {
	Domain     string
	Key        string // collision key
	Tables     string // the version of the tables by which it was made
	Local      string // the local part that was taken, canonical
	User       string
	TakenAt    time.Time
	ReleasedAt time.Time // zero while it is held; a released name is in quarantine
}

// A Device is one client of a user, bound for ever to one key.
type Device struct {
	Domain string
	ID     string
	User   string
	JKT    string // RFC 7638 thumbprint of its key, SHA-256, base64url
	Name   string // what the person called it; may be empty
	Client string // the OAuth client that it first logged in with
	// Delegation is the jti of the delegation under which a key of the user's took the device in, and Number which of the
	// devices under it this is, from 1. Empty and zero for a device that logged in.
	Delegation    string
	Number        int
	CreatedAt     time.Time
	RemovedAt     time.Time
	RemovedReason string
}

// A Grant is a session: one login of one device through one client. Its row carries the refresh state.
type Grant struct {
	ID          string
	Domain      string
	Client      string
	User        string
	Device      string
	JKT         string
	Scopes      []string
	Audience    []string
	Issuer      string // the upstream provider's iss
	UpstreamSID string // its sid, empty if it gave none
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// Gen is the generation of the newest refresh token; RotatedAt is when the one before it was first used.
	Gen       int64
	RotatedAt time.Time
	CreatedAt time.Time
	// IdleAt is when the grant expires unless it is refreshed, ExpiresAt when it expires whatever happens.
	IdleAt      time.Time
	ExpiresAt   time.Time
	EndedAt     time.Time
	EndedReason string
}

// A Code is an authorization code, kept by the SHA-256 of its text, with all that its redemption needs.
type Code struct {
	Hash        [32]byte
	Domain      string
	Client      string
	User        string
	RedirectURI string
	// RedirectGiven tells whether the authorization request named the redirect URI (RFC 6749 §4.1.3).
	RedirectGiven bool
	Challenge     string // PKCE S256 challenge
	JKT           string // dpop_jkt, empty if the request gave none
	DeviceName    string
	Scopes        []string
	Audience      []string
	Issuer        string
	UpstreamSID   string
	AuthTime      time.Time
	ACR           string
	AMR           []string
	CreatedAt     time.Time
	ExpiresAt     time.Time
	SpentAt       time.Time
	Grant         string // the grant that it was spent for
}

// A Login is an authorization request that waits for its person: to come back from the OpenID provider, or to answer on
// a page of ours.
type Login struct {
	State    [32]byte // SHA-256 of the state sent upstream
	Browser  [32]byte // SHA-256 of the cookie of the browser that began it
	Domain   string   // empty, as Provider is, while she has to choose them
	Provider string   // its id in the configuration
	Nonce    string
	Verifier string     // PKCE verifier towards the provider
	Request  url.Values // the authorization request, as it was checked
	// Person is what is known of the person, and what she is asked, for a login that waits for her on a page; the package
	// that reads it wrote it. Nil while she is at the provider.
	Person []byte
	// CreatedAt and ExpiresAt bound the time that the person may take.
	CreatedAt time.Time
	ExpiresAt time.Time
}

// A Pushed is an authorization request that a client sent ahead (RFC 9126), kept by the SHA-256 of its request URI.
type Pushed struct {
	URI       [32]byte
	Client    string
	Request   url.Values
	ExpiresAt time.Time
}

// A Statement is one that the issuer has signed and can withdraw: a grant to an actor, a delegation, a membership.
type Statement struct {
	JTI    string
	Domain string // of its subject
	User   string // the id of its subject; empty where that is no user of the domain
	Device string // the id of the device by which the user made it; empty where the operator did
	Type   string // typ
	Claims []byte // as they were signed
	// Gen is the generation of the user when it was made, TellsHandle says that its claims hold the handle of that time, and
	// JKT is the thumbprint of the key that it names in cnf, if any.
	Gen         int64
	TellsHandle bool
	JKT         string
	// CreatedAt and ExpiresAt are its iat and exp.
	CreatedAt       time.Time
	ExpiresAt       time.Time
	WithdrawnAt     time.Time
	WithdrawnReason string
}

// A Withdrawal ends statements about a user, however many, by one record. It covers those that were made in a generation
// below Below and that fit each of the other fields that is not empty.
type Withdrawal struct {
	ID     int64 // given by the store
	Domain string
	User   string
	JTI    string // covers this one alone
	// Device and JKT cover what a device made, and what names its key. Both together cover either.
	Device, JKT string
	TellsHandle bool // covers only what tells the handle
	Below       int64
	Reason      string
	At          time.Time
}

// A SweepPosition is how far a sweep has come. The zero position is the beginning.
type SweepPosition struct {
	Table int
	Row   int64
}

// A StatementCursor is a position in a list of statements: after the one with these values. The zero cursor is before all.
type StatementCursor struct {
	CreatedAt time.Time
	JTI       string
}

// A Client is an OAuth client that was registered while the issuer ran; those of its settings are not kept here.
type Client struct {
	ID string
	// Seq is the number of its last change; it is the store that gives it.
	Seq int64
	// Registration is what the client may do; the package that reads it wrote it. It is never empty.
	Registration []byte
	// Secret is the SHA-256 of its secret, nil if it has none. OldSecret is that of the one before, which is good until
	// OldUntil.
	Secret    []byte
	OldSecret []byte
	OldUntil  time.Time

	CreatedAt     time.Time
	RemovedAt     time.Time
	RemovedReason string
}

// A SigningKey is one of the issuer's own keys.
type SigningKey struct {
	KID       string // RFC 7638 thumbprint
	Alg       string // JOSE name, e.g. "ES256"
	Sealed    []byte // the private key, sealed under the key-encryption key
	Public    []byte // the public JWK
	CreatedAt time.Time
	// ActiveAt is when it begins to sign, RetiredAt when it stopped, RevokedAt when all that it signed became void.
	ActiveAt      time.Time
	RetiredAt     time.Time
	RevokedAt     time.Time
	RevokedReason string
	// Life is the longest life that was ever given to what it signs, in whole milliseconds.
	Life time.Duration
}

// RevocationKind says what a [Revocation] ends.
type RevocationKind string

// The kinds of revocation. Each is absolute for its key (no times are compared), but RevokeGen, which ends the
// tokens of a user below a generation. Keys that belong to a domain are written "domain/id".
const (
	RevokeToken  RevocationKind = "jti"
	RevokeGrant  RevocationKind = "sid"
	RevokeDevice RevocationKind = "device"
	RevokeUser   RevocationKind = "user"
	RevokeGen    RevocationKind = "gen"
	RevokeClient RevocationKind = "client"
	RevokeKey    RevocationKind = "kid"
)

// A Revocation makes tokens inactive until the last one that it can touch has expired.
type Revocation struct {
	Seq       int64
	Kind      RevocationKind
	Key       string
	Gen       int64  // the least valid generation, for RevokeGen only
	Owner     string // the user to whose share of the rows it counts, as "domain/id"; empty if nobody's
	Reason    string
	At        time.Time
	ExpiresAt time.Time
}
