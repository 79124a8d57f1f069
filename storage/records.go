package storage

import (
	"net/url"
	"time"
)

// A User is a person in one domain. The same person may be another user in another domain. ID never changes and is never reused.
type User struct {
	Domain string
	ID     string
	// Handle is the canonical local part of the present handle.
	Handle string
	// Gen is the generation of the user. Whatever ends the earlier tokens but not the sessions of the user increases it.
	Gen        int64
	CreatedAt  time.Time
	DisabledAt time.Time
	// Findable tells that others may find the issuer by the handle of the user.
	Findable bool
}

// A Link links an account at an OpenID provider to a user.
type Link struct {
	Domain    string
	Issuer    string // the provider's iss
	Subject   string // the provider's sub
	User      string
	CreatedAt time.Time
}

// A Name is a handle or a user id of a domain, held or released. Both share one namespace of collision keys.
type Name struct {
	Domain     string
	Key        string // collision key
	Tables     string // version of the tables by which Key was made
	Local      string // canonical local part
	User       string
	TakenAt    time.Time
	ReleasedAt time.Time // zero while it is held; a released name is in quarantine
}

// A FoundUser is a user whom a search found, and where the text is.
type FoundUser struct {
	User
	InID, InHandle, InSubject, InDevice bool
}

// A Tombstone tells that something belonged to a user who was removed: an id, a name, or an account at an OpenID provider. Only those who
// can make the mark again know which, and tombstones of one user do not name each other.
type Tombstone struct {
	Domain string
	Mark   [32]byte
	// RemovedOn is the day of the removal.
	RemovedOn time.Time
	// ExpiresAt is when the tombstone is deleted; zero if it never is.
	ExpiresAt time.Time
}

// PersonalRecords are the records of one kind about a user.
type PersonalRecords struct {
	// Name is that of the kind.
	Name string
	// Rows are JSON objects, whose members depend on the kind. Their order is that of the database.
	Rows []string
}

// A Removal is a removed user about whom there may still be rows to delete.
type Removal struct {
	Domain string
	User   string
	At     time.Time
}

// A Device is one client of a user, bound to one key. Each replacement of the key is a [Rekey].
type Device struct {
	Domain string
	ID     string
	User   string
	JKT    string // RFC 7638 thumbprint of its key, SHA-256, base64url
	Alg    string // the JOSE algorithm that its key signs with; empty if that was not stored
	Name   string // given by the user; may be empty
	Client string // the OAuth client that it first logged in with
	// Platform is a word of a closed list that hints at its kind; empty if nothing hinted at it.
	Platform string
	// Delegation is the jti of the delegation under which a key of the user added the device, and Number is its number under
	// that delegation, from 1. Empty and zero for a device that logged in.
	Delegation    string
	Number        int
	CreatedAt     time.Time
	RemovedAt     time.Time
	RemovedReason string
}

// A Rekey is the replacement of the key of a device by another one. It is never deleted. Both keys are thumbprints like
// [Device.JKT], and no other device of the domain ever had or gets one of them.
type Rekey struct {
	Domain string
	Device string
	OldJKT string
	NewJKT string
	Alg    string // the JOSE algorithm that the new key signs with
	At     time.Time
}

// A DeviceUse is a device with its use.
type DeviceUse struct {
	Device
	// SeenAt is when the device last logged in or refreshed, as far as its stored grants tell; zero if none is left.
	SeenAt time.Time
	// Login is the last login of the device, of which Issuer, AuthTime, ACR, AMR and CreatedAt are set; zero if no grant is left.
	Login Grant
	// Active is as [Reader.DeviceActive] says.
	Active bool
}

// UserEventKind says what happened to a device.
type UserEventKind string

// The kinds of events.
const (
	DeviceAdded   UserEventKind = "device_added"
	DeviceRemoved UserEventKind = "device_removed"
	DeviceRekeyed UserEventKind = "device_rekeyed"
)

