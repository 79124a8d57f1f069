package layering_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// architecture is the page that shows where things are.
const architecture = "docs/architecture.md"

var (
	packageRow = regexp.MustCompile("(?m)^\\| ((?:`[^`]+`(?:, )?)+) \\|")
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	goFile     = regexp.MustCompile(`^[a-z0-9_]+(?:/[a-z0-9_]+)*\.go$`)
	anyPath    = regexp.MustCompile(`^[a-z0-9_]+(?:/[a-zA-Z0-9_.-]+)+$`)
	fileStop   = regexp.MustCompile("`([a-z0-9_/]+\\.go)` \\(([^)]*)\\)")
)

// TestArchitecturePackages checks that the page lists every package of the module, and no other.
func TestArchitecturePackages(t *testing.T) {
	_, table, found := strings.Cut(readPage(t), "\n## Packages\n")
	table, _, ended := strings.Cut(table, "\n## ")
	if !found || !ended {
		t.Fatalf("%s has no section Packages", architecture)
	}
	listed := make(map[string]bool)
	for _, row := range packageRow.FindAllStringSubmatch(table, -1) {
		for _, name := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			listed[name[1]] = true
		}
	}
	packages := readImports(t)
	for name := range packages {
		if !listed[name] && !strings.HasPrefix(name, "docs/examples/") {
			t.Errorf("%s: the table lacks package %s", architecture, name)
		}
	}
	for name := range listed {
		if packages[name] == nil && name != "internal/interop" { // a module of its own
			t.Errorf("%s: there is no package %s", architecture, name)
		}
	}
}

// TestPackageComments checks that each package says in a comment what it is.
func TestPackageComments(t *testing.T) {
	for name := range readImports(t) {
		files, err := filepath.Glob(filepath.Join(root, name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			found = found || parsed.Doc.Text() != ""
		}
		if !found && len(files) > 0 {
			t.Errorf("package %s has no package comment", name)
		}
	}
}

// TestArchitectureFiles checks that each file and folder that the page names is there, and that a file has the functions,
// methods and types that are named in parentheses behind it.
func TestArchitectureFiles(t *testing.T) {
	page := readPage(t)
	files := 0
	for _, span := range codeSpan.FindAllStringSubmatch(page, -1) {
		name := span[1]
		if !goFile.MatchString(name) && !anyPath.MatchString(name) {
			continue
		}
		files++
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s: there is no %s", architecture, name)
		}
	}
	if files < 50 {
		t.Errorf("%s names %d files and folders, want all stops of a request", architecture, files)
	}
	for _, stop := range fileStop.FindAllStringSubmatch(page, -1) {
		declared := declarations(t, stop[1])
		for _, name := range codeSpan.FindAllStringSubmatch(stop[2], -1) {
			if !slices.Contains(declared, name[1]) {
				t.Errorf("%s: %s does not declare %s", architecture, stop[1], name[1])
			}
		}
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, architecture))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// declarations returns the names of the functions, types, methods (as Type.Method), variables and constants of a file.
func declarations(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
