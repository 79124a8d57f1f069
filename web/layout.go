package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"sync"
	"text/template/parse"

	"golang.org/x/text/feature/plural"
)

// A layout is a page within the frame, in every language. A language is parsed when the page is first shown in it, and the catalogue
// is read before the first page, so that neither is a part of each start of the program.
type layout struct {
	languages func() []func() *template.Template // by Language.index
}

// layouts are all of them.
var layouts []*layout

// newLayout makes a page of its part within the frame, and of its template "title". They have the functions t, which is
// [Language.Say], code, which makes a [Code], and day, which is [Language.Day].
func newLayout(body string) *layout {
	p := &layout{languages: sync.OnceValue(func() []func() *template.Template {
		var list []func() *template.Template
		for _, l := range languages() {
			list = append(list, sync.OnceValue(func() *template.Template { return template.Must(l.parse(body)) }))
		}
		return list
	})}
	layouts = append(layouts, p)
	return p
}

func (p *layout) in(l *Language) *template.Template { return p.languages()[l.orEnglish().index]() }

// The frame around every page. Language and style sheet are part of its text, so they are not escaped for each answer.
const frameBegin = `<!doctype html>
<html lang="LANGUAGE" dir="DIRECTION">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{template "title" .}}</title>
<style>`

const frameEnd = `</style>
</head>
<body>
<main>
{{with .Service}}{{if or .Name .Logo}}<p class="brand">{{with .Logo}}<img src="{{.}}" alt="" width="28" height="28">{{end}}<bdi>{{.Name}}</bdi></p>
{{end}}{{end}}<h1>{{template "title" .}}</h1>
{{template "body" .}}
{{if or .RequestID .Service.PrivacyURL .Service.TermsURL}}<footer>
{{with .Service.PrivacyURL}}<a href="{{.}}" target="_blank" rel="noopener noreferrer">{{t "frame.privacy"}}</a>
{{end}}{{with .Service.TermsURL}}<a href="{{.}}" target="_blank" rel="noopener noreferrer">{{t "frame.terms"}}</a>
{{end}}{{with .RequestID}}<p class="id">{{t "frame.help" "code" (code .)}}</p>
{{end}}</footer>
{{end}}</main>
</body>
</html>
`

func (l *Language) parse(body string) (*template.Template, error) {
	t := template.New("frame").Funcs(template.FuncMap{
		"t": l.Say, "day": l.Day, "code": func(s string) Code { return Code(s) },
	})
	begin := strings.NewReplacer("LANGUAGE", l.Tag(), "DIRECTION", l.direction).Replace(frameBegin)
	if _, err := t.Parse(begin + css + frameEnd); err != nil {
		return nil, err
	}
	if _, err := t.New("body").Parse(body); err != nil {
		return nil, err
	}
	for _, part := range t.Templates() {
		if part.Tree == nil {
			continue
		}
		if err := l.fill(part.Tree.Root); err != nil {
			return nil, fmt.Errorf("web: template %s in %s: %w", part.Name(), l.Tag(), err)
		}
	}
	return t, nil
}

// fill puts the texts without arguments into a template, because calls of a function take long, and checks the others.
func (l *Language) fill(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for i, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.ActionNode:
			var filled *parse.TextNode
			if filled, err = l.fillAction(n); filled != nil {
				list.Nodes[i] = filled
			}
		case *parse.IfNode:
			err = l.fillBoth(&n.BranchNode)
		case *parse.RangeNode:
			err = l.fillBoth(&n.BranchNode)
		case *parse.WithNode:
			err = l.fillBoth(&n.BranchNode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Language) fillBoth(n *parse.BranchNode) error {
	if err := l.fill(n.List); err != nil {
		return err
	}
	return l.fill(n.ElseList)
}

// fillAction returns the text that takes the place of an action, nil if it must stay.
func (l *Language) fillAction(n *parse.ActionNode) (*parse.TextNode, error) {
	call := n.Pipe.Cmds[0].Args
	if name, ok := call[0].(*parse.IdentifierNode); !ok || name.Ident != "t" || len(call) < 2 {
		return nil, nil
	}
	key, ok := call[1].(*parse.StringNode)
	if !ok {
		return nil, nil // the key is a value, which Say checks
	}
	t, ok := l.texts[Key(key.Text)]
	if !ok {
		return nil, fmt.Errorf("there is no text %q", key.Text)
	}
	var given []string
	for i := 2; i < len(call); i += 2 {
		name, ok := call[i].(*parse.StringNode)
		if !ok || i+1 == len(call) {
			return nil, fmt.Errorf("the arguments of %s are not pairs of a name and a value", n)
		}
		given = append(given, name.Text)
	}
	if want := t.arguments(); !slices.Equal(want, slices.Sorted(slices.Values(given))) {
		return nil, fmt.Errorf("%s has the arguments %v, want %v", n, given, want)
	}
	parts, whole := t[plural.Other], len(n.Pipe.Cmds) == 1 && len(n.Pipe.Decl) == 0
	if whole && len(call) == 2 && len(parts) == 1 {
		return &parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos, Text: []byte(parts[0].markup)}, nil
	}
	return nil, nil
}

// arguments returns the names of the arguments of t in order. That of a text with several forms includes n.
func (t text) arguments() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, parts := range t {
		for _, p := range parts {
			add(p.argument)
		}
	}
	if len(t) > 1 {
		add("n")
	}
	slices.Sort(names)
	return names
}
