package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/signin"
)

// RemovePrefix begins the names of the fields by which the pages about the device limit name devices. The id of the device follows.
const RemovePrefix = "remove."

// limitPage offers to remove devices, and leads on to removalPage, which asks for the confirmation.
var limitPage = newLayout(`{{define "title"}}{{t "limit.title"}}{{end}}{{with .Body}}<p>{{t "limit.text" "person" .Person}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{if .NoneChosen}}<p class="fault" id="fault" role="alert">{{t "limit.none"}}</p>
{{end}}<fieldset{{if .NoneChosen}} aria-describedby="fault"{{end}}><legend>{{t "limit.devices"}}</legend>
{{range .Devices}}<label class="choice"><input type="checkbox" name="{{.Field}}" value="yes"><span><b>{{if .Name}}<bdi>{{.Name}}</bdi>{{else}}{{t "limit.device.unnamed"}}{{end}}</b><span class="hint">{{t .About "kind" (t .Kind) "app" .App "day" (day .Day)}}</span></span></label>
{{end}}</fieldset>
<button type="submit" name="decision" value="choose" class="first">{{t "limit.choose"}}</button>
{{if .MayContinue}}<button type="submit" name="decision" value="allow">{{t "limit.continue"}}</button>
{{end}}<button type="submit" name="decision" value="deny">{{t "frame.back" "app" .App}}</button>
<p class="aside">{{t "frame.not_you"}} <button type="submit" class="link" formaction="{{.Another}}">{{t "frame.another"}}</button></p>
</form>{{end}}`)

var removalPage = newLayout(`{{define "title"}}{{t "removal.title"}}{{end}}{{with .Body}}<ul class="chosen">
{{range .Devices}}<li><b>{{if .Name}}<bdi>{{.Name}}</bdi>{{else}}{{t "limit.device.unnamed"}}{{end}}</b><span class="hint">{{t .About "kind" (t .Kind) "app" .App "day" (day .Day)}}</span></li>
{{end}}</ul>
<p>{{t "removal.text"}}</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
{{range .Devices}}<input type="hidden" name="{{.Field}}" value="yes">
{{end}}<button type="submit" name="decision" value="remove" class="first">{{t "removal.confirm"}}</button>
</form>
<p class="aside"><a href="{{.Back}}">{{t "removal.back"}}</a></p>{{end}}`)

// limitBody holds the values of both pages.
type limitBody struct {
	Person, App             string
	Devices                 []limitDevice
	NoneChosen, MayContinue bool
	Action, Another, State  string
	Back                    string
}

type limitDevice struct {
	Field, Name, App string
	Kind, About      Key
	Day              time.Time
}

func limitDevices(list []signin.LimitDevice) []limitDevice {
	devices := make([]limitDevice, len(list))
	for i, d := range list {
		devices[i] = limitDevice{
			Field: RemovePrefix + d.ID, Name: d.Name, App: d.App, Kind: AccountDevice{Platform: d.Platform}.Kind(),
			About: "limit.device.seen", Day: d.Seen.UTC(),
		}
		if d.Seen.IsZero() {
			devices[i].About, devices[i].Day = "limit.device.added", d.Added.UTC()
		}
	}
	return devices
}

// showLimit writes the page for a login of a user who has as many devices as allowed. The status is 200, or 409 if the form before named
// no device.
func showLimit(w http.ResponseWriter, q signin.ConsentQuestion, f Form) error {
	b := limitBody{
		Person: q.Person, App: q.Client.Title(), Devices: limitDevices(q.Devices), NoneChosen: q.NoneChosen, MayContinue: !q.KeyNamed,
		Action: f.Action, Another: f.Another, State: f.State,
	}
	status := http.StatusOK
	if q.NoneChosen {
		status = http.StatusConflict
	}
	v := view{Body: &b, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
	return write(w, status, limitPage, v, []string{q.Redirect, q.Provider})
}

// ShowRemoval writes the page that asks whether the chosen devices are to be removed.
func ShowRemoval(w http.ResponseWriter, q signin.RemovalQuestion, f Form) error {
	b := limitBody{
		Devices: limitDevices(q.Devices), Action: f.Action, State: f.State,
		Back: f.Action + "?" + url.Values{"state": {f.State}}.Encode(),
	}
	v := view{Body: &b, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
	return write(w, http.StatusOK, removalPage, v, q.Targets)
}
