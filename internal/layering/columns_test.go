package layering_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const maxColumns = 140 // of a line of Go; a tab counts as four

// TestColumns checks that no line of a Go file is too long to read. Raw strings, such as struct tags and templates, cannot be
// broken. Generated files and the tables of tests are not checked.
func TestColumns(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(file, entry.Name())
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil || bytes.HasPrefix(text, []byte("// Code generated ")) {
			return err
		}
		raw, err := rawLines(file, text)
		if err != nil {
			return err
		}
		files++
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			line = strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")
			if columns := len([]rune(line)); columns > maxColumns && !raw[n] {
				t.Errorf("%s:%d has %d columns, want at most %d", strings.TrimPrefix(file, root+"/"), n, columns, maxColumns)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("%d files read, want all", files)
	}
}

// rawLines returns the numbers of the lines that hold a raw string, or a part of one.
func rawLines(name string, text []byte) (map[int]bool, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	if err != nil {
		return nil, err
	}
	lines := make(map[int]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING && strings.HasPrefix(s.Value, "`") {
			for line := set.Position(s.Pos()).Line; line <= set.Position(s.End()).Line; line++ {
				lines[line] = true
			}
		}
		return true
	})
	return lines, nil
}
