package web

import "net/http"

// An Act is a page that asks whether to do something to the account, with its form.
type Act struct {
	Texts ActTexts
	// Person is the handle of the user, as people write it.
	Person string
	// Device, Credential and Party are what the act is about; nil if it is about another one. A credential comes with its device.
	Device     *AccountDevice
	Credential *AccountCredential
	Party      *AccountParty
	// Remove is the path of the page that removes the device. Only the page of a device shows it.
	Remove string
	// Field is the name of the field of the form, Value its value, and Fault the text that says why a value was refused. A hidden field is
	// not shown. An empty Field is none.
	Field, Value string
	Hidden       bool
	Fault        Key
	// Before and After are what stands around a handle.
	Before, After string
	// Grave says that the act cannot be undone.
	Grave bool
	// Action is the path that the form is sent to, CSRF its token, and Back the path of the page before.
	Action, CSRF, Back string
}

// ActTexts are the texts of the page of an act. Text and Label may have the argument person. Label and Hint are those of the field.
type ActTexts struct{ Title, Text, Button, Label, Hint Key }

var actPage = newLayout(`{{define "title"}}{{t .Body.Texts.Title}}{{end}}{{with .Body}}<div class="act">
<p>{{t .Texts.Text "person" .Person}}</p>
{{with .Device}}<dl>
<dt>{{t "account.device.name"}}</dt>
<dd>{{if .Name}}<bdi>{{.Name}}</bdi>{{else}}{{t "account.device.unnamed"}}{{end}}</dd>
<dt>{{t "account.device.kind"}}</dt>
<dd>{{t .Kind}}{{if not .Active}} · {{t "account.device.inactive"}}{{end}}</dd>
{{with .App}}<dt>{{t "account.device.app"}}</dt>
<dd><bdi>{{.}}</bdi></dd>
{{end}}<dt>{{t "account.device.first"}}</dt>
<dd>{{day .FirstSeen}}</dd>
{{if not .LastSeen.IsZero}}<dt>{{t "account.device.seen"}}</dt>
<dd>{{day .LastSeen}}</dd>
{{end}}{{with .Key}}<dt>{{t "account.device.key"}}</dt>
<dd><code>{{.}}</code></dd>
{{end}}{{with .Sessions}}<dt>{{t "account.device.sessions"}}</dt>
<dd><ul>
{{range .}}<li><bdi>{{.App}}</bdi>, {{t "account.session.since" "day" (day .Since)}}{{with .End}} · <a href="{{.}}">{{t "account.session.end"}}</a>{{end}}</li>
{{end}}</ul></dd>
{{end}}{{with .Credentials}}<dt>{{t "account.credentials"}}</dt>
<dd>{{t "account.credentials.text"}}<ul>
{{range .}}<li><code>{{.Format}}</code>, {{t "account.session.since" "day" (day .Since)}}
{{- if not .Ended.IsZero}} · {{t "account.credential.ended" "day" (day .Ended)}}
{{- else}}, {{t "account.party.until" "day" (day .Until)}}{{if .FormerName}} · {{t "account.credential.former_name"}}{{end}}
{{- with .End}} · <a href="{{.}}">{{t "account.credential.end"}}</a>{{end}}{{end}}</li>
{{end}}</ul></dd>
{{end}}</dl>
{{end}}{{with .Credential}}<dl>
<dt>{{t "account.credential.format"}}</dt>
<dd><code>{{.Format}}</code>{{if .FormerName}} · {{t "account.credential.former_name"}}{{end}}</dd>
<dt>{{t "account.credential.begins"}}</dt>
<dd>{{day .Since}}</dd>
<dt>{{t "account.party.ends"}}</dt>
<dd>{{day .Until}}</dd>
</dl>
{{end}}{{with .Party}}<dl>
<dt>{{t .Kind}}</dt>
<dd><bdi>{{.Name}}</bdi></dd>
<dt>{{t "account.party.ends"}}</dt>
<dd>{{day .Until}}</dd>
</dl>
{{end}}<form method="post" action="{{.Action}}">
<input type="hidden" name="csrf" value="{{.CSRF}}">
{{if .Hidden}}<input type="hidden" name="{{.Field}}" value="{{.Value}}">
{{else if .Field}}{{with .Fault}}<p class="fault" id="fault" role="alert">{{t .}}</p>
{{end}}<label for="field">{{t .Texts.Label "person" .Person}}</label>
<div class="handle"{{if .After}} dir="ltr"{{end}}>{{with .Before}}<span aria-hidden="true">{{.}}</span>{{end}}<input id="field" name="{{.Field}}" type="text" dir="auto" value="{{.Value}}" required maxlength="256" autocomplete="{{if .After}}username{{else}}off{{end}}" autocapitalize="none" spellcheck="false" aria-describedby="hint{{if .Fault}} fault{{end}}"{{if .Fault}} aria-invalid="true" autofocus{{end}}>{{with .After}}<span>{{.}}</span>{{end}}</div>
<p class="hint" id="hint">{{t .Texts.Hint}}</p>
{{end}}<button type="submit" class="{{if .Grave}}danger{{else}}first{{end}}">{{t .Texts.Button}}</button>
</form>
{{with .Remove}}<p class="aside"><a class="bad" href="{{.}}">{{t "account.device.remove"}}</a></p>
{{end}}<p class="aside"><a href="{{.Back}}">{{t "account.back"}}</a></p>
</div>{{end}}`)

// ShowAct writes p.
func ShowAct(w http.ResponseWriter, status int, p Act, f Frame) error {
	return write(w, status, actPage, f.view(p), append([]string{}, f.Targets...))
}
