package layering_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestArrows compares every import of every file, with any build tags, with the table.
func TestArrows(t *testing.T) {
	packages := readImports(t)
	if len(packages) == 0 {
		t.Fatal("found no package")
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s: not in the table: add it, with what it may import", name)
			continue
		}
		for _, imported := range packages[name] {
			if of, ours := strings.CutPrefix(imported, module+"/"); ours {
				if !mayImport(allowed, of) || slices.Contains(databases, of) && name != "internal/issuer" && !slices.Contains(testOnly, name) {
					t.Errorf("package %s imports %s, which the table does not allow", name, of)
				}
				continue
			}
			for library, users := range confined {
				if within(imported, library) && !slices.Contains(users, name) {
					t.Errorf("package %s imports %s, which only %v may", name, imported, users)
				}
			}
		}
	}
}

// TestLight checks that the libraries for other programs do not depend on anything heavy, not even indirectly. It asks the go
// command, which knows the dependencies of dependencies.
func TestLight(t *testing.T) {
	if _, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil { // so that a cached result depends on go.mod
		t.Fatal(err)
	}
	packages := readImports(t)
	for _, name := range light {
		if packages[name] == nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/"+name).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", name, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			for _, library := range heavy {
				if within(dep, library) {
					t.Errorf("package %s brings along %s", name, dep)
				}
			}
		}
	}
}

// TestTable checks that every package that the table names has a line.
func TestTable(t *testing.T) {
	for name, allowed := range arrows {
		for _, of := range allowed {
			if _, known := arrows[of]; !known && of != all {
				t.Errorf("arrows: %s may import %s, which has no line", name, of)
			}
		}
	}
}

func mayImport(allowed []string, name string) bool {
	if slices.Contains(allowed, name) {
		return true
	}
	return slices.Contains(allowed, all) && !slices.Contains(testOnly, name)
}

// within reports whether the import path is that of library or of a package below it. Every package may import
// database/sql/driver, which only declares how a type is stored.
func within(imported, library string) bool {
	return imported == library || strings.HasPrefix(imported, library+"/") && imported != "database/sql/driver"
}

// readImports returns the imports of each package of the module, without those of tests. Packages are named relative to the
// module.
func readImports(t *testing.T) map[string][]string {
	t.Helper()
	packages := make(map[string][]string)
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
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		name := path.Clean(filepath.ToSlash(dir))
		if packages[name] == nil {
			packages[name] = []string{}
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			packages[name] = append(packages[name], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range packages {
		slices.Sort(packages[name])
		packages[name] = slices.Compact(packages[name])
	}
	return packages
}

// enter skips the folders that ./... skips: hidden ones, testdata and nested modules.
func enter(dir, name string) error {
	if dir == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}
