package web

import "net/http"

// SignedOut is the page for a browser that is not signed in any more, or did not sign in.
type SignedOut struct {
	// Because is why: "cancelled", "unavailable", "changed", or empty for a user who signed out.
	Because string
	// Next is the path of the page that a button leads to, which begins a login.
	Next string
}

var signedOut = parse(`{{with .Body}}<p>{{if eq .Because "cancelled"}}The sign-in was cancelled.
{{- else if eq .Because "unavailable"}}Your sign-in service cannot work now. Try again in a moment.
{{- else if eq .Because "changed"}}This way to sign in is no longer available. Try again.
{{- else}}On a shared computer, also sign out of your sign-in service.{{end}}</p>
<p><a class="button" href="{{.Next}}">Sign in</a></p>{{end}}`)

// ShowSignedOut writes p.
func ShowSignedOut(w http.ResponseWriter, p SignedOut, s Service, requestID string) error {
	return write(w, http.StatusOK, signedOut, view{Title: "You are signed out", Body: p, Service: s, RequestID: requestID}, nil)
}

// An Account is the page of a user's own account.
type Account struct {
	// Person is the handle of the user, as people write it.
	Person string
	// SignOut is the path that the form for signing out is sent to, and CSRF the token of the form.
	SignOut, CSRF string
}

var accountPage = parse(`{{with .Body}}<p>You are signed in as <b><bdi>{{.Person}}</bdi></b>.</p>
<form method="post" action="{{.SignOut}}">
<input type="hidden" name="csrf" value="{{.CSRF}}">
<button type="submit">Sign out</button>
</form>{{end}}`)

// ShowAccount writes p.
func ShowAccount(w http.ResponseWriter, p Account, s Service, requestID string) error {
	return write(w, http.StatusOK, accountPage, view{Title: "Your account", Body: p, Service: s, RequestID: requestID}, []string{})
}
