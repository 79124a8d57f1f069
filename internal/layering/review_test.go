package layering_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	findingRow  = regexp.MustCompile(`(?m)^\| ([A-E][0-9]+) \|`)
	findingTest = regexp.MustCompile(`(?m)^func TestReview([A-E][0-9]+)[A-Z]\w*\(t \*testing\.T\)`)
)

// TestReviewPage checks that each finding in docs/review.md has a test with its number, and each such test a finding.
func TestReviewPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/review.md"))
	if err != nil {
		t.Fatal(err)
	}
	findings := make(map[string]bool)
	for _, row := range findingRow.FindAllSubmatch(page, -1) {
		findings[string(row[1])] = true
	}
	tests := make(map[string]bool)
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, test := range findingTest.FindAllSubmatch(text, -1) {
			tests[string(test[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) == 0 {
		t.Fatal("docs/review.md: found no finding")
	}
	for _, id := range slices.Sorted(maps.Keys(findings)) {
		if !tests[id] {
			t.Errorf("docs/review.md: no test is named TestReview%s…", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(tests)) {
		if !findings[id] {
			t.Errorf("TestReview%s…: docs/review.md has no row %s", id, id)
		}
	}
}
