package server

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/login"
)

// backchannelPath is where OpenID providers send logout tokens, followed by the id of the provider.
const backchannelPath = "/login/backchannel/"

// backchannelLogout serves POST /login/backchannel/{provider} (OpenID Connect Back-Channel Logout 1.0 §2.5): the provider has ended a
// login, and what came from it ends here. The answer is 200 once that is durable, also if there was nothing to end (§2.7).
func (s *Server) backchannelLogout(c echo.Context) error {
	provider, known := s.Logins[c.Param("provider")]
	if !known {
		return echo.ErrNotFound
	}
	t := trailOf(c)
	t.provider, t.domain = provider.ID(), provider.Domain()
	params, err := form(c)
	if err != nil {
		return err
	}
	token := params.Get("logout_token")
	if token == "" {
		return invalid("The parameter logout_token is missing.")
	}
	ctx := c.Request().Context()
	l, err := provider.Logout(ctx, token)
	if bad := (*login.Rejected)(nil); errors.As(err, &bad) {
		return invalid(errtext.Clean("The logout token is not valid: " + bad.Err.Error() + "."))
	} else if err != nil {
		// Anybody can send a token by a key that the provider may have published a moment ago, and have its signature verified. So this
		// counts as a failure of the address, too.
		s.Limits.failed(s.source(c))
		return err
	}
	ctx = audit.WithOrigin(ctx, audit.Origin{Actor: audit.ActorProvider, Address: s.source(c)})
	_, err = s.Accounts.Logout(ctx, account.Logout{
		Domain: provider.Domain(), Issuer: l.Issuer, Subject: l.Subject, SID: l.SID, At: l.IssuedAt,
		ID: sha256.Sum256([]byte(strings.Join([]string{provider.ID(), l.Issuer, l.JTI}, "\n"))), SpentUntil: l.ExpiresAt,
	})
	if errors.Is(err, account.ErrLoggedOutBefore) {
		return invalid("The logout token was used before: its jti is accepted once.")
	} else if err != nil {
		return err
	}
	return c.NoContent(http.StatusOK)
}
