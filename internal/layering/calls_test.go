package layering_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withoutTransactions lists the packages that read input and write answers. What a request changes is one call of a package
// below them, which owns the transaction.
var withoutTransactions = []string{"internal/admin", "internal/httpapi", "internal/server", "web"}

// contextValues lists the packages that may put a value into a context, with the reason. What a function needs is a parameter: a
// value in a context is invisible in its signature. Only what crosses code that does not know it may travel there.
var contextValues = map[string]string{
	"docs/examples/app":     "x/oauth2 takes its HTTP client from the context",
	"docs/examples/keyed":   "x/oauth2 takes its HTTP client from the context",
	"docs/examples/service": "x/oauth2 takes its HTTP client from the context",
	"dpop":                  "the middleware for resources hands the access of a request to any http.Handler",
	"gateway":               "the middleware hands the identity of a request to any http.Handler",
	"internal/audit":        "the id of a request, for audit events",
	"internal/fetch":        "what an outgoing request is for, for measurements",
	"internal/httpapi":      "the operator of a request, for audit events that packages below cause",
	"internal/idempotency":  "the idempotency key of a request, which its first transaction stores",
	"internal/simulation":   "the task of the simulation that calls, below code that does not know it; and transactions, as in a database",
	"internal/trace":        "the span that an operation of a database or an outgoing request belongs to",
	"storage/postgres":      "an update within an update is recognized, which could wait for itself",
	"storage/sqlite":        "an update within an update is recognized, which would wait for itself",
}

// TestTransactions holds the packages of HTTP to leaving transactions to the packages below.
func TestTransactions(t *testing.T) {
	seen := make(map[string]bool)
	inspect(t, func(name, place string, n ast.Node) {
		if !slices.Contains(withoutTransactions, name) {
			return
		}
		seen[name] = true
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, _ := s.X.(*ast.Ident)
			if s.Sel.Name == "Update" || x != nil && x.Name == "storage" && s.Sel.Name == "Tx" {
				t.Errorf("%s: package %s must not take part in a transaction", place, name)
			}
		}
	})
	for _, name := range withoutTransactions {
		if !seen[name] {
			t.Errorf("withoutTransactions: there is no package %s", name)
		}
	}
}

// TestContextValues holds the packages to passing what a function needs as parameters.
func TestContextValues(t *testing.T) {
	used := make(map[string]bool)
	inspect(t, func(name, place string, n ast.Node) {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != "WithValue" {
			return
		}
		if x, ok := s.X.(*ast.Ident); !ok || x.Name != "context" {
			return
		}
		used[name] = true
		if contextValues[name] == "" {
			t.Errorf("%s: package %s must not put values into a context: use a parameter", place, name)
		}
	})
	for name := range contextValues {
		if !used[name] {
			t.Errorf("contextValues: package %s puts no value into a context", name)
		}
	}
}

// inspect calls see for every node of every file that is not a test, with the package and the place of the node.
func inspect(t *testing.T, see func(name, place string, n ast.Node)) {
	t.Helper()
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
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		name := path.Clean(filepath.ToSlash(dir))
		ast.Inspect(parsed, func(n ast.Node) bool {
			if n != nil {
				see(name, strings.TrimPrefix(set.Position(n.Pos()).String(), root+"/"), n)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
