package server

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/storage"
)

// AdminDevice is a device as operators see it.
type AdminDevice struct {
	Domain        string     `json:"domain"`
	ID            string     `json:"id"`
	User          string     `json:"user"`
	Handle        string     `json:"handle,omitempty"` // of the user; in lists of devices
	JKT           string     `json:"jkt"`
	Name          string     `json:"name,omitempty"`
	Client        string     `json:"client"`
	CreatedAt     time.Time  `json:"created_at"`
	RemovedAt     *time.Time `json:"removed_at,omitempty"`
	RemovedReason string     `json:"removed_reason,omitempty"`
}

// listDevices serves GET /admin/devices?domain=…&user=…: the devices of a domain, or of one of its users.
func (s *Server) listDevices(c echo.Context) error {
	domain, err := s.adminDomain(c)
	if err != nil {
		return err
	}
	devices, err := s.Accounts.Devices(c.Request().Context(), domain, c.QueryParam("user"))
	if err != nil {
		return err
	}
	list, handles := make([]AdminDevice, 0, len(devices)), make(map[string]string)
	for _, d := range devices {
		handle, known := handles[d.User]
		if !known {
			u, err := s.Accounts.User(c.Request().Context(), domain, d.User)
			if err != nil {
				return err
			}
			handle, handles[d.User] = u.Handle, u.Handle
		}
		a := adminDevice(d)
		a.Handle = handle
		list = append(list, a)
	}
	return c.JSON(http.StatusOK, list)
}

// removeDevice serves DELETE /admin/devices/{domain}/{device}?reason=…
func (s *Server) removeDevice(c echo.Context) error {
	reason := c.QueryParam("reason")
	if reason == "" {
		reason = "operator"
	}
	d, err := s.Accounts.RemoveDevice(c.Request().Context(), c.Param("domain"), c.Param("device"), reason)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, adminDevice(d.Device))
}

// adminDomain is the domain of a question: the one it names, or the only one there is.
func (s *Server) adminDomain(c echo.Context) (string, error) {
	if domain := c.QueryParam("domain"); domain != "" {
		return domain, nil
	}
	if len(s.Domains) == 1 {
		return s.Domains[0], nil
	}
	return "", invalid("The issuer serves several domains: name one.")
}

func adminDevice(d storage.Device) AdminDevice {
	a := AdminDevice{
		Domain: d.Domain, ID: d.ID, User: d.User, JKT: d.JKT, Name: d.Name, Client: d.Client,
		CreatedAt: d.CreatedAt, RemovedReason: d.RemovedReason,
	}
	a.RemovedAt = once(d.RemovedAt)
	return a
}

// once writes the time of something that may never have happened: then it is nil.
func once(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = stored(t)
	return &t
}

// stored writes a time as the store keeps it, for an answer that was not read from there.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
