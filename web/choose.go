package web

import "net/http"

// A Choice asks a person for the handle that they want, at their first login.
type Choice struct {
	// Before and After is what stands around the handle where people read it: "@" and "@example.com".
	Before, After string
	// Handle is what stands in the field: the provider's proposal, or what was submitted before.
	Handle string
	// Result is what people would read of that handle, as @alice@example.com; empty if it is not valid.
	Result string
	// Rules says what a handle may be, Later whether it can be changed.
	Rules, Later string
	// Fault says why the handle was refused; empty the first time.
	Fault string
	// Action is the path that the form is sent to, State the hidden value that goes with it. Cancel and Another are the paths
	// that it is sent to instead, to go back to the app or to the OpenID provider.
	Action, Cancel, Another, State string
	// Targets are URLs that the browser may be sent to after the choice. The policy must allow the form to end there.
	Targets   []string
	Service   Service
	RequestID string
}

var choose = parse(`{{with .Body}}<p>Other people find you by this name.{{with .Later}} {{.}}{{end}}</p>
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

// Choose writes the page that c asks on; status is 200, or 409 with a fault.
func Choose(w http.ResponseWriter, c Choice) error {
	status := http.StatusOK
	if c.Fault != "" {
		status = http.StatusConflict
	}
	return write(w, status, choose, view{Title: "Choose your name", Body: c, Service: c.Service, RequestID: c.RequestID}, c.Targets)
}
