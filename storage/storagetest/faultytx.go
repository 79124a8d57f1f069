package storagetest

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A faultyReader asks fail before each read.
type faultyReader struct {
	storage.Reader
	fail func(op string) error
}

func (f faultyReader) Newest(ctx context.Context) (time.Time, error) {
	if err := f.fail("Newest"); err != nil {
		return time.Time{}, err
	}
	return f.Reader.Newest(ctx)
}

func (f faultyReader) Secret(ctx context.Context, name string) ([]byte, error) {
	if err := f.fail("Secret"); err != nil {
		return nil, err
	}
	return f.Reader.Secret(ctx, name)
}

func (f faultyReader) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	if err := f.fail("SigningKeys"); err != nil {
		return nil, err
	}
	return f.Reader.SigningKeys(ctx)
}

func (f faultyReader) User(ctx context.Context, domain, id string) (storage.User, error) {
	if err := f.fail("User"); err != nil {
		return storage.User{}, err
	}
	return f.Reader.User(ctx, domain, id)
}

func (f faultyReader) LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error) {
	if err := f.fail("LinkedUser"); err != nil {
		return storage.User{}, err
	}
	return f.Reader.LinkedUser(ctx, domain, issuer, subject)
}

func (f faultyReader) Name(ctx context.Context, domain, key string) (storage.Name, error) {
	if err := f.fail("Name"); err != nil {
		return storage.Name{}, err
	}
	return f.Reader.Name(ctx, domain, key)
}

func (f faultyReader) Device(ctx context.Context, domain, id string) (storage.Device, error) {
	if err := f.fail("Device"); err != nil {
		return storage.Device{}, err
	}
	return f.Reader.Device(ctx, domain, id)
}

func (f faultyReader) DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error) {
	if err := f.fail("DeviceByKey"); err != nil {
		return storage.Device{}, err
	}
	return f.Reader.DeviceByKey(ctx, domain, jkt)
}

func (f faultyReader) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	if err := f.fail("Devices"); err != nil {
		return nil, err
	}
	return f.Reader.Devices(ctx, domain, user)
}

func (f faultyReader) ActiveDevices(ctx context.Context, domain, user string, now time.Time) ([]storage.Device, error) {
	if err := f.fail("ActiveDevices"); err != nil {
		return nil, err
	}
	return f.Reader.ActiveDevices(ctx, domain, user, now)
}

func (f faultyReader) Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error) {
	if err := f.fail("Session"); err != nil {
		return storage.Grant{}, storage.User{}, storage.Device{}, err
	}
	return f.Reader.Session(ctx, id)
}

func (f faultyReader) Code(ctx context.Context, hash [32]byte) (storage.Code, error) {
	if err := f.fail("Code"); err != nil {
		return storage.Code{}, err
	}
	return f.Reader.Code(ctx, hash)
}

func (f faultyReader) Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error) {
	if err := f.fail("Pushed"); err != nil {
		return storage.Pushed{}, err
	}
	return f.Reader.Pushed(ctx, uri)
}

func (f faultyReader) Login(ctx context.Context, state [32]byte) (storage.Login, error) {
	if err := f.fail("Login"); err != nil {
		return storage.Login{}, err
	}
	return f.Reader.Login(ctx, state)
}

func (f faultyReader) Statement(ctx context.Context, jti string) (storage.Statement, error) {
	if err := f.fail("Statement"); err != nil {
		return storage.Statement{}, err
	}
	return f.Reader.Statement(ctx, jti)
}

func (f faultyReader) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	if err := f.fail("Statements"); err != nil {
		return nil, err
	}
	return f.Reader.Statements(ctx, domain, user)
}

func (f faultyReader) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
	limit int) ([]storage.Statement, error) {
	if err := f.fail("StandingStatements"); err != nil {
		return nil, err
	}
	return f.Reader.StandingStatements(ctx, domain, user, typ, now, after, limit)
}

func (f faultyReader) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	if err := f.fail("CountStatements"); err != nil {
		return 0, err
	}
	return f.Reader.CountStatements(ctx, domain, user, now, limit)
}

func (f faultyReader) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error) {
	if err := f.fail("Revocation"); err != nil {
		return storage.Revocation{}, err
	}
	return f.Reader.Revocation(ctx, kind, key)
}

func (f faultyReader) Revocations(ctx context.Context, after int64) ([]storage.Revocation, int64, error) {
	if err := f.fail("Revocations"); err != nil {
		return nil, 0, err
	}
	return f.Reader.Revocations(ctx, after)
}

// A faultyTx asks fail before each operation.
type faultyTx struct {
	faultyReader
	tx storage.Tx
}

func (f faultyTx) SetNewest(ctx context.Context, at time.Time) error {
	if err := f.fail("SetNewest"); err != nil {
		return err
	}
	return f.tx.SetNewest(ctx, at)
}

func (f faultyTx) PutSecret(ctx context.Context, name string, sealed []byte) error {
	if err := f.fail("PutSecret"); err != nil {
		return err
	}
	return f.tx.PutSecret(ctx, name, sealed)
}

func (f faultyTx) InsertSigningKey(ctx context.Context, k storage.SigningKey) error {
	if err := f.fail("InsertSigningKey"); err != nil {
		return err
	}
	return f.tx.InsertSigningKey(ctx, k)
}

