package transfer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Options configures [Copy] and [Verify]. The zero value suits most.
type Options struct {
	// BatchRows and BatchBytes limit one transaction. Zero means 5000 rows and 4 MiB.
	BatchRows, BatchBytes int
	// Rand numbers copies. Nil means [rand.Reader].
	Rand io.Reader
	// Report is called after each step. Nil discards the steps.
	Report func(Step)
}

// A Phase is what happens to a table.
type Phase string

// The phases, in their order. Each table has one step of Copied or Verified at the end of that phase.
const (
	Copying   Phase = "copying"
	Copied    Phase = "copied"
	Verifying Phase = "verifying"
	Verified  Phase = "verified"
)

// A Step tells how far a copy has come.
type Step struct {
	Phase Phase
	Table string
	// Rows and Sum are about the table.
	Rows int64
	Sum  Sum
	// Done and Total are about all tables: how many rows were copied and verified, and how many will be.
	Done, Total int64
}

// A Result is the outcome of a copy or of a comparison.
type Result struct {
	// Already tells that the target was a complete copy of the source before, so that nothing was done.
	Already bool
	// Resumed tells that the copy continued one that was interrupted.
	Resumed bool
	Tables  []Compared
}

// Compared is a table that is the same in both databases.
type Compared struct {
	Table string
	Rows  int64
	Sum   Sum
}

// A DifferenceError tells that a table differs in two databases, and where.
type DifferenceError struct {
	Table string
	// Key is the primary key of the first row that differs, without personal values.
	Key string
	// What is how it differs.
	What string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("the table %s differs: the row %s %s", e.Table, e.Key, e.What)
}

// Copy copies all records from one database into another, which must be empty, or continues to do so. Afterwards the target can be opened
// by an issuer, and the source cannot until Reopen. An error leaves both such that no issuer opens them.
//
// Errors are [ErrNotEmpty], [ErrIncomplete], [ErrAway], [ErrSchema], a *[DifferenceError], or those of the databases.
func Copy(ctx context.Context, from, to Database, o Options) (Result, error) {
	c := &copier{from: from, to: to, o: o}
	if c.o.BatchRows <= 0 {
		c.o.BatchRows = 5000
	}
	if c.o.BatchBytes <= 0 {
		c.o.BatchBytes = 4 << 20
	}
	if c.o.Rand == nil {
		c.o.Rand = rand.Reader
	}
	if c.o.Report == nil {
		c.o.Report = func(Step) {}
	}
	if err := c.prepare(ctx); err != nil || c.result.Already {
		return c.result, err
	}
	for _, p := range c.pairs {
		if err := c.table(ctx, p); err != nil {
			return c.result, fmt.Errorf("copy the table %s: %w", p.from.Name, err)
		}
	}
	if err := c.raise(ctx); err != nil {
		return c.result, err
	}
	for _, p := range c.pairs {
		if err := c.verify(ctx, p); err != nil {
			return c.result, err
		}
	}
	if err := to.Complete(ctx, c.number); err != nil {
		return c.result, fmt.Errorf("complete the target: %w", err)
	}
	return c.result, nil
}

// A copier is one call of Copy.
type copier struct {
	from, to    Database
	o           Options
	pairs       []pair
	number      int64
	done        map[string]Progress
	rows, total int64 // of all tables, copied and verified
	result      Result
}

// prepare checks both databases and marks them.
func (c *copier) prepare(ctx context.Context) error {
	source, err := c.from.State(ctx)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	target, err := c.to.State(ctx)
	if err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	if c.pairs, err = tables(ctx, c.from, c.to); err != nil {
		return err
	}
	if c.done, err = c.to.Progress(ctx); err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	c.result.Already, c.result.Resumed, err = judge(source, target, c.done)
	if err != nil || c.result.Already {
		return err
	}
	for _, p := range c.pairs {
		n, err := c.from.Count(ctx, p.from)
		if err != nil {
			return fmt.Errorf("count the table %s: %w", p.from.Name, err)
		}
		c.total += 2 * n
		c.rows += c.done[p.from.Name].Rows
	}
	return c.mark(ctx, source, target)
}

// judge returns whether a target is a complete copy of a source already, and whether it is the beginning of one. The error tells why the
// source cannot be copied into the target.
func judge(source, target State, done map[string]Progress) (already, resumed bool, err error) {
	begun := false
	for _, p := range done {
		begun = begun || p.Rows > 0 || p.Done
	}
	switch {
	case source.Incomplete != 0:
		return false, false, ErrIncomplete
	case target.Away != 0:
		return false, false, ErrAway
	case target.Incomplete != 0 && source.Away == target.Incomplete:
		return false, begun, nil
	case target.Incomplete != 0 && begun:
		return false, false, fmt.Errorf("%w: it holds a part of another copy, or of a copy of this source that was given up", ErrNotEmpty)
	case source.Away != 0 && source.Away == target.Completed:
		return true, false, nil
	case !target.Empty:
		return false, false, fmt.Errorf("%w: it has records of its own", ErrNotEmpty)
	}
	return false, false, nil
}

// mark marks both databases, the source first: its rows do not change from then on.
func (c *copier) mark(ctx context.Context, source, target State) error {
	switch {
	case source.Away != 0:
		c.number = source.Away
	case target.Incomplete > 0: // nothing was copied yet
		c.number = target.Incomplete
	default:
		var b [4]byte
		if _, err := io.ReadFull(c.o.Rand, b[:]); err != nil {
			return fmt.Errorf("number the copy: %w", err)
		}
		c.number = int64(binary.BigEndian.Uint32(b[:])>>1) | 1 // fits into a signed number of 32 bits, and is not 0
	}
	if source.Away == 0 {
		if err := c.from.Leave(ctx, c.number); err != nil {
			return fmt.Errorf("mark the source: %w", err)
		}
	}
	if target.Incomplete == c.number {
		return nil
	}
	list := make([]Table, len(c.pairs))
	for i, p := range c.pairs {
		list[i] = p.to
	}
	if err := c.to.Begin(ctx, c.number, list); err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	return nil
}