// A UserEvent is something that happened to a device of a user, for the other devices of the user.
type UserEvent struct {
	Domain string
	User   string
	// Number is its place among the events of the user, from 1. The store gives it.
	Number int64
	Kind   UserEventKind
	Device string
	At     time.Time
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
	Issuer      string // iss of the OpenID provider
	UpstreamSID string // sid of the OpenID provider, empty if it sent none
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// UpstreamToken is the id of the [UpstreamToken] of the login, empty if it has none.
	UpstreamToken string
	// Gen is the generation of the newest refresh token; RotatedAt is when the one before it was first used.
	Gen       int64
	RotatedAt time.Time
	CreatedAt time.Time
	// IdleAt is when the grant expires unless it is refreshed, ExpiresAt when it expires in any case.
	IdleAt      time.Time
	ExpiresAt   time.Time
	EndedAt     time.Time
	EndedReason string
	// Status is the entry of the grant in a status list, zero if it has none.
	Status StatusEntry
}

// A Code is an authorization code, identified by the SHA-256 of its text, with all data that its redemption needs.
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
	Platform      string
	Scopes        []string
	Audience      []string
	Issuer        string
	UpstreamSID   string
	AuthTime      time.Time
	ACR           string
	AMR           []string
	UpstreamToken string // as in a [Grant]
	CreatedAt     time.Time
	ExpiresAt     time.Time
	SpentAt       time.Time
	Grant         string // the grant for which it was spent
}

// A DeviceCode is a device authorization request (RFC 8628), identified by the SHA-256 of its device code.
type DeviceCode struct {
	Hash     [32]byte
	UserCode [32]byte // MAC of its user code
	Client   string
	Request  url.Values // the request, as it was checked
	JKT      string     // thumbprint of the key that it is bound to; empty until the client proves one
	Network  string     // that the request came from
	// DecidedAt is when a person allowed or denied it. The fields below are those of the one who allowed it.
	DecidedAt   time.Time
	Allowed     bool
	Domain      string
	User        string
	Device      string // by which they allowed it; empty if it was in a browser
	Issuer      string
	UpstreamSID string
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// UpstreamToken is as in a [Grant].
	UpstreamToken string
	CreatedAt     time.Time
	ExpiresAt     time.Time
	SpentAt       time.Time
	Grant         string // the grant for which it was spent
}

// A Login is an authorization request that waits for the user: to come back from the OpenID provider, or to answer on a page
// of the issuer.
type Login struct {
	State    [32]byte // SHA-256 of the state sent upstream
	Browser  [32]byte // SHA-256 of the cookie of the browser that began it
	Domain   string   // empty, like Provider, until the user chooses
	Provider string   // id of the provider in the settings
	Nonce    string
	Verifier string     // PKCE verifier towards the provider
	Request  url.Values // the authorization request, as it was checked
	// Person is the state of a login that waits on a page: what is known of the user, and the question. The package that wrote it
	// reads it. Nil while the user is at the provider.
	Person []byte
	// CreatedAt and ExpiresAt bound the time that the user may take.
	CreatedAt time.Time
	ExpiresAt time.Time
}

// A Logout is the end of logins at an OpenID provider, as the provider reported it. It names a subject, a session, or both.
type Logout struct {
	Domain    string
	Issuer    string    // iss of the provider
	Subject   string    // sub of the provider; empty if the logout is about a session alone
	User      string    // the user that is linked to (Issuer, Subject); empty if there is none. It is not stored
	SID       string    // sid of the provider; empty if the logout is about all sessions of the subject
	At        time.Time // by the clock of the provider
	ExpiresAt time.Time
}

// A Pushed is a pushed authorization request (RFC 9126), identified by the SHA-256 of its request URI.
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
	User   string // id of its subject; empty if that is no user of the domain
	Device string // id of the device by which the user made it; empty if the operator made it
	Type   string // typ
	Claims []byte // as they were signed
	// Gen is the generation of the user when it was made, TellsHandle says that its claims contain the handle of that time, and
	// JKT is the thumbprint of the key in its cnf, if any.
	Gen         int64
	TellsHandle bool
	JKT         string
	// CreatedAt and ExpiresAt are its iat and exp.
	CreatedAt       time.Time
	ExpiresAt       time.Time
	WithdrawnAt     time.Time
	WithdrawnReason string
}

