package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/types/api"
)

// listKeys serves GET /admin/keys?state=signing: a page of the signing keys, oldest first.
func (a *API) listKeys(c echo.Context) error {
	p, err := a.page(c)
	if err != nil {
		return err
	}
	state, list, next, passed := c.QueryParam("state"), []api.Key{}, "", p.after == ""
	for _, k := range a.Keys.List() {
		switch v := keyOf(k); {
		case !passed:
			passed = v.KID == p.after
		case !matches(state, v.State):
		case len(list) == p.limit:
			next = list[len(list)-1].KID
		default:
			list = append(list, v)
		}
	}
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
}

// rotateKey serves POST /admin/keys?now=true: the next signing key is published. It signs once it was published for long
// enough or, with now, at once.
func (a *API) rotateKey(c echo.Context) error {
	now, err := flag(c, "now")
	if err != nil {
		return err
	}
	k, changed, err := a.Keys.Rotate(c.Request().Context(), now)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.KeyChange{Key: keyOf(k), Changed: changed})
}

// revokeKey serves DELETE /admin/keys/{kid}?reason=…
func (a *API) revokeKey(c echo.Context) error {
	k, changed, err := a.Keys.Revoke(c.Request().Context(), c.Param("kid"), reason(c))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.KeyChange{Key: keyOf(k), Changed: changed})
}

func keyOf(k keys.Info) api.Key {
	v := api.Key{KID: k.KID, Alg: k.Alg, State: string(k.State), Since: k.Since, CreatedAt: k.CreatedAt, Reason: k.Reason}
	if !k.Until.IsZero() {
		v.Until = &k.Until
	}
	return v
}
