package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/types/api"
)

// listDomains serves GET /admin/domains: a page of the domains that the operator may see, with their settings.
func (a *API) listDomains(c echo.Context) error {
	p, err := a.page(c)
	if err != nil {
		return err
	}
	by := operator(c)
	var all []api.Domain
	for _, d := range a.Settings {
		if by.May(d.Name) {
			all = append(all, domainOf(d))
		}
	}
	slices.SortFunc(all, func(a, b api.Domain) int { return strings.Compare(a.Name, b.Name) })
	list, next := within(p, all, func(d api.Domain) string { return d.Name })
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
}

func domainOf(d config.Domain) api.Domain {
	v := api.Domain{
		Name: d.Name, System: d.System, URI: d.URI, UserClaim: d.Claims.User, HandleClaim: d.Claims.Handle, ChooseHandle: d.ChooseHandle,
		Protected: present(d.Protected), Scripts: d.Scripts, StatusList: d.StatusList, OtherIssuers: present(d.OtherIssuers),
		Providers: []api.Provider{},
	}
	for _, p := range d.Providers {
		v.Providers = append(v.Providers, api.Provider{
			ID: p.ID, Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, Scopes: present(p.Scopes),
			SubjectClaim: p.SubjectClaim, AuthoritativeHandles: p.AuthoritativeHandles,
		})
	}
	return v
}
