package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// listDevices serves GET /admin/devices?domain=…&user=ID&client=ID&removed=false: a page of the devices of a domain, or of one of its
// users, including removed ones, in the order of their ids.
func (a *API) listDevices(c echo.Context) error {
	domain, err := a.domain(c)
	if err != nil {
		return err
	}
	p, err := a.page(c)
	if err != nil {
		return err
	}
	removed, err := choice(c, "removed")
	if err != nil {
		return err
	}
	client := c.QueryParam("client")
	devices, next, err := filled(p, func(after string, limit int) ([]storage.Device, error) {
		return a.Accounts.Devices(c.Request().Context(), domain, c.QueryParam("user"), after, limit)
	}, func(d storage.Device) string { return d.ID }, func(d storage.Device) bool {
		return removed(!d.RemovedAt.IsZero()) && matches(client, d.Client)
	})
	if err != nil {
		return err
	}
	linkNext(c, next)
	list, handles := make([]api.Device, 0, len(devices)), make(map[string]string)
	for _, d := range devices {
		handle, known := handles[d.User]
		if !known {
			u, err := a.Accounts.User(c.Request().Context(), domain, d.User)
			if err != nil {
				return err
			}
			handle, handles[d.User] = u.Handle, u.Handle
		}
		device := deviceOf(d)
		device.Handle = handle
		list = append(list, device)
	}
	return c.JSON(http.StatusOK, list)
}

// showDevice serves GET /admin/devices/{domain}/{device}, also for a removed device.
func (a *API) showDevice(c echo.Context) error {
	d, err := a.Accounts.Device(c.Request().Context(), c.Param("domain"), c.Param("device"))
	if err != nil {
		return err
	}
	device := deviceOf(d.Device)
	device.Use = &api.DeviceUse{
		Active: d.Active, SeenAt: optional(d.SeenAt), LoginAt: optional(d.Login.CreatedAt), Issuer: d.Login.Issuer, ACR: d.Login.ACR,
		AMR: d.Login.AMR,
	}
	return c.JSON(http.StatusOK, device)
}

// removeDevice serves DELETE /admin/devices/{domain}/{device}?reason=…
func (a *API) removeDevice(c echo.Context) error {
	d, err := a.Accounts.RemoveDevice(c.Request().Context(), c.Param("domain"), c.Param("device"), reason(c))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, deviceOf(d.Device))
}

func deviceOf(d storage.Device) api.Device {
	return api.Device{
		Domain: d.Domain, ID: d.ID, User: d.User, JKT: d.JKT, Name: d.Name, Platform: d.Platform, KeyAlg: d.Alg,
		Client: d.Client, CreatedAt: d.CreatedAt, RemovedAt: optional(d.RemovedAt), RemovedReason: d.RemovedReason,
	}
}
