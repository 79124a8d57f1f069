package web

import (
	"cmp"
	"html/template"
	"net/http"
	"time"

	"github.com/imidentity/issuer/oauth"
)

// A Device is the page where a user enters the code that a device without a browser shows, and decides about the device (RFC 8628 §3.3).
type Device struct {
	// Person is the handle of the user, as people write it.
	Person string
	// Action is the path of the page that reads the code, and Decide the path that the decision is sent to, with the token CSRF.
	Action, Decide, CSRF string
	// Status is the HTTP status that goes with it; zero is 200.
	Status int
	// Wrong tells that no device waits under the code that the user entered. Entered is what they wrote.
	Wrong   bool
	Entered string
	// Asks is the device that waits. Nil asks for the code.
	Asks *oauth.DeviceRequest
	// SameNetwork tells that the device asked from the network of the browser.
	SameNetwork bool
	// Now is the present time.
	Now time.Time
	// Target is the URL of the OpenID provider, where the browser may be sent after the form to sign in again.
	Target string
}

var devicePage = newLayout(`{{define "title"}}{{if .Body.Code}}{{t "device.check.title"}}{{else}}{{t "device.title"}}{{end}}{{end -}}
{{with .Body}}{{if .Code}}<p>{{t "device.check.text"}}</p>
<p class="shown" dir="ltr"><code>{{.Code}}</code></p>
<p>{{t "device.check.asks" "app" .App "person" .Person}}</p>
<p class="caution">{{t "device.caution"}}</p>
{{if .KeyInUse}}<p class="fault" role="alert">{{t "device.key_in_use"}}</p>
{{else if .Full}}<p class="fault" role="alert">{{t "device.full"}}</p>
{{end}}<form method="post" action="{{.Decide}}">
<input type="hidden" name="csrf" value="{{.CSRF}}">
<input type="hidden" name="user_code" value="{{.Code}}">
{{if .Blocked}}<button type="submit" name="decision" value="deny" class="first">{{t "device.deny"}}</button>
{{else}}<button type="submit" name="decision" value="allow" class="first">{{t "device.allow"}}</button>
<button type="submit" name="decision" value="deny">{{t "device.deny"}}</button>
{{end}}</form>
<h2>{{t "device.details"}}</h2>
<dl>
<dt>{{t "consent.app"}}</dt>
<dd><bdi>{{.App}}</bdi>{{with .ID}} <code>{{.}}</code>{{end}}</dd>
<dt>{{t "device.name"}}</dt>
<dd>{{if .Known}}{{t "device.known"}} {{end}}{{with .Name}}<bdi>{{.}}</bdi>{{else}}{{t "device.unnamed"}}{{end}}{{with .Platform}} ({{t .}}){{end}}</dd>
{{with .Network}}<dt>{{t "device.network"}}</dt>
<dd>{{if $.Body.SameNetwork}}{{t "device.network.same" "network" .}}{{else}}{{t "device.network.other" "network" .}}{{end}}</dd>
{{end}}<dt>{{t "device.asked"}}</dt>
<dd>{{if .Minutes}}{{t "device.asked.ago" "n" .Minutes}}{{else}}{{t "device.asked.now"}}{{end}}</dd>
<dt>{{t "consent.abilities"}}</dt>
<dd><ul>
{{range .Abilities}}<li>{{.}}</li>
{{end}}</ul></dd>
<dt>{{t "consent.receivers"}}</dt>
<dd>{{range $i, $receiver := .Receivers}}{{if $i}}, {{end}}<bdi>{{$receiver}}</bdi>{{end}}</dd>
</dl>{{else}}<p>{{t "device.text" "person" .Person}}</p>
<form method="get" action="{{.Action}}">
{{if .Wrong}}<p class="fault" id="fault" role="alert">{{t "device.wrong"}}</p>
{{end}}<label for="user_code">{{t "device.label"}}</label>
<input id="user_code" name="user_code" type="text" dir="ltr" value="{{.Entered}}" required minlength="8" maxlength="32" autocomplete="off" autocapitalize="characters" spellcheck="false" aria-describedby="rules{{if .Wrong}} fault{{end}}"{{if .Wrong}} aria-invalid="true"{{end}}>
<p class="hint" id="rules">{{t "device.rules"}}</p>
<button type="submit" class="first">{{t "device.next"}}</button>
</form>{{end}}{{end}}`)

// deviceBody holds the values of the page.
type deviceBody struct {
	Person, Action, Decide, CSRF string
	Wrong                        bool
	Entered                      string

	Code                    string // empty asks for it
	App, ID                 string // ID is empty if the app has no other name
	Known                   bool
	Name                    string
	Platform                Key
	Network                 string
	SameNetwork             bool
	Minutes                 int
	KeyInUse, Full, Blocked bool
	Abilities               []template.HTML
	Receivers               []string
}

// ShowDevice writes p.
func ShowDevice(w http.ResponseWriter, p Device, f Frame) error {
	b := deviceBody{Person: p.Person, Action: p.Action, Decide: p.Decide, CSRF: p.CSRF, Wrong: p.Wrong, Entered: p.Entered}
	if a := p.Asks; a != nil {
		consent := Consent{
			Consent: oauth.Consent{Client: a.Client, Scopes: a.Scopes, Audience: a.Audience, Life: a.Life},
			Form:    Form{Language: f.Language}, Person: p.Person,
		}
		b.Code, b.App, b.Name, b.Platform = a.UserCode.String(), a.Client.Title(), a.DeviceName, platforms[a.Platform]
		b.Network, b.SameNetwork, b.Minutes = a.Network, p.SameNetwork, max(0, int(p.Now.Sub(a.CreatedAt)/time.Minute))
		b.KeyInUse, b.Full, b.Blocked = a.KeyInUse, a.Full, a.KeyInUse || a.Full
		b.Abilities, b.Receivers = consent.Abilities(), consent.Receivers()
		if b.App != a.Client.ID {
			b.ID = a.Client.ID
		}
		if a.Device != nil {
			b.Known, b.Name = true, a.Device.Name
		}
	}
	return write(w, cmp.Or(p.Status, http.StatusOK), devicePage, f.view(&b), []string{p.Target})
}

// A DeviceEnd is the page after a decision about a device.
type DeviceEnd struct {
	Allowed bool
	// Next is the path of the page for another code.
	Next string
}

var deviceEnd = newLayout(`{{define "title"}}{{if .Body.Allowed}}{{t "device.allowed.title"}}{{else}}{{t "device.denied.title"}}{{end}}{{end -}}
{{with .Body}}<p>{{if .Allowed}}{{t "device.allowed.text"}}{{else}}{{t "device.denied.text"}}{{end}}</p>
<p><a href="{{.Next}}">{{t "device.another"}}</a></p>{{end}}`)

// ShowDeviceEnd writes p.
func ShowDeviceEnd(w http.ResponseWriter, p DeviceEnd, f Frame) error {
	return write(w, http.StatusOK, deviceEnd, f.view(p), nil)
}
