package devidp

import (
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const loginPath = "/login"

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

// pages serves the login page and its form. The id of a request is random and known only to the browser that sends it, so the
// form needs no cookie.
type pages struct {
	store    *store
	provider *op.Provider
}

func (p *pages) show(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	req, ok := p.request(w, r, id)
	if !ok {
		return
	}
	p.render(w, http.StatusOK, id, req.in.LoginHint, "")
}

func (p *pages) submit(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	id, username := r.PostFormValue("id"), r.PostFormValue("username")
	req, ok := p.request(w, r, id)
	if !ok {
		return
	}
	if r.PostFormValue("cancel") != "" {
		op.AuthRequestError(w, r, req, oidc.ErrAccessDenied().WithDescription("the login was cancelled"), p.provider)
		return
	}
	person, known := p.store.people[username]
	if !known || r.PostFormValue("password") != person.Username {
		p.render(w, http.StatusForbidden, id, username, "Wrong user name or password. The password is the user name.")
		return
	}
	if err := p.store.login(id, person); err != nil {
		expired(w)
		return
	}
	http.Redirect(w, r, op.AuthCallbackURL(p.provider)(op.ContextWithIssuer(r.Context(), p.provider.IssuerFromRequest(r)), id),
		http.StatusSeeOther)
}

// request returns the login with this id. If there is none, it has answered the request.
func (p *pages) request(w http.ResponseWriter, r *http.Request, id string) (request, bool) {
	found, err := p.store.AuthRequestByID(r.Context(), id)
	if err != nil {
		expired(w)
		return request{}, false
	}
	return found.(request), true
}

func expired(w http.ResponseWriter) {
	http.Error(w, "This login is unknown or has expired. Go back to the application and start again.", http.StatusBadRequest)
}

func (p *pages) render(w http.ResponseWriter, status int, id, username, fault string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	// If this fails, the browser has gone: the status is sent already.
	_ = loginPage.Execute(w, map[string]any{
		"Action": loginPath, "ID": id, "Username": username, "Fault": fault,
		"Names": slices.Sorted(maps.Keys(p.store.people)),
	})
}