// A Withdrawal withdraws any number of statements about a user by one record. It covers those that were made in a generation
// below Below and that match each other field that is not empty.
type Withdrawal struct {
	ID     int64 // given by the store
	Domain string
	User   string
	JTI    string // covers this one alone
	// Device covers the statements that a device made, JKT those that name its key. Both together cover either kind.
	Device, JKT string
	TellsHandle bool // covers only statements that contain the handle
	Below       int64
	Reason      string
	At          time.Time
}

// A Retention says how long a sweep leaves rows that nothing needs. It concerns rows that are stored, however old the setting is.
type Retention struct {
	// Sessions is how long a grant that has ended or expired is kept, see [Reader.EndedGrants]. Zero keeps none.
	Sessions time.Duration
	// Events is how long user events are kept. Zero keeps them for ever.
	Events time.Duration
	// Devices is how long a removed device is kept. After it, the device is forgotten: of its row stay the id, the user and the
	// thumbprints of its keys, so that neither id nor key come back, see [Reader.DeviceByKey]. Zero keeps removed devices for ever.
	Devices time.Duration
}

// Forgotten is the RemovedAt of a device that is known by its keys alone.
var Forgotten = time.UnixMilli(1).UTC()

// A SweepPosition is how far a sweep has come. The zero position is the beginning.
type SweepPosition struct {
	Table int
	Row   int64
}

// A StatementCursor is a position in a list of statements: after the one with these values. The zero cursor is the beginning.
type StatementCursor struct {
	CreatedAt time.Time
	JTI       string
}

// A Client is an OAuth client that was registered at run time. The clients of the settings are not stored.
type Client struct {
	ID string
	// Seq is the number of its last change. The store gives it.
	Seq int64
	// Registration is what the client may do. The package that wrote it reads it. It is never empty.
	Registration []byte
	// Secret is the SHA-256 of its secret, nil if it has none. OldSecret is the SHA-256 of the previous one, which is valid
	// until OldUntil.
	Secret    []byte
	OldSecret []byte
	OldUntil  time.Time
	// RegisteredWith is the name of the initial access token that the client registered itself with, "" if an operator added it.
	// ManagedBy is the SHA-256 of its registration access token; nil if it has none.
	RegisteredWith string
	ManagedBy      []byte

	CreatedAt     time.Time
	RemovedAt     time.Time
	RemovedReason string
}

// A Secret is a secret of the issuer, sealed.
type Secret struct {
	Name   string
	Sealed []byte
}

// A SigningKey is one of the issuer's own keys.
type SigningKey struct {
	KID       string // RFC 7638 thumbprint
	Alg       string // JOSE name, e.g. "ES256"
	Sealed    []byte // the private key, sealed under the key-encryption key
	Public    []byte // the public JWK
	CreatedAt time.Time
	// ActiveAt is when it begins to sign, RetiredAt when it stopped, RevokedAt when everything that it signed became invalid.
	ActiveAt      time.Time
	RetiredAt     time.Time
	RevokedAt     time.Time
	RevokedReason string
	// Life is the longest lifetime that was ever given to an object that it signs, in whole milliseconds.
	Life time.Duration
}

// RevocationKind says what a [Revocation] ends.
type RevocationKind string

// The kinds of revocation. Each is absolute for its key (no times are compared), except RevokeGen, which ends the tokens of a
// user below a generation. Keys that belong to a domain are written "domain/id".
const (
	RevokeToken  RevocationKind = "jti"
	RevokeGrant  RevocationKind = "sid"
	RevokeDevice RevocationKind = "device"
	RevokeUser   RevocationKind = "user"
	RevokeGen    RevocationKind = "gen"
	RevokeClient RevocationKind = "client"
	RevokeKey    RevocationKind = "kid"
)

// A Revocation makes tokens inactive. It expires when the last token that it can concern has expired.
type Revocation struct {
	Seq   int64
	Kind  RevocationKind
	Key   string
	Gen   int64  // the lowest valid generation, for RevokeGen only
	Owner string // the user whose share of the rows it counts towards, as "domain/id"; may be empty
	// Domain is the domain whose tokens it can end, or several separated by spaces; empty if any domain's. User is the id of the
	// user that the key is about: of a device, its user; empty for kinds that name none.
	Domain    string
	User      string
	Reason    string
	At        time.Time
	ExpiresAt time.Time
}