// table copies the rest of a table.
func (c *copier) table(ctx context.Context, p pair) error {
	at := c.done[p.from.Name]
	if !at.Done {
		var batch [][]any
		size := 0
		flush := func() error {
			if len(batch) > 0 {
				at.Key = batch[len(batch)-1][:p.from.Key]
			}
			if err := c.to.Append(ctx, p.to, batch, at); err != nil {
				return err
			}
			c.rows += int64(len(batch))
			batch, size = batch[:0], 0
			c.step(Copying, p.from.Name, at)
			return nil
		}
		err := c.from.Rows(ctx, p.from, at.Key, func(row []any) error {
			if err := at.Sum.Add(row); err != nil {
				return err
			}
			at.Rows++
			batch = append(batch, row)
			size += sizeOf(row)
			if len(batch) >= c.o.BatchRows || size >= c.o.BatchBytes {
				return flush()
			}
			return nil
		})
		if err != nil {
			return err
		}
		at.Done = true
		if err := flush(); err != nil {
			return err
		}
		c.done[p.from.Name] = at
	}
	c.step(Copied, p.from.Name, at)
	return nil
}

func (c *copier) step(phase Phase, table string, at Progress) {
	c.o.Report(Step{Phase: phase, Table: table, Rows: at.Rows, Sum: at.Sum, Done: c.rows, Total: c.total})
}

// sizeOf returns about how much memory a row takes.
func sizeOf(row []any) int {
	n := 32 * len(row)
	for _, v := range row {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}

// raise makes new numbers in the target be above those that the source gave.
func (c *copier) raise(ctx context.Context) error {
	want, err := c.from.Numbers(ctx)
	if err != nil {
		return fmt.Errorf("read the numbers of the source: %w", err)
	}
	if err := c.to.Raise(ctx, want); err != nil {
		return fmt.Errorf("write the numbers of the target: %w", err)
	}
	return c.numbered(ctx, want)
}

// numbered returns an error if the target would give a number again.
func (c *copier) numbered(ctx context.Context, want map[string]int64) error {
	have, err := c.to.Numbers(ctx)
	if err != nil {
		return fmt.Errorf("read the numbers of the target: %w", err)
	}
	for kind, n := range want {
		if have[kind] < n {
			return fmt.Errorf("the target would number %s again from %d on, but the source has given %d", kind, have[kind], n)
		}
	}
	return nil
}

// verify reads a table of the target again and compares it with what was read from the source.
func (c *copier) verify(ctx context.Context, p pair) error {
	want := c.done[p.from.Name]
	got, err := c.read(ctx, c.to, p.to)
	if err != nil {
		return err
	}
	if got.Rows != want.Rows || got.Sum != want.Sum {
		return locate(ctx, c.from, c.to, p)
	}
	c.step(Verified, p.from.Name, got)
	c.result.Tables = append(c.result.Tables, Compared{p.from.Name, got.Rows, got.Sum})
	return nil
}

// read reads a table and returns its count and sum.
func (c *copier) read(ctx context.Context, d Database, t Table) (at Progress, err error) {
	err = d.Rows(ctx, t, nil, func(row []any) error {
		if at.Rows++; at.Rows%10000 == 0 {
			c.step(Verifying, t.Name, at)
		}
		c.rows++
		return at.Sum.Add(row)
	})
	if err != nil {
		return at, fmt.Errorf("read the table %s: %w", t.Name, err)
	}
	return at, nil
}

// tables returns the tables of both databases.
func tables(ctx context.Context, from, to Database) ([]pair, error) {
	source, err := from.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema of the source: %w", err)
	}
	target, err := to.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema of the target: %w", err)
	}
	return match(source, target)
}

// Verify compares two databases by counts and hashes, and changes neither. If they differ, the error is a *[DifferenceError].
func Verify(ctx context.Context, from, to Database, o Options) (Result, error) {
	c := &copier{from: from, to: to, o: o}
	if c.o.Report == nil {
		c.o.Report = func(Step) {}
	}
	target, err := to.State(ctx)
	if err != nil {
		return c.result, fmt.Errorf("read the target: %w", err)
	}
	if target.Incomplete != 0 {
		return c.result, errors.New("the copy in the target is not complete: continue it first")
	}
	if c.pairs, err = tables(ctx, from, to); err != nil {
		return c.result, err
	}
	for _, p := range c.pairs {
		for _, side := range []struct {
			d Database
			t Table
		}{{from, p.from}, {to, p.to}} {
			n, err := side.d.Count(ctx, side.t)
			if err != nil {
				return c.result, fmt.Errorf("count the table %s: %w", side.t.Name, err)
			}
			c.total += n
		}
	}
	c.done = make(map[string]Progress)
	for _, p := range c.pairs {
		if c.done[p.from.Name], err = c.read(ctx, from, p.from); err != nil {
			return c.result, err
		}
		if err := c.verify(ctx, p); err != nil {
			return c.result, err
		}
	}
	want, err := from.Numbers(ctx)
	if err != nil {
		return c.result, fmt.Errorf("read the numbers of the source: %w", err)
	}
	return c.result, c.numbered(ctx, want)
}
