package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// A trail is what is known of a request so far. The log line of a refusal has it, with the request id that the answer shows, so
// that a support code leads to the reason.
type trail struct {
	client, redirect       string // as the request names them, also if they are wrong
	provider, domain, user string
	pending                url.Values  // the app's request of the login that this belongs to; only for the browser that began it
	locales                string      // the parameter ui_locales of the request, or of that login
	held                   *claims.Set // of the token that the request shows
	logged                 bool
	grant                  string // the grant_type of a token request
	code                   string // of the error that the answer has
}

// trailOf returns the trail of a request.
func trailOf(c echo.Context) *trail {
	if call, ok := c.(*call); ok {
		return &call.trail
	}
	return new(trail) // the request has no id, and its trail ends with its error
}

// noteRequest notes the client, the redirect URI and the languages that the parameters of a request name. Most requests name none.
func noteRequest(c echo.Context, params url.Values) {
	if len(params["client_id"])+len(params["redirect_uri"])+len(params["ui_locales"]) > 0 {
		t := trailOf(c)
		t.request(params)
		if t.locales == "" { // see keepLanguage
			t.locales = params.Get("ui_locales")
		}
	}
}

// request notes the client and the redirect URI that parameters name.
func (t *trail) request(params url.Values) {
	if id := params.Get("client_id"); id != "" {
		t.client = id
	}
	if to := params.Get("redirect_uri"); to != "" {
		t.redirect = to
	}
}

// login notes what is known of the login that a request belongs to.
func (t *trail) login(f signin.Facts) {
	t.request(f.Request)
	for to, value := range map[*string]string{&t.provider: f.Provider, &t.domain: f.Domain, &t.user: f.User} {
		if value != "" {
			*to = value
		}
	}
	t.pending = nil
	if f.Bound {
		t.pending = f.Request
		t.locales = f.Request.Get("ui_locales")
	}
}

// holder notes the claims of the token that a request shows.
func (t *trail) holder(set *claims.Set) { t.client, t.held = set.ClientID, set }

// person returns the user that the request is about, empty if it is not known.
func (t *trail) person() (domain, user string) {
	if t.user == "" && t.held != nil { // parsed only for the log
		if id, err := t.held.Identity(); err == nil {
			return id.User.Domain(), id.User.Local()
		}
	}
	return t.domain, t.user
}

// refusal logs once that a request was refused, with its trail. Challenges for a nonce and wrong paths are logged at level debug.
func (s *Server) refusal(c echo.Context, status int, reason error) {
	t := trailOf(c)
	if t.logged {
		return
	}
	t.logged = true
	level := slog.LevelInfo
	if routing := (*echo.HTTPError)(nil); errors.Is(reason, dpop.ErrUseNonce) || errors.As(reason, &routing) {
		level = slog.LevelDebug
	}
	client := t.client
	if client == "" {
		client = basicClient(c.Request())
	}
	attrs := []slog.Attr{
		slog.String("id", requestID(c)), slog.String("route", c.Path()), slog.Int("status", status), slog.String("reason", reason.Error()),
	}
	domain, user := t.person()
	for _, a := range []struct{ name, value string }{
		{"client", client}, {"redirect_uri", withoutQuery(t.redirect)}, {"provider", t.provider}, {"domain", domain}, {"user", user},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.name, shortened(a.value)))
		}
	}
	if from := s.source(c); from.IsValid() {
		attrs = append(attrs, slog.String("address", from.String()))
	}
	s.Log.LogAttrs(c.Request().Context(), level, "request refused", attrs...)
}

// basicClient returns the client id of HTTP Basic authentication (RFC 6749 §2.3.1).
func basicClient(r *http.Request) string {
	name, _, ok := r.BasicAuth()
	if !ok {
		return ""
	}
	if id, err := url.QueryUnescape(name); err == nil {
		return id
	}
	return name
}

// withoutQuery removes the query and the fragment of a URI, which may hold a code or a token.
func withoutQuery(uri string) string {
	uri, _, _ = strings.Cut(uri, "#")
	bare, _, cut := strings.Cut(uri, "?")
	if cut {
		return bare + "?..."
	}
	return bare
}

// shortened cuts a long value of a client.
func shortened(value string) string {
	const most = 256
	if len(value) <= most {
		return value
	}
	end := most
	for end > 0 && !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + "..."
}

// language returns the language of the pages for a request: see [web.Choose].
func language(c echo.Context) *web.Language {
	return web.Choose(trailOf(c).locales, c.Request().Header)
}

// showPage writes a page in the language of the request, with the operator's service, the request id and, if the request belongs to
// a login of this browser, the link back to the app.
func (s *Server) showPage(c echo.Context, p web.Page) error {
	p.Language, p.Service, p.RequestID = language(c), s.service(), requestID(c)
	if request := trailOf(c).pending; signin.SessionPath(request) != "" {
		p.Account = s.path(signin.SessionPath(request))
	} else if request != nil {
		code := oauth.CodeAccessDenied
		if p.Status >= http.StatusInternalServerError {
			code = oauth.CodeTemporarilyUnavailable
		}
		refused := (*oauth.AuthorizeError)(nil)
		client, ok := s.OAuth.Client(request.Get("client_id"))
		if errors.As(s.OAuth.Refuse(request, code, "The sign-in ended on a page of the server."), &refused) && ok {
			p.App, p.Back = client.Title(), refused.Location // empty if the redirect URI is not the client's any more
		}
	}
	return web.Show(c.Response(), p)
}

// facts tell the developer of an app why the server refused a request, and what it read in it.
func (s *Server) facts(t *trail, f failure) []web.Fact {
	list := []web.Fact{{Name: "error", Value: f.code}, {Name: "error_description", Value: f.description}}
	if t.client != "" {
		list = append(list, web.Fact{Name: "client_id", Value: shortened(t.client)})
	}
	if t.redirect != "" {
		list = append(list, web.Fact{Name: "redirect_uri", Value: shortened(t.redirect)})
	}
	if f.code != oauth.CodeInvalidRequest {
		return list
	}
	if client, ok := s.OAuth.Client(t.client); ok {
		if fault := client.RedirectFault(t.redirect); fault != "" {
			list = append(list, web.Fact{Name: "reason", Value: fault})
		}
	} else if t.client != "" {
		list = append(list, web.Fact{Name: "reason", Value: "The client_id is not registered at this server."})
	}
	return list
}
