package web

import "html/template"

// A Service describes the operator's service, as pages show it. Each field may be empty.
type Service struct {
	// Name is what people call the service.
	Name string
	// Logo is a data: URL of an image, or empty.
	Logo template.URL
	// PrivacyURL and TermsURL are the addresses of documents that every page links to.
	PrivacyURL, TermsURL string
}

// A Form holds what pages with a form have in common.
type Form struct {
	// Action is the path that the form is sent to, State the hidden value that it contains. Cancel and Another are the paths
	// for going back to the app, and to the OpenID provider; a page without such a button ignores them.
	Action, Cancel, Another, State string
	Service                        Service
	RequestID                      string
}

// parse makes a page from its part within the frame. The style sheet is part of its text, so it is not escaped for each answer.
func parse(body string) *template.Template {
	frame := template.Must(template.New("frame").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + css + `</style>
</head>
<body>
<main>
{{with .Service}}{{if or .Name .Logo}}<p class="brand">{{with .Logo}}<img src="{{.}}" alt="" width="28" height="28">{{end}}<bdi>{{.Name}}</bdi></p>
{{end}}{{end}}<h1>{{.Title}}</h1>
{{template "body" .}}
{{if or .RequestID .Service.PrivacyURL .Service.TermsURL}}<footer>
{{with .Service.PrivacyURL}}<a href="{{.}}" target="_blank" rel="noopener noreferrer">Privacy</a>
{{end}}{{with .Service.TermsURL}}<a href="{{.}}" target="_blank" rel="noopener noreferrer">Terms</a>
{{end}}{{with .RequestID}}<p class="id">Need help? Give support this code: <code>{{.}}</code></p>
{{end}}</footer>
{{end}}</main>
</body>
</html>
`))
	return template.Must(frame.New("body").Parse(body)).Lookup("frame")
}
