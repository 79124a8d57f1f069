package browser

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// A form is an HTML form.
type form struct {
	method, action string
	controls       []control
}

type control struct {
	name, kind, value string
	on                bool // checked or selected
}

// choose returns the form in doc with the most controls for fill, or nil if there is no form.
func choose(doc *html.Node, fill map[string]string) *form {
	var best *form
	most := -1
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		f := read(n)
		taken := 0
		for key := range fill {
			if f.takes(key) {
				taken++
			}
		}
		if taken > most {
			best, most = f, taken
		}
	}
	return best
}

// read collects the controls that are descendants of the form element n.
func read(n *html.Node) *form {
	f := &form{method: strings.ToUpper(attr(n, "method")), action: attr(n, "action")}
	for c := range n.Descendants() {
		if c.Type != html.ElementNode || has(c, "disabled") {
			continue
		}
		k := control{name: attr(c, "name"), kind: strings.ToLower(attr(c, "type")), value: attr(c, "value")}
		switch c.Data {
		case "input":
			if k.kind == "" {
				k.kind = "text"
			}
			k.on = has(c, "checked")
			if (k.kind == "checkbox" || k.kind == "radio") && !has(c, "value") {
				k.value = "on"
			}
		case "button":
			if k.kind == "" {
				k.kind = "submit"
			}
		case "textarea":
			k.kind, k.value = "textarea", text(c)
		case "select":
			k.kind = "select"
			first := true
			for o := range c.Descendants() {
				if o.Type == html.ElementNode && o.Data == "option" && (first || has(o, "selected")) {
					k.value, first = attr(o, "value"), false
				}
			}
		default:
			continue
		}
		f.controls = append(f.controls, k)
	}
	return f
}

func (f *form) takes(key string) bool {
	for _, c := range f.controls {
		if c.name == key || c.kind == key {
			return true
		}
	}
	return false
}

// submit returns the request that the form sends from the page at base.
func (f *form) submit(ctx context.Context, base *url.URL, fill map[string]string) (*http.Request, error) {
	action, err := base.Parse(f.action)
	if err != nil {
		return nil, err
	}
	values := f.values(fill)
	if f.method != http.MethodPost {
		action.RawQuery = values.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, action.String(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", base.Scheme+"://"+base.Host)
	return req, nil
}

// values returns the form's data set, with exactly one submit button pressed.
func (f *form) values(fill map[string]string) url.Values {
	values := url.Values{}
	pressed := f.button(fill)
	for i, c := range f.controls {
		given, ok := fill[c.name]
		if !ok {
			given, ok = fill[c.kind]
		}
		switch c.kind {
		case "submit", "image", "button", "reset":
			if i != pressed {
				continue
			}
		case "checkbox", "radio":
			if ok {
				c.on = given == c.value
			}
			if !c.on {
				continue
			}
		case "hidden": // keeps its value
		default:
			if ok {
				c.value = given
			}
		}
		if c.name != "" {
			values.Add(c.name, c.value)
		}
	}
	return values
}

// button returns the index of the submit button to press: the one in fill, otherwise the first; -1 if there is none.
func (f *form) button(fill map[string]string) int {
	first := -1
	for i, c := range f.controls {
		if c.kind != "submit" {
			continue
		}
		if want, ok := fill[c.name]; ok && c.name != "" && want == c.value {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// find returns the first element with that tag, or nil.
func find(doc *html.Node, tag string) *html.Node {
	if doc == nil {
		return nil
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			return n
		}
	}
	return nil
}

// text returns the text of n, with white space collapsed.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
