package admin

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/types/api"
)

// listKEKs serves GET /admin/key-encryption-keys: the key-encryption keys of this node, and how many secrets are sealed under each.
func (a *API) listKEKs(c echo.Context) error {
	list, err := a.Cluster.KEKs(c.Request().Context())
	if err != nil {
		return err
	}
	answer := []api.KeyEncryptionKey{}
	for _, k := range list {
		v := api.KeyEncryptionKey{ID: k.ID, State: "configured", Secrets: k.Secrets}
		switch {
		case k.Missing:
			v.State = "missing"
		case k.Used:
			v.State = "current"
		}
		answer = append(answer, v)
	}
	return c.JSON(http.StatusOK, answer)
}

// rotateKEK serves POST /admin/key-encryption-keys: all secrets are sealed under the key in kek_file_new.
func (a *API) rotateKEK(c echo.Context) error {
	err := a.Cluster.RotateKEK(c.Request().Context())
	switch {
	case errors.Is(err, keys.ErrOneKey):
		return httpapi.Conflict("no_second_key", "This node has one key-encryption key. "+
			"Name the file of the new one in kek_file_new on every node, restart all of them, and rotate then.")
	case errors.Is(err, keys.ErrWrongKey):
		return &httpapi.RefusedError{Status: http.StatusConflict, Code: "sealed_under_other_key", Err: err,
			Description: "Some secrets are sealed under a key that is in neither kek_file nor kek_file_new, and stay so. " +
				"All others are sealed under the new key. The list of key-encryption keys names the one that is missing."}
	case err != nil:
		return err
	}
	return a.listKEKs(c)
}
