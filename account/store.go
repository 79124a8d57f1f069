package account

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A Store is the part of [storage.Store] that accounts need. The promises are stated there.
type Store interface {
	// Update runs fn in a transaction. In it, accounts use all of [storage.Tx].
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error

	// View runs fn on one snapshot. In it, accounts use all of [storage.Reader].
	View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) error

	User(ctx context.Context, domain, id string) (storage.User, error)
	Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error)
	SearchUsers(ctx context.Context, domain, text, after string, limit int) ([]storage.FoundUser, error)
	Links(ctx context.Context, domain, user string) ([]storage.Link, error)
	LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error)
	Name(ctx context.Context, domain, key string) (storage.Name, error)
	Names(ctx context.Context, domain, user string) ([]storage.Name, error)
	FormerNames(ctx context.Context, before time.Time, limit int) ([]storage.Name, error)
	OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error)
	Grants(ctx context.Context, domain, user string) ([]storage.Grant, error)
	Devices(ctx context.Context, domain, user string) ([]storage.Device, error)
	DevicesAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Device, error)
	Device(ctx context.Context, domain, id string) (storage.Device, error)
	DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error)
	CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]storage.Credential, error)
	StatementsAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Statement, error)
	Withdrawal(ctx context.Context) (storage.Withdrawal, error)
	BrowserSessions(ctx context.Context, domain, user string) ([]storage.BrowserSession, error)
	Tombstone(ctx context.Context, domain string, mark [32]byte) (storage.Tombstone, error)
	Removal(ctx context.Context) (storage.Removal, error)
}

// ActiveDevices counts the active devices of users. Every [storage.Reader] does.
type ActiveDevices interface {
	DevicesReach(ctx context.Context, domain, user string, now time.Time, n int) (bool, error)
	DeviceActive(ctx context.Context, domain, id string, now time.Time) (bool, error)
}

// StandingStatements reads the live statements of a user. Every [storage.Reader] does.
type StandingStatements interface {
	StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
		limit int) ([]storage.Statement, error)
}

// keys finds what belongs to a key. Every [storage.Reader] does.
type keys interface {
	DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error)
	CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]storage.Credential, error)
}

// users reads users. Every [storage.Reader] does.
type users interface {
	User(ctx context.Context, domain, id string) (storage.User, error)
}