func (f faultyTx) UpdateSigningKey(ctx context.Context, k storage.SigningKey) error {
	if err := f.fail("UpdateSigningKey"); err != nil {
		return err
	}
	return f.tx.UpdateSigningKey(ctx, k)
}

func (f faultyTx) InsertUser(ctx context.Context, u storage.User) error {
	if err := f.fail("InsertUser"); err != nil {
		return err
	}
	return f.tx.InsertUser(ctx, u)
}

func (f faultyTx) UpdateUser(ctx context.Context, u storage.User) error {
	if err := f.fail("UpdateUser"); err != nil {
		return err
	}
	return f.tx.UpdateUser(ctx, u)
}

func (f faultyTx) InsertLink(ctx context.Context, l storage.Link) error {
	if err := f.fail("InsertLink"); err != nil {
		return err
	}
	return f.tx.InsertLink(ctx, l)
}

func (f faultyTx) InsertName(ctx context.Context, n storage.Name) error {
	if err := f.fail("InsertName"); err != nil {
		return err
	}
	return f.tx.InsertName(ctx, n)
}

func (f faultyTx) UpdateName(ctx context.Context, n storage.Name) error {
	if err := f.fail("UpdateName"); err != nil {
		return err
	}
	return f.tx.UpdateName(ctx, n)
}

func (f faultyTx) InsertDevice(ctx context.Context, d storage.Device) error {
	if err := f.fail("InsertDevice"); err != nil {
		return err
	}
	return f.tx.InsertDevice(ctx, d)
}

func (f faultyTx) UpdateDevice(ctx context.Context, d storage.Device) error {
	if err := f.fail("UpdateDevice"); err != nil {
		return err
	}
	return f.tx.UpdateDevice(ctx, d)
}

func (f faultyTx) InsertGrant(ctx context.Context, g storage.Grant) error {
	if err := f.fail("InsertGrant"); err != nil {
		return err
	}
	return f.tx.InsertGrant(ctx, g)
}

func (f faultyTx) RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error {
	if err := f.fail("RotateGrant"); err != nil {
		return err
	}
	return f.tx.RotateGrant(ctx, id, from, now, idle)
}

func (f faultyTx) EndGrant(ctx context.Context, id string, at time.Time, reason string) error {
	if err := f.fail("EndGrant"); err != nil {
		return err
	}
	return f.tx.EndGrant(ctx, id, at, reason)
}

func (f faultyTx) EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) ([]string, error) {
	if err := f.fail("EndDeviceGrants"); err != nil {
		return nil, err
	}
	return f.tx.EndDeviceGrants(ctx, domain, device, at, reason)
}

func (f faultyTx) InsertCode(ctx context.Context, c storage.Code) error {
	if err := f.fail("InsertCode"); err != nil {
		return err
	}
	return f.tx.InsertCode(ctx, c)
}

func (f faultyTx) SpendCode(ctx context.Context, hash [32]byte, at time.Time, grant string) error {
	if err := f.fail("SpendCode"); err != nil {
		return err
	}
	return f.tx.SpendCode(ctx, hash, at, grant)
}

func (f faultyTx) InsertPushed(ctx context.Context, p storage.Pushed) error {
	if err := f.fail("InsertPushed"); err != nil {
		return err
	}
	return f.tx.InsertPushed(ctx, p)
}

func (f faultyTx) TakePushed(ctx context.Context, uri [32]byte) error {
	if err := f.fail("TakePushed"); err != nil {
		return err
	}
	return f.tx.TakePushed(ctx, uri)
}

func (f faultyTx) InsertLogin(ctx context.Context, l storage.Login) error {
	if err := f.fail("InsertLogin"); err != nil {
		return err
	}
	return f.tx.InsertLogin(ctx, l)
}

func (f faultyTx) TakeLogin(ctx context.Context, state [32]byte) (storage.Login, error) {
	if err := f.fail("TakeLogin"); err != nil {
		return storage.Login{}, err
	}
	return f.tx.TakeLogin(ctx, state)
}

func (f faultyTx) InsertStatement(ctx context.Context, s storage.Statement) error {
	if err := f.fail("InsertStatement"); err != nil {
		return err
	}
	return f.tx.InsertStatement(ctx, s)
}

func (f faultyTx) WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error {
	if err := f.fail("WithdrawStatement"); err != nil {
		return err
	}
	return f.tx.WithdrawStatement(ctx, jti, at, reason)
}

func (f faultyTx) SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error {
	if err := f.fail("SpendID"); err != nil {
		return err
	}
	return f.tx.SpendID(ctx, kind, key, until)
}

func (f faultyTx) Revoke(ctx context.Context, r storage.Revocation) (storage.Revocation, error) {
	if err := f.fail("Revoke"); err != nil {
		return storage.Revocation{}, err
	}
	return f.tx.Revoke(ctx, r)
}

func (f faultyTx) Sweep(ctx context.Context, now time.Time, from storage.SweepPosition, limit int) (storage.SweepPosition, int, error) {
	if err := f.fail("Sweep"); err != nil {
		return storage.SweepPosition{}, 0, err
	}
	return f.tx.Sweep(ctx, now, from, limit)
}
