package admin

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// maxSearch is how many bytes a text to search for may have.
const maxSearch = 256

// searchUsers answers with a page of the users in whose ids, present and former handles, subjects at OpenID providers, or names and ids of
// devices a text is. A URI stands for its user or handle.
func (a *API) searchUsers(c echo.Context, domain, text string, p page, disabled func(bool) bool) error {
	if len(text) > maxSearch {
		return httpapi.Invalid("The parameter search has more than 256 bytes: part of an id, a handle, a subject or the name of a device.")
	}
	if id, err := (claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}).Parse(text); err == nil {
		if id.Domain() != domain {
			return httpapi.Invalid("The URI is not one of the domain " + domain + ".")
		}
		text = id.Local()
	}
	text = strings.ToLower(strings.TrimPrefix(text, "@"))
	found, next, err := filled(p, func(after string, limit int) ([]storage.FoundUser, error) {
		return a.Accounts.Search(c.Request().Context(), domain, text, after, limit)
	}, func(u storage.FoundUser) string { return u.ID }, func(u storage.FoundUser) bool { return disabled(!u.DisabledAt.IsZero()) })
	if err != nil {
		return err
	}
	list := make([]api.FoundUser, len(found))
	for i, u := range found {
		list[i] = api.FoundUser{User: userOf(u.User), Found: []string{}}
		for _, in := range []struct {
			found bool
			name  string
		}{{u.InID, "id"}, {u.InHandle, "handle"}, {u.InSubject, "subject"}, {u.InDevice, "device"}} {
			if in.found {
				list[i].Found = append(list[i].Found, in.name)
			}
		}
	}
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
}
