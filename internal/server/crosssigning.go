package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/signed"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/xsign"
)

// showCrossSigning serves GET /me/xsign: all statements of cross signing that the user has stored.
func (s *Server) showCrossSigning(c echo.Context, who statements.Holder) error {
	own, err := s.Signed.Own(c.Request().Context(), ownerOf(who))
	if err != nil {
		return err
	}
	return encodeJSON(c, api.OwnXSign{
		Keys: own.Keys, Devices: own.Devices,
		Succession: append([]string{}, own.Succession...), Vouches: append([]string{}, own.Opinions...),
	})
}

// setCrossSigning serves PUT /me/xsign: a user stores keys, or a device list, or both together. The answer is that of GET.
func (s *Server) setCrossSigning(c echo.Context, holder *claims.Set, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	up := signed.Upload{Owner: ownerOf(who), AuthTime: holder.AuthTime, Keys: b.String("keys"), Devices: b.String("devices")}
	if err := b.Done(); err != nil {
		return err
	}
	if up.Keys == "" && up.Devices == "" {
		return invalid("The member keys, devices or both must be there.")
	}
	if err := s.Limits.User(storage.User{Domain: who.Domain, ID: who.User}, holder.ClientID); err != nil {
		return err
	}
	if err := s.Signed.Put(c.Request().Context(), up); err != nil {
		return err
	}
	return s.showCrossSigning(c, who)
}

// setOpinion serves PUT /me/vouches/{thumbprint}: a user stores a vouch for a master key, or a distrust.
func (s *Server) setOpinion(c echo.Context, holder *claims.Set, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	statement := b.String("statement")
	if err := b.Done(); err != nil {
		return err
	}
	if statement == "" {
		return invalid("The member statement is missing.")
	}
	if err := s.Limits.User(storage.User{Domain: who.Domain, ID: who.User}, holder.ClientID); err != nil {
		return err
	}
	if err := s.Signed.PutOpinion(c.Request().Context(), ownerOf(who), c.Param("thumbprint"), statement); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// removeOpinion serves DELETE /me/vouches/{thumbprint}.
func (s *Server) removeOpinion(c echo.Context, who statements.Holder) error {
	if err := s.Signed.DeleteOpinion(c.Request().Context(), ownerOf(who), c.Param("thumbprint")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// ofCrossSigning maps the errors of package signed.
func ofCrossSigning(err error) (failure, bool) {
	refused := (*xsign.Error)(nil)
	switch {
	case errors.As(err, &refused):
		f := failure{status: http.StatusBadRequest, code: "invalid_statement",
			description: errtext.Clean("The statement is refused: " + refused.Error() + ".")}
		if refused.Code == xsign.CodeOlder || refused.Code == xsign.CodeConflict {
			f.status, f.code = http.StatusConflict, "statement_conflict"
			f.description = errtext.Clean("The statement is not newer than the stored one: " + refused.Error() +
				". Read the stored one first.")
		}
		return f, true
	case errors.Is(err, signed.ErrNoKeys):
		return failure{status: http.StatusConflict, code: "no_keys",
			description: "The user has stored no keys: send them first, or with the device list."}, true
	case errors.Is(err, signed.ErrTooMany):
		return failure{status: http.StatusConflict, code: "too_many_vouches",
			description: "The user has 1000 vouches and distrusts: delete some."}, true
	case errors.Is(err, signed.ErrNoOpinion):
		return failure{status: http.StatusNotFound, code: "not_found",
			description: "The user has no vouch and no distrust about this master key."}, true
	}
	return failure{}, false
}

// crossQueryPath is the path of questions about the statements of users.
const crossQueryPath = "/xsign/query"
