package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// listCredentials serves GET /admin/credentials?domain=…&user=ID&device=ID&format=FORMAT&live=true: a page of the credentials of a domain
// that have not expired, in the order of their ids. An unknown user or device is refused: an empty list would say that it has none.
func (a *API) listCredentials(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	p, err := a.page(c)
	if err != nil {
		return err
	}
	live, err := choice(c, "live")
	if err != nil {
		return err
	}
	ctx, user, device, format := c.Request().Context(), c.QueryParam("user"), c.QueryParam("device"), c.QueryParam("format")
	if user != "" {
		if _, err := a.Accounts.User(ctx, domain, user); err != nil {
			return err
		}
	}
	if device != "" {
		d, err := a.Accounts.Device(ctx, domain, device)
		if err != nil {
			return err
		}
		if !matches(user, d.User) {
			return httpapi.Invalid("The device is not one of that user.")
		}
		user = d.User // so that the credentials of others are not read
	}
	now := a.Now()
	list, next, err := filled(p, func(after string, limit int) ([]storage.Credential, error) {
		return a.Accounts.Credentials(ctx, domain, user, after, limit)
	}, func(v storage.Credential) string { return v.ID }, func(v storage.Credential) bool {
		return now.Before(v.ExpiresAt) && matches(device, v.Device) && matches(format, v.Format) && live(v.EndedAt.IsZero())
	})
	if err != nil {
		return err
	}
	linkNext(c, next)
	answer := make([]api.Credential, len(list))
	for i, v := range list {
		answer[i] = credentialOf(v)
	}
	return c.JSON(http.StatusOK, answer)
}

// endCredential serves DELETE /admin/credentials/{domain}/{credential}?reason=…: a credential ends. Its device stays.
func (a *API) endCredential(c echo.Context) error {
	v, _, err := a.Accounts.EndCredential(c.Request().Context(), c.Param("domain"), c.Param("credential"), reason(c))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, credentialOf(v))
}

func credentialOf(v storage.Credential) api.Credential {
	return api.Credential{
		Domain: v.Domain, ID: v.ID, User: v.User, Device: v.Device, Format: v.Format, JKT: v.JKT, Handle: v.Handle,
		State:    string(account.StateOf(v)),
		IssuedAt: rounded(v.IssuedAt), ExpiresAt: rounded(v.ExpiresAt),
		EndedAt: optional(v.EndedAt), EndedReason: v.EndedReason, HandleEndedAt: optional(v.HandleEndedAt),
	}
}
