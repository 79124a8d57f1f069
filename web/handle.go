package web

import (
	"errors"
	"net/http"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/signin"
)

// A handle is the body of the page that asks for a handle.
type handle struct {
	signin.HandleQuestion
	Form
	// Rules says which handles are possible, Later whether a handle can be changed.
	Rules, Later Key
	// Fault says why the handle was refused; empty if it was not.
	Fault Key
}

var handlePage = newLayout(`{{define "title"}}{{t "handle.title"}}{{end}}{{with .Body}}<p>{{t "handle.text"}} {{t .Later}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Fault}}<p class="fault" id="fault" role="alert">{{with $.Body.Result}}<b><bdi>{{.}}</bdi></b>: {{end}}{{t .}}</p>
{{end}}<label for="handle">{{t "handle.label"}}</label>
<div class="handle" dir="ltr">{{with .Before}}<span aria-hidden="true">{{.}}</span>{{end}}<input id="handle" name="handle" type="text" dir="auto" value="{{.Handle}}" required maxlength="256" autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="after rules{{if .Fault}} fault{{end}}"{{if .Fault}} aria-invalid="true"{{end}}><span id="after">{{.After}}</span></div>
<p class="hint" id="rules">{{t .Rules}}</p>
<button type="submit" class="first">{{t "handle.take"}}</button>
<button type="submit" formaction="{{.Cancel}}" formnovalidate>{{t "frame.cancel"}}</button>
<p class="aside">{{t "frame.not_you"}} <button type="submit" class="link" formaction="{{.Another}}" formnovalidate>{{t "frame.another"}}</button></p>
</form>{{end}}`)

// ShowHandle writes the page that asks for a handle. The status is 200, or 409 if the last one was refused.
func ShowHandle(w http.ResponseWriter, q signin.HandleQuestion, f Form) error {
	h := handle{
		HandleQuestion: q, Form: f, Rules: "handle.rules", Later: "handle.later.support", Fault: HandleFault(q.Fault),
	}
	if q.Renames {
		h.Later = "handle.later.user"
	}
	switch q.System {
	case claims.SystemWire:
		h.Rules = "handle.rules.wire"
	case claims.SystemXMPP:
		h.Later = "handle.later.never"
	}
	status := http.StatusOK
	if h.Fault != "" {
		status = http.StatusConflict
	}
	return write(w, status, handlePage, view{Body: h, Language: f.Language, Service: f.Service, RequestID: f.RequestID}, q.Targets)
}

// HandleFault returns the text that says why a user cannot have a handle, and "" for an error that is not about the handle.
// See [account.HandleRefusal].
func HandleFault(err error) Key {
	var bad *claims.Error
	switch {
	case errors.Is(err, account.ErrHandleTaken):
		return "handle.fault.taken"
	case !errors.As(err, &bad):
		return ""
	}
	switch bad.Code {
	case claims.CodeReservedHandle:
		return "handle.fault.reserved"
	case claims.CodeConfusable:
		return "handle.fault.confusable"
	case claims.CodeMixedScript:
		return "handle.fault.mixed"
	}
	return "handle.fault.invalid"
}
