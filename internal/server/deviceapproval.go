package server

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// showWaitingDevice serves GET /me/device_codes?user_code=C: what waits under a user code.
func (s *Server) showWaitingDevice(c echo.Context, who statements.Holder) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	code, err := userCode(params.Get("user_code"))
	if err != nil {
		return err
	}
	user, err := s.Accounts.User(c.Request().Context(), who.Domain, who.User)
	if err != nil {
		return err
	}
	var asks oauth.DeviceRequest
	err = s.Limits.guess(c.Request().Context(), who.Domain, who.User, s.source(c), func() (err error) {
		asks, err = s.OAuth.DeviceRequest(c.Request().Context(), code, user)
		return err
	})
	if err != nil {
		return err
	}
	answer := api.WaitingDevice{
		UserCode: asks.UserCode.String(), ClientID: asks.Client.ID, ClientName: asks.Client.Title(),
		DeviceName: asks.DeviceName, Platform: asks.Platform,
		Network: asks.Network, SameNetwork: asks.Network != "" && asks.Network == oauth.Network(s.source(c)),
		Scope: strings.Join(asks.Scopes, " "), Resource: asks.Audience, KeyInUse: asks.KeyInUse, DeviceLimitReached: asks.Full,
		RequestedAt: asks.CreatedAt.UTC(), ExpiresAt: asks.ExpiresAt.UTC(),
	}
	if asks.Device != nil {
		answer.Device = asks.Device.ID
	}
	return encodeJSON(c, answer)
}

// decideWaitingDevice serves POST /me/device_codes: a user allows a device that waits, or denies it. A device that is allowed becomes
// a device of the user, so the user must have logged in within the last minutes, as for another key (RFC 9470).
func (s *Server) decideWaitingDevice(c echo.Context, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	text, made := b.String("user_code"), b.String("decision")
	if err := b.Done(); err != nil {
		return err
	}
	if made != "allow" && made != "deny" {
		return invalid("The decision must be allow or deny.")
	}
	code, err := userCode(text)
	if err != nil {
		return err
	}
	decision := oauth.DeviceDecision{UserCode: code, Allow: made == "allow", By: s.OAuth.OwnDevice(ownerOf(who), 0)}
	if decision.Allow {
		decision.By = s.OAuth.OwnDevice(ownerOf(who), account.RekeyMaxAge)
	}
	if err := s.decideDevice(c, who, decision); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// decideDevice stores the decision of a user about a device that waits.
func (s *Server) decideDevice(c echo.Context, who statements.Holder, d oauth.DeviceDecision) error {
	d.From = s.source(c)
	return s.Limits.guess(c.Request().Context(), who.Domain, who.User, d.From, func() error {
		_, err := s.OAuth.DecideDevice(c.Request().Context(), d)
		return err
	})
}

// userCode reads a user code of a request.
func userCode(text string) (oauth.UserCode, error) {
	code, ok := oauth.ParseUserCode(text)
	if !ok {
		return "", invalid("The user_code must be the 8 letters that the device shows.")
	}
	return code, nil
}
