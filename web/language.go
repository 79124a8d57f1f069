package web

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
)

// A Language is one of the languages of the pages: the texts of a file in the folder texts, which is named after its BCP 47 tag.
// A nil *Language is English.
type Language struct {
	tag       language.Tag
	direction string // the value of the attribute dir
	texts     map[Key]text
	index     int // in languages
}

// Tag returns the BCP 47 tag of l, for the attribute lang.
func (l *Language) Tag() string { return l.orEnglish().tag.String() }

// Direction returns the direction of the script, ltr or rtl, for the attribute dir.
func (l *Language) Direction() string { return l.orEnglish().direction }

func (l *Language) orEnglish() *Language {
	if l == nil {
		return languages()[0]
	}
	return l
}

//go:embed texts/*.json
var files embed.FS

// tags are those of all languages: English, then the others in order.
var tags = sync.OnceValue(func() []language.Tag {
	names, err := fs.Glob(files, "texts/*.json")
	if err != nil {
		panic(err)
	}
	var list []language.Tag
	for _, name := range names {
		list = append(list, language.MustParse(strings.TrimSuffix(path.Base(name), ".json")))
	}
	slices.SortFunc(list, func(a, b language.Tag) int {
		if english := language.English; (a == english) != (b == english) {
			if a == english {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.String(), b.String())
	})
	return list
})

// languages holds the languages in the order of tags.
var languages = sync.OnceValue(func() []*Language {
	var list []*Language
	for i, tag := range tags() {
		l, err := readLanguage(tag)
		if err != nil {
			panic(fmt.Errorf("web: texts in %s: %w", tag, err))
		}
		l.index = i
		list = append(list, l)
	}
	return list
})

func readLanguage(tag language.Tag) (*Language, error) {
	content, err := files.ReadFile("texts/" + tag.String() + ".json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Direction string       `json:"direction"`
		Texts     map[Key]text `json:"texts"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	return &Language{tag: tag, direction: file.Direction, texts: file.Texts}, nil
}

// Languages returns the BCP 47 tags of all languages, English first.
func Languages() []string {
	var names []string
	for _, tag := range tags() {
		names = append(names, tag.String())
	}
	return names
}

var matcher = sync.OnceValue(func() language.Matcher {
	return language.NewMatcher(tags())
})

// maxPreferences bounds the text of a preference in bytes. A longer one is ignored.
const maxPreferences = 1024

// Choose returns the language of the pages for a user: the first of ui_locales for which there are texts (OpenID Connect Core 1.0
// §3.1.2.1), else the best of the request's Accept-Language (RFC 9110 §12.5.4), else English. A tag that cannot be read is skipped.
func Choose(uiLocales string, h http.Header) *Language {
	if l := Named(uiLocales); l != nil {
		return l
	}
	for _, tag := range accepted(strings.Join(h.Values("Accept-Language"), ",")) {
		if l := match(tag); l != nil {
			return l
		}
	}
	return languages()[0]
}

// Named returns the first language of ui_locales for which there are texts; nil if there is none.
func Named(uiLocales string) *Language {
	if len(uiLocales) > maxPreferences {
		return nil
	}
	for _, name := range strings.Fields(uiLocales) {
		if tag, err := language.Parse(name); err == nil {
			if l := match(tag); l != nil {
				return l
			}
		}
	}
	return nil
}

// match returns the language that a reader of tag understands, or nil.
func match(tag language.Tag) *Language {
	_, i, confidence := matcher().Match(tag)
	if confidence == language.No {
		return nil
	}
	return languages()[i]
}

// accepted returns the tags of an Accept-Language header, the most wanted first, without those of weight 0. The parser refuses
// a header for one bad tag, so it is given one at a time.
func accepted(header string) []language.Tag {
	if len(header) > maxPreferences {
		return nil
	}
	type preference struct {
		tag    language.Tag
		weight float32
	}
	var list []preference
	for entry := range strings.SplitSeq(header, ",") {
		tags, weights, err := language.ParseAcceptLanguage(entry)
		if err == nil && len(tags) == 1 && weights[0] <= 1 {
			list = append(list, preference{tags[0], weights[0]})
		}
	}
	slices.SortStableFunc(list, func(a, b preference) int { return cmp.Compare(b.weight, a.weight) })
	tags := make([]language.Tag, len(list))
	for i, p := range list {
		tags[i] = p.tag
	}
	return tags
}
