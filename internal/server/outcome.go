package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/signin"
)

// writeOutcome writes the answer to a step of a login. It is the one place where an outcome becomes HTTP.
func (s *Server) writeOutcome(c echo.Context, out signin.Outcome) error {
	switch o := out.(type) {
	case signin.Redirect:
		s.writeAnswer(c, o.Answer)
		return c.Redirect(http.StatusSeeOther, o.Location)
	case signin.Ask:
		s.writeAnswer(c, o.Answer)
		return s.showQuestion(c, o)
	case signin.Refuse:
		s.writeAnswer(c, o.Answer)
		if o.Cause != nil {
			s.refusal(c, http.StatusSeeOther, o.Cause)
		}
		if o.Err.Location == "" { // the redirect URI is not known to be the app's own
			return o.Err
		}
		s.refusal(c, http.StatusSeeOther, o.Err)
		return c.Redirect(http.StatusSeeOther, o.Err.Location)
	case signin.Page:
		s.writeAnswer(c, o.Answer)
		return s.showEnd(c, o)
	}
	return fmt.Errorf("server: unknown outcome %T", out)
}

// writeAnswer sets the cookies of an outcome, and notes its login.
func (s *Server) writeAnswer(c echo.Context, a signin.Answer) {
	s.noteLogin(c, a.Facts)
	for _, cookie := range a.Cookies {
		http.SetCookie(c.Response(), s.loginCookie(cookie))
	}
	if a.Session != "" {
		http.SetCookie(c.Response(), s.browserCookie(a.Session))
	}
}

// noteLogin notes the login that a request belongs to, and logs which claims of its provider were ignored.
func (s *Server) noteLogin(c echo.Context, f signin.Facts) {
	trailOf(c).login(f)
	if len(f.Ignored) > 0 {
		s.Log.Info("claims of the OpenID provider ignored: not of the type that OpenID Connect gives them", slog.String("id", requestID(c)),
			slog.String("provider", f.Provider), slog.Any("claims", f.Ignored))
	}
	if f.Kept != nil {
		s.Log.Info("a user keeps the handle, because that of the OpenID provider cannot be taken", slog.String("id", requestID(c)),
			slog.String("provider", f.Provider), slog.String("domain", f.Domain), slog.String("user", f.User),
			slog.String("reason", account.HandleRefusal(f.Kept)))
	}
}

// loginCookie makes the HTTP cookie that binds a login to a browser. Under https the __Host- prefix keeps other hosts from
// planting one. The prefix demands the path "/", also where the issuer's URL has a path: an attacker who could plant a cookie
// could pass off their own login as another user's, while one who serves other paths of the same host gains nothing by reading it.
func (s *Server) loginCookie(c signin.Cookie) *http.Cookie {
	maxAge := int(c.Life / time.Second)
	if c.Life < 0 {
		maxAge = -1
	}
	return &http.Cookie{
		Name: s.loginCookieName(c.Token), Value: c.Value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
}

func (s *Server) loginCookieName(token string) string {
	return s.cookieName("im-login-" + signin.CookieTag(token))
}

// quotaLimit turns the quota's refusal of one network or client into the error of a limit. It returns any other error as it is.
func quotaLimit(err error) error {
	if quota := (*signin.QuotaError)(nil); errors.As(err, &quota) {
		return &limited{limitLogins, quota.Wait}
	}
	return err
}
