package nested_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

const docs = "../docs/nested-verifiers.md"

// TestDocs signs the tokens that docs/nested-verifiers.md shows for each relation, opens them, and compares the explanation with the
// document.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)^### `([a-z_]+)`\n.*?\n```json\n(.*?)\n```\n\n```text\n(.*?)\n```\n")
	var seen []nested.Relation
	for _, section := range strings.SplitAfter(string(text), "\n\n### ")[1:] {
		m := example.FindStringSubmatch("### " + section)
		if m == nil {
			t.Fatalf("a section without example: %.40s", section)
		}
		rel := nested.Relation(m[1])
		seen = append(seen, rel)
		t.Run(m[1], func(t *testing.T) {
			var typ struct{ Typ string }
			if err := json.Unmarshal([]byte(m[2]), &typ); err != nil {
				t.Fatal(err)
			}
			o := options()
			o.Types = []string{typ.Typ}
			tree, err := nested.Open(t.Context(), signShown(t, []byte(m[2])), o)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(tree.Root.Inner, func(l *nested.Layer) bool { return l.Relation == rel }) {
				t.Errorf("the example is none of %s", rel)
			}
			if got := strings.TrimSpace(tree.Explain()); got != m[3] {
				t.Errorf("Explain =\n%s\nwant\n%s", got, m[3])
			}
		})
	}
	if !slices.Equal(seen, nested.Relations()) {
		t.Errorf("examples of %v, want %v", seen, nested.Relations())
	}
}

// signShown signs a token that is shown as its typ and claims, with those that it encloses.
func signShown(t *testing.T, shown []byte) string {
	t.Helper()
	var token struct {
		Typ    string
		Claims json.RawMessage
	}
	if err := json.Unmarshal(shown, &token); err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Iss    string
		Tokens []struct{ Token json.RawMessage }
	}
	if err := json.Unmarshal(token.Claims, &claims); err != nil {
		t.Fatal(err)
	}
	for _, inner := range claims.Tokens {
		signed, err := json.Marshal(signShown(t, inner.Token))
		if err != nil {
			t.Fatal(err)
		}
		token.Claims = bytes.Replace(token.Claims, inner.Token, signed, 1)
	}
	by, known := signers[claims.Iss]
	if !known {
		by = aliceKey
	}
	signed, err := by.sign(token.Typ, token.Claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// The page names every type of statement with its claims, and every code.
func TestDocsAreComplete(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 20 {
		t.Fatalf("%d codes in errors.go", len(codes))
	}
	for _, code := range codes {
		if !bytes.Contains(text, []byte("`"+string(code[1])+"`")) {
			t.Errorf("no word of the code %s", code[1])
		}
	}
	// The claims of a type are those without which it is refused.
	rows := regexp.MustCompile("(?m)^\\| `(im-[a-z]+\\+jwt)` \\|[^|]*\\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1)
	if len(rows) != 8 {
		t.Fatalf("%d types of statements, want 8", len(rows))
	}
	samples := map[string]string{}
	for _, token := range []string{grant(), delegation(), deviceStatement(), half(signers[home], alice, aliceOld), rename(), move(),
		member(), guardian()} {
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		samples[jws.Header.Typ] = string(jws.Payload)
	}
	for _, row := range rows {
		claims, _, _ := strings.Cut(row[2], "; optional")
		for _, claim := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(claims, -1) {
			if !strings.Contains(samples[row[1]], `"`+claim[1]+`":`) {
				t.Errorf("%s has no claim %s", row[1], claim[1])
			}
		}
	}
}
