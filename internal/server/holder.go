package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/holder"
)

// notHeld returns the error of a request by the holder of a token. A token that is not active any more by the rows is answered as one that
// was never good.
func (s *Server) notHeld(c echo.Context, err error) error {
	if errors.Is(err, holder.ErrEnded) {
		s.metrics.refused(dpop.ErrInvalidToken)
		s.self.Refuse(c.Response(), c.Request(), dpop.ErrInvalidToken)
	}
	return err
}

// ofHolder returns err as the answer to a request with a token that is not the own one of a device, and false if it is another error.
func ofHolder(err error) (failure, bool) {
	var token *holder.TokenError
	if !errors.As(err, &token) {
		return failure{}, false
	}
	description := errtext.Clean("Nothing is issued for this access token: " + token.Description)
	return failure{status: http.StatusUnauthorized, code: "invalid_token", description: description,
		challenge: `DPoP realm="issuer", error="invalid_token", error_description="` + description + `"`}, true
}
