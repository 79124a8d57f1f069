package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/types/api"
)

// listClusterSecrets serves GET /admin/cluster-secrets: the cluster secrets that are accepted, oldest first. There are few.
func (a *API) listClusterSecrets(c echo.Context) error {
	list := []api.ClusterSecret{}
	for _, s := range a.Cluster.List() {
		list = append(list, clusterSecretOf(s))
	}
	return c.JSON(http.StatusOK, list)
}

// rotateClusterSecret serves POST /admin/cluster-secrets?leaked=true: a new secret is made. It is used once all nodes know it or, with
// leaked, at once; then all that was made with the old ones ends.
func (a *API) rotateClusterSecret(c echo.Context) error {
	leaked, err := flag(c, "leaked")
	if err != nil {
		return err
	}
	s, err := a.Cluster.Rotate(c.Request().Context(), leaked)
	var rotating *keys.RotatingError
	if errors.As(err, &rotating) {
		return httpapi.Conflict("cluster_secret_rotating", "The cluster secret was rotated, and refresh tokens made with the one "+
			"before it may be valid until "+rotating.Until.UTC().Format(time.RFC3339)+". Rotate again after that. "+
			"If a secret has leaked, rotate as leaked, which ends all sessions now.")
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, clusterSecretOf(s))
}

func clusterSecretOf(s keys.ClusterInfo) api.ClusterSecret {
	state := string(s.State)
	if s.State == keys.Signing {
		state = "current"
	}
	return api.ClusterSecret{ID: s.ID, State: state, Since: optional(s.Since), Until: optional(s.Until)}
}
