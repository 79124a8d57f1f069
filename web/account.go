package web

import "net/http"

// A Frame holds the values that all pages of the account have.
type Frame struct {
	// Language is the language of the page. Nil is English.
	Language  *Language
	Service   Service
	RequestID string
}

func (f Frame) view(body any) view {
	return view{Body: body, Language: f.Language, Service: f.Service, RequestID: f.RequestID}
}

// SignedOut is the page for a browser that is not signed in any more, or did not sign in.
type SignedOut struct {
	// Because is why: "cancelled", "unavailable", "changed", or empty for a user who signed out.
	Because string
	// Next is the path of the page that a button leads to, which begins a login.
	Next string
}

var signedOut = newLayout(`{{define "title"}}{{t "account.out"}}{{end}}{{with .Body}}<p>
{{- if eq .Because "cancelled"}}{{t "account.out.cancelled"}}
{{- else if eq .Because "unavailable"}}{{t "account.out.unavailable"}}
{{- else if eq .Because "changed"}}{{t "account.out.changed"}}
{{- else}}{{t "account.out.text"}}{{end}}</p>
<p><a class="button" href="{{.Next}}">{{t "account.sign_in"}}</a></p>{{end}}`)

// ShowSignedOut writes p.
func ShowSignedOut(w http.ResponseWriter, p SignedOut, f Frame) error {
	return write(w, http.StatusOK, signedOut, f.view(p), nil)
}

// An Account is the page of a user's own account.
type Account struct {
	// Person is the handle of the user, as people write it.
	Person string
	// SignOut is the path that the form for signing out is sent to, and CSRF the token of the form.
	SignOut, CSRF string
}

var accountPage = newLayout(`{{define "title"}}{{t "account.title"}}{{end}}{{with .Body}}<p>{{t "account.lead" "person" .Person}}</p>
<form method="post" action="{{.SignOut}}">
<input type="hidden" name="csrf" value="{{.CSRF}}">
<button type="submit">{{t "account.sign_out"}}</button>
</form>{{end}}`)

// ShowAccount writes p.
func ShowAccount(w http.ResponseWriter, p Account, f Frame) error {
	return write(w, http.StatusOK, accountPage, f.view(p), []string{})
}
