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

var placesPage = newLayout(`{{define "title"}}{{if .Body.Domain}}{{t "choose.provider.title"}}{{else}}{{t "choose.domain.title"}}{{end}}{{end -}}
{{with .Body}}<p>{{if .Domain}}{{t "choose.provider.text" "domain" .Domain}}{{else if .App}}{{t "choose.domain.text" "app" .App}}{{else}}{{t "account.domain"}}{{end}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{with .Domain}}<input type="hidden" name="domain" value="{{.}}">
{{end}}<ul class="options">
{{$name := "domain"}}{{if .Domain}}{{$name = "provider"}}{{end}}{{range .Options}}<li><button type="submit" name="{{$name}}" value="{{.Value}}"><bdi>{{.Label}}</bdi></button></li>
{{end}}</ul>
<button type="submit" formaction="{{.Cancel}}">{{t "frame.cancel"}}</button>
</form>{{end}}`)

// ShowPlaces writes the page that asks for a domain or, once that is known, for an OpenID provider.
func ShowPlaces(w http.ResponseWriter, q signin.PlaceQuestion, f Form) error {
	v := view{Body: places{q, f}, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
	return write(w, http.StatusOK, placesPage, v, q.Targets)
}
