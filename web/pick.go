package web

import "net/http"

// A Pick asks a person for their domain or, once that is known, for the OpenID provider that they sign in at.
type Pick struct {
	// App is what the app that wants to know is called.
	App string
	// Domain is where they sign in; empty if that is the question.
	Domain string
	// Options are what they may choose, in order.
	Options []Option
	// Action is the path that the form is sent to, State the hidden value that goes with it. Cancel is the path that it is
	// sent to instead, to go back to the app.
	Action, Cancel, State string
	// Targets are URLs that the browser may be sent to after the choice, and where it ends. The policy must allow it.
	Targets   []string
	Service   Service
	RequestID string
}

// An Option is one of them.
type Option struct{ Value, Label string }

var pick = parse(`{{with .Body}}<p>{{if .Domain}}Choose where you have your account for <b>{{.Domain}}</b>.{{else}}<bdi>{{.App}}</bdi> wants to sign you in. Choose the domain of your account.{{end}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Domain}}<input type="hidden" name="domain" value="{{.}}">
{{end}}<ul class="options">
{{$name := "domain"}}{{if .Domain}}{{$name = "provider"}}{{end}}{{range .Options}}<li><button type="submit" name="{{$name}}" value="{{.Value}}"><bdi>{{.Label}}</bdi></button></li>
{{end}}</ul>
<button type="submit" formaction="{{.Cancel}}">Cancel</button>
</form>{{end}}`)

// ShowPick writes the page that p asks on.
func ShowPick(w http.ResponseWriter, p Pick) error {
	title := "Where is your account?"
	if p.Domain != "" {
		title = "How do you sign in?"
	}
	return write(w, http.StatusOK, pick, view{Title: title, Body: p, Service: p.Service, RequestID: p.RequestID}, p.Targets)
}
