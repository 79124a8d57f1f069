// Package web renders the pages for users. They are plain HTML, work without scripts and load nothing: each has a strict
// Content-Security-Policy.
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
	"strconv"
	"strings"
)

// A Page tells a user what happened and what to do now.
type Page struct {
	// Status is the HTTP status that goes with it.
	Status int
	// Language is the language of the page. Nil is English.
	Language *Language
	// Title says what happened, in a few words of the language: see [Language.Say].
	Title template.HTML
	// Text says more, and what to do.
	Text template.HTML
	// App and Back are the name of the app that the user came from, and the URL that leads back to it. The caller has checked
	// that Back is the app's own. Empty shows no link.
	App, Back string
	// Account is the path of the user's account, for a page that belongs to it. Empty shows no link.
	Account string
	// Facts are for the developer of the app.
	Facts   []Fact
	Service Service
	// RequestID is shown so that the operator can find the request in the log. Empty shows none.
	RequestID string
}

// A Fact is a detail of a request that helps the developer of the app.
type Fact struct{ Name, Value string }

var page = newLayout(`{{define "title"}}{{.Body.Title}}{{end}}{{with .Body}}<p>{{.Text}}</p>
{{with .Link}}<p><a class="button" href="{{.}}">{{t "frame.back" "app" $.Body.App}}</a></p>
{{end}}{{with .Account}}<p><a class="button" href="{{.}}">{{t "account.open"}}</a></p>
{{end}}{{with .Facts}}<details>
<summary>{{t "frame.developer"}}</summary>
<dl lang="en" dir="ltr">
{{range .}}<dt>{{.Name}}</dt>
<dd><code>{{.Value}}</code></dd>
{{end}}</dl>
</details>{{end}}{{end}}`)

// Link is Back. It may have the private-use scheme of an app.
func (p Page) Link() template.URL { return template.URL(p.Back) }

// Show writes p.
func Show(w http.ResponseWriter, p Page) error {
	return write(w, p.Status, page, view{Body: p, Language: p.Language, Service: p.Service, RequestID: p.RequestID}, nil)
}

// A view holds the values of the frame around every page.
type view struct {
	Body      any // the values of the page in the frame
	Language  *Language
	Service   Service
	RequestID string
}

//go:embed page.css
var css string

// style is the source expression of the one style sheet, which is inline and allowed by its hash.
var style = func() string {
	sum := sha256.Sum256([]byte(css))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// pageSize is more than most pages have.
const pageSize = 8 << 10

// write renders the whole page before it sends any of it. The page's policy forbids everything but the style sheet, the inline
// logo and, if targets is not nil, forms that are sent to the issuer and redirected from there to the targets.
func write(w http.ResponseWriter, status int, p *layout, v view, targets []string) error {
	var body bytes.Buffer
	body.Grow(pageSize)
	if err := p.in(v.Language).Execute(&body, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Language.Tag())
	h.Add("Vary", "Accept-Language")
	images := ""
	if v.Service.Logo != "" {
		images = "; img-src data:"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+style+images+
		"; base-uri 'none'; form-action "+formAction(targets)+"; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(body.Len())) // otherwise net/http sends it in chunks
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}

// formAction returns the sources that forms of a page may be sent to. Browsers check every redirect after a form against them,
// also redirects by others: an OpenID provider may send users on to another site, and so may an app. So all of https is allowed
// besides the issuer itself, and of other schemes only what is needed.
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

// source returns the source expression of a URI; empty if it has none.
func source(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return ""
	}
	ipv6 := strings.Contains(u.Hostname(), ":") // source expressions cannot contain one
	if u.Scheme == "http" && u.Host != "" && !ipv6 {
		return "http://" + u.Host
	}
	return u.Scheme + ":"
}
