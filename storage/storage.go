// Package storage declares what the issuer keeps: its records, its errors and the [Store] contract that every
// database keeps. The stores themselves are in the packages below it; storagetest holds each of them to the promises
// written here.
//
// Reads go straight to the database and see everything that an [Store.Update] acknowledged before they began. Writes
// are functions handed to Update: a store is free to put many of them into one durable transaction (group commit),
// so such a function is short, computes nothing costly and talks to nobody.
//
// Times are kept in whole milliseconds, in UTC; the zero time means "never". The package knows nothing of tokens,
// keys or HTTP, and keeps secrets as hashes or sealed, never plain.
package storage

import (
	"context"
	"errors"
	"time"
)

// Errors that a caller branches on. Any other error of a store means that it cannot know now: the caller answers
// "unavailable", never "no".
var (
	// ErrNotFound is returned by a read of one record, and by a write that names one, when there is none.
	ErrNotFound = errors.New("storage: not found")
	// ErrConflict is returned by an insert whose key is taken, and by a compare-and-set that lost.
	ErrConflict = errors.New("storage: conflict")
	// ErrUnavailable is returned on opening a database that cannot be opened now, and may be later: it is locked, its
	// disk is full, it does not answer.
	ErrUnavailable = errors.New("storage: not available now")
	// ErrSchemaNewer is returned on opening a database that a newer release has migrated.
	ErrSchemaNewer = errors.New("storage: the database is of a newer release")
)

// SpentGrace is how long a spent id is stored after it has expired: after a clock was set back, what it was spent for looks
// unexpired again.
const SpentGrace = 15 * time.Minute

// A Store keeps the issuer's records. All methods are safe for concurrent use.
type Store interface {
	Reader

	// Update runs fn in one transaction, isolated from every other (as if they ran one after the other). When it
	// returns nil, all that fn wrote is durable: it survives the death of the process and of the machine. When fn
	// returns an error, nothing that fn wrote remains, and Update returns that very error; a panic of fn becomes an
	// error of that kind. fn may be run more than once: it has no effect but through tx and through variables that it
	// sets anew each time. A ctx that ends before fn began keeps it from running; once begun, the transaction is
	// carried to its end. To call Update from fn, with fn's ctx, is an error.
	Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error

	// Ping reports whether the store can be read and written now.
	Ping(ctx context.Context) error

	// Close waits for the updates under way and releases the store. What is called later returns an error.
	Close() error
}

// A Queued store lets updates wait for each other, and tells how that goes. It is asked from time to time, by who watches
// the server.
type Queued interface {
	// Queue returns the numbers of this moment.
	Queue() Queue
}

// A Queue is how updates wait in one process, and share transactions.
type Queue struct {
	// Waiting is how many updates wait for their turn now.
	Waiting int
	// Batches counts the transactions that were committed, by how many updates they held: the i-th those of at most 2^i
	// and more than the one before.
	Batches [9]uint64
	// Updates counts the updates in all of them.
	Updates uint64
}

