package admin

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/types/api"
)

// showWireKey serves GET /admin/wire-key: the key that signs tokens for certificate authorities of Wire.
func (a *API) showWireKey(c echo.Context) error {
	k, err := a.WireKey(c.Request().Context())
	return wireKey(c, k, err)
}

// replaceWireKey serves POST /admin/wire-key: another key signs from now on.
func (a *API) replaceWireKey(c echo.Context) error {
	k, err := a.ReplaceWireKey(c.Request().Context())
	return wireKey(c, k, err)
}

func wireKey(c echo.Context, k keys.FixedKey, err error) error {
	if errors.Is(err, keys.ErrNoFixedKey) {
		return &httpapi.RefusedError{Status: http.StatusNotFound, Code: "not_found", Description: "There is no key for Wire: " +
			"set domains[].wire.provisioners in the settings, and restart the issuer, which makes the key."}
	} else if err != nil {
		return err
	}
	text, err := k.PEM()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.WireKey{KID: k.KID, Alg: k.Alg(), PEM: text})
}
