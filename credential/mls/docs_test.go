package mls_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Every Go snippet of docs/mls.md, and of the section about MLS in docs/credentials.md, stands in the example, which is run.
func TestDocsSnippets(t *testing.T) {
	page, err := os.ReadFile("../../docs/mls.md")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := os.ReadFile("../../docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(credentials), "\n## In MLS groups\n")
	section, _, _ = strings.Cut(section, "\n## ")
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		for i, line := range lines {
			lines[i] = strings.TrimSpace(line)
		}
		return strings.Join(lines, "\n")
	}
	blocks := slices.Concat(strings.Split(string(page), "\n```go\n")[1:], strings.Split(section, "\n```go\n")[1:])
	if len(blocks) < 5 {
		t.Fatalf("%d snippets", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "\n```")
		if !strings.Contains(flat(string(example)), flat(text)) {
			t.Errorf("the example lacks the snippet\n%s", text)
		}
	}
}
