package dpop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every snippet of docs/dpop.md and docs/clients.md stands in a file that a test runs: Go in an example or in a program
// of docs/examples, JavaScript in the files beside the page or in those that the tests of internal/interop run.
func TestDocsSnippets(t *testing.T) {
	for _, name := range []string{"dpop.md", "clients.md"} {
		t.Run(name, func(t *testing.T) { snippets(t, "../docs/"+name) })
	}
}

func snippets(t *testing.T, name string) {
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string][]string{
		"go": readAll(t, "example*_test.go", "../docs/examples/*/*.go"),
		"js": readAll(t, "../docs/*.mjs", "../internal/interop/*.mjs"),
	}
	found := 0
	for block := range strings.SplitSeq("\n"+string(page), "\n```") {
		language, text, _ := strings.Cut(block, "\n")
		if sources[language] == nil {
			continue
		}
		found++
		if !strings.Contains(strings.Join(sources[language], "\n"), flat(text)) {
			t.Errorf("no file that is run has the snippet\n%s", text)
		}
	}
	if found == 0 {
		t.Errorf("%s has no snippets", name)
	}
}

// readAll returns the texts of the files, without the white space around each line.
func readAll(t *testing.T, patterns ...string) (texts []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, flat(string(text)))
		}
	}
	return texts
}

func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
