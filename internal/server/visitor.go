package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// A visitor is a user who is signed in in their browser.
type visitor struct {
	account.Browser
	secret string // the value of the cookie
}

// csrf returns the token that each form of the visitor has. It is derived from the secret of the session, which no other site can read,
// so it is that of one session alone, and needs no storage.
func (v *visitor) csrf() string {
	mac := hmac.New(sha256.New, []byte(v.secret))
	mac.Write([]byte("form of a browser session"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// errForeignForm is the error of a form that no page of the visitor has sent.
var errForeignForm = errors.New("server: the form is not of a page of this session")

// visited returns the handler of a page for users who are signed in in their browser. Any other browser is sent to sign in first, and
// comes back to the same path: with its query, or for a form without its values. A form from another site is refused.
func (s *Server) visited(serve func(c echo.Context, v *visitor) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		s.guard(c)
		v, err := s.visitor(c)
		if err == nil {
			err = serve(c, v)
		}
		if errors.Is(err, account.ErrNoBrowser) { // it may also have ended since it was found
			return s.signInHere(c, s.ownPath(c), nil)
		}
		return err
	}
}

// guard sets the headers and the language of a page for visitors. Browsers send the Origin of a form only if the policy for referrers
// allows it.
func (s *Server) guard(c echo.Context) {
	s.keepLanguage(c)
	h := c.Response().Header()
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// visitor returns the user who is signed in in the browser of a request. The errors are [account.ErrNoBrowser] if there is none, and
// errForeignForm for a form that another site has sent.
func (s *Server) visitor(c echo.Context) (*visitor, error) {
	if m := c.Request().Method; m != http.MethodGet && m != http.MethodHead && !s.fromHere(c.Request()) {
		return nil, errForeignForm
	}
	v := &visitor{secret: s.browserSecret(c)}
	var err error
	if v.Browser, err = s.Accounts.Browser(c.Request().Context(), v.secret); err != nil {
		return nil, err
	}
	t := trailOf(c)
	t.domain, t.user = v.Domain, v.User
	r := c.Request()
	c.SetRequest(r.WithContext(audit.WithOrigin(r.Context(), audit.Origin{Actor: audit.ActorUser, Address: s.source(c)})))
	return v, nil
}

// fromHere reports whether a request may come from a page of the issuer. A browser says where a form comes from in at least one of the
// headers; the token of the form is checked in any case.
func (s *Server) fromHere(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" {
			return false
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if origin != s.origin {
			return false
		}
	}
	return true
}

// originOf returns the origin of a URL as browsers write it (RFC 6454 §6.2).
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"https": ":443", "http": ":80"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + host
}

// posted reads a form of a visitor. It may have the fields of those names and the token, which must be that of the session.
func (s *Server) posted(c echo.Context, v *visitor, fields ...string) (url.Values, error) {
	params, err := form(c)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(params.Get("csrf")), []byte(v.csrf())) != 1 {
		return nil, errForeignForm
	}
	for name := range params {
		if name != "csrf" && !slices.Contains(fields, name) {
			return nil, invalid("The form has a field that this page does not have.")
		}
	}
	return params, nil
}

// fresh reports whether a visitor signed in recently enough for a dangerous act. If not, the handler sends the browser to the provider
// with signInHere.
func (s *Server) fresh(v *visitor) bool { return v.Fresh(s.Now()) }

// signInHere sends the browser to sign in and then to a path of the issuer's, which the caller takes from a closed list: usually that of
// the request itself. again is the visitor who has to sign in anew for a dangerous act; nil for a browser that is not signed in.
func (s *Server) signInHere(c echo.Context, path string, again *visitor) error {
	in := signin.BeginSession{Path: path}
	if l := web.Named(trailOf(c).locales); l != nil {
		in.Locales = l.Tag()
	}
	if again != nil {
		in.Again = &again.Browser
	}
	return s.advance(c, "", in)
}

// maxQuery is how long the query may be that a browser comes back to after it has signed in.
const maxQuery = 512

// ownPath returns the path of a request, with the query of one that only reads.
func (s *Server) ownPath(c echo.Context) string {
	u := c.Request().URL
	path := u.EscapedPath()
	if m := c.Request().Method; (m == http.MethodGet || m == http.MethodHead) && u.RawQuery != "" && len(u.RawQuery) <= maxQuery {
		path += "?" + u.RawQuery
	}
	return path
}

// browserSecret returns the secret of the browser session that a request shows; empty if it shows none.
func (s *Server) browserSecret(c echo.Context) string {
	cookie, err := c.Cookie(s.browserCookieName())
	if err != nil {
		return ""
	}
	return cookie.Value
}

// browserCookie makes the cookie of a browser session. An empty secret removes it.
func (s *Server) browserCookie(secret string) *http.Cookie {
	maxAge := int(account.BrowserLife / time.Second)
	if secret == "" {
		maxAge = -1
	}
	return &http.Cookie{
		Name: s.browserCookieName(), Value: secret, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode, // Lax: the browser comes back from another site with it
	}
}

func (s *Server) browserCookieName() string { return s.cookieName("im-session") }

// cookieName returns the name of a cookie. Under https it has a prefix, so that no other host can plant one.
func (s *Server) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// languageCookie is the name of the cookie that holds the language of the pages.
const languageCookie = "im-language"

// keepLanguage takes the language of a page for visitors from the parameter ui_locales, and keeps it in a cookie for the pages that follow.
func (s *Server) keepLanguage(c echo.Context) {
	t := trailOf(c)
	if l := web.Named(c.QueryParam("ui_locales")); l != nil {
		t.locales = l.Tag()
		http.SetCookie(c.Response(), &http.Cookie{
			Name: s.cookieName(languageCookie), Value: l.Tag(), Path: "/", MaxAge: int(account.BrowserLife / time.Second),
			HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
		})
	} else if cookie, err := c.Cookie(s.cookieName(languageCookie)); err == nil && slices.Contains(web.Languages(), cookie.Value) {
		t.locales = cookie.Value
	}
}
