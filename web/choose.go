package web

import "net/http"

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

var choose = parse(`{{with .Body}}<p>Others will find you under it at <b>{{.Domain}}</b>.</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Fault}}<p class="fault" id="fault" role="alert">{{.}}</p>
{{end}}<label for="handle">Name</label>
<input id="handle" name="handle" type="text" value="{{.Handle}}" required maxlength="256" autocomplete="username" autocapitalize="none" spellcheck="false"{{if .Fault}} aria-describedby="fault" aria-invalid="true"{{end}}>
<button type="submit" class="first">Take this name</button>
</form>{{end}}`)

// Choose writes the page that c asks on; status is 200, or 409 with a fault.
func Choose(w http.ResponseWriter, c Choice) error {
	status := http.StatusOK
	if c.Fault != "" {
		status = http.StatusConflict
	}
	return write(w, status, choose, view{Title: "Choose your name", Body: c, RequestID: c.RequestID}, []string{c.Redirect})
}
