package storagetest

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Faulty is a store that works until Fail says otherwise. It stands between the code under test and a real store:
//
//	s := storagetest.Faulty{Store: real, Fail: func(op string) error {
//		if op == "SpendCode" {
//			return errors.New("disk on fire")
//		}
//		return nil
//	}}
type Faulty struct {
	storage.Store
	// Fail is asked before each operation with the name of its method, the same for a method of a Store and of a Tx
	// ("Session", "RotateGrant"). What it returns is returned in the place of the operation, unless it is nil. Beside
	// the methods there is "Commit": an update whose function has succeeded is undone and its caller gets the error; and
	// "Committed": the update is durable, and its caller gets the error all the same, as when an answer is lost.
	// Fail may be called by many goroutines at once. Nil never fails.
	Fail func(op string) error
}

var _ storage.Store = Faulty{}

// fail asks f whether op fails.
func (f Faulty) fail(op string) error {
	if f.Fail == nil {
		return nil
	}
	return f.Fail(op)
}

// Update runs fn with a transaction whose operations may fail.
func (f Faulty) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	if err := f.fail("Update"); err != nil {
		return err
	}
	err := f.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		var fault error // as in a real store, it dooms the transaction
		fail := func(op string) error {
			if fault != nil {
				return fault
			}
			err := f.fail(op)
			if err != storage.ErrNotFound && err != storage.ErrConflict {
				fault = err
			}
			return err
		}
		if err := fn(ctx, faultyTx{faultyReader{tx, fail}, tx}); err != nil {
			return err
		}
		return fail("Commit")
	})
	if err != nil {
		return err
	}
	return f.fail("Committed")
}

// Ping pings the store or fails.
func (f Faulty) Ping(ctx context.Context) error {
	if err := f.fail("Ping"); err != nil {
		return err
	}
	return f.Store.Ping(ctx)
}

// Close closes the store or fails.
func (f Faulty) Close() error {
	if err := f.fail("Close"); err != nil {
		return err
	}
	return f.Store.Close()
}

func (f Faulty) reader() faultyReader { return faultyReader{f.Store, f.fail} }

// Newest reads or fails.
func (f Faulty) Newest(ctx context.Context) (time.Time, error) { return f.reader().Newest(ctx) }

// Secret reads or fails.
func (f Faulty) Secret(ctx context.Context, name string) ([]byte, error) {
	return f.reader().Secret(ctx, name)
}

// SigningKeys reads or fails.
func (f Faulty) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	return f.reader().SigningKeys(ctx)
}

// User reads or fails.
func (f Faulty) User(ctx context.Context, domain, id string) (storage.User, error) {
	return f.reader().User(ctx, domain, id)
}

// LinkedUser reads or fails.
func (f Faulty) LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error) {
	return f.reader().LinkedUser(ctx, domain, issuer, subject)
}

// Name reads or fails.
func (f Faulty) Name(ctx context.Context, domain, key string) (storage.Name, error) {
	return f.reader().Name(ctx, domain, key)
}

// Device reads or fails.
func (f Faulty) Device(ctx context.Context, domain, id string) (storage.Device, error) {
	return f.reader().Device(ctx, domain, id)
}

// DeviceByKey reads or fails.
func (f Faulty) DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error) {
	return f.reader().DeviceByKey(ctx, domain, jkt)
}

// Devices reads or fails.
func (f Faulty) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	return f.reader().Devices(ctx, domain, user)
}

// ActiveDevices reads or fails.
func (f Faulty) ActiveDevices(ctx context.Context, domain, user string, now time.Time) ([]storage.Device, error) {
	return f.reader().ActiveDevices(ctx, domain, user, now)
}

// Session reads or fails.
func (f Faulty) Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error) {
	return f.reader().Session(ctx, id)
}

// Code reads or fails.
func (f Faulty) Code(ctx context.Context, hash [32]byte) (storage.Code, error) {
	return f.reader().Code(ctx, hash)
}

// Pushed reads or fails.
func (f Faulty) Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error) {
	return f.reader().Pushed(ctx, uri)
}

// Login reads or fails.
func (f Faulty) Login(ctx context.Context, state [32]byte) (storage.Login, error) {
	return f.reader().Login(ctx, state)
}

// Statement reads or fails.
func (f Faulty) Statement(ctx context.Context, jti string) (storage.Statement, error) {
	return f.reader().Statement(ctx, jti)
}

// Statements reads or fails.
func (f Faulty) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	return f.reader().Statements(ctx, domain, user)
}

// StandingStatements reads or fails.
func (f Faulty) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
	limit int) ([]storage.Statement, error) {
	return f.reader().StandingStatements(ctx, domain, user, typ, now, after, limit)
}

// CountStatements reads or fails.
func (f Faulty) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	return f.reader().CountStatements(ctx, domain, user, now, limit)
}

// Revocation reads or fails.
func (f Faulty) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error) {
	return f.reader().Revocation(ctx, kind, key)
}

// Revocations reads or fails.
func (f Faulty) Revocations(ctx context.Context, after int64) ([]storage.Revocation, int64, error) {
	return f.reader().Revocations(ctx, after)
}
