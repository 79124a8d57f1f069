package layering_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	threatHead = regexp.MustCompile(`(?m)^### ([0-9]+)\. `)
	// citation is a package and the tests in it. Words in parentheses name vectors.
	citation = regexp.MustCompile("`([a-z0-9/]+)`((?:,?\\s+(?:Test|Fuzz)\\w+(?:\\s+\\([^)]*\\))?)+)")
	testName = regexp.MustCompile(`\b(?:Test|Fuzz)\w+`)
)

// TestThreatsPage checks that docs/threats.md counts the threats without a gap, and says of each which tests there are or why none is
// needed. Each test that it names exists in the package that it names.
func TestThreatsPage(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "docs/threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	heads := threatHead.FindAllStringSubmatchIndex(page, -1)
	if len(heads) != 42 {
		t.Errorf("%d threats, want 42", len(heads))
	}
	named := 0
	for i, head := range heads {
		if number := page[head[2]:head[3]]; number != strconv.Itoa(i+1) {
			t.Errorf("threat %s comes where %d is due", number, i+1)
		}
		end := len(page)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		section := page[head[0]:end]
		cited := citation.FindAllStringSubmatch(section, -1)
		if len(cited) == 0 && !strings.Contains(section, "Out of scope: ") {
			t.Errorf("threat %d: no test, and not out of scope", i+1)
		}
		found := 0
		for _, c := range cited {
			for _, name := range testName.FindAllString(c[2], -1) {
				found++
				if !hasTest(t, c[1], name) {
					t.Errorf("threat %d: package %s has no %s", i+1, c[1], name)
				}
			}
		}
		if all := len(testName.FindAllString(section, -1)); all != found {
			t.Errorf("threat %d: %d tests are named, %d of them after their package", i+1, all, found)
		}
		named += found
	}
	if named < 42 {
		t.Errorf("%d tests are named, which are too few", named)
	}
}

// hasTest reports whether a package has a test of that name.
func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
