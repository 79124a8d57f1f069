package storagetest

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Users reads or fails.
func (f Faulty) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	return f.reader().Users(ctx, domain, after, limit)
}

// Links reads or fails.
func (f Faulty) Links(ctx context.Context, domain, user string) ([]storage.Link, error) {
	return f.reader().Links(ctx, domain, user)
}

// Names reads or fails.
func (f Faulty) Names(ctx context.Context, domain, user string) ([]storage.Name, error) {
	return f.reader().Names(ctx, domain, user)
}

// Waiting reads or fails.
func (f Faulty) Waiting(ctx context.Context) (int, error) { return f.reader().Waiting(ctx) }

// OldNames reads or fails.
func (f Faulty) OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error) {
	return f.reader().OldNames(ctx, tables, limit)
}

// Grants reads or fails.
func (f Faulty) Grants(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	return f.reader().Grants(ctx, domain, user)
}

func (f faultyReader) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	if err := f.fail("Users"); err != nil {
		return nil, err
	}
	return f.Reader.Users(ctx, domain, after, limit)
}

func (f faultyReader) Links(ctx context.Context, domain, user string) ([]storage.Link, error) {
	if err := f.fail("Links"); err != nil {
		return nil, err
	}
	return f.Reader.Links(ctx, domain, user)
}

func (f faultyReader) Names(ctx context.Context, domain, user string) ([]storage.Name, error) {
	if err := f.fail("Names"); err != nil {
		return nil, err
	}
	return f.Reader.Names(ctx, domain, user)
}

func (f faultyReader) OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error) {
	if err := f.fail("OldNames"); err != nil {
		return nil, err
	}
	return f.Reader.OldNames(ctx, tables, limit)
}

func (f faultyReader) Waiting(ctx context.Context) (int, error) {
	if err := f.fail("Waiting"); err != nil {
		return 0, err
	}
	return f.Reader.Waiting(ctx)
}

func (f faultyTx) RenameKey(ctx context.Context, n storage.Name, key string) error {
	if err := f.fail("RenameKey"); err != nil {
		return err
	}
	return f.tx.RenameKey(ctx, n, key)
}

func (f faultyTx) DeleteLink(ctx context.Context, domain, issuer, subject string) error {
	if err := f.fail("DeleteLink"); err != nil {
		return err
	}
	return f.tx.DeleteLink(ctx, domain, issuer, subject)
}

func (f faultyReader) Grants(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	if err := f.fail("Grants"); err != nil {
		return nil, err
	}
	return f.Reader.Grants(ctx, domain, user)
}

func (f faultyTx) EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) ([]string, error) {
	if err := f.fail("EndUserGrants"); err != nil {
		return nil, err
	}
	return f.tx.EndUserGrants(ctx, domain, user, at, reason)
}
