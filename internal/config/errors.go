package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
)

// An Error is one error in the settings.
type Error struct {
	// File is the name of the settings file, or "environment NAME" for a variable.
	File string
	// Line is the line in the file, from 1. It is 0 if the error has no line.
	Line int
	// Path is the key, as in domains[0].providers[0].issuer. It is empty if the error concerns the whole file.
	Path string
	// Message describes the error and its remedy.
	Message string
}

// Error returns "FILE:LINE: PATH: MESSAGE", without the parts that are absent.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors are all errors in the settings, in the order of the file. Those of environment variables come last.
type Errors []Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) sort() {
	line := func(e Error) int {
		if e.Line == 0 {
			return math.MaxInt
		}
		return e.Line
	}
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(line(a), line(b)), cmp.Compare(a.File, b.File))
	})
}

// cause returns the message of err without the path of the file.
func cause(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// suggest names the known word that is most similar to a wrong one, or all words if none is similar. It does not suggest a word
// of taken, which would be refused as repeated.
func suggest(word string, known, taken []string) string {
	switch best := nearest(word, known); {
	case best == "":
		return "known here: " + strings.Join(known, ", ")
	case slices.Contains(taken, best):
		return fmt.Sprintf("%q is similar, and is there already", best)
	default:
		return fmt.Sprintf("did you mean %q?", best)
	}
}

// nearest returns the known word that is most similar to a wrong one, or "" if none is similar.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/2+1
	for _, k := range known {
		if d := edits(word, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits returns how many letters must be inserted, removed, changed or swapped with their neighbour to turn a into b.
func edits(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
