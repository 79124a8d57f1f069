package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/oauth"
)

// A Consent asks a person whether an app may speak for her.
type Consent struct {
	oauth.Consent
	// Person is what she is called, Domain where.
	Person, Domain string
	// Action is the path that the form is sent to, State the hidden value that goes with it.
	Action, State string
	RequestID     string
}

var consent = parse(`{{with .Body}}<p>You are signed in as <b><bdi>{{.Person}}</bdi></b>. If that is somebody else, do not allow it.</p>
<dl>
<dt>The app</dt>
<dd><bdi>{{.App}}</bdi>{{if ne .App .Client.ID}} <code>{{.Client.ID}}</code>{{end}}</dd>
<dt>Your browser returns to</dt>
<dd>{{if .Local}}A program on this device{{with .Place}} <code>{{.}}</code>{{end}}{{else}}{{.Place}}{{end}}</dd>
<dt>Your devices</dt>
<dd>{{if .Device}}It goes on with {{with .Device.Name}}“<bdi>{{.}}</bdi>”, which you have already{{else}}one that you have already{{end}}
{{- else}}{{with .DeviceName}}“<bdi>{{.}}</bdi>” is added{{else}}A new one is added{{end}}{{if not .KeyNamed}}, if it is not there yet{{end}}{{end}}</dd>
<dt>The app will be able to</dt>
<dd><ul>
{{range .Abilities}}<li>{{.}}</li>
{{end}}</ul></dd>
<dt>It can show this to</dt>
<dd>{{range $i, $who := .Receivers}}{{if $i}}, {{end}}{{$who}}{{end}}</dd>
</dl>
{{if .Local}}<p class="caution">Any program on this device could say that it is <bdi>{{.App}}</bdi>. Allow this only if you began to sign in there yourself, just now.</p>
{{end}}<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.State}}">
<div class="decision">
<button type="submit" name="decision" value="allow" class="first">Allow</button>
<button type="submit" name="decision" value="deny">Do not allow</button>
</div>
</form>{{end}}`)

// ShowConsent writes the page that c asks on.
func ShowConsent(w http.ResponseWriter, c Consent) error {
	v := view{Title: "Allow " + c.App() + " to act as you?", Body: c, RequestID: c.RequestID}
	return write(w, http.StatusOK, consent, v, []string{c.Redirect})
}

// App is what the app is called.
func (c Consent) App() string { return c.Client.Title() }

// Place names where the browser returns to: a host, or the scheme that a program on the device has registered.
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

// Abilities says in words what the tokens of the app will be good for.
func (c Consent) Abilities() []string {
	list := []string{"Say that it acts for you, also after your name changes"}
	for _, scope := range c.Scopes {
		words, ok := abilities[scope]
		if !ok {
			words = "Use the permission " + scope
		}
		list = append(list, strings.ReplaceAll(words, "NAME", c.Person))
	}
	if c.Life > 0 {
		list = append(list, "Keep doing so for up to "+duration(c.Life)+", unless you remove the device")
	}
	return list
}

// abilities says what a scope allows, in words that follow "The app will be able to". NAME is what the person is called.
var abilities = map[string]string{
	oauth.ScopeHandle:           "Say what you are called: NAME",
	oauth.ScopeDevice:           "Say which of your devices it is on",
	oauth.ScopeAccount:          "Do what you can with your account: say who acts for you, which keys are yours, and who else you are",
	oauth.ScopeIntrospect:       "Ask this service whether what others say of themselves holds",
	oauth.ScopeIntrospectDomain: "Ask that about everybody of its domains",
	oauth.ScopeIntrospectReason: "Be told why something does not hold",
}

// Receivers names to whom the app's tokens are addressed.
func (c Consent) Receivers() []string {
	list := make([]string, len(c.Audience))
	for i, uri := range c.Audience {
		list[i] = uri
		for _, scheme := range []string{"im:", "mimi://", "https://"} {
			if rest, ok := strings.CutPrefix(uri, scheme); ok {
				list[i] = rest
			}
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
