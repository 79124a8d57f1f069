// Package web holds the pages that people see. They are plain HTML, rendered here, work without scripts and load
// nothing: a strict Content-Security-Policy goes with each.
package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Page tells a person what happened and what to do now.
type Page struct {
	// Status is the HTTP status that goes with it.
	Status int
	// Title says what happened, in a few words.
	Title string
	// Text says more, and what to do.
	Text string
	// App and Back are the name of the app that the person came from, and the URL that leads back to it. Back was checked to
	// be the app's own. Empty shows no link.
	App, Back string
	// Facts are for the developer of the app.
	Facts   []Fact
	Service Service
	// RequestID is shown so that the operator can find the request in the log. Empty shows none.
	RequestID string
}

// A Fact is something about a request that its sender should know.
type Fact struct{ Name, Value string }

var page = parse(`{{with .Body}}<p>{{.Text}}</p>
{{with .Link}}<p><a class="button" href="{{.}}">Go back to <bdi>{{$.Body.App}}</bdi></a></p>
{{end}}{{with .Facts}}<details>
<summary>For the developer of the app</summary>
<dl>
{{range .}}<dt>{{.Name}}</dt>
<dd><code>{{.Value}}</code></dd>
{{end}}</dl>
</details>{{end}}{{end}}`)

// Link is Back. It may have the private-use scheme of an app.
func (p Page) Link() template.URL { return template.URL(p.Back) }

// Show writes p as the answer.
func Show(w http.ResponseWriter, p Page) error {
	return write(w, p.Status, page, view{Title: p.Title, Body: p, Service: p.Service, RequestID: p.RequestID}, nil)
}

// A view is what the frame around every page shows.
type view struct {
	Title     string
	Body      any // of the page in it
	Service   Service
	RequestID string
	CSS       template.CSS
}

//go:embed page.css
var css string

// style is the source expression of the one style sheet, which stands in the page and is named by its hash.
var style = func() string {
	sum := sha256.Sum256([]byte(css))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// write renders a page whole before any of it is sent. The policy that goes with it forbids everything but the style
// sheet, the logo in the page and, where targets is not nil, forms that are sent to the issuer, and redirected from there to
// the targets.
func write(w http.ResponseWriter, status int, t *template.Template, v view, targets []string) error {
	v.CSS = template.CSS(css)
	var body bytes.Buffer
	if err := t.Execute(&body, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	images := ""
	if v.Service.Logo != "" {
		images = "; img-src data:"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+style+images+
		"; base-uri 'none'; form-action "+formAction(targets)+"; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}

// formAction writes where a form of a page may end. Browsers hold to it every redirect that follows the form, also
// those of others: an OpenID provider sends people on to sign in elsewhere, and so does an app when they come back to
// it. So all of https is allowed beside the issuer itself, and of the rest only what is needed.
func formAction(targets []string) string {
	if targets == nil {
		return "'none'"
	}
	sources := []string{"'self'", "https:"}
	for _, target := range targets {
		if s := source(target); s != "" && !slices.Contains(sources, s) {
			sources = append(sources, s)
		}
	}
	slices.Sort(sources)
	return strings.Join(sources, " ")
}

// source writes the source expression for a URI.
func source(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return ""
	}
	ipv6 := strings.Contains(u.Hostname(), ":") // a source expression cannot name one
	if u.Scheme == "http" && u.Host != "" && !ipv6 {
		return "http://" + u.Host
	}
	return u.Scheme + ":"
}
