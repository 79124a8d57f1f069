package web

import (
	"net/http"
	"time"
)

// A Frame holds the values that all pages of the account have.
type Frame struct {
	// Language is the language of the page. Nil is English.
	Language  *Language
	Service   Service
	RequestID string
	// Targets are the URLs that the browser may be sent to after a form: those of the OpenID providers.
	Targets []string
}

func (f Frame) view(body any) view {
	return view{Body: body, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
}

// SignedOut is the page for a browser that is not signed in any more, or did not sign in.
type SignedOut struct {
	// Because is why: "cancelled", "unavailable", "changed", "left", or empty for a user who signed out.
	Because string
	// Next is the path of the page that a button leads to, which begins a login.
	Next string
}

var signedOut = newLayout(`{{define "title"}}{{if eq .Body.Because "left"}}{{t "account.left"}}{{else}}{{t "account.out"}}{{end}}{{end}}{{with .Body}}<p>
{{if eq .Because "left"}}{{t "account.left.text"}}
{{- else if eq .Because "cancelled"}}{{t "account.out.cancelled"}}
{{- else if eq .Because "unavailable"}}{{t "account.out.unavailable"}}
{{- else if eq .Because "changed"}}{{t "account.out.changed"}}
{{- else}}{{t "account.out.text"}}{{end}}</p>
{{if ne .Because "left"}}<p><a class="button" href="{{.Next}}">{{t "account.sign_in"}}</a></p>{{end}}{{end}}`)

// ShowSignedOut writes p.
func ShowSignedOut(w http.ResponseWriter, p SignedOut, f Frame) error {
	return write(w, http.StatusOK, signedOut, f.view(p), nil)
}

// An Account is the page where users manage their own account.
type Account struct {
	// Person is the handle of the user, as people write it, and Provider the name of the OpenID provider of this browser's session.
	Person, Provider string
	// Done is the text for what the user has just done; empty if nothing.
	Done Key
	// Devices and Parties are pages of longer lists; MoreDevices and MoreParties are the paths of the next ones, empty after the last.
	Devices                  []AccountDevice
	Parties                  []AccountParty
	MoreDevices, MoreParties string
	// DevicesGoOn says that Devices is not the first page.
	DevicesGoOn bool
	Events      []AccountEvent
	// OtherBrowsers is how many other browsers are signed in.
	OtherBrowsers int
	// Findable says that others can find the user by the handle, CanRename that the user may choose another handle.
	Findable, CanRename bool
	// SignOut is the path that the form for signing out is sent to, and CSRF the token of the form.
	SignOut, CSRF string
	Paths         AccountPaths
}

// AccountPaths are the paths of the pages that the page leads to. An empty one is not offered.
type AccountPaths struct{ RemoveDevices, Privacy, Name, Export, Leave, Browsers string }

// An AccountDevice is a device of the user.
type AccountDevice struct {
	// Name was given by the user, and may be empty. Platform is one of [account.Platforms], or empty.
	Name, Platform string
	// Active says that the device is signed in.
	Active              bool
	FirstSeen, LastSeen time.Time
	// Href is the path of its page.
	Href string
	// App is the name of the app that it first logged in with, and Key the algorithm of its key. Sessions are the live ones. Credentials
	// are the live ones, and some that have ended. They are only on its own page.
	App, Key    string
	Sessions    []AccountSession
	Credentials []AccountCredential
}

// Kind is the text for the platform.
func (d AccountDevice) Kind() Key {
	if k, ok := platforms[d.Platform]; ok {
		return k
	}
	return "account.platform.other"
}

var platforms = map[string]Key{
	"android": "account.platform.android", "ios": "account.platform.ios", "windows": "account.platform.windows",
	"macos": "account.platform.macos", "linux": "account.platform.linux", "web": "account.platform.web", "tv": "account.platform.tv",
}

// An AccountSession is a live session of a device. End is the path of the page that ends it.
type AccountSession struct {
	App   string
	Since time.Time
	End   string
}

// An AccountCredential is a lasting credential of a device. Ended is the zero time while it is live. FormerName says that the handle in
// it is no longer that of the user. End is the path of the page that ends it, empty after its end.
type AccountCredential struct {
	Format              string // as OpenID4VCI names it
	Since, Until, Ended time.Time
	FormerName          bool
	End                 string
}

// An AccountParty is an app, a bot or a key that acts for the user, or another account of theirs. Kind is the text that says which.
type AccountParty struct {
	Name  string
	Kind  Key
	Until time.Time
	Href  string
}

// An AccountEvent is something that happened to a device, whose name may be empty. Kind is the text that says what.
type AccountEvent struct {
	Kind   Key
	Device string
	At     time.Time
}

var accountPage = newLayout(`{{define "title"}}{{t "account.title"}}{{end}}{{with .Body}}<div class="account">
{{with .Done}}<p class="done" role="status">{{t .}}</p>
{{end}}<p class="lead">{{t "account.lead" "person" .Person}}{{with .Provider}} {{t "account.lead.provider" "provider" .}}{{end}}</p>
<form method="post" action="{{.SignOut}}"><input type="hidden" name="csrf" value="{{.CSRF}}"><button type="submit">{{t "account.sign_out"}}</button></form>
<section aria-labelledby="devices">
<h2 id="devices">{{t "account.devices"}}</h2>
<p class="hint">{{t "account.devices.text"}}</p>
{{if .Devices}}<ul class="rows">
{{range .Devices}}<li><a href="{{.Href}}"><span class="name">{{if .Name}}<bdi>{{.Name}}</bdi>{{else}}{{t "account.device.unnamed"}}{{end}}</span>
<span class="more">{{if .LastSeen.IsZero}}{{t .Kind}}{{else}}{{if .Platform}}{{t .Kind}} · {{end}}{{t "account.device.last" "day" (day .LastSeen)}}{{end}}{{if not .Active}} · {{t "account.device.inactive"}}{{end}}</span></a></li>
{{end}}</ul>
{{else if not .DevicesGoOn}}<p>{{t "account.devices.none"}}</p>
{{end}}{{with .MoreDevices}}<p><a href="{{.}}">{{t "account.devices.more"}}</a></p>
{{end}}{{if .Devices}}<p><a href="{{.Paths.RemoveDevices}}">{{t "account.devices.remove"}}</a></p>
{{end}}</section>
<section aria-labelledby="access">
<h2 id="access">{{t "account.access"}}</h2>
<p class="hint">{{t "account.access.text"}}</p>
{{if .Parties}}<ul class="rows">
{{range .Parties}}<li><a href="{{.Href}}"><span class="name"><bdi>{{.Name}}</bdi></span>
<span class="more">{{t .Kind}} · {{t "account.party.until" "day" (day .Until)}}</span></a></li>
{{end}}</ul>
{{else}}<p>{{t "account.access.none"}}</p>
{{end}}{{with .MoreParties}}<p><a href="{{.}}">{{t "account.access.more"}}</a></p>
{{end}}</section>
<section aria-labelledby="events">
<h2 id="events">{{t "account.events"}}</h2>
{{if .Events}}<ul class="plain">
{{range .Events}}<li>{{day .At}}: {{t .Kind}}{{with .Device}} (<bdi>{{.}}</bdi>){{end}}</li>
{{end}}</ul>
<p class="hint">{{t "account.events.text"}}</p>
{{else}}<p>{{t "account.events.none"}}</p>
{{end}}</section>
<section aria-labelledby="you">
<h2 id="you">{{t "account.you"}}</h2>
<ul class="rows">
{{if .CanRename}}<li><a href="{{.Paths.Name}}"><span class="name">{{t "account.name"}}</span> <span class="more"><bdi>{{.Person}}</bdi></span></a></li>
{{end}}<li><a href="{{.Paths.Privacy}}"><span class="name">{{t "account.privacy"}}</span> <span class="more">{{if .Findable}}{{t "account.privacy.findable"}}{{else}}{{t "account.privacy.hidden"}}{{end}}</span></a></li>
{{if .OtherBrowsers}}<li><a href="{{.Paths.Browsers}}"><span class="name">{{t "account.browsers"}}</span> <span class="more">{{t "account.browsers.count" "n" .OtherBrowsers}}</span></a></li>
{{end}}{{with .Paths.Export}}<li><a href="{{.}}"><span class="name">{{t "account.export"}}</span> <span class="more">{{t "account.export.short"}}</span></a></li>
{{end}}{{with .Paths.Leave}}<li><a href="{{.}}"><span class="name">{{t "account.leave"}}</span> <span class="more">{{t "account.leave.short"}}</span></a></li>
{{end}}</ul>
</section>
</div>{{end}}`)

// ShowAccount writes p.
func ShowAccount(w http.ResponseWriter, p Account, f Frame) error {
	return write(w, http.StatusOK, accountPage, f.view(p), append([]string{}, f.Targets...))
}
