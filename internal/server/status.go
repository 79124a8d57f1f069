package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/types/api"
)

// statusList serves GET /status/{id} (draft-ietf-oauth-status-list-20 §8).
func (s *Server) statusList(c echo.Context) error {
	if c.QueryParam("time") != "" { // §8.4
		return c.JSON(http.StatusNotImplemented, api.Error{
			Code: oauth.CodeInvalidRequest, Description: "Status lists of the past are not kept.",
		})
	}
	list, err := s.Statuses.Get(c.Request().Context(), c.Param("id"))
	if err != nil {
		return err
	}
	return serveDocument(c, "application/statuslist+jwt", list.Token, list.ETag,
		strconv.Itoa(int(list.TTL/time.Second)))
}
