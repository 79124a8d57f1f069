package issuer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/imidentity/issuer/internal/secretfile"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/transfer"
)

// A Place is where a database is: sqlite:PATH, or postgres:FILE with a file that holds the URL.
type Place struct {
	postgres bool
	path     string
}

// ParsePlace reads a place. The error is fit for an operator, and does not contain a URL.
func ParsePlace(text string) (Place, error) {
	kind, path, _ := strings.Cut(text, ":")
	switch {
	case (kind == "postgres" || kind == "postgresql") && strings.HasPrefix(path, "//"):
		return Place{}, errors.New("a URL has a password, which other users of this machine see in the list of processes, and the shell " +
			"keeps in its history: write the URL into a file that only you can read, and name the file: postgres:FILE")
	case kind != "sqlite" && kind != "postgres", path == "":
		return Place{}, errors.New("write sqlite:PATH with the path of the database, or postgres:FILE with a file that holds the URL")
	}
	return Place{postgres: kind == "postgres", path: path}, nil
}

// String returns the place as it is written on the command line.
func (p Place) String() string {
	if p.postgres {
		return "postgres:" + p.path
	}
	return "sqlite:" + p.path
}

// url reads the file with the URL.
func (p Place) url() (string, error) {
	text, err := secretfile.Read(p.path)
	if err != nil {
		return "", fmt.Errorf("the file with the URL: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// openTransfer opens the database at a place for a copy. It is created if create is set and it is one of SQLite that does not exist.
func (p Place) openTransfer(ctx context.Context, create bool) (transfer.Database, error) {
	if !p.postgres {
		db, err := sqlite.OpenTransfer(ctx, p.path, create)
		if err != nil {
			return nil, err
		}
		return db, nil
	}
	url, err := p.url()
	if err != nil {
		return nil, err
	}
	db, err := postgres.OpenTransfer(ctx, url)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// is reports whether two places are the same file, or files with the same URL.
func (p Place) is(other Place) bool {
	if p.postgres != other.postgres {
		return false
	}
	if p.postgres {
		a, errA := p.url()
		b, errB := other.url()
		return errA == nil && errB == nil && a == b
	}
	a, errA := os.Stat(p.path)
	b, errB := os.Stat(other.path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// What copies report.
type (
	CopyStep   = transfer.Step
	CopyResult = transfer.Result
)

// The phases of a copy.
const (
	CopyCopied   = transfer.Copied
	CopyVerified = transfer.Verified
)

// A DifferenceError tells where a copy differs from its source.
type DifferenceError = transfer.DifferenceError

// CopyDatabase copies all records of the database at one place to another, or continues to do so, and compares them. No issuer may run on
// either. See [transfer.Copy].
func CopyDatabase(ctx context.Context, from, to Place, report func(CopyStep)) (CopyResult, error) {
	return withBoth(ctx, from, to, true, func(source, target transfer.Database) (CopyResult, error) {
		r, err := transfer.Copy(ctx, source, target, transfer.Options{Report: report})
		switch {
		case errors.Is(err, transfer.ErrNotEmpty) && to.postgres:
			err = fmt.Errorf("%s: %w: create another database, and run `issuer migrate up`", to, err)
		case errors.Is(err, transfer.ErrNotEmpty), errors.Is(err, transfer.ErrAway) && !to.postgres:
			err = fmt.Errorf("%s: %w: move it away, or name another file", to, err)
		case errors.Is(err, transfer.ErrAway):
			err = fmt.Errorf("%s: %w: name another database", to, err)
		case errors.Is(err, transfer.ErrIncomplete):
			err = fmt.Errorf("%s: %w: complete that copy first, or copy from the database that it was copied from", from, err)
		}
		return r, err
	})
}

// VerifyDatabases compares the databases at two places, and changes neither. No issuer may run on them.
func VerifyDatabases(ctx context.Context, from, to Place, report func(CopyStep)) (CopyResult, error) {
	return withBoth(ctx, from, to, false, func(source, target transfer.Database) (CopyResult, error) {
		return transfer.Verify(ctx, source, target, transfer.Options{Report: report})
	})
}

func withBoth(
	ctx context.Context, from, to Place, create bool, do func(source, target transfer.Database) (CopyResult, error),
) (r CopyResult, err error) {
	if from.is(to) {
		return r, errors.New("--from and --to are the same database")
	}
	source, err := from.openTransfer(ctx, false)
	if err != nil {
		return r, notThere("--from", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := to.openTransfer(ctx, create)
	if err != nil {
		return r, notThere("--to", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return do(source, target)
}

func notThere(flag string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w: name another file, or correct its path and rights", flag, err)
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// ReopenDatabase lets an issuer start again on the database at a place that was copied to another one.
func ReopenDatabase(ctx context.Context, at Place) (err error) {
	db, err := at.openTransfer(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Reopen(ctx)
}
