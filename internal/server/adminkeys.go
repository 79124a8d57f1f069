package server

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/keys"
)

// AdminKey is a signing key as operators see it, without what is secret of it.
type AdminKey struct {
	KID   string `json:"kid"`
	Alg   string `json:"alg"`
	State string `json:"state"` // published, signing, retired or revoked
	// Since is when it came into its state, Until when it leaves it, where that is known.
	Since     time.Time  `json:"since"`
	Until     *time.Time `json:"until,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	Reason    string     `json:"reason,omitempty"` // why it was revoked
}

// AdminKeyChange is a signing key after an operator wanted something of it; Changed is false if it was so already.
type AdminKeyChange struct {
	AdminKey
	Changed bool `json:"changed"`
}

// listKeys serves GET /admin/keys.
func (s *Server) listKeys(c echo.Context) error {
	infos := s.Keys.List()
	list := make([]AdminKey, 0, len(infos))
	for _, k := range infos {
		list = append(list, adminKey(k))
	}
	return c.JSON(http.StatusOK, list)
}

// rotateKey serves POST /admin/keys?now=true: the next signing key is made, and signs when it was published for long
// enough or, with now, at once.
func (s *Server) rotateKey(c echo.Context) error {
	var now bool
	switch c.QueryParam("now") {
	case "true":
		now = true
	case "", "false":
	default:
		return invalid("The parameter now must be true or false.")
	}
	k, changed, err := s.Keys.Rotate(c.Request().Context(), now)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, AdminKeyChange{adminKey(k), changed})
}

// revokeKey serves DELETE /admin/keys/{kid}?reason=…
func (s *Server) revokeKey(c echo.Context) error {
	reason := c.QueryParam("reason")
	if reason == "" {
		reason = "operator"
	}
	k, changed, err := s.Keys.Revoke(c.Request().Context(), c.Param("kid"), reason)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, AdminKeyChange{adminKey(k), changed})
}

func adminKey(k keys.Info) AdminKey {
	a := AdminKey{KID: k.KID, Alg: k.Alg, State: string(k.State), Since: k.Since, CreatedAt: k.CreatedAt, Reason: k.Reason}
	if !k.Until.IsZero() {
		a.Until = &k.Until
	}
	return a
}
