// Package audit records who did what to accounts, sessions, statements, clients and keys.
//
// An [Event] has a [Kind] of a closed list, which docs/audit.md describes. [Append] adds its record to the audit log in the transaction
// that does what it is about, so that there is never one without the other; a [Recorder] writes its line once the transaction is
// durable. Events that commit nothing, such as a grant for another issuer, are lines only. The layer that changes something says what
// happened, and the layer that knows the actor and the address says so by [WithOrigin]. An event never holds a token, a proof or a
// secret.
//
// Records form a chain for each node. They name users by id; what else they say of a person is outside of the chain, which has a
// commitment to it.
package audit

import (
	"fmt"
	"net/netip"
)

// A Kind says what happened.
type Kind uint8

// Users and their consent.
const (
	// UserSignedIn: a user signed in at their OpenID provider, and the code for the app is stored.
	UserSignedIn Kind = iota + 1
	// UserCreated: a user signed in for the first time, and is stored.
	UserCreated
	// UserProvisioned: an OpenID provider created a user ahead of the first login.
	UserProvisioned
	// UserRenamed: a user got another handle, which they, an operator or the OpenID provider chose.
	UserRenamed
	// UserDisabled: an operator or an OpenID provider disabled a user.
	UserDisabled
	// UserEnabled: an operator or an OpenID provider enabled a disabled user.
	UserEnabled
	// UserRemoved: a user was removed for ever, by an operator or by themselves.
	UserRemoved
	// UserErased: an operator removed a user for ever, and had made sure that nothing of them can be recovered.
	UserErased
	// UserExported: everything that is stored about a user was shown to them, or to an operator.
	UserExported
	// UserReadmitted: an operator lets a removed person sign in again, as a new user.
	UserReadmitted
	// UserLoggedOut: an OpenID provider ended a login of a user, or said that it has when it was asked. The sessions that came from it
	// ended.
	UserLoggedOut
	// UserFindable: a user decided whether others find their issuer by their handle.
	UserFindable
	// UserKeysChanged: a user stored their first cross-signing keys, or others below the same master key.
	UserKeysChanged
	// UserMasterChanged: a user stored cross-signing keys with another master key.
	UserMasterChanged
	// UserPlacesChanged: a user stored or deleted the profile that names their places.
	UserPlacesChanged
	// LinkMoved: an operator moved the link between a user and an account at an OpenID provider.
	LinkMoved
	// LinkRemoved: a user removed the link to an account at an OpenID provider. What came from logins there ended.
	LinkRemoved
	// HandleReleased: an operator released a former handle, which others can take now.
	HandleReleased
	// ConsentGiven: a user allowed an app what it asked for.
	ConsentGiven
	// ConsentDenied: a user refused an app.
	ConsentDenied

	// DeviceAdded: a key became a new device of a user.
	DeviceAdded
	// DeviceRenamed: a user gave a device of theirs another name.
	DeviceRenamed
	// DeviceRekeyed: a device got another key in place of its old one.
	DeviceRekeyed
	// DeviceRemoved: a device was removed. Its sessions ended.
	DeviceRemoved
	// DeviceLimitReached: a login met the limit of devices, or was refused at it.
	DeviceLimitReached

	// CodeReused: an authorization code was redeemed again with another key. Its session ended.
	CodeReused
	// RefreshReused: a replaced refresh token was used again. Its session ended.
	RefreshReused
	// SessionRevoked: a client revoked a refresh token. Its session ended.
	SessionRevoked
	// SessionEnded: a user ended a session of theirs, an operator one of a user, or the issuer one of a login that it could not check.
	SessionEnded
	// CredentialIssued: a device got a credential.
	CredentialIssued
	// CredentialEnded: a user ended a credential of a device of theirs, or an operator one of a user.
	CredentialEnded
	// WireTokenIssued: a device got a token for a certificate authority of Wire.
	WireTokenIssued
	// TokenRevoked: a client revoked an access token.
	TokenRevoked

	// StatementMade: the issuer signed a statement for a user or for an operator.
	StatementMade
	// StatementWithdrawn: a statement was withdrawn, with the statements that rest on it.
	StatementWithdrawn

	// ChainingGranted: a client got an authorization grant for another issuer.
	ChainingGranted
	// ChainingRedeemed: a client got an access token for a user of another domain by an authorization grant of the user's issuer.
	ChainingRedeemed

	// ClientAdded: an operator registered a client, or a client registered itself. Then the reason names its initial access token.
	ClientAdded
	// ClientChanged: a client that registered itself changed its registration.
	ClientChanged
	// ClientRemoved: an operator removed a client, or a client that registered itself did.
	ClientRemoved
	// ClientSecretReplaced: an operator gave a client another secret.
	ClientSecretReplaced

	// KeyRotated: another signing key was published, or began to sign.
	KeyRotated
	// KeyRevoked: a signing key was revoked.
	KeyRevoked
	// ClusterSecretRotated: an operator had a new cluster secret made. The reason is "leaked" if the old ones ended at once.
	ClusterSecretRotated
	// KEKRotated: an operator had all secrets sealed under another key-encryption key.
	KEKRotated

	// WireKeyMade: the key for tokens to certificate authorities of Wire was made, by the first start or by an operator.
	WireKeyMade

	// BackupMade: an operator made a backup of the database.
	BackupMade
	// BackupRestored: an operator put a backup in the place of the database.
	BackupRestored

	ended // no Kind
)

