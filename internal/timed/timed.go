// Package timed measures how long a store takes to answer.
package timed

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A Store is a store that tells how long its operations took, whatever became of them. Revocations, SigningKeys,
// Clients and Waiting are not counted: they are asked all the time, whatever people do, and mostly answer that nothing is new.
// What is read within an update is part of that.
type Store struct {
	storage.Store
	read, update func(time.Duration)
}

// New returns a store that works on s and tells read and update how long each read and each update took.
func New(s storage.Store, read, update func(time.Duration)) Store { return Store{s, read, update} }

func (s Store) reading(since time.Time)  { s.read(time.Since(since)) }
func (s Store) updating(since time.Time) { s.update(time.Since(since)) }

// Update updates.
func (s Store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	defer s.updating(time.Now())
	return s.Store.Update(ctx, fn)
}

// Newest reads.
func (s Store) Newest(ctx context.Context) (time.Time, error) {
	defer s.reading(time.Now())
	return s.Store.Newest(ctx)
}

// Secret reads.
func (s Store) Secret(ctx context.Context, name string) ([]byte, error) {
	defer s.reading(time.Now())
	return s.Store.Secret(ctx, name)
}

// User reads.
func (s Store) User(ctx context.Context, domain, id string) (storage.User, error) {
	defer s.reading(time.Now())
	return s.Store.User(ctx, domain, id)
}

// Users reads.
func (s Store) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	defer s.reading(time.Now())
	return s.Store.Users(ctx, domain, after, limit)
}

// Links reads.
func (s Store) Links(ctx context.Context, domain, user string) ([]storage.Link, error) {
	defer s.reading(time.Now())
	return s.Store.Links(ctx, domain, user)
}

// Names reads.
func (s Store) Names(ctx context.Context, domain, user string) ([]storage.Name, error) {
	defer s.reading(time.Now())
	return s.Store.Names(ctx, domain, user)
}

// OldNames reads.
func (s Store) OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error) {
	defer s.reading(time.Now())
	return s.Store.OldNames(ctx, tables, limit)
}

// Grants reads.
func (s Store) Grants(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	defer s.reading(time.Now())
	return s.Store.Grants(ctx, domain, user)
}

// LinkedUser reads.
func (s Store) LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error) {
	defer s.reading(time.Now())
	return s.Store.LinkedUser(ctx, domain, issuer, subject)
}

// Name reads.
func (s Store) Name(ctx context.Context, domain, key string) (storage.Name, error) {
	defer s.reading(time.Now())
	return s.Store.Name(ctx, domain, key)
}

// Device reads.
func (s Store) Device(ctx context.Context, domain, id string) (storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.Device(ctx, domain, id)
}

// DeviceByKey reads.
func (s Store) DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.DeviceByKey(ctx, domain, jkt)
}

// Devices reads.
func (s Store) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.Devices(ctx, domain, user)
}

// ActiveDevices reads.
func (s Store) ActiveDevices(ctx context.Context, domain, user string, now time.Time) ([]storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.ActiveDevices(ctx, domain, user, now)
}

// Session reads.
func (s Store) Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.Session(ctx, id)
}

// Code reads.
func (s Store) Code(ctx context.Context, hash [32]byte) (storage.Code, error) {
	defer s.reading(time.Now())
	return s.Store.Code(ctx, hash)
}

// Login reads.
func (s Store) Login(ctx context.Context, state [32]byte) (storage.Login, error) {
	defer s.reading(time.Now())
	return s.Store.Login(ctx, state)
}

// Pushed reads.
func (s Store) Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error) {
	defer s.reading(time.Now())
	return s.Store.Pushed(ctx, uri)
}

// Statement reads.
func (s Store) Statement(ctx context.Context, jti string) (storage.Statement, error) {
	defer s.reading(time.Now())
	return s.Store.Statement(ctx, jti)
}

// Statements reads.
func (s Store) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	defer s.reading(time.Now())
	return s.Store.Statements(ctx, domain, user)
}

// StandingStatements reads.
func (s Store) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
	limit int) ([]storage.Statement, error) {
	defer s.reading(time.Now())
	return s.Store.StandingStatements(ctx, domain, user, typ, now, after, limit)
}

// CountStatements reads.
func (s Store) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	defer s.reading(time.Now())
	return s.Store.CountStatements(ctx, domain, user, now, limit)
}

// Client reads.
func (s Store) Client(ctx context.Context, id string) (storage.Client, error) {
	defer s.reading(time.Now())
	return s.Store.Client(ctx, id)
}

// Revocation reads.
func (s Store) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error) {
	defer s.reading(time.Now())
	return s.Store.Revocation(ctx, kind, key)
}

// Withdrawal reads.
func (s Store) Withdrawal(ctx context.Context) (storage.Withdrawal, error) {
	defer s.reading(time.Now())
	return s.Store.Withdrawal(ctx)
}

// Covered reads.
func (s Store) Covered(ctx context.Context, w storage.Withdrawal, limit int) ([]storage.Statement, error) {
	defer s.reading(time.Now())
	return s.Store.Covered(ctx, w, limit)
}

// DevicesUnder reads.
func (s Store) DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]storage.Device, error) {
	defer s.reading(time.Now())
	return s.Store.DevicesUnder(ctx, domain, delegation, limit)
}

// CountRevocations reads.
func (s Store) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error) {
	defer s.reading(time.Now())
	return s.Store.CountRevocations(ctx, owner, now, limit)
}
