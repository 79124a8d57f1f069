package oauth_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// seen are the descriptions of all refusals that the tests of this run have checked.
var seen struct {
	sync.Mutex
	texts []string
}

func noteRefusal(description string) {
	seen.Lock()
	defer seen.Unlock()
	seen.texts = append(seen.texts, description)
}

// TestMain runs the tests. If that was all of them, it then compares the refusals in the source of the package with those that the
// tests have seen: a new refusal needs a test.
func TestMain(m *testing.M) {
	code := m.Run()
	all := true
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		all = all && flag.Lookup(name).Value.String() == ""
	}
	if code == 0 && all {
		code = checkSites()
	}
	os.Exit(code)
}

func checkSites() (code int) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fset, sites := token.NewFileSet(), 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		ast.Inspect(file, func(n ast.Node) bool {
			words := refusalWords(n)
			if len(words) == 0 {
				return true
			}
			sites++
			if !slices.ContainsFunc(seen.texts, func(text string) bool {
				return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
			}) {
				fmt.Fprintf(os.Stderr, "%s: no test has seen the refusal %q\n", fset.Position(n.Pos()), words)
				code = 1
			}
			return true
		})
	}
	if sites < 60 {
		fmt.Fprintf(os.Stderr, "found only %d refusals in the source\n", sites)
		code = 1
	}
	return code
}

// refusalWords returns the texts that a refusal in the source consists of: the description of refuse(code, description), and the
// words of a nested.Error. It returns nil for everything else, and for descriptions that are made elsewhere.
func refusalWords(n ast.Node) (words []string) {
	var of ast.Node
	switch n := n.(type) {
	case *ast.CallExpr:
		if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "refuse" {
			of = n.Args[1]
		}
	case *ast.CompositeLit:
		if typ, ok := n.Type.(*ast.SelectorExpr); ok && typ.Sel.Name == "Error" {
			of = n
		}
	}
	if of == nil {
		return nil
	}
	ast.Inspect(of, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			made, ok := call.Fun.(*ast.SelectorExpr)
			return ok && made.Sel.Name == "New" // the arguments of named and the like are no words of the refusal
		}
		if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
			word, err := strconv.Unquote(text.Value)
			if err == nil && len(word) > 2 {
				words = append(words, word)
			}
		}
		return true
	})
	return words
}
