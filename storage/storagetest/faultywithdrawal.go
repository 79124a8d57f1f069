package storagetest

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Withdrawal reads or fails.
func (f Faulty) Withdrawal(ctx context.Context) (storage.Withdrawal, error) {
	return f.reader().Withdrawal(ctx)
}

func (f faultyReader) Withdrawal(ctx context.Context) (storage.Withdrawal, error) {
	if err := f.fail("Withdrawal"); err != nil {
		return storage.Withdrawal{}, err
	}
	return f.Reader.Withdrawal(ctx)
}

// Covered reads or fails.
func (f Faulty) Covered(ctx context.Context, w storage.Withdrawal, limit int) ([]storage.Statement, error) {
	return f.reader().Covered(ctx, w, limit)
}

func (f faultyReader) Covered(ctx context.Context, w storage.Withdrawal, limit int) ([]storage.Statement, error) {
	if err := f.fail("Covered"); err != nil {
		return nil, err
	}
	return f.Reader.Covered(ctx, w, limit)
}

// DevicesUnder reads or fails.
func (f Faulty) DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]storage.Device, error) {
	return f.reader().DevicesUnder(ctx, domain, delegation, limit)
}

func (f faultyReader) DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]storage.Device, error) {
	if err := f.fail("DevicesUnder"); err != nil {
		return nil, err
	}
	return f.Reader.DevicesUnder(ctx, domain, delegation, limit)
}

// CountRevocations reads or fails.
func (f Faulty) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error) {
	return f.reader().CountRevocations(ctx, owner, now, limit)
}

func (f faultyReader) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error) {
	if err := f.fail("CountRevocations"); err != nil {
		return 0, err
	}
	return f.Reader.CountRevocations(ctx, owner, now, limit)
}

func (f faultyTx) BeginWithdrawal(ctx context.Context, w storage.Withdrawal) error {
	if err := f.fail("BeginWithdrawal"); err != nil {
		return err
	}
	return f.tx.BeginWithdrawal(ctx, w)
}

func (f faultyTx) FinishWithdrawal(ctx context.Context, id int64) error {
	if err := f.fail("FinishWithdrawal"); err != nil {
		return err
	}
	return f.tx.FinishWithdrawal(ctx, id)
}
