package storagetest

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Client reads or fails.
func (f Faulty) Client(ctx context.Context, id string) (storage.Client, error) {
	return f.reader().Client(ctx, id)
}

// Clients reads or fails.
func (f Faulty) Clients(ctx context.Context, after int64) ([]storage.Client, error) {
	return f.reader().Clients(ctx, after)
}

func (f faultyReader) Client(ctx context.Context, id string) (storage.Client, error) {
	if err := f.fail("Client"); err != nil {
		return storage.Client{}, err
	}
	return f.Reader.Client(ctx, id)
}

func (f faultyReader) Clients(ctx context.Context, after int64) ([]storage.Client, error) {
	if err := f.fail("Clients"); err != nil {
		return nil, err
	}
	return f.Reader.Clients(ctx, after)
}

func (f faultyTx) InsertClient(ctx context.Context, c storage.Client) error {
	if err := f.fail("InsertClient"); err != nil {
		return err
	}
	return f.tx.InsertClient(ctx, c)
}

func (f faultyTx) UpdateClient(ctx context.Context, c storage.Client) error {
	if err := f.fail("UpdateClient"); err != nil {
		return err
	}
	return f.tx.UpdateClient(ctx, c)
}

func (f faultyTx) EndClientGrants(ctx context.Context, client string, at time.Time, reason string) ([]string, error) {
	if err := f.fail("EndClientGrants"); err != nil {
		return nil, err
	}
	return f.tx.EndClientGrants(ctx, client, at, reason)
}
