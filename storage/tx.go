package storage

import (
	"context"
	"time"
)

// A Tx reads and writes within one transaction of [Store.Update]. It must not be used after fn has returned. A method that
// returns [ErrNotFound] or [ErrConflict] has changed nothing, and the transaction continues; any other error dooms it, even if
// fn ignores the error.
type Tx interface {
	Reader
	StatusWriter
	CredentialWriter
	SignedDocumentWriter
	AuditWriter
	Maintainer
	TxMaintainer

	// PutSecret stores a sealed secret under a name and replaces an earlier one.
	PutSecret(ctx context.Context, name string, sealed []byte) error
	// DeleteSecret deletes the secret of a name; [ErrNotFound] if there is none.
	DeleteSecret(ctx context.Context, name string) error

	// InsertSigningKey adds a key; [ErrConflict] if its KID exists.
	InsertSigningKey(ctx context.Context, k SigningKey) error
	// UpdateSigningKey writes all but the KID of a key.
	UpdateSigningKey(ctx context.Context, k SigningKey) error

	// InsertUser adds a user; [ErrConflict] if the domain has that id.
	InsertUser(ctx context.Context, u User) error
	// UpdateUser writes all but domain and id of a user.
	UpdateUser(ctx context.Context, u User) error
	// BeginRemoval deletes a user and stores r until [Tx.ContinueRemoval] has deleted everything about them; [ErrNotFound] if there is no
	// such user.
	BeginRemoval(ctx context.Context, r Removal) error
	// ContinueRemoval deletes at most limit rows about a removed user: codes, grants, browser sessions, devices with the replacements
	// of their keys, forgotten devices, credentials, statements and their withdrawals, events, links and names. Revocations and the ends of
	// credentials stay until they expire.
	// It reports whether there may be more, and deletes r if not.
	ContinueRemoval(ctx context.Context, r Removal, limit int) (more bool, err error)
	// PutTombstone stores a tombstone. Of two with the same mark, the first stays until the later of their expiries.
	PutTombstone(ctx context.Context, t Tombstone) error
	// DeleteTombstone deletes a tombstone; [ErrNotFound] if there is none.
	DeleteTombstone(ctx context.Context, domain string, mark [32]byte) error
	// InsertLink links (issuer, subject) of an OpenID provider to a user; [ErrConflict] if it is linked to one.
	InsertLink(ctx context.Context, l Link) error
	// DeleteLink removes the link of (issuer, subject), which another user may then have; [ErrNotFound] if there is none.
	DeleteLink(ctx context.Context, domain, issuer, subject string) error
	// InsertName takes a name for a user; [ErrConflict] if its collision key was ever taken in the domain, or if both it and
	// another name of the domain with the same Local would be held.
	InsertName(ctx context.Context, n Name) error
	// RenameKey gives the name with n's domain and key another key, made by n's tables; [ErrConflict] if that key was ever
	// taken, [ErrNotFound] if there is no such name. The key may be the present one.
	RenameKey(ctx context.Context, n Name, key string) error
	// DeleteName deletes the name with that key, also in the credentials of its user that state it as a former handle; [ErrNotFound] if
	// there is none. The key can then be taken.
	DeleteName(ctx context.Context, domain, key string) error
	// UpdateName writes all but domain and key of a name; [ErrConflict] if two names with the same Local would be held.
	UpdateName(ctx context.Context, n Name) error

	// InsertDevice adds a device; [ErrConflict] if its id or its key was ever used in the domain, or its number under its
	// delegation.
	InsertDevice(ctx context.Context, d Device) error
	// UpdateDevice writes all but domain and id of a device.
	UpdateDevice(ctx context.Context, d Device) error
	// RekeyDevice replaces the key of a device and its algorithm as r says, stores r, and binds the grants of the device that
	// have not ended to the new key. [ErrConflict] if the device has another key than r.OldJKT or was removed, or if r.NewJKT
	// was ever used in the domain; [ErrNotFound] if there is no such device.
	RekeyDevice(ctx context.Context, r Rekey) error

	// InsertUserEvent adds an event under the next number of its user.
	InsertUserEvent(ctx context.Context, e UserEvent) error

	// InsertGrant adds a grant; [ErrConflict] if its id exists.
	InsertGrant(ctx context.Context, g Grant) error
	// RotateGrant moves a live grant from refresh generation from to from+1, used at now and idle until idle;
	// [ErrConflict] if no such grant is live at that generation: it does not exist, ended, was idle too long, expired, or has
	// another generation.
	RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error
	// EndGrant ends a grant; it changes nothing if the grant has ended. [ErrNotFound] if it does not exist.
	EndGrant(ctx context.Context, id string, at time.Time, reason string) error
	// EndDeviceGrants ends every live grant of a device and returns their ids, in any order. It deletes the unspent device codes that
	// were allowed by the device.
	EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) (ended []string, err error)

	// EndUserGrants ends every live grant of a user and returns their ids, in any order. It deletes the user's unspent codes
	// that have not expired, the unspent device codes that the user allowed, and the browser sessions of the user.
	EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) (ended []string, err error)

	// EndLogin ends the live grants that a logout is about and returns them, in any order. It deletes the unspent codes that it is
	// about and that have not expired, the unspent device codes that were allowed by such logins, and the browser sessions that it is
	// about, and stores the logout until l.ExpiresAt, for [Reader.LoggedOut]. A logout that names a subject is about l.User and
	// l.Issuer, and about no user if l.User is empty; if it also names a session of the provider, it is about that session and what
	// names none. One without a subject is about its session alone, of any user.
	EndLogin(ctx context.Context, l Logout, at time.Time, reason string) (ended []Grant, err error)

	// InsertBrowserSession adds a browser session; [ErrConflict] if its hash exists.
	InsertBrowserSession(ctx context.Context, s BrowserSession) error
	// TouchBrowserSession writes when a browser session was used, and when it becomes idle; [ErrNotFound] if it does not exist.
	TouchBrowserSession(ctx context.Context, hash [32]byte, used, idle time.Time) error
	// DeleteBrowserSession deletes a browser session; [ErrNotFound] if it does not exist.
	DeleteBrowserSession(ctx context.Context, hash [32]byte) error
	// TrimBrowserSessions deletes all browser sessions of a user but the keep that were used last.
	TrimBrowserSessions(ctx context.Context, domain, user string, keep int) error

	// InsertUpstreamToken adds an upstream token, before the records that name it; [ErrConflict] if its id exists.
	InsertUpstreamToken(ctx context.Context, t UpstreamToken) error
	// UpdateUpstreamToken writes Sealed, State, CheckedAt and RetryAt of an upstream token and increases its Number; [ErrConflict] if the
	// Number is not that of t, or if there is no such token.
	UpdateUpstreamToken(ctx context.Context, t UpstreamToken) error
	// EndUpstreamToken ends the live grants that name an upstream token and returns them, in any order. It deletes the unspent codes and
	// device codes and the browser sessions that name it, and the token.
	EndUpstreamToken(ctx context.Context, id string, at time.Time, reason string) (ended []Grant, err error)

	// EndClientGrants ends every live grant of a client and returns their ids, in any order.
	EndClientGrants(ctx context.Context, client string, at time.Time, reason string) (ended []string, err error)

	// InsertClient adds a client under a new number; [ErrConflict] if its id was ever taken.
	InsertClient(ctx context.Context, c Client) error
	// UpdateClient writes all but the id of a client, under a new number. A client is never deleted.
	UpdateClient(ctx context.Context, c Client) error

	// InsertCode adds an authorization code; [ErrConflict] if its hash exists.
	InsertCode(ctx context.Context, c Code) error
	// SpendCode marks a code as spent for grant; [ErrConflict] if it was spent before, [ErrNotFound] if it does not exist.
	SpendCode(ctx context.Context, hash [32]byte, at time.Time, grant string) error

	// InsertDeviceCode adds a device code; [ErrConflict] if its hash or its user code exists.
	InsertDeviceCode(ctx context.Context, c DeviceCode) error
	// BindDeviceCode binds a device code to the key with thumbprint jkt, or changes nothing if it is bound to it; [ErrConflict] if it is
	// bound to another one, [ErrNotFound] if it does not exist.
	BindDeviceCode(ctx context.Context, hash [32]byte, jkt string) error
	// DecideDeviceCode writes the decision of c, with the fields of the one who allowed it;
	// [ErrConflict] if it was decided before, [ErrNotFound] if it does not exist.
	DecideDeviceCode(ctx context.Context, c DeviceCode) error
	// SpendDeviceCode marks an allowed device code as spent for grant, and binds it as [Tx.BindDeviceCode] does; [ErrConflict] if it was
	// spent before, is not allowed or is bound to another key, [ErrNotFound] if it does not exist.
	SpendDeviceCode(ctx context.Context, hash [32]byte, jkt string, at time.Time, grant string) error

	// InsertLogin adds a pending login; [ErrConflict] if its state exists.
	InsertLogin(ctx context.Context, l Login) error
	// TakeLogin removes a pending login and returns it; [ErrNotFound] if it does not exist, or no longer.
	TakeLogin(ctx context.Context, state [32]byte) (Login, error)

	// InsertPushed adds a pushed authorization request; [ErrConflict] if its URI exists.
	InsertPushed(ctx context.Context, p Pushed) error
	// TakePushed removes a pushed authorization request; [ErrNotFound] if it does not exist, or no longer.
	TakePushed(ctx context.Context, uri [32]byte) error

	// InsertStatement adds a statement; [ErrConflict] if its jti exists.
	InsertStatement(ctx context.Context, s Statement) error
	// WithdrawStatement withdraws a statement; it changes nothing if that was done before. [ErrNotFound] if it does not exist.
	WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error
	// DeleteStatement deletes a statement; [ErrNotFound] if it does not exist.
	DeleteStatement(ctx context.Context, jti string) error
	// BeginWithdrawal withdraws all statements that w covers, at once and for every reader, by storing w. Their rows are then
	// written with [Tx.WithdrawStatement], a few at a time, and w is removed with [Tx.FinishWithdrawal].
	BeginWithdrawal(ctx context.Context, w Withdrawal) error
	// FinishWithdrawal removes a withdrawal whose statements are all written; [ErrNotFound] if it does not exist.
	FinishWithdrawal(ctx context.Context, id int64) error

	// SpendID marks a single-use id, such as the jti of a client's assertion, as spent until a time; [ErrConflict] if one of
	// that kind and key is stored, including an expired one that was not swept yet.
	SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error

	// KeepAnswer stores a request with an idempotency key; [ErrConflict] if one with that key is stored that expires after now.
	KeepAnswer(ctx context.Context, a KeptAnswer, now time.Time) error
	// FillAnswer stores the answer to the request with that key; [ErrNotFound] if there is none.
	FillAnswer(ctx context.Context, key [32]byte, answer []byte) error

	// Revoke adds a revocation and returns it with its number. If one of the same kind and key exists, with a Gen as high and
	// an ExpiresAt as late, that one stays and is returned. Otherwise a row under a new number replaces it, with the higher Gen
	// and the later ExpiresAt of the two.
	Revoke(ctx context.Context, r Revocation) (Revocation, error)
}
