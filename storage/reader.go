package storage

import (
	"context"
	"time"
)

// A Reader reads records. Each method that reads one record returns [ErrNotFound] if it does not exist.
type Reader interface {
	StatusReader
	CredentialReader
	SignedDocumentReader
	AuditReader

	// Secret returns the sealed secret of that name.
	Secret(ctx context.Context, name string) ([]byte, error)
	// Secrets returns all sealed secrets, in the byte order of their names.
	Secrets(ctx context.Context) ([]Secret, error)

	// SigningKeys returns all signing keys, oldest first.
	SigningKeys(ctx context.Context) ([]SigningKey, error)

	// User returns the user of that id, including a disabled one.
	User(ctx context.Context, domain, id string) (User, error)

	// Users returns at most limit users of domain, including disabled ones: those whose ids come after after, in the byte order
	// of their ids. Reading on after the last id, until a page is empty, visits every user.
	Users(ctx context.Context, domain, after string, limit int) ([]User, error)

	// ProviderUsers returns at most limit users of domain who are linked to an account at the OpenID provider issuer, in the byte order
	// of their ids, without the first skip of them. Disabled users are included, unless disabled is given: then the users are those
	// who are disabled, or those who are not.
	ProviderUsers(ctx context.Context, domain, issuer string, disabled *bool, skip, limit int) ([]User, error)

	// CountProviderUsers returns how many users [Reader.ProviderUsers] has in all.
	CountProviderUsers(ctx context.Context, domain, issuer string, disabled *bool) (int, error)

	// SearchUsers returns at most limit users of domain whose ids come after after, in the byte order of their ids, and in whose ids,
	// names, subjects at OpenID providers, or names or ids of devices a text is, which is in lower case. The case of ASCII letters
	// does not count. It reads the users of the domain one after the other.
	SearchUsers(ctx context.Context, domain, text, after string, limit int) ([]FoundUser, error)

	// Links returns the links of user to accounts at OpenID providers, oldest first.
	Links(ctx context.Context, domain, user string) ([]Link, error)

	// Names returns the names that user holds or held, in the order in which they were taken.
	Names(ctx context.Context, domain, user string) ([]Name, error)

	// Grants returns the stored grants of user, including ended and expired ones, oldest first.
	Grants(ctx context.Context, domain, user string) ([]Grant, error)

	// LiveGrants returns at most limit grants of user that have neither ended nor expired at now, whose ids come after after, in the
	// byte order of their ids. A page that is not full is the last one.
	LiveGrants(ctx context.Context, domain, user, after string, now time.Time, limit int) ([]Grant, error)

	// EndedGrants returns at most limit grants of user that a sweep removed and keeps (see [Retention]), whose ids come after after, in
	// the byte order of their ids. A page that is not full is the last one. Of a grant that expired, EndedAt is when it did, and
	// EndedReason is "expired". JKT, UpstreamSID, UpstreamToken, Gen, IdleAt, ExpiresAt and Status are not kept.
	EndedGrants(ctx context.Context, domain, user, after string, limit int) ([]Grant, error)

	// LinkedUser returns the user to whom (issuer, subject) of an OpenID provider is linked in domain.
	LinkedUser(ctx context.Context, domain, issuer, subject string) (User, error)

	// Name returns the name with that collision key, held or released.
	Name(ctx context.Context, domain, key string) (Name, error)

	// Tombstone returns the tombstone with that mark, including an expired one.
	Tombstone(ctx context.Context, domain string, mark [32]byte) (Tombstone, error)

	// PersonalRecords returns everything that is stored about a user, but for secrets, by kind of record: one element for each kind, also
	// if there are no records. Within [Store.View] they are of one moment.
	PersonalRecords(ctx context.Context, domain, user string) ([]PersonalRecords, error)

	// Removal returns a removal that is not finished.
	Removal(ctx context.Context) (Removal, error)

	// DevicesUnder returns at most limit devices of domain that were added under a delegation and are not removed.
	DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]Device, error)

	// Device returns the device of that id, including a removed one.
	Device(ctx context.Context, domain, id string) (Device, error)

	// DeviceByKey returns the device of domain, removed or not, that is bound to the key with thumbprint jkt, or was until
	// [Tx.RekeyDevice] replaced the key. Then the device has another JKT. Of a device that a sweep has forgotten, only Domain, ID,
	// User and that JKT are known; its RemovedAt is [Forgotten], and [Reader.Device] and the lists no longer have it.
	DeviceByKey(ctx context.Context, domain, jkt string) (Device, error)

	// Rekeys returns the replacements of the key of a device, oldest first.
	Rekeys(ctx context.Context, domain, device string) ([]Rekey, error)

	// Devices returns the devices of domain, including removed ones, oldest first; only those of user if user is not empty.
	Devices(ctx context.Context, domain, user string) ([]Device, error)

	// DevicesAfter returns at most limit devices of domain, including removed ones, whose ids come after after, in the byte order of
	// their ids; only those of user if user is not empty. A page that is not full is the last one.
	DevicesAfter(ctx context.Context, domain, user, after string, limit int) ([]Device, error)

	// DevicesInUse returns at most limit devices of user that are not removed, with their use at now, whose ids come after after, in
	// the byte order of their ids. A page that is not full is the last one.
	DevicesInUse(ctx context.Context, domain, user, after string, now time.Time, limit int) ([]DeviceUse, error)

	// DevicesReach reports whether n or more devices of user are active at now: devices that are not removed and have a live grant,
	// or were added under a delegation that is neither withdrawn nor expired.
	DevicesReach(ctx context.Context, domain, user string, now time.Time, n int) (bool, error)

	// DeviceActive reports whether the device of that id is active at now, as [Reader.DevicesReach] counts. It is false
	// if there is no such device.
	DeviceActive(ctx context.Context, domain, id string, now time.Time) (bool, error)

	// UserEvents returns at most limit events of user whose numbers are above after, lowest first. Numbers are given in commit order,
	// and each once: a reader that has seen n never finds a new one below n.
	UserEvents(ctx context.Context, domain, user string, after int64, limit int) ([]UserEvent, error)

	// LastUserEvent returns the highest number that an event of user was given, also after it was swept; zero if there was none.
	LastUserEvent(ctx context.Context, domain, user string) (int64, error)

	// Session returns the grant of that id with its user and device, all read at one moment.
	Session(ctx context.Context, id string) (Grant, User, Device, error)

	// BrowserSession returns the browser session with that hash, including an expired one, and its user, both read at one moment.
	BrowserSession(ctx context.Context, hash [32]byte) (BrowserSession, User, error)

	// BrowserSessions returns the stored browser sessions of user, including expired ones, in the order in which they were last used.
	BrowserSessions(ctx context.Context, domain, user string) ([]BrowserSession, error)

	// UpstreamToken returns the upstream token of that id.
	UpstreamToken(ctx context.Context, id string) (UpstreamToken, error)

	// Code returns the authorization code with that hash, including a spent or expired one.
	Code(ctx context.Context, hash [32]byte) (Code, error)

	// DeviceCode returns the device code with that hash, including one that was spent, denied or has expired.
	DeviceCode(ctx context.Context, hash [32]byte) (DeviceCode, error)

	// DeviceCodeOf returns the device code with that user code, including one that was spent, denied or has expired.
	DeviceCodeOf(ctx context.Context, userCode [32]byte) (DeviceCode, error)

	// Login returns the pending login with that state hash, including an expired one.
	Login(ctx context.Context, state [32]byte) (Login, error)

	// LoggedOut reports whether [Tx.EndLogin] has ended the login of subject at an OpenID provider, in its session sid if that is not
	// empty: whether it stored a logout of the subject or of that session, no earlier than since.
	LoggedOut(ctx context.Context, domain, issuer, subject, sid string, since time.Time) (bool, error)

	// Pushed returns the pushed authorization request with that hash of its request URI, including an expired one.
	Pushed(ctx context.Context, uri [32]byte) (Pushed, error)

	// Statement returns the statement of that jti, including a withdrawn or expired one. This and every other read shows a
	// statement that a [Withdrawal] covers as withdrawn, even before its own row says so.
	Statement(ctx context.Context, jti string) (Statement, error)

	// Statements returns the statements about subjects of domain, oldest first; only those about user if user is not empty.
	// Withdrawn ones are included for at least two hours, or until they expire.
	Statements(ctx context.Context, domain, user string) ([]Statement, error)

	// StatementsAfter returns at most limit statements about subjects of domain, including withdrawn and expired ones, whose JTIs
	// come after after, in the byte order of their JTIs; only those about user if user is not empty. A page that is not full is
	// the last one.
	StatementsAfter(ctx context.Context, domain, user, after string, limit int) ([]Statement, error)

	// StandingStatements returns at most limit statements about user that are neither withdrawn nor expired at now, in the
	// order of CreatedAt and JTI: those after a cursor; only those of one type if typ is not empty. A page that is not full is
	// the last one. A cursor stays valid when its statement is deleted.
	StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after StatementCursor, limit int) ([]Statement, error)

	// CountStatements returns how many statements about user that a device of theirs made are neither withdrawn nor expired at
	// now, at most limit.
	CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error)

	// Withdrawal returns the oldest unfinished withdrawal.
	Withdrawal(ctx context.Context) (Withdrawal, error)

	// Covered returns at most limit statements that w covers and whose own rows are not withdrawn, including expired ones.
	Covered(ctx context.Context, w Withdrawal, limit int) ([]Statement, error)

	// CountRevocations returns how many revocations of an owner expire after now, at most limit.
	CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error)

	// Client returns the client of that id, including a removed one.
	Client(ctx context.Context, id string) (Client, error)

	// ClientsRegisteredWith counts the clients that registered themselves with an initial access token and are not removed.
	ClientsRegisteredWith(ctx context.Context, name string) (int, error)

	// Clients returns the clients, including removed ones, whose Seq is above after, lowest first. Numbers are given in commit
	// order: a reader that has seen n never finds a new one below n.
	Clients(ctx context.Context, after int64) ([]Client, error)

	// KeptAnswer returns the request with that key, including an expired one.
	KeptAnswer(ctx context.Context, key [32]byte) (KeptAnswer, error)

	// Revocation returns the revocation of that kind and key, including an expired one.
	Revocation(ctx context.Context, kind RevocationKind, key string) (Revocation, error)

	// Revocations returns the revocations with a sequence number above after, lowest first, and the highest number that was
	// given. It returns at most limit of them, or all if limit is zero. Numbers are given in commit order: a reader that has
	// seen n never finds a new one below n. If the highest number is below one that was seen, or of another [History], the database
	// may have lost rows.
	Revocations(ctx context.Context, after int64, limit int) ([]Revocation, int64, error)
}
