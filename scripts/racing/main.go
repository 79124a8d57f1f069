// Racing prints the tests that the race detector checks at every change: one line for each package, with the pattern of its
// tests as go test -run takes it. It is run in the folder of the module.
//
// A test is in the set if goroutines of its own race: the test, or a function of the tests that it calls, starts a goroutine
// or makes something happen between two steps of a request. So a new test joins the set without being listed. Functions that
// start a goroutine to serve somebody are left out, or nearly every test would be in it.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// servers are the functions of tests that start a goroutine to serve somebody, by package. Outlived is not one, but is called at the end of
// many tests that take long under the race detector: TestKill, which calls it, too, is enough.
var servers = map[string][]string{
	"cmd/issuer":      {"launch", "outlived", "readAddressesOf", "serveDev", "web"},
	"internal/doctor": {"run", "serve"},
	"internal/fetch":  {"resolver", "zone"},
	"internal/server": {"serve", "startProvider"},
	"storage/redis":   {"start"},
}

// interleaving are the functions of tests that make something happen between two steps of a request.
var interleaving = []string{"beforeUpdate"}

// contracts are the packages that hold stores to a contract, with the tests that run their tests.
var contracts = map[string][]set{
	"storage/storagetest": {{"storage/postgres", "TestStore"}, {"storage/sqlite", "TestStore"}},
	"dpop/replaytest":     {{"dpop", "TestMemoryReplay"}, {"storage/redis", "TestReplay"}, {"storage/sqlite", "TestReplay"}},
}

// more are tests that race requests in other ways: go test -short has them do less than usual.
var more = []set{
	{"cmd/issuer", "TestKill"},
	{"cmd/issuer", "TestScripts/^(login|serve)$"},
	{"internal/server", "TestStoreFails"},
}

// A set is some tests of a package.
type set struct {
	pkg     string
	pattern string
}

func main() {
	sets, err := racing(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "racing:", err)
		os.Exit(1)
	}
	for _, s := range sets {
		fmt.Printf("./%s\t%s\n", s.pkg, s.pattern)
	}
}

// racing returns the racing tests of a module.
func racing(module fs.FS) ([]set, error) {
	packages, err := read(module)
	if err != nil {
		return nil, err
	}
	for pkg, names := range servers {
		for _, name := range names {
			if packages[pkg] == nil || packages[pkg].calls[name] == nil {
				return nil, fmt.Errorf("the tests of %s have no function %s that serves", pkg, name)
			}
		}
	}
	for pkg := range contracts {
		if packages[pkg] == nil {
			return nil, fmt.Errorf("there is no contract %s", pkg)
		}
	}
	patterns := make(map[string][]string)
	add := func(pkg, pattern string) error {
		name, sub, deeper := strings.Cut(pattern, "/")
		if packages[pkg] == nil || !slices.Contains(packages[pkg].tests, name) {
			return fmt.Errorf("%s has no test %s", pkg, name)
		}
		if pattern = "^" + name + "$"; deeper {
			pattern += "/" + sub
		}
		if !slices.Contains(patterns[pkg], pattern) {
			patterns[pkg] = append(patterns[pkg], pattern)
		}
		return nil
	}
	for pkg, p := range packages {
		var names []string
		for _, name := range p.tests {
			if p.races(name, servers[pkg], make(map[string]bool)) {
				names = append(names, name)
			}
		}
		runners, contract := contracts[pkg]
		if !contract {
			for _, name := range names {
				if err := add(pkg, name); err != nil {
					return nil, err
				}
			}
			continue
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("no test of %s races", pkg)
		}
		for i, name := range names {
			names[i] = strings.TrimPrefix(name, "test")
		}
		slices.Sort(names)
		for _, r := range runners {
			if err := add(r.pkg, r.pattern+"/^("+strings.Join(names, "|")+")$"); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range more {
		if err := add(m.pkg, m.pattern); err != nil {
			return nil, err
		}
	}
	var sets []set
	for pkg, list := range patterns {
		slices.Sort(list)
		sets = append(sets, set{pkg, strings.Join(list, "|")})
	}
	slices.SortFunc(sets, func(a, b set) int { return strings.Compare(a.pkg, b.pkg) })
	return sets, nil
}

// A source is the tests of a package, as far as this program understands them. Methods count by their name alone.
type source struct {
	tests  []string            // the names of the tests; of a contract, those of the functions test...
	starts map[string]bool     // the functions that start a goroutine or interleave
	calls  map[string][]string // the names of the functions that each function calls
}

var testName = regexp.MustCompile(`^[Tt]est[A-Z]`)

// read reads the tests of all packages of the module, but not of nested modules.
func read(module fs.FS) (map[string]*source, error) {
	packages := make(map[string]*source)
	err := fs.WalkDir(module, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := fs.Stat(module, filepath.Join(path, "go.mod"))
			if name := d.Name(); path != "." && (err == nil || name == "node_modules" || name == "testdata" ||
				strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		pkg := filepath.Dir(path)
		if _, contract := contracts[pkg]; !strings.HasSuffix(path, "_test.go") && (!contract || !strings.HasSuffix(path, ".go")) {
			return nil
		}
		text, err := fs.ReadFile(module, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if packages[pkg] == nil {
			packages[pkg] = &source{starts: make(map[string]bool), calls: make(map[string][]string)}
		}
		packages[pkg].add(file, strings.HasSuffix(path, "_test.go"))
		return nil
	})
	return packages, err
}

func (s *source) add(file *ast.File, tests bool) {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := f.Name.Name
		if first := 't'; f.Recv == nil && testName.MatchString(name) && name != "TestMain" {
			if tests {
				first = 'T'
			}
			if rune(name[0]) == first {
				s.tests = append(s.tests, name)
			}
		}
		if s.calls[name] == nil {
			s.calls[name] = []string{}
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				s.starts[name] = true
			case *ast.CallExpr:
				called := ""
				switch f := n.Fun.(type) {
				case *ast.Ident:
					called = f.Name
				case *ast.SelectorExpr:
					called = f.Sel.Name
				}
				if called == "Go" || slices.Contains(interleaving, called) { // sync.WaitGroup.Go, errgroup.Group.Go
					s.starts[name] = true
				}
				s.calls[name] = append(s.calls[name], called)
			}
			return true
		})
	}
}

// races reports whether a function starts goroutines, itself or by functions that do not serve.
func (s *source) races(name string, servers []string, seen map[string]bool) bool {
	if seen[name] || slices.Contains(servers, name) {
		return false
	}
	seen[name] = true
	return s.starts[name] || slices.ContainsFunc(s.calls[name], func(called string) bool { return s.races(called, servers, seen) })
}
