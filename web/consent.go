package web

import (
	"fmt"
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
var consent = parse(`{{with .Body}}{{if .Full}}<p>You are signed in as <b><bdi>{{.Person}}</bdi></b> on as many devices as are allowed. Sign out on one of them, or ask support to remove one. Then sign in again.</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
<button type="submit" name="decision" value="deny" class="first">Go back to <bdi>{{.App}}</bdi></button>
{{if not .KeyNamed}}<button type="submit" name="decision" value="allow">This device is one of them: continue</button>
{{end}}<p class="aside">Not you? <button type="submit" class="link" formaction="{{.Another}}">Use another account</button></p>
</form>{{else}}<p>You are signed in as <b><bdi>{{.Person}}</bdi></b> and will return to {{if .Local}}a program on this device{{else}}<b>{{.Place}}</b>{{end}}.</p>
{{if .Local}}<p class="caution">Allow this only if you just started to sign in on this device: any program on it can claim to be this app.</p>
{{end}}<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
<div class="decision">
<button type="submit" name="decision" value="allow" class="first">Allow</button>
<button type="submit" name="decision" value="deny">Do not allow</button>
</div>
<p class="aside">Not you? <button type="submit" class="link" formaction="{{.Another}}">Use another account</button></p>
</form>
<details>
<summary>What you allow</summary>
<dl>
<dt>The app</dt>
<dd><bdi>{{.App}}</bdi>{{with .ID}} <code>{{.}}</code>{{end}}</dd>
<dt>You return to</dt>
<dd>{{if .Local}}A program on this device{{with .Place}} <code>{{.}}</code>{{end}}{{else}}{{.Place}}{{end}}</dd>
<dt>Your devices</dt>
<dd>{{if .Known}}{{with .Device}}“<bdi>{{.}}</bdi>”, which is one of your devices already{{else}}One of your devices, without a name{{end}}
{{- else}}{{with .Device}}“<bdi>{{.}}</bdi>” is added{{else}}A new device is added{{end}}{{if not .KeyNamed}}, unless it is one of your devices already{{end}}{{end}}</dd>
<dt>The app will be able to</dt>
<dd><ul>
{{range .Abilities}}<li>{{.}}</li>
{{end}}</ul></dd>
<dt>It can show this to</dt>
<dd>{{.Receivers}}</dd>
</dl>
</details>{{end}}{{end}}`)

// consentBody holds the values of the page. They are computed before, and none is in an embedded struct: a template takes long to
// find and to call methods.
type consentBody struct {
	Person, App, ID        string // ID is empty if the app has no other name
	Place                  string
	Local, Full, KeyNamed  bool
	Known                  bool   // Device is one of the user's already
	Device                 string // may be empty
	Abilities              []string
	Receivers              string
	Action, Another, State string
}

// ShowConsent writes the page that asks for consent.
func ShowConsent(w http.ResponseWriter, q signin.ConsentQuestion, f Form) error {
	c := Consent{Consent: q.Consent, Form: f, Person: q.Person}
	b := consentBody{
		Person: c.Person, App: c.App(), Place: c.Place(), Local: c.Local, Full: c.Full, KeyNamed: c.KeyNamed, Device: c.DeviceName,
		Action: f.Action, Another: f.Another, State: f.State,
	}
	if b.App != c.Client.ID {
		b.ID = c.Client.ID
	}
	if c.Device != nil {
		b.Known, b.Device = true, c.Device.Name
	}
	title := "Device limit reached"
	if !c.Full {
		title = "Allow " + b.App + " to act as you?"
		b.Abilities, b.Receivers = c.Abilities(), strings.Join(c.Receivers(), ", ")
	}
	v := view{Title: title, Body: &b, Service: f.Service, RequestID: f.RequestID}
	return write(w, http.StatusOK, consent, v, []string{c.Redirect, q.Provider})
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
func (c Consent) Abilities() []string {
	list := []string{"Act for you, also after your name changes"}
	for _, scope := range c.Scopes {
		words, ok := abilities[scope]
		if !ok {
			words = "Use the permission " + scope
		}
		list = append(list, strings.ReplaceAll(words, "NAME", c.Person))
	}
	if c.Life > 0 {
		list = append(list, "Do this for up to "+duration(c.Life)+", unless you sign out")
	}
	return list
}

// abilities holds what each scope allows, in words that follow "The app will be able to". NAME stands for the user's handle.
var abilities = map[string]string{
	oauth.ScopeHandle:           "Show your name: NAME",
	oauth.ScopeDevice:           "Show which of your devices it runs on",
	oauth.ScopeAccount:          "Manage your account: who may act for you, which keys are yours, and which other accounts are yours",
	oauth.ScopeIntrospect:       "Ask this service whether the identities of other people are valid",
	oauth.ScopeIntrospectDomain: "Ask this about everybody in its domains",
	oauth.ScopeIntrospectReason: "Learn why an identity is not valid",
	oauth.ScopeFeed:             "Learn when identities in its domains end",
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

func duration(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.size); n == 1 {
			return "one " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "one minute"
}
