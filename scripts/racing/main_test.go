package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The set has the tests that start goroutines, in every way in which tests do, and no others.
func TestRacing(t *testing.T) {
	module := fstest.MapFS{}
	file := func(path, text string) {
		module[path] = &fstest.MapFile{Data: []byte("package x\n" + text)}
	}
	file("a/a.go", "func TestNotATest() { go f() }")
	file("a/a_test.go", `
		func TestMain() { go f() }
		func TestStatement() { for { go f() } }
		func TestGroup() { var wg sync.WaitGroup; wg.Go(f) }
		func TestClosure() { g(func() { go f() }) }
		func TestBetween() { s.faults.beforeUpdate(f) }
		func TestHelper() { s.helper() }
		func (s *site) helper() { several() }
		func several() { wg.Go(f) }
		func TestAlone() { TestNothing() }
		func TestNothing() { f() }
		func Testify() { go f() }
		func testLower() { go f() }`)
	file("a/testdata/b_test.go", "func TestData() { go f() }")
	file("nested/go.mod", "module nested")
	file("nested/a_test.go", "func TestNested() { go f() }")
	for pkg, names := range servers {
		text := "func TestServed() { go f(); }"
		for _, name := range names {
			text += "\nfunc " + name + "() { go f() }\nfunc TestBy" + name + "() { " + name + "() }"
		}
		file(pkg+"/server_test.go", text)
	}
	for pkg, runners := range contracts {
		file(pkg+"/contract.go", "func testOne() {}\nfunc testRaces() { go f() }\nfunc testAlso() { go f() }")
		for _, r := range runners {
			file(r.pkg+"/"+r.pattern+"_test.go", "func "+r.pattern+"() {}")
		}
	}
	for i, m := range more {
		name, _, _ := strings.Cut(m.pattern, "/")
		file(m.pkg+"/more"+string(rune('a'+i))+"_test.go", "func "+name+"() {}")
	}
	want := []set{
		{"a", "^TestBetween$|^TestClosure$|^TestGroup$|^TestHelper$|^TestStatement$"},
		{"cmd/issuer", "^TestKill$|^TestScripts$/^(login|serve)$|^TestServed$"},
		{"dpop", "^TestMemoryReplay$/^(Also|Races)$"},
		{"internal/doctor", "^TestServed$"},
		{"internal/fetch", "^TestServed$"},
		{"internal/server", "^TestServed$|^TestStoreFails$"},
		{"storage/postgres", "^TestStore$/^(Also|Races)$"},
		{"storage/redis", "^TestReplay$/^(Also|Races)$|^TestServed$"},
		{"storage/sqlite", "^TestReplay$/^(Also|Races)$|^TestStore$/^(Also|Races)$"},
	}
	if got, err := racing(module); err != nil || !slices.Equal(got, want) {
		t.Errorf("racing = %v\n%q\nwant\n%q", err, got, want)
	}

	// What is named here must be there: a test that was renamed must not leave the set unnoticed.
	for path, file := range module {
		if strings.HasPrefix(path, "a/") || strings.HasPrefix(path, "nested/") {
			continue
		}
		delete(module, path)
		if got, err := racing(module); err == nil {
			t.Errorf("racing without %s = %q, want an error", path, got)
		}
		module[path] = file
	}
}

// The set of this module has tests of many packages, and some that it must have.
func TestModule(t *testing.T) {
	sets, err := racing(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) < 15 {
		t.Errorf("%d packages have racing tests, want at least 15: %q", len(sets), sets)
	}
	for _, want := range []set{
		{"account", "^TestSignInRaces$"},
		{"cmd/issuer", "^TestKill$"},
		{"internal/follow", "^TestWakeRaces$"},
		{"internal/server", "^TestRefreshInParallel$"},
		{"internal/server", "^TestMeanwhile$"},
		{"revocation", "^TestTwoNodes$"},
		{"storage/sqlite", "SpendOnceInParallel"},
	} {
		if !slices.ContainsFunc(sets, func(s set) bool { return s.pkg == want.pkg && strings.Contains(s.pattern, want.pattern) }) {
			t.Errorf("the set has no %s of %s", want.pattern, want.pkg)
		}
	}
}

// No test of the repository is skipped: a test that lacks something fails.
func TestNoneSkipped(t *testing.T) {
	for _, module := range []string{"../..", "../../internal/interop"} {
		packages, err := read(os.DirFS(module))
		if err != nil || len(packages) == 0 {
			t.Fatalf("read = %d packages, %v", len(packages), err)
		}
		for pkg, s := range packages {
			for name, called := range s.calls {
				for _, skip := range []string{"Skip", "Skipf", "SkipNow"} {
					if slices.Contains(called, skip) {
						t.Errorf("%s of %s calls %s", name, pkg, skip)
					}
				}
			}
		}
	}
}