// kinds holds the name of each Kind, the text of its line in the log, and whether an operator should look at it soon.
var kinds = [ended]struct {
	name, text string
	warn       bool
}{
	UserSignedIn:         {"user.signed_in", "user signed in", false},
	UserCreated:          {"user.created", "user created", false},
	UserProvisioned:      {"user.provisioned", "user created ahead of the first login", false},
	UserRenamed:          {"user.renamed", "user renamed", false},
	UserDisabled:         {"user.disabled", "user disabled", false},
	UserEnabled:          {"user.enabled", "user enabled", false},
	UserRemoved:          {"user.removed", "user removed", false},
	UserErased:           {"user.erased", "user erased", false},
	UserExported:         {"user.exported", "data of a user exported", false},
	UserReadmitted:       {"user.readmitted", "removed person may sign in again", false},
	UserLoggedOut:        {"user.logged_out", "user logged out at the OpenID provider", false},
	UserFindable:         {"user.findable", "who finds a user by the handle", false},
	UserKeysChanged:      {"user.keys_changed", "cross-signing keys of a user changed", false},
	UserMasterChanged:    {"user.master_changed", "master key of a user replaced", false},
	UserPlacesChanged:    {"user.places_changed", "profile of a user's places stored or deleted", false},
	LinkMoved:            {"link.moved", "link moved", false},
	LinkRemoved:          {"link.removed", "link removed", false},
	HandleReleased:       {"handle.released", "handle released", false},
	ConsentGiven:         {"consent.given", "consent given", false},
	ConsentDenied:        {"consent.denied", "consent denied", false},
	DeviceAdded:          {"device.added", "device added", false},
	DeviceRenamed:        {"device.renamed", "device renamed", false},
	DeviceRekeyed:        {"device.rekeyed", "key of a device replaced", false},
	DeviceRemoved:        {"device.removed", "device removed", false},
	DeviceLimitReached:   {"device.limit_reached", "device limit reached", false},
	CodeReused:           {"code.reused", "authorization code used again by another key: session ended", true},
	RefreshReused:        {"refresh.reused", "replaced refresh token used again: session ended", true},
	SessionRevoked:       {"session.revoked", "session revoked", false},
	SessionEnded:         {"session.ended", "session ended by its user", false},
	CredentialIssued:     {"credential.issued", "credential issued", false},
	CredentialEnded:      {"credential.ended", "credential ended", false},
	WireTokenIssued:      {"wire.token_issued", "token for a certificate authority of Wire issued", false},
	TokenRevoked:         {"token.revoked", "access token revoked", false},
	StatementMade:        {"statement.made", "statement made", false},
	StatementWithdrawn:   {"statement.withdrawn", "statement withdrawn", false},
	ChainingGranted:      {"chaining.granted", "authorization grant for another issuer given", false},
	ChainingRedeemed:     {"chaining.redeemed", "authorization grant of another issuer redeemed", false},
	ClientAdded:          {"client.added", "client added", false},
	ClientChanged:        {"client.changed", "client changed", false},
	ClientRemoved:        {"client.removed", "client removed", false},
	ClientSecretReplaced: {"client.secret_replaced", "client secret replaced", false},
	KeyRotated:           {"key.rotated", "signing key rotated", false},
	KeyRevoked:           {"key.revoked", "signing key revoked", true},
	ClusterSecretRotated: {"secret.rotated", "cluster secret rotated", false},
	KEKRotated:           {"kek.rotated", "key-encryption key rotated", false},
	WireKeyMade:          {"wire.key_made", "signing key for Wire made", false},
	BackupMade:           {"backup.made", "backup made", false},
	BackupRestored:       {"backup.restored", "backup restored", true},
}

// Kinds returns every Kind.
func Kinds() []Kind {
	list := make([]Kind, 0, ended-1)
	for k := Kind(1); k < ended; k++ {
		list = append(list, k)
	}
	return list
}

// String returns the name of k in the log, such as "device.removed".
func (k Kind) String() string {
	if k == 0 || k >= ended {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kinds[k].name
}

// An Actor says in which role somebody acted. The other fields of an [Event] identify them.
type Actor string

const (
	// ActorUser is the user of the event, with their browser or an app.
	ActorUser Actor = "user"
	// ActorClient is the client of the event.
	ActorClient Actor = "client"
	// ActorAdmin is an operator, at the admin socket or the command line.
	ActorAdmin Actor = "admin"
	// ActorProvider is the OpenID provider whose issuer identifier is the peer of the event.
	ActorProvider Actor = "provider"
	// ActorIssuer is the issuer itself, which follows a schedule.
	ActorIssuer Actor = "issuer"
)

// An Event is one thing that somebody did. The fields that say nothing of it are empty.
type Event struct {
	Kind  Kind
	Actor Actor

	// Domain is that of User, Device and Handle.
	Domain string
	// User is the id of a user, never a handle.
	User string
	// FormerUser is the id of the user who had the link before, if that was another one.
	FormerUser string
	Handle     string
	// Device is the id of a device.
	Device string
	// Client is the id of a client.
	Client string
	// Session is the id of a session, the claim sid of its tokens.
	Session string
	// Credential is the jti of a lasting credential of a device.
	Credential string
	// Statement is the jti of a statement.
	Statement string
	// Key is the kid of a signing key.
	Key string
	// Peer is the URL of another issuer, or of an OpenID provider.
	Peer string

	// Address is that of the request. The zero Addr means that there was none, as at the admin socket.
	Address netip.Addr
	// Reason is a short text: an operator's words, or the reason code of the issuer.
	Reason string
}
