package mls_test

import (
	"os"
	"strings"
	"testing"
)

// Every Go snippet of docs/mls.md stands in the example, which is run.
func TestDocsSnippets(t *testing.T) {
	page, err := os.ReadFile("../../docs/mls.md")
	if err != nil {
		t.Fatal(err)
	}
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
	blocks := strings.Split(string(page), "\n```go\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("the page has %d snippets", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "\n```")
		if !strings.Contains(flat(string(example)), flat(text)) {
			t.Errorf("the example lacks the snippet\n%s", text)
		}
	}
}
