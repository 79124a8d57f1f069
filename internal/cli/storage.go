package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
)

type storageCmd struct {
	Copy   storageCopyCmd   `cmd:"" help:"Copy all records to another database, and compare them."`
	Verify storageVerifyCmd `cmd:"" help:"Compare the records of two databases."`
	Reopen storageReopenCmd `cmd:"" help:"Let the issuer start again on a database that was copied to another one."`

	Restored storageRestoredCmd `cmd:"" help:"End what was issued, after a PostgreSQL database was restored to an older state."`
}

// copying is what both commands need: two databases of issuers that are stopped.
type copying struct {
	From string `required:"" placeholder:"DATABASE" help:"The database to copy from: sqlite:PATH, or postgres:FILE with a file that holds the URL."`
	To   string `required:"" placeholder:"DATABASE" help:"The database to copy to, in the same form."`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

func (c *copying) places() (from, to issuer.Place, err error) {
	if from, err = issuer.ParsePlace(c.From); err != nil {
		return from, to, usage("--from: %w", err)
	}
	if to, err = issuer.ParsePlace(c.To); err != nil {
		return from, to, usage("--to: %w", err)
	}
	return from, to, nil
}

type storageCopyCmd struct{ copying }

func (*storageCopyCmd) Help() string {
	return `Stop all processes of the issuer first. The target must be empty: a file that does not exist, or a PostgreSQL database after
issuer migrate up. FILE holds the URL of PostgreSQL, as that of storage_url_file, and only you may read it:

    issuer storage copy --from sqlite:/var/lib/issuer/issuer.db --to postgres:/etc/issuer/storage-url
    issuer storage copy --from postgres:/etc/issuer/storage-url --to sqlite:/var/lib/issuer/issuer.db

If it is interrupted, run the same command again: it goes on. Until it is complete, no issuer starts on either database. Afterwards the
issuer starts on the target, and not on the source: issuer storage reopen changes that.

All records are copied, with keys and secrets encrypted as they are: the target needs the same kek_file. Spent DPoP proofs are not
copied. Proofs from before are refused, and clients get a new nonce. The exit code is 1 if the target differs from the source, and
3 if a database does not answer or the copy was interrupted.`
}

func (c *storageCopyCmd) Run(ctx context.Context, s *streams) error {
	from, to, err := c.places()
	if err != nil {
		return err
	}
	show := newProgress(s)
	r, err := issuer.CopyDatabase(ctx, from, to, show.step)
	show.end()
	if err != nil {
		return notCopied(ctx, err)
	}
	if c.JSON {
		return printJSON(s, resultOf(r))
	}
	if r.Already {
		fmt.Fprintf(s.out, "%s is a complete copy of %s already.\n", to, from)
		return nil
	}
	printTables(s, r)
	fmt.Fprintf(s.out, "Copied %s from %s to %s. Both have the same counts and hashes.\n", count(int(rowsOf(r)), "row"), from, to)
	fmt.Fprintf(s.out, "Start the issuer with %s. It does not start with %s any more; to undo that, run issuer storage reopen %s\n",
		to, from, strings.TrimPrefix(shellWord(from.String()), "./"))
	return nil
}

type storageVerifyCmd struct{ copying }

func (*storageVerifyCmd) Help() string {
	return `Stop all processes of the issuer first. It reads both databases and changes neither. Once the issuer has run on one of them, they
differ:

    issuer storage verify --from sqlite:/var/lib/issuer/issuer.db --to postgres:/etc/issuer/storage-url

It prints how many rows each table has, and the sum of their hashes. If a table differs, it prints the key of the first row that does,
without handles and accounts, and exits with 1.`
}

func (c *storageVerifyCmd) Run(ctx context.Context, s *streams) error {
	from, to, err := c.places()
	if err != nil {
		return err
	}
	show := newProgress(s)
	r, err := issuer.VerifyDatabases(ctx, from, to, show.step)
	show.end()
	if err != nil {
		return notCopied(ctx, err)
	}
	if c.JSON {
		return printJSON(s, resultOf(r))
	}
	printTables(s, r)
	fmt.Fprintf(s.out, "%s and %s have the same %s.\n", from, to, count(int(rowsOf(r)), "row"))
	return nil
}

type storageReopenCmd struct {
	Database string `arg:"" placeholder:"DATABASE" help:"The database that was copied: sqlite:PATH, or postgres:FILE with a file that holds the URL."`
}

func (*storageReopenCmd) Help() string {
	return `Use it if a copy is given up, or to go back to the database from before. That does not know what was issued, changed and
revoked on the copy: devices that were removed there are back, and revoked tokens are active again until they expire. Never run the
issuer on both:

    issuer storage reopen sqlite:/var/lib/issuer/issuer.db`
}

func (c *storageReopenCmd) Run(ctx context.Context, s *streams) error {
	at, err := issuer.ParsePlace(c.Database)
	if err != nil {
		return usage("%w", err)
	}
	if err := issuer.ReopenDatabase(ctx, at); err != nil {
		return notCopied(ctx, err)
	}
	fmt.Fprintf(s.out, "The issuer can start on %s again.\n", at)
	return nil
}

// notCopied returns the error of a copy: a difference, a mistake to correct, or something that is in the way now.
func notCopied(ctx context.Context, err error) error {
	var d *issuer.DifferenceError
	switch {
	case errors.As(err, &d):
		return refused("storage: %w: empty the target and copy again", err)
	case ctx.Err() != nil:
		return unknown("storage: interrupted: run the same command again to go on")
	case errors.Is(err, storage.ErrUnavailable):
		return unknown("storage: %w", err)
	}
	return usage("storage: %w", err)
}

// A copied is the result of a copy or a comparison in JSON.
type copied struct {
	Already bool          `json:"already"`
	Resumed bool          `json:"resumed"`
	Rows    int64         `json:"rows"`
	Tables  []copiedTable `json:"tables"`
}

type copiedTable struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	Sum   string `json:"sum"`
}

func resultOf(r issuer.CopyResult) copied {
	list := []copiedTable{}
	for _, t := range r.Tables {
		list = append(list, copiedTable{t.Table, t.Rows, t.Sum.String()})
	}
	return copied{r.Already, r.Resumed, rowsOf(r), list}
}

func rowsOf(r issuer.CopyResult) (n int64) {
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

// printTables prints the tables with the beginning of their sums.
func printTables(s *streams, r issuer.CopyResult) {
	fmt.Fprintf(s.out, "%-20s %12s  %s\n", "TABLE", "ROWS", "SUM")
	for _, t := range r.Tables {
		fmt.Fprintf(s.out, "%-20s %12d  %.16s\n", t.Table, t.Rows, t.Sum)
	}
}
