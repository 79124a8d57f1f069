package server

import (
	"context"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// newHolders makes the issuer a resource for the holders of its tokens, whatever these are for.
func (s *Server) newHolders() (*dpop.Resource, error) {
	return dpop.NewResource(dpop.ResourceConfig{
		Verifier:  s.Proofs,
		PublicURL: s.Issuer,
		Realm:     "issuer",
		Token: func(ctx context.Context, token string) (dpop.Confirmation, error) {
			set, active, err := s.Introspector.Own(ctx, token)
			if err != nil {
				return dpop.Confirmation{}, err
			}
			if !active {
				return dpop.Confirmation{}, dpop.ErrInvalidToken
			}
			return dpop.Confirmation{JKT: set.JKT, Claims: &set}, nil
		},
	})
}

// staple serves POST /staple: the holder of a token, who proves that, gets a signed statement that it is active now.
func (s *Server) staple(c echo.Context) error {
	access, holder, err := s.letIn(c, s.holders)
	if err != nil {
		return err
	}
	staple := introspect.NewStaple(holder, access.Proof.ATH, s.Now())
	jwt, err := s.Keys.Sign(jose.TypeStaple, staple.AppendClaims(make([]byte, 0, 256)))
	if err != nil {
		return err
	}
	return writeSigned(c, introspect.MediaTypeStaple, jwt)
}
