package web

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// A Choice asks a person for the handle that she wants, at her first login.
type Choice struct {
	// Domain is where the handle will be.
	Domain string
	// Handle is what stands in the field: the provider's proposal, or what she wrote before.
	Handle string
	// Fault says why that was refused; empty the first time.
	Fault string
	// Action is the path that the form is sent to, State the hidden value that goes with it.
	Action, State string
	// Redirect is where the browser goes when she has chosen. The policy must allow the form to end there.
	Redirect  string
	RequestID string
}

var choose = template.Must(template.New("choose").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Choose your name</title>
<style>{{.CSS}}</style>
</head>
<body>
<main>
<h1>Choose your name</h1>
<p>Others will find you under it at {{.Choice.Domain}}.</p>
<form method="post" action="{{.Choice.Action}}">
<input type="hidden" name="state" value="{{.Choice.State}}">
{{with .Choice.Fault}}<p class="fault" id="fault" role="alert">{{.}}</p>
{{end}}<label for="handle">Name</label>
<input id="handle" name="handle" type="text" value="{{.Choice.Handle}}" required maxlength="256" autocomplete="username" autocapitalize="none" spellcheck="false"{{if .Choice.Fault}} aria-describedby="fault" aria-invalid="true"{{end}}>
<button type="submit">Take this name</button>
</form>
{{with .Choice.RequestID}}<p class="id">If you ask for help, name this request: <code>{{.}}</code></p>
{{end}}</main>
</body>
</html>
`))

// Choose writes the page that c asks on; status is 200, or 409 with a fault.
func Choose(w http.ResponseWriter, c Choice) error {
	status := http.StatusOK
	if c.Fault != "" {
		status = http.StatusConflict
	}
	return write(w, status, policy("'self' "+formTarget(c.Redirect)), choose, struct {
		Choice Choice
		CSS    template.CSS
	}{c, template.CSS(css)})
}

// formTarget writes the source expression for a redirect URI: browsers hold the redirect that follows a form to
// form-action, too.
func formTarget(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme == "" {
		return ""
	}
	ipv6 := strings.Contains(u.Hostname(), ":") // a source expression cannot name one
	if u.Host != "" && !ipv6 && (u.Scheme == "http" || u.Scheme == "https") {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}
