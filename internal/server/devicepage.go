package server

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/web"
)

// The paths of the pages for devices without a browser, beside [oauth.DevicePath].
const (
	decidePath     = oauth.DevicePath + "/decide"
	deviceDonePath = oauth.DevicePath + "/done"
	deviceQRPath   = oauth.DevicePath + "/qr"
)

// deviceRoutes is the table of the pages where users link devices without a browser (RFC 8628 §3.3).
func (s *Server) deviceRoutes() []route {
	return []route{
		{http.MethodGet, oauth.DevicePath, s.visited(s.showDevicePage), ownOrigin, eachRequest},
		{http.MethodPost, decidePath, s.visited(s.decideOnPage), ownOrigin, eachRequest},
		{http.MethodGet, deviceDonePath, s.visited(s.showDeviceDone), ownOrigin, eachRequest},
		{http.MethodGet, deviceQRPath, s.showDeviceQR, ownOrigin, eachRequest},
	}
}

// showDevicePage serves GET /device?user_code=C: the page that asks for the code of a device or, with a code, the page that shows what
// waits. The user compares the code with the device also if they did not type it (RFC 8628 §3.3.1, §5.4).
func (s *Server) showDevicePage(c echo.Context, v *visitor) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	page, err := s.devicePage(v)
	if err != nil {
		return err
	}
	entered := params.Get("user_code")
	if entered == "" {
		return web.ShowDevice(c.Response(), page, s.frame(c))
	}
	code, ok := oauth.ParseUserCode(entered)
	if !ok {
		return s.wrongCode(c, page, entered)
	}
	var asks oauth.DeviceRequest
	err = s.Limits.guess(c.Request().Context(), v.Domain, v.User, s.source(c), func() (err error) {
		asks, err = s.OAuth.DeviceRequest(c.Request().Context(), code, v.Person)
		return err
	})
	if errors.Is(err, oauth.ErrNoUserCode) {
		return s.wrongCode(c, page, entered)
	} else if err != nil {
		return err
	}
	page.Asks, page.SameNetwork = &asks, asks.Network == oauth.Network(s.source(c))
	return web.ShowDevice(c.Response(), page, s.frame(c))
}

// devicePage returns what every page about a device has.
func (s *Server) devicePage(v *visitor) (web.Device, error) {
	person, err := s.Accounts.Display(v.Person)
	return web.Device{
		Person: person, Action: s.path(oauth.DevicePath), Decide: s.path(decidePath), CSRF: v.csrf(), Now: s.Now(), Target: v.Issuer,
	}, err
}

// wrongCode shows the page that asks for the code again.
func (s *Server) wrongCode(c echo.Context, page web.Device, entered string) error {
	const longest = 32 // what the field takes
	page.Wrong, page.Status = true, http.StatusNotFound
	if len(entered) <= longest {
		page.Entered = entered
	}
	s.refusal(c, page.Status, oauth.ErrNoUserCode)
	return web.ShowDevice(c.Response(), page, s.frame(c))
}

// decideOnPage serves POST /device/decide: the user allows the device or denies it. To allow it, the user must have signed in within the
// last minutes; otherwise they sign in again and come back to the page that asks.
func (s *Server) decideOnPage(c echo.Context, v *visitor) error {
	params, err := s.posted(c, v, "user_code", "decision")
	if err != nil {
		return err
	}
	made := params.Get("decision")
	if made != "allow" && made != "deny" {
		return invalid("The decision must be allow or deny.")
	}
	code, err := userCode(params.Get("user_code"))
	if err != nil {
		return err
	}
	again := oauth.DevicePath + "?" + url.Values{"user_code": {code.String()}}.Encode()
	allow := made == "allow"
	if allow && !s.fresh(v) {
		return s.signInHere(c, again, v)
	}
	err = s.decideDevice(c, statements.Holder{Domain: v.Domain, User: v.User}, oauth.DeviceDecision{
		UserCode: code, Allow: allow, By: s.OAuth.OwnBrowser(v.Hash, allow),
	})
	switch {
	case errors.Is(err, account.ErrLoginAge):
		return s.signInHere(c, again, v)
	case errors.Is(err, oauth.ErrNoUserCode):
		page, err := s.devicePage(v)
		if err != nil {
			return err
		}
		return s.wrongCode(c, page, "")
	case errors.Is(err, oauth.ErrDeviceLimit), errors.Is(err, oauth.ErrDeviceKeyInUse): // since the page was shown: it says so now
		return c.Redirect(http.StatusSeeOther, s.path(again))
	case err != nil:
		return err
	}
	return c.Redirect(http.StatusSeeOther, s.path(deviceDonePath+"?decision="+made))
}

// showDeviceDone serves GET /device/done?decision=allow.
func (s *Server) showDeviceDone(c echo.Context, _ *visitor) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	end := web.DeviceEnd{Allowed: params.Get("decision") == "allow", Next: s.path(oauth.DevicePath)}
	return web.ShowDeviceEnd(c.Response(), end, s.frame(c))
}

// showDeviceQR serves GET /device/qr?user_code=C, for a device that can show a page and cannot draw a QR code: verification_uri_complete as
// a picture (RFC 8628 §3.3.1). The page does not depend on whether the user code exists.
func (s *Server) showDeviceQR(c echo.Context) error {
	s.guard(c)
	params, err := query(c)
	if err != nil {
		return err
	}
	code, err := userCode(params.Get("user_code"))
	if err != nil {
		return err
	}
	page := web.DeviceQR{Code: code.String(), Complete: s.OAuth.DevicePage(code), Page: s.Issuer + oauth.DevicePath}
	return web.ShowDeviceQR(c.Response(), page, s.frame(c))
}
