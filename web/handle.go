package web

import (
	"net/http"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/signin"
)

// A handle is the body of the page that asks for a handle.
type handle struct {
	signin.HandleQuestion
	Form
	// Rules says what a handle may be, Later whether it can be changed.
	Rules, Later string
	// Fault says why the handle was refused; empty if it was not.
	Fault string
}

var handlePage = parse(`{{with .Body}}<p>Other people find you by this name.{{with .Later}} {{.}}{{end}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Fault}}<p class="fault" id="fault" role="alert">{{with $.Body.Result}}<b><bdi>{{.}}</bdi></b>: {{end}}{{.}}</p>
{{end}}<label for="handle">Name</label>
<div class="handle">{{with .Before}}<span aria-hidden="true">{{.}}</span>{{end}}<input id="handle" name="handle" type="text" value="{{.Handle}}" required maxlength="256" autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="after rules{{if .Fault}} fault{{end}}"{{if .Fault}} aria-invalid="true"{{end}}><span id="after">{{.After}}</span></div>
{{with .Rules}}<p class="hint" id="rules">{{.}}</p>
{{end}}<button type="submit" class="first">Take this name</button>
<button type="submit" formaction="{{.Cancel}}" formnovalidate>Cancel</button>
<p class="aside">Not you? <button type="submit" class="link" formaction="{{.Another}}" formnovalidate>Use another account</button></p>
</form>{{end}}`)

const handleRules = "Letters of one alphabet, digits, and signs such as period, hyphen and underscore, without spaces. " +
	"Capital letters become lowercase."

// ShowHandle writes the page that asks for a handle. The status is 200, or 409 if the last one was refused.
func ShowHandle(w http.ResponseWriter, q signin.HandleQuestion, f Form) error {
	h := handle{
		HandleQuestion: q, Form: f, Rules: handleRules, Later: "Only support can change it later.", Fault: account.HandleRefusal(q.Fault),
	}
	switch q.System {
	case claims.SystemWire:
		h.Rules = "2 to 256 characters: letters a to z, digits, period, hyphen and underscore."
	case claims.SystemXMPP:
		h.Later = "It cannot be changed later."
	}
	status := http.StatusOK
	if h.Fault != "" {
		status = http.StatusConflict
	}
	return write(w, status, handlePage, view{Title: "Choose your name", Body: h, Service: f.Service, RequestID: f.RequestID}, q.Targets)
}
