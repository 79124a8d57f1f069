package introspect_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocsSnippets holds that each Go snippet of a page stands in an example that is run.
func TestDocsSnippets(t *testing.T) {
	for page, file := range map[string]string{"introspection.md": "example_client_test.go", "feed.md": "example_feed_test.go"} {
		text, err := os.ReadFile("../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		examples, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for block := range strings.SplitSeq(string(text), "\n```") {
			if snippet, isGo := strings.CutPrefix(block, "go\n"); isGo {
				found++
				if !strings.Contains(unindented(string(examples)), unindented(snippet)) {
					t.Errorf("no example has the snippet of %s\n%s", page, snippet)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s has no snippets", page)
		}
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
