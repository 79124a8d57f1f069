package signin

import (
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/account"
)

// An Input is what a browser sent: one of [Begin], [BeginSession], [Return], [ChoosePlace], [ChooseHandle], [ShowConsent], [Decide],
// [RemoveDevices], [Cancel] and [UseAnother].
type Input interface {
	// decision returns the text of a form that counts once. The same text again gets the same answer, another text none.
	decision() (text string, counts bool)
}

// Begin is an app's authorization request. It has no [State] yet.
type Begin struct {
	Request url.Values
	// Platform hints at the kind of the device where the browser runs, if the request does not name one. It may be empty.
	Platform string
}

// BeginSession asks for a session of the browser at the issuer itself, for pages where users manage their account. It has no [State] yet.
type BeginSession struct {
	// Path is where the browser goes on to, below the issuer's URL, with a query. The caller takes it from a closed list.
	Path string
	// Locales is the language of the pages and of the provider's, as in ui_locales. It may be empty.
	Locales string
	// Again asks a user who is signed in to sign in at the same provider once more. Nil for a first login.
	Again *account.Browser
}

// Return is the way back from the OpenID provider of that id, with the query of the callback.
type Return struct {
	Provider string
	Query    url.Values
}

// ChoosePlace names a domain, or a provider of it. A field is empty if that was not asked.
type ChoosePlace struct{ Domain, Provider string }

// ChooseHandle names the handle that the user wants.
type ChooseHandle struct{ Handle string }

// ShowConsent asks for the page that asks for consent.
type ShowConsent struct{}

// Decide answers that page.
type Decide struct{ Allow bool }

// RemoveDevices names devices to remove at the device limit, each once. Unless it is confirmed, it only asks for the page that asks.
type RemoveDevices struct {
	Devices   []string
	Confirmed bool
}

// Cancel goes back to the app without a login.
type Cancel struct{}

// UseAnother goes back to the OpenID provider, to sign in with another account.
type UseAnother struct{}

func (Begin) decision() (string, bool)          { return "", false }
func (BeginSession) decision() (string, bool)   { return "", false }
func (Return) decision() (string, bool)         { return "", false }
func (ChoosePlace) decision() (string, bool)    { return "", false }
func (t ChooseHandle) decision() (string, bool) { return t.Handle, true }
func (ShowConsent) decision() (string, bool)    { return "", false }
func (Cancel) decision() (string, bool)         { return "\x00cancel", true } // no handle
func (UseAnother) decision() (string, bool)     { return "", false }

func (r RemoveDevices) decision() (string, bool) {
	if !r.Confirmed {
		return "", false
	}
	return "remove\x00" + strings.Join(slices.Sorted(slices.Values(r.Devices)), "\x00"), true
}

func (d Decide) decision() (string, bool) {
	if d.Allow {
		return "allow", true
	}
	return "deny", true
}