// A Reader reads records. Each method that reads one record returns [ErrNotFound] if there is none.
type Reader interface {
	// Newest returns how far time has come, as [Tx.SetNewest] noted it last: the zero time if it never did.
	Newest(ctx context.Context) (time.Time, error)

	// Secret returns the sealed secret of that name.
	Secret(ctx context.Context, name string) ([]byte, error)

	// SigningKeys returns all signing keys, oldest first.
	SigningKeys(ctx context.Context) ([]SigningKey, error)

	// User returns the user of that id, also when she is disabled.
	User(ctx context.Context, domain, id string) (User, error)

	// Users returns at most limit users of domain, disabled ones too: those whose ids come after after, in the order of
	// the octets of their ids. Whoever reads on after the last id that was returned has seen everybody.
	Users(ctx context.Context, domain, after string, limit int) ([]User, error)

	// Links returns what ties user to accounts at OpenID providers, oldest first.
	Links(ctx context.Context, domain, user string) ([]Link, error)

	// Names returns the names that user holds or once held, in the order in which she took them.
	Names(ctx context.Context, domain, user string) ([]Name, error)
	// Waiting returns how many logins and pushed requests there are, those included that have expired and were not swept yet.
	Waiting(ctx context.Context) (int, error)
	// OldNames returns at most limit names of all domains whose keys were made by other tables than these, in any order.
	OldNames(ctx context.Context, tables string, limit int) ([]Name, error)

	// Grants returns the grants of user that are kept, ended and expired ones too, oldest first.
	Grants(ctx context.Context, domain, user string) ([]Grant, error)

	// LinkedUser returns the user whom (issuer, subject) of an OpenID provider is linked to in domain.
	LinkedUser(ctx context.Context, domain, issuer, subject string) (User, error)

	// Name returns who holds, or held, the name with that collision key.
	Name(ctx context.Context, domain, key string) (Name, error)

	// DevicesUnder returns at most limit devices of domain that were taken in under a delegation and are not removed.
	DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]Device, error)

	// Device returns the device of that id, also when it was removed.
	Device(ctx context.Context, domain, id string) (Device, error)

	// DeviceByKey returns the device, removed or not, that was bound to the key with thumbprint jkt in domain.
	DeviceByKey(ctx context.Context, domain, jkt string) (Device, error)

	// Devices returns the devices of domain, removed ones too, oldest first; those of one user when user is not empty.
	Devices(ctx context.Context, domain, user string) ([]Device, error)

	// ActiveDevices returns the devices of user that can be used at now, oldest first: those that are not removed and have
	// a live grant, or were taken in under a delegation that is neither withdrawn nor expired.
	ActiveDevices(ctx context.Context, domain, user string, now time.Time) ([]Device, error)

	// Session returns grant id with the user and the device that it belongs to, as they stood at one moment.
	Session(ctx context.Context, id string) (Grant, User, Device, error)

	// Code returns the authorization code with that hash, also when it was spent or has expired.
	Code(ctx context.Context, hash [32]byte) (Code, error)

	// Login returns the pending login with that state hash, also when it has expired.
	Login(ctx context.Context, state [32]byte) (Login, error)

	// Pushed returns the pushed authorization request with the hash of that request URI, also when it has expired.
	Pushed(ctx context.Context, uri [32]byte) (Pushed, error)

	// Statement returns the statement of that jti, also when it was withdrawn or has expired. This and every other read shows
	// a statement that a [Withdrawal] covers as withdrawn, whether that was written into its own row yet or not.
	Statement(ctx context.Context, jti string) (Statement, error)

	// Statements returns the statements about subjects of domain, oldest first: all of them, or those about one user when
	// user is not empty. Withdrawn ones are there for two hours at least, or until they expire.
	Statements(ctx context.Context, domain, user string) ([]Statement, error)

	// StandingStatements returns at most limit statements about user that are neither withdrawn nor expired at now, in the
	// order of CreatedAt and JTI, those that come after a cursor; those of one type when typ is not empty. A page that is not
	// full is the last one. A cursor stays good when its statement is gone.
	StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after StatementCursor, limit int) ([]Statement, error)

	// CountStatements returns how many statements about user, made by a device of theirs, are neither withdrawn nor expired at
	// now, and at most limit.
	CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error)

	// Withdrawal returns the oldest withdrawal that is not finished; [ErrNotFound] if there is none.
	Withdrawal(ctx context.Context) (Withdrawal, error)

	// Covered returns at most limit statements that w covers and whose own rows are not withdrawn, expired ones too.
	Covered(ctx context.Context, w Withdrawal, limit int) ([]Statement, error)

	// CountRevocations returns how many revocations of an owner there are that end after now, and at most limit.
	CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error)

	// Client returns the client of that id, also when it was removed.
	Client(ctx context.Context, id string) (Client, error)

	// Clients returns the clients, removed ones too, whose Seq is above after, lowest first. Numbers are given in commit
	// order: a reader that has seen n will never find a lower one new.
	Clients(ctx context.Context, after int64) ([]Client, error)

	// Revocation returns the revocation of that kind and key, also when it has expired.
	Revocation(ctx context.Context, kind RevocationKind, key string) (Revocation, error)

	// Revocations returns the revocations with a sequence number above after, lowest first, and the highest number
	// that is given away. Numbers are given in commit order: a reader that has seen n will never find a lower one new.
	Revocations(ctx context.Context, after int64) ([]Revocation, int64, error)
}

