package web

import (
	"net/http"

	"github.com/imidentity/issuer/signin"
)

// places is the body of the page that asks for a domain or an OpenID provider.
type places struct {
	signin.PlaceQuestion
	Form
}

var placesPage = parse(`{{with .Body}}<p>{{if .Domain}}Choose where you have your account for <b>{{.Domain}}</b>.{{else}}{{with .App}}<bdi>{{.}}</bdi> wants to sign you in. {{end}}Choose the domain of your account.{{end}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Domain}}<input type="hidden" name="domain" value="{{.}}">
{{end}}<ul class="options">
{{$name := "domain"}}{{if .Domain}}{{$name = "provider"}}{{end}}{{range .Options}}<li><button type="submit" name="{{$name}}" value="{{.Value}}"><bdi>{{.Label}}</bdi></button></li>
{{end}}</ul>
<button type="submit" formaction="{{.Cancel}}">Cancel</button>
</form>{{end}}`)

// ShowPlaces writes the page that asks for a domain or, once that is known, for an OpenID provider.
func ShowPlaces(w http.ResponseWriter, q signin.PlaceQuestion, f Form) error {
	title := "Where is your account?"
	if q.Domain != "" {
		title = "How do you sign in?"
	}
	v := view{Title: title, Body: places{q, f}, Service: f.Service, RequestID: f.RequestID}
	return write(w, http.StatusOK, placesPage, v, q.Targets)
}
