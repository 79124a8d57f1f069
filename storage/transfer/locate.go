package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errStop ends a walk along the rows.
var errStop = errors.New("found")

// locate returns a *DifferenceError for the first row of a table that differs. It looks up each row of one database in the other, because
// the order of the rows may differ.
func locate(ctx context.Context, from, to Database, p pair) error {
	var found *DifferenceError
	err := from.Rows(ctx, p.from, nil, func(row []any) error {
		other, err := to.Row(ctx, p.to, row[:p.to.Key])
		if err != nil {
			return err
		}
		what := "is missing in the target"
		if other != nil {
			if what = difference(p.from, row, other); what == "" {
				return nil
			}
		}
		found = &DifferenceError{p.from.Name, showKey(p.from, row[:p.from.Key]), what}
		return errStop
	})
	if found != nil {
		return found
	}
	if err == nil {
		err = to.Rows(ctx, p.to, nil, func(row []any) error {
			other, err := from.Row(ctx, p.from, row[:p.from.Key])
			if err != nil || other != nil {
				return err
			}
			found = &DifferenceError{p.from.Name, showKey(p.from, row[:p.from.Key]), "is only in the target"}
			return errStop
		})
	}
	if found != nil {
		return found
	}
	if err != nil {
		return fmt.Errorf("compare the table %s: %w", p.from.Name, err)
	}
	return fmt.Errorf("the table %s differs in count or hash, but no row does: it was changed meanwhile", p.from.Name)
}

// difference names the columns in which two rows differ, without their values.
func difference(t Table, a, b []any) string {
	var names []string
	for i, c := range t.Columns {
		x, errX := encode(nil, a[i:i+1])
		y, errY := encode(nil, b[i:i+1])
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "has another value of " + strings.Join(names, ", ")
}
