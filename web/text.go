package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
)

// A Key names a text of the catalogue. Each language has a text for each key.
type Key string

// A text is an entry of the catalogue: plain text, in which <b> and </b> are the only markup and {name} is the place of an argument.
// A text that depends on a number has several forms, and the number is its argument n.
type text map[plural.Form][]part

// A part of a text is a piece of it, or the place of an argument.
type part struct {
	markup   string // the piece, escaped
	argument string // the name of the argument; empty for a piece
}

// forms are the names of the plural forms in the files (Unicode CLDR).
var forms = map[string]plural.Form{
	"zero": plural.Zero, "one": plural.One, "two": plural.Two, "few": plural.Few, "many": plural.Many, "other": plural.Other,
}

// UnmarshalJSON reads a string, or an object with a string for each form.
func (t *text) UnmarshalJSON(b []byte) error {
	var entry map[string]string
	if b[0] == '"' {
		var only string
		if err := json.Unmarshal(b, &only); err != nil {
			return err
		}
		entry = map[string]string{"other": only}
	} else if err := json.Unmarshal(b, &entry); err != nil {
		return err
	}
	*t = make(text)
	for name, words := range entry {
		form, ok := forms[name]
		if !ok {
			return fmt.Errorf("%q is not a plural form", name)
		}
		parts, err := parseText(words)
		if err != nil {
			return fmt.Errorf("%q: %w", words, err)
		}
		(*t)[form] = parts
	}
	if (*t)[plural.Other] == nil {
		return fmt.Errorf("there is no form other in %s", b)
	}
	return nil
}

var bold = strings.NewReplacer("&lt;b&gt;", "<b>", "&lt;/b&gt;", "</b>")

func parseText(words string) ([]part, error) {
	var list []part
	for words != "" {
		before, rest, found := strings.Cut(words, "{")
		if before != "" {
			list = append(list, part{markup: bold.Replace(template.HTMLEscapeString(before))})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, fmt.Errorf("a brace does not begin the name of an argument")
		}
		list = append(list, part{argument: name})
		words = after
	}
	return list, nil
}

// A Code is an argument of a text that is shown as code: an identifier or a word of a protocol.
type Code string

// Say returns the text of key in l, as markup. args are pairs of the name of an argument and its value. A string is text that
// anybody may have written: it is escaped and isolated, so that its direction has no effect on the text around it. A [Code] is
// shown as code, an integer as a number, and template.HTML as it is.
//
// Say panics if there is no such key or argument, or if an argument of the text is missing.
func (l *Language) Say(key Key, args ...any) template.HTML {
	parts := l.parts(key, args)
	var b strings.Builder
	b.Grow(256)
	for _, p := range parts {
		if p.argument == "" {
			b.WriteString(p.markup)
			continue
		}
		switch value := argument(args, p.argument).(type) {
		case string:
			b.WriteString("<bdi>")
			b.WriteString(template.HTMLEscapeString(value))
			b.WriteString("</bdi>")
		case Code:
			b.WriteString("<code>")
			b.WriteString(template.HTMLEscapeString(string(value)))
			b.WriteString("</code>")
		case int:
			b.WriteString(strconv.Itoa(value))
		case template.HTML:
			b.WriteString(string(value))
		default:
			panic(fmt.Sprintf("web: %s: the argument %s is a %T", key, p.argument, value))
		}
	}
	return template.HTML(b.String())
}

// parts returns the form of a text for its arguments.
func (l *Language) parts(key Key, args []any) []part {
	l = l.orEnglish()
	t, ok := l.texts[key]
	if !ok {
		panic(fmt.Sprintf("web: there is no text %q", key))
	}
	if len(t) > 1 {
		n, _ := argument(args, "n").(int)
		if parts, ok := t[plural.Cardinal.MatchPlural(l.tag, n, 0, 0, 0, 0)]; ok {
			return parts
		}
	}
	return t[plural.Other]
}

// argument returns the value of an argument, nil if there is none.
func argument(args []any, name string) any {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == name {
			return args[i+1]
		}
	}
	return nil
}

// Day returns a day in words.
func (l *Language) Day(t time.Time) template.HTML {
	words := l.Say("date.day", "day", t.Day(), "month", l.Say(months[t.Month()-1]), "year", t.Year())
	return template.HTML(`<time datetime="` + t.Format(time.DateOnly) + `">` + string(words) + "</time>")
}

var months = [...]Key{
	"date.month.1", "date.month.2", "date.month.3", "date.month.4", "date.month.5", "date.month.6",
	"date.month.7", "date.month.8", "date.month.9", "date.month.10", "date.month.11", "date.month.12",
}