// A Tx reads and writes within one transaction of [Store.Update]. It is not for use after fn has returned. A method
// that returns [ErrNotFound] or [ErrConflict] has changed nothing, and the transaction goes on; any other error dooms
// it, also if fn passes over it.
type Tx interface {
	Reader

	// SetNewest notes how far time has come, also if it was noted to have come further.
	SetNewest(ctx context.Context, at time.Time) error

	// PutSecret keeps a sealed secret under a name, in the place of any earlier one.
	PutSecret(ctx context.Context, name string, sealed []byte) error

	// InsertSigningKey adds a key; [ErrConflict] if its KID is there.
	InsertSigningKey(ctx context.Context, k SigningKey) error
	// UpdateSigningKey writes all but the KID of a key.
	UpdateSigningKey(ctx context.Context, k SigningKey) error

	// InsertUser adds a user; [ErrConflict] if her domain has that id.
	InsertUser(ctx context.Context, u User) error
	// UpdateUser writes all but domain and id of a user.
	UpdateUser(ctx context.Context, u User) error
	// InsertLink ties (issuer, subject) of an OpenID provider to a user; [ErrConflict] if it is tied to one.
	InsertLink(ctx context.Context, l Link) error
	// DeleteLink removes the link of (issuer, subject), which another user may have then; [ErrNotFound] if there is none.
	DeleteLink(ctx context.Context, domain, issuer, subject string) error
	// InsertName takes a name for a user; [ErrConflict] if its collision key was ever taken in the domain, or if it is held
	// now and so is another name of the domain with the same Local, whatever its key.
	InsertName(ctx context.Context, n Name) error
	// RenameKey gives the name that has n's domain and key another key, made by n's tables; [ErrConflict] if that was ever
	// taken, [ErrNotFound] if there is no such name. The key may be the one that it has.
	RenameKey(ctx context.Context, n Name, key string) error
	// UpdateName writes all but domain and key of a name; [ErrConflict] if two names of one Local would be held then.
	UpdateName(ctx context.Context, n Name) error

	// InsertDevice adds a device; [ErrConflict] if its id or its key was ever known in the domain, or its number under its
	// delegation.
	InsertDevice(ctx context.Context, d Device) error
	// UpdateDevice writes all but domain and id of a device.
	UpdateDevice(ctx context.Context, d Device) error

	// InsertGrant adds a grant; [ErrConflict] if its id is there.
	InsertGrant(ctx context.Context, g Grant) error
	// RotateGrant moves a live grant from refresh generation from to from+1, used at now and idle until idle;
	// [ErrConflict] if it is not live at that generation: none, ended, idle too long, expired or of another generation.
	RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error
	// EndGrant ends a live grant; ending one that has ended changes nothing. [ErrNotFound] if there is none.
	EndGrant(ctx context.Context, id string, at time.Time, reason string) error
	// EndDeviceGrants ends every live grant of a device and returns their ids, in no order.
	EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) (ended []string, err error)

	// EndUserGrants ends every live grant of a user and returns their ids, in no order. The codes that could still make one
	// are gone with them, unless they had expired at that time.
	EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) (ended []string, err error)

	// EndClientGrants ends every live grant of a client and returns their ids, in no order.
	EndClientGrants(ctx context.Context, client string, at time.Time, reason string) (ended []string, err error)

	// InsertClient adds a client under a new number; [ErrConflict] if its id was ever taken.
	InsertClient(ctx context.Context, c Client) error
	// UpdateClient writes all but the id of a client, under a new number. A client is never deleted.
	UpdateClient(ctx context.Context, c Client) error

	// InsertCode adds an authorization code; [ErrConflict] if its hash is there.
	InsertCode(ctx context.Context, c Code) error
	// SpendCode marks a code as spent for grant; [ErrConflict] if it was spent before, [ErrNotFound] if there is none.
	SpendCode(ctx context.Context, hash [32]byte, at time.Time, grant string) error

	// InsertLogin adds a pending login; [ErrConflict] if its state is there.
	InsertLogin(ctx context.Context, l Login) error
	// TakeLogin removes a pending login and returns it; [ErrNotFound] if there is none, or no longer.
	TakeLogin(ctx context.Context, state [32]byte) (Login, error)

	// InsertPushed adds a pushed authorization request; [ErrConflict] if its URI is there.
	InsertPushed(ctx context.Context, p Pushed) error
	// TakePushed removes a pushed authorization request; [ErrNotFound] if there is none, or no longer.
	TakePushed(ctx context.Context, uri [32]byte) error

	// InsertStatement adds a statement; [ErrConflict] if its jti is there.
	InsertStatement(ctx context.Context, s Statement) error
	// WithdrawStatement ends a statement; one that has ended changes nothing. [ErrNotFound] if there is none.
	WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error
	// BeginWithdrawal ends all statements that w covers, at once and for every reader, by a record of its own. Their rows are
	// then written with [Tx.WithdrawStatement], a few at a time, and the record is removed with [Tx.FinishWithdrawal].
	BeginWithdrawal(ctx context.Context, w Withdrawal) error
	// FinishWithdrawal removes a withdrawal whose statements are all written; [ErrNotFound] if there is none of that ID.
	FinishWithdrawal(ctx context.Context, id int64) error

	// SpendID marks a single-use id, such as the jti of a client's assertion, as spent until a time; [ErrConflict] if one of
	// that kind and key is there, which one that was not swept still is.
	SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error

	// Revoke adds a revocation and returns it with its number. If one of the same kind and key is there, whose Gen is as
	// high and whose ExpiresAt as late, that one stays and is returned; else it is replaced by a row under a new number
	// that keeps the higher Gen and the later ExpiresAt of the two.
	Revoke(ctx context.Context, r Revocation) (Revocation, error)

	// Sweep removes rows that are of no use any more: codes, pending logins, pushed requests, statements and revocations that
	// expired before now, statements that were withdrawn two hours before it, spent ids that expired [SpentGrace] before it, and
	// grants that ended or expired before it and that no code names any longer. It goes on from a position, removes at most
	// limit rows and looks at few more, and returns how many it removed and the position to go on from: the zero position
	// when it has come to the end.
	Sweep(ctx context.Context, now time.Time, from SweepPosition, limit int) (next SweepPosition, removed int, err error)
}
