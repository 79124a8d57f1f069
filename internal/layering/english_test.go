package layering_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// oddWords are words that texts for users must not have: documents, the contract, settings, help, messages and pages.
var oddWords = regexp.MustCompile(`(?i)\b(octets?|she|hers?|herself|whoever|whom|whomever)\b`)

// oddAllowed lists the exceptions by file: passages about a named example person.
var oddAllowed = map[string][]string{
	"internal/demo/actor.go": {
		"the issuer signed her grant",
		"Alice keeps her key and her session",
		"Alice and her bot, with her grant inside",
		"acts for her, as the grant inside the token proves",
	},
	"internal/demo/story.go": {
		"Alice lets a bot act for her",
		"is her device",
	},
}

// TestReviewD9PlainEnglish reads everything that users see: the documents, and every string of the program.
func TestReviewD9PlainEnglish(t *testing.T) {
	texts := make(map[string][]string) // by file
	read := func(name string) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = strings.Split(string(b), "\n")
	}
	for _, name := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "openapi.yaml", "internal/config/example.yaml"} {
		read(name)
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents {
		read("docs/" + filepath.Base(name))
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				texts[name] = append(texts[name], s.Value)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 150 {
		t.Errorf("%d files read, want all", len(texts))
	}
	for name, lines := range texts {
		used := make(map[string]bool)
		for _, line := range lines {
			for _, passage := range oddAllowed[name] {
				if strings.Contains(line, passage) {
					used[passage] = true
					line = strings.ReplaceAll(line, passage, "")
				}
			}
			if word := oddWords.FindString(line); word != "" {
				t.Errorf("%s says %q, want plain English: %s", name, word, strings.TrimSpace(line))
			}
		}
		for _, passage := range oddAllowed[name] {
			if !used[passage] {
				t.Errorf("%s no longer has the exception %q", name, passage)
			}
		}
	}
}
