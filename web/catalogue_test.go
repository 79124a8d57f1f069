package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"github.com/imidentity/issuer/web"
)

// A file is a language as translators write it.
type file struct {
	Direction string                     `json:"direction"`
	Texts     map[string]json.RawMessage `json:"texts"`
}

func readFile(t *testing.T, tag string) file {
	t.Helper()
	b, err := os.ReadFile("texts/" + tag + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", tag, err)
	}
	for _, m := range regexp.MustCompile(`(?m)^    "([^"]+)": `).FindAllSubmatch(b, -1) { // encoding/json keeps the last of two
		if key := string(m[1]); bytes.Count(b, []byte("\n    \""+key+"\": ")) != 1 {
			t.Errorf("%s: the key %s is repeated", tag, key)
		}
	}
	return f
}

// forms returns the forms of a text by their names; that of a text without any is named other.
func forms(t *testing.T, raw json.RawMessage) map[string]string {
	t.Helper()
	var only string
	if json.Unmarshal(raw, &only) == nil {
		return map[string]string{"other": only}
	}
	var list map[string]string
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

var (
	placeholder = regexp.MustCompile(`\{[^}]*\}`)
	markup      = regexp.MustCompile(`<[^>]*>`)
)

// found returns what a pattern finds in a text, sorted.
func found(pattern *regexp.Regexp, words string) []string {
	list := pattern.FindAllString(words, -1)
	slices.Sort(list)
	return list
}

// TestLanguagesAgree holds that every language has the same keys as English, each with the same arguments and the same markup, and
// the plural forms of its own grammar.
func TestLanguagesAgree(t *testing.T) {
	english := readFile(t, "en")
	if tags := web.Languages(); tags[0] != "en" || !slices.Contains(tags, "de") || !slices.Contains(tags, "ar") {
		t.Fatalf("languages = %q, want English first, German and Arabic", tags)
	}
	for _, name := range web.Languages() {
		t.Run(name, func(t *testing.T) {
			f, tag := readFile(t, name), language.MustParse(name)
			script, _ := tag.Script()
			if rtl := slices.Contains([]string{"Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm"}, script.String()); f.Direction != map[bool]string{true: "rtl", false: "ltr"}[rtl] {
				t.Errorf("the direction is %q, and the script %s", f.Direction, script)
			}
			for key := range english.Texts {
				if _, ok := f.Texts[key]; !ok {
					t.Errorf("%s is missing", key)
				}
			}
			for key, raw := range f.Texts {
				if _, ok := english.Texts[key]; !ok {
					t.Errorf("%s is not in English", key)
					continue
				}
				checkText(t, tag, key, forms(t, raw), forms(t, english.Texts[key]))
			}
		})
	}
}

func checkText(t *testing.T, tag language.Tag, key string, got, want map[string]string) {
	t.Helper()
	if (len(got) == 1) != (len(want) == 1) {
		t.Errorf("%s: plural forms %q, want as in English %q", key, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for form, words := range got {
		arguments, wanted := found(placeholder, words), found(placeholder, want["other"])
		if form != "other" && !slices.Contains(arguments, "{n}") { // "one day"
			wanted = slices.DeleteFunc(wanted, func(name string) bool { return name == "{n}" })
		}
		if !slices.Equal(arguments, wanted) {
			t.Errorf("%s, form %s: the arguments are %q, want %q", key, form, arguments, wanted)
		}
		if tags := found(markup, words); !slices.Equal(tags, found(markup, want["other"])) || strings.Count(words, "<b>") != len(tags)/2 {
			t.Errorf("%s, form %s: the markup is %q, want that of English", key, form, tags)
		}
		if words == "" || strings.TrimSpace(words) != words || strings.ContainsAny(words, "\"\n\t") || strings.Contains(words, "  ") {
			t.Errorf("%s, form %s: %q has straight quotes, or spaces that do not belong there", key, form, words)
		}
	}
	if len(got) == 1 {
		return
	}
	of := map[plural.Form]string{plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other"}
	used := make(map[string]bool)
	for n := range 200 {
		used[of[plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)]] = true
	}
	for form := range got {
		if !used[form] {
			t.Errorf("%s: the language has no plural form %s", key, form)
		}
	}
	for _, form := range []string{"one", "two", "few", "other"} { // zero and many may be as other
		if _, ok := got[form]; used[form] && !ok {
			t.Errorf("%s: the plural form %s is missing", key, form)
		}
	}
}

// TestTextsAreUsed holds that the program names each text, that each text it names exists, and that it gives each its arguments.
// The texts that pages name are checked when the page is parsed.
func TestTextsAreUsed(t *testing.T) {
	if n := web.ParseAll(); n < 4 {
		t.Errorf("%d pages, want at least 4", n)
	}
	texts := readFile(t, "en").Texts
	areas := make(map[string]bool) // the first parts of keys
	for key := range texts {
		area, _, _ := strings.Cut(key, ".")
		areas[area] = true
	}
	looksLikeKey := regexp.MustCompile(`^[a-z]+(\.[a-z0-9_]+)+$`)
	used := make(map[string]bool)
	for name, source := range sources(t) {
		ast.Inspect(source, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				checkSay(t, name, texts, call)
			}
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(literal.Value, "`") { // a page
				for _, m := range regexp.MustCompile(`\bt "([^"]+)"`).FindAllStringSubmatch(value, -1) {
					used[m[1]] = true
				}
				return true
			}
			if looksLikeKey.MatchString(value) {
				if area, _, _ := strings.Cut(value, "."); areas[area] && texts[value] == nil && importsWeb(source) {
					t.Errorf("%s names the text %s, which does not exist", name, value)
				}
				used[value] = true
			}
			return true
		})
	}
	for key := range texts {
		if !used[key] {
			t.Errorf("the text %s is not used", key)
		}
	}
}

// checkSay checks the arguments of a call of [web.Language.Say] whose key is a literal.
func checkSay(t *testing.T, name string, texts map[string]json.RawMessage, call *ast.CallExpr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || method.Sel.Name != "Say" || len(call.Args) == 0 {
		return
	}
	literal := func(e ast.Expr) (string, bool) {
		l, ok := e.(*ast.BasicLit)
		if !ok || l.Kind != token.STRING {
			return "", false
		}
		value, err := strconv.Unquote(l.Value)
		return value, err == nil
	}
	key, ok := literal(call.Args[0])
	if !ok || texts[key] == nil || call.Ellipsis.IsValid() {
		return
	}
	given := []string{}
	for i := 1; i < len(call.Args); i += 2 {
		argument, _ := literal(call.Args[i])
		given = append(given, "{"+argument+"}")
	}
	slices.Sort(given)
	want := found(placeholder, forms(t, texts[key])["other"])
	if !slices.Equal(given, append([]string{}, want...)) || len(call.Args)%2 == 0 {
		t.Errorf("%s: the arguments of the text %s are %q, want %q", name, key, given, want)
	}
}

// sources parses the Go files of the module that are not tests.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	list := make(map[string]*ast.File)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "interop" || strings.HasPrefix(d.Name(), ".") && path != ".."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		list[path] = source
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func importsWeb(source *ast.File) bool {
	return source.Name.Name == "web" || slices.ContainsFunc(source.Imports, func(i *ast.ImportSpec) bool {
		return i.Path.Value == `"github.com/imidentity/issuer/web"`
	})
}
