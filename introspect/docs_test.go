package introspect_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocsSnippets holds that each Go snippet of docs/introspection.md stands in an example that is run.
func TestDocsSnippets(t *testing.T) {
	page, err := os.ReadFile("../docs/introspection.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_client_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for block := range strings.SplitSeq(string(page), "\n```") {
		if text, isGo := strings.CutPrefix(block, "go\n"); isGo {
			found++
			if !strings.Contains(unindented(string(examples)), unindented(text)) {
				t.Errorf("no example has the snippet\n%s", text)
			}
		}
	}
	if found == 0 {
		t.Error("the page has no snippets")
	}
}

// unindented returns a text without the white space around each line.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
