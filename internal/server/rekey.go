package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/types/api"
)

// mediaTypeRekey is the media type of the statement of a new key.
const mediaTypeRekey = "application/" + jose.TypeRekey

// maxRekey is how many bytes such a statement may have, as many as a proof.
const maxRekey = 8 << 10

// newRekeying makes the issuer a resource for devices that replace their key. It also lets in the holder of a token of an earlier
// generation of the user: replacing the key begins a new one, and a device that has lost the answer repeats the request with the old
// token and the old key. The rows decide what such a token may still do, see [account.Accounts.Rekey].
func (s *Server) newRekeying() (*dpop.Resource, error) {
	return dpop.NewResource(dpop.ResourceConfig{
		Verifier:  s.Proofs,
		PublicURL: s.Issuer,
		Realm:     "issuer",
		Token: func(ctx context.Context, token string) (dpop.Confirmation, error) {
			set, good, err := s.Introspector.OwnOfAnyGeneration(ctx, token)
			if err != nil {
				return dpop.Confirmation{}, err
			}
			if !good || !slices.Equal(set.Audience, []string{s.Issuer}) {
				return dpop.Confirmation{}, dpop.ErrInvalidToken
			}
			return dpop.Confirmation{JKT: set.JKT, Claims: &set}, nil
		},
	})
}

// rekey serves POST /me/devices/{id}/key: a device replaces its key. The request has a token and a proof by the old key, and its body is
// a statement by the new one.
func (s *Server) rekey(c echo.Context) error {
	holder, err := s.admit(c, s.rekeying, oauth.ScopeAccount)
	if err != nil {
		return err
	}
	who, err := personOf(holder)
	if err != nil {
		return err
	}
	statement, err := s.rekeyStatement(c)
	if err != nil {
		return err
	}
	ctx, id := c.Request().Context(), c.Param("id")
	request := account.Rekey{
		Domain: who.Domain, User: who.User, Device: id, SID: who.SID, Gen: holder.Gen, AuthTime: holder.AuthTime, Holder: holder.JKT,
		URI: statement.Device, OldJKT: statement.OldJKT, NewJKT: statement.JKT, Alg: statement.Alg,
	}
	repeated, err := s.Accounts.MayRekey(ctx, request)
	if err == nil && !repeated {
		// As a proof, the statement is spent after all checks and before the first write.
		err = refusedStatement(s.Proofs.SpendRekey(ctx, statement, s.source(c)))
	}
	var done account.Rekeyed
	if err == nil {
		done, err = s.Accounts.Rekey(ctx, request)
	}
	if err != nil {
		return s.refuseRekey(c, err)
	}
	return encodeJSON(c, api.Rekeyed{
		Device: statement.Device, JKT: done.NewJKT, OldJKT: done.OldJKT, ReplacedAt: done.At.UTC(),
	})
}

// rekeyStatement reads and checks the statement of a new key.
func (s *Server) rekeyStatement(c echo.Context) (*dpop.Rekey, error) {
	types := c.Request().Header.Values("Content-Type")
	if len(types) != 1 || !strings.EqualFold(strings.TrimSpace(types[0]), mediaTypeRekey) {
		return nil, invalid("The body must be of type " + mediaTypeRekey + ": the statement that the new key signed.")
	}
	text, err := httpapi.ReadAll(c, maxRekey)
	if err != nil {
		return nil, err
	}
	statement, err := s.Proofs.CheckRekey(c.Request().Context(), string(text), s.Issuer)
	return statement, refusedStatement(err)
}

// A rekeyError refuses to replace the key of a device.
type rekeyError struct{ err error }

func (e *rekeyError) Error() string { return "server: replace a key: " + e.err.Error() }

// refusedStatement returns err as the refusal of a statement, if it is one. A stale nonce is answered as that of a proof.
func refusedStatement(err error) error {
	if proof := (*dpop.ProofError)(nil); errors.As(err, &proof) && !errors.Is(err, dpop.ErrUseNonce) {
		return &rekeyError{proof}
	}
	return err
}

// rekeyRefusals are the refusals of package account.
var rekeyRefusals = []error{
	account.ErrOtherDevice, account.ErrDelegated, account.ErrOldKey, account.ErrLoginAge, account.ErrTooManyKeys, account.ErrKeyInUse,
}

// refuseRekey returns err as a refusal, if it is one. A token that has ended by the rows is refused as one that was never good.
func (s *Server) refuseRekey(c echo.Context, err error) error {
	if errors.Is(err, account.ErrEnded) {
		s.metrics.refused(dpop.ErrInvalidToken)
		s.rekeying.Refuse(c.Response(), c.Request(), dpop.ErrInvalidToken)
		return err
	}
	for _, refusal := range rekeyRefusals {
		if errors.Is(err, refusal) {
			return &rekeyError{refusal}
		}
	}
	return err
}

// failure returns the answer to a refused request.
func (e *rekeyError) failure() failure {
	const codeInvalid = "invalid_rekey"
	if proof := (*dpop.ProofError)(nil); errors.As(e.err, &proof) {
		f := failure{status: http.StatusBadRequest, code: codeInvalid,
			description: errtext.Clean("The statement of the new key is not valid: " + proof.Part + ": " + proof.Err.Error() + ".")}
		if errors.Is(proof, dpop.ErrReplayed) {
			f.description = "The statement of the new key was used before: make a new one for each request."
		}
		if clock := (*dpop.ClockError)(nil); errors.As(proof, &clock) {
			f.serverTime = clock.Server.Unix()
		}
		return f
	}
	denied := func(description string) failure {
		return failure{status: http.StatusForbidden, code: oauth.CodeAccessDenied, description: description}
	}
	switch e.err {
	case account.ErrOtherDevice:
		return denied("A device replaces only its own key: the access token belongs to another device.")
	case account.ErrDelegated:
		return denied("The device was added under a delegation: let the holder of the delegation add a device with the new key.")
	case account.ErrTooManyKeys:
		return denied("The key of the device was replaced too often: log in with a new key, as a new device.")
	case account.ErrLoginAge:
		return loginTooOld()
	case account.ErrKeyInUse:
		return failure{status: http.StatusBadRequest, code: codeInvalid,
			description: "The new key is, or was, the key of a device: make a new key."}
	}
	return failure{status: http.StatusBadRequest, code: codeInvalid,
		description: "The statement of the new key names another device or another old key: make it for the device of the access token " +
			"and the key that this is bound to."}
}

// loginTooOld refuses an act for which the user must have logged in a short time ago (RFC 9470 §3).
func loginTooOld() failure {
	seconds := int(account.RekeyMaxAge.Seconds())
	description := fmt.Sprintf("The user must have logged in within the last %d seconds: log in again, with at most that as max_age, "+
		"and use the new token.", seconds)
	return failure{status: http.StatusUnauthorized, code: "insufficient_user_authentication", description: description,
		challenge: fmt.Sprintf(`DPoP realm="issuer", error="insufficient_user_authentication", error_description="%s", max_age="%d"`,
			description, seconds)}
}
