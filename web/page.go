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
)

// A Page tells a person what happened and what to do now.
type Page struct {
	// Status is the HTTP status that goes with it.
	Status int
	// Title says what happened, in a few words.
	Title string
	// Text says more, and what to do.
	Text string
	// RequestID is shown so that the operator can find the request in the log. Empty shows none.
	RequestID string
}

//go:embed page.css
var css string

// policy forbids everything but the one style sheet, which stands in the page and is named by its hash, and forms that
// end at the targets given.
func policy(formTargets string) string {
	sum := sha256.Sum256([]byte(css))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action " + formTargets + "; frame-ancestors 'none'"
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Page.Title}}</title>
<style>{{.CSS}}</style>
</head>
<body>
<main>
<h1>{{.Page.Title}}</h1>
<p>{{.Page.Text}}</p>
{{with .Page.RequestID}}<p class="id">If you ask for help, name this request: <code>{{.}}</code></p>
{{end}}</main>
</body>
</html>
`))

// Show writes p as the answer.
func Show(w http.ResponseWriter, p Page) error {
	return write(w, p.Status, policy("'none'"), page, struct {
		Page Page
		CSS  template.CSS
	}{p, template.CSS(css)})
}

// write renders a page whole before any of it is sent.
func write(w http.ResponseWriter, status int, policy string, t *template.Template, data any) error {
	var body bytes.Buffer
	if err := t.Execute(&body, data); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}
