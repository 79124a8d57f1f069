package web

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
)

// A Consent is the body of the page that asks a user whether an app may act for them.
type Consent struct {
	oauth.Consent
	Form
	// Person is the handle of the user, as people write it.
	Person string
}

// The page begins with one sentence and the decision, so that both fit on a small screen. The details are folded.
var consent = newLayout(`{{define "title"}}{{t "consent.title" "app" .Body.App}}{{end}}{{with .Body}}<p>{{if .Local}}{{t "consent.lead.program" "person" .Person}}{{else}}{{t "consent.lead.place" "person" .Person "place" .Place}}{{end}}</p>
{{if .Local}}<p class="caution">{{t "consent.caution"}}</p>
{{end}}<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
<div class="decision">
<button type="submit" name="decision" value="allow" class="first">{{t "consent.allow"}}</button>
<button type="submit" name="decision" value="deny">{{t "consent.deny"}}</button>
</div>
<p class="aside">{{t "frame.not_you"}} <button type="submit" class="link" formaction="{{.Another}}">{{t "frame.another"}}</button></p>
</form>
<details>
<summary>{{t "consent.details"}}</summary>
<dl>
<dt>{{t "consent.app"}}</dt>
<dd><bdi>{{.App}}</bdi>{{with .ID}} <code>{{.}}</code>{{end}}</dd>
<dt>{{t "consent.return"}}</dt>
<dd>{{if .Local}}{{t "consent.return.program"}}{{with .Place}} <code>{{.}}</code>{{end}}{{else}}<bdi>{{.Place}}</bdi>{{end}}</dd>
<dt>{{t "consent.devices"}}</dt>
<dd>{{t .DeviceText "device" .Device}}</dd>
<dt>{{t "consent.abilities"}}</dt>
<dd><ul>
{{range .Abilities}}<li>{{.}}</li>
{{end}}</ul></dd>
<dt>{{t "consent.receivers"}}</dt>
<dd>{{range $i, $receiver := .Receivers}}{{if $i}}, {{end}}<bdi>{{$receiver}}</bdi>{{end}}</dd>
</dl>
</details>{{end}}`)

// consentBody holds the values of the page. They are computed before, and none is in an embedded struct: a template takes long to
// find and to call methods.
type consentBody struct {
	Person, App, ID        string // ID is empty if the app has no other name
	Place                  string
	Local                  bool
	Device                 string // may be empty
	DeviceText             Key    // says what becomes of the device
	Abilities              []template.HTML
	Receivers              []string
	Action, Another, State string
}

// ShowConsent writes the page that asks for consent or, for a user who has as many devices as allowed, the page that offers to remove
// some.
func ShowConsent(w http.ResponseWriter, q signin.ConsentQuestion, f Form) error {
	if q.Full {
		return showLimit(w, q, f)
	}
	c := Consent{Consent: q.Consent, Form: f, Person: q.Person}
	b := consentBody{
		Person: c.Person, App: c.App(), Place: c.Place(), Local: c.Local, Device: c.DeviceName,
		Action: f.Action, Another: f.Another, State: f.State,
	}
	if b.App != c.Client.ID {
		b.ID = c.Client.ID
	}
	if c.Device != nil {
		b.Device = c.Consent.Device.Name
	}
	b.DeviceText = c.deviceText(b.Device)
	b.Abilities, b.Receivers = c.Abilities(), c.Receivers()
	v := view{Body: &b, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
	return write(w, http.StatusOK, consent, v, []string{c.Redirect, q.Provider})
}

// deviceText says what becomes of the device, which may have no name.
func (c Consent) deviceText(name string) Key {
	named, unnamed := Key("consent.device.perhaps"), Key("consent.device.perhaps.unnamed")
	switch {
	case c.Device != nil:
		named, unnamed = "consent.device.known", "consent.device.known.unnamed"
	case c.KeyNamed:
		named, unnamed = "consent.device.added", "consent.device.added.unnamed"
	}
	if name == "" {
		return unnamed
	}
	return named
}

// App returns the name of the app.
func (c Consent) App() string { return c.Client.Title() }

// Place names the destination of the browser: a host, or the scheme that a program on the device has registered.
func (c Consent) Place() string {
	u, err := url.Parse(c.Redirect)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return u.Host
	}
	return u.Scheme + ":"
}

// Abilities lists in words what the app can do with its tokens.
func (c Consent) Abilities() []template.HTML {
	list := []template.HTML{c.Language.Say("ability.act")}
	for _, scope := range c.Scopes {
		if key, ok := scopes[scope]; ok {
			list = append(list, c.Language.Say(key, "person", c.Person))
		} else {
			list = append(list, c.Language.Say("ability.other", "scope", Code(scope)))
		}
	}
	if c.Life > 0 {
		key, n := duration(c.Life)
		list = append(list, c.Language.Say(key, "n", n))
	}
	return list
}

// scopes holds the texts of what each scope allows, which follow that of "consent.abilities".
var scopes = map[string]Key{
	oauth.ScopeHandle:           "ability.handle",
	oauth.ScopeDevice:           "ability.device",
	oauth.ScopeAccount:          "ability.account",
	oauth.ScopeIntrospect:       "ability.introspect",
	oauth.ScopeIntrospectDomain: "ability.introspect.domain",
	oauth.ScopeIntrospectReason: "ability.introspect.reason",
	oauth.ScopeFeed:             "ability.feed",
	oauth.ScopeCredential:       "ability.credential",
}

// Receivers names the audience of the app's tokens.
func (c Consent) Receivers() []string {
	list := make([]string, len(c.Audience))
	for i, uri := range c.Audience {
		if domain, ok := claims.DomainOf(uri); ok {
			list[i] = domain
		} else {
			list[i] = strings.TrimPrefix(uri, "https://")
		}
	}
	return list
}

// duration returns the text of the largest unit in d, and how many there are. It is at least a minute.
func duration(d time.Duration) (text Key, n int) {
	for _, unit := range []struct {
		size time.Duration
		text Key
	}{{24 * time.Hour, "ability.days"}, {time.Hour, "ability.hours"}} {
		if n := int(d / unit.size); n > 0 {
			return unit.text, n
		}
	}
	return "ability.minutes", max(1, int(d/time.Minute))
}
