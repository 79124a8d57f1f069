package server

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/signed"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// aspePath is where a host has profiles (Ariadne Signature Profile Exchange). It is not below the path of the issuer's URL: an address has
// a host and no path.
const aspePath = wellKnown + "aspe/id/"

// publicProfile serves GET /.well-known/aspe/id/{fingerprint}: the profile of the user with that master key. The issuer serves it and looks
// at none of the places in it. Caches must ask before each use, so that a user who deletes the profile is obeyed at once.
func (s *Server) publicProfile(c echo.Context) error {
	fingerprint, ok := readFingerprint(c.Param("fingerprint"))
	if !ok {
		return signed.ErrNoProfile
	}
	text, err := s.Signed.PublicProfile(c.Request().Context(), fingerprint)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(text))
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache")
	h.Del("DPoP-Nonce")
	return serveTagged(c, places.MediaType, []byte(text), `"`+hex.EncodeToString(sum[:16])+`"`)
}

// fingerprintLength is that of 16 bytes in base32.
const fingerprintLength = 26

// readFingerprint returns a fingerprint in upper case. Addresses may have it in letters of any case.
func readFingerprint(text string) (string, bool) {
	if len(text) != fingerprintLength {
		return "", false
	}
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '2' <= c && c <= '7':
		default:
			return "", false
		}
	}
	return strings.ToUpper(text), true
}

// showOwnPlaces serves GET /me/profile: the profile of the user's places, and its address.
func (s *Server) showOwnPlaces(c echo.Context, who statements.Holder) error {
	p, err := s.Signed.OwnProfile(c.Request().Context(), ownerOf(who))
	if err != nil {
		return err
	}
	return encodeJSON(c, s.placesProfile(p))
}

// placesProfile returns a profile as JSON.
func (s *Server) placesProfile(p signed.Profile) api.PlacesProfile {
	v := api.PlacesProfile{Profile: p.Text, URL: s.origin + aspePath + p.Fingerprint}
	if a, err := places.ParseAddress("aspe:" + s.host + ":" + p.Fingerprint); err == nil && a.URL() == v.URL {
		v.Address = a.String()
	}
	return v
}

// setOwnPlaces serves PUT /me/profile. The answer is that of GET.
func (s *Server) setOwnPlaces(c echo.Context, holder *claims.Set, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	text := b.String("profile")
	if err := b.Done(); err != nil {
		return err
	}
	if text == "" {
		return invalid("The member profile is missing.")
	}
	if err := s.Limits.User(storage.User{Domain: who.Domain, ID: who.User}, holder.ClientID); err != nil {
		return err
	}
	p, err := s.Signed.PutProfile(c.Request().Context(), ownerOf(who), text)
	if err != nil {
		return err
	}
	return encodeJSON(c, s.placesProfile(p))
}

// removeOwnPlaces serves DELETE /me/profile.
func (s *Server) removeOwnPlaces(c echo.Context, who statements.Holder) error {
	if err := s.Signed.DeleteProfile(c.Request().Context(), ownerOf(who)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// ofProfile maps the errors of profiles.
func ofProfile(err error) (failure, bool) {
	refused := (*places.Error)(nil)
	switch {
	case errors.As(err, &refused):
		return failure{status: http.StatusBadRequest, code: "invalid_profile",
			description: errtext.Clean("The profile is refused: " + refused.Error() + ".")}, true
	case errors.Is(err, signed.ErrOtherProfile):
		return failure{status: http.StatusConflict, code: "profile_conflict",
			description: "Another user has stored a profile by this master key: a master key is for one user."}, true
	case errors.Is(err, signed.ErrNoProfile):
		return failure{status: http.StatusNotFound, code: "not_found", description: "There is no profile."}, true
	}
	return failure{}, false
}
