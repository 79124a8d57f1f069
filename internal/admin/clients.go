package admin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// maxKeep is how long the old secret of a client may stay valid beside the new one.
const maxKeep = 30 * 24 * time.Hour

// listClients serves GET /admin/clients?domain=NAME&source=storage: a page of the clients that the operator may see, in the order of
// their ids.
func (a *API) listClients(c echo.Context) error {
	p, err := a.page(c)
	if err != nil {
		return err
	}
	by, domain, source := operator(c), c.QueryParam("domain"), c.QueryParam("source")
	var all []api.Client
	for _, l := range a.Clients.List() {
		if v := a.client(l); visible(by, l) && matches(source, v.Source) && (domain == "" || slices.Contains(v.Domains, domain)) {
			all = append(all, v)
		}
	}
	list, next := within(p, all, func(v api.Client) string { return v.ID })
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
}

// showClient serves GET /admin/client?id=… An id may hold slashes, so it is no part of the path.
func (a *API) showClient(c echo.Context) error {
	l, ok := a.Clients.Find(c.QueryParam("id"))
	if !ok || !visible(operator(c), l) {
		return clients.ErrNotFound
	}
	return c.JSON(http.StatusOK, a.client(l))
}

// visible reports whether an operator may see a client: one that serves none but the operator's domains.
func visible(by httpapi.Operator, l Client) bool {
	return by.All || len(l.Entry.Domains) > 0 && !slices.ContainsFunc(l.Entry.Domains, func(d string) bool { return !by.May(d) })
}

// errOnlyAtSocket keeps a stolen key of an operator from making itself a successor.
var errOnlyAtSocket = denied("Clients with the scope admin are added, changed and removed at the admin socket or in the settings, " +
	"not over the network.")

// addClient serves POST /admin/clients. The body is the client as the settings write one, in JSON.
func (a *API) addClient(c echo.Context) error {
	if !httpapi.IsJSON(c.Request()) {
		return httpapi.Invalid("The body must be of type application/json.")
	}
	body, err := httpapi.ReadAll(c, httpapi.MaxBody)
	if err != nil {
		return err
	}
	var registration bytes.Buffer
	if err := json.Compact(&registration, body); err != nil {
		return httpapi.Invalid("The body is not JSON.")
	}
	var head struct{ Auth string }
	_ = json.Unmarshal(registration.Bytes(), &head) // Check says what is wrong with it
	var secret [32]byte
	if head.Auth == "secret" {
		secret[0] = 1 // any: the client will have one
	}
	entry, err := a.Clients.Check(registration.Bytes(), secret)
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		var words []string
		for _, e := range faults {
			words = append(words, strings.TrimPrefix(e.Path+": ", ": ")+e.Message)
		}
		return &httpapi.RefusedError{
			Status: http.StatusBadRequest, Code: oauth.CodeInvalidRequest, Description: strings.Join(words, "\n"),
		}
	} else if err != nil {
		return err
	}
	if operator(c).Client != "" && slices.Contains(entry.Scopes, oauth.ScopeAdmin) {
		return errOnlyAtSocket
	}
	if l, ok := a.Clients.Find(entry.ID); ok && l.Stored == nil {
		return httpapi.Conflict("client_taken", "the settings have a client "+entry.ID)
	}
	row, shown, err := a.Registry.Add(c.Request().Context(), entry.ID, registration.Bytes(), entry.Auth == "secret")
	if err != nil {
		return err
	}
	return a.changedClient(c, row, shown)
}

// replaceSecret serves POST /admin/clients/secret?id=…&keep=24h
func (a *API) replaceSecret(c echo.Context) error {
	keep, err := time.ParseDuration(c.QueryParam("keep"))
	if err != nil || keep < 0 || keep > maxKeep {
		return httpapi.Invalid("keep must be a duration such as 24h, at most 720h; 0s ends the old secret at once.")
	}
	id := c.QueryParam("id")
	if err := a.changeable(c, id); err != nil {
		return err
	}
	row, secret, err := a.Registry.ReplaceSecret(c.Request().Context(), id, keep)
	if errors.Is(err, clients.ErrNoSecret) {
		return httpapi.Conflict("no_secret", "the client "+id+" has no secret: it does not authenticate with one")
	} else if err != nil {
		return err
	}
	return a.changedClient(c, row, secret)
}

// removeClient serves DELETE /admin/clients?id=…&reason=…
func (a *API) removeClient(c echo.Context) error {
	id := c.QueryParam("id")
	if err := a.changeable(c, id); err != nil {
		return err
	}
	row, _, err := a.Registry.Remove(c.Request().Context(), id, reason(c))
	if err != nil {
		return err
	}
	return a.changedClient(c, row, "")
}

// changeable refuses to change a client of the settings and, over the network, one of an operator.
func (a *API) changeable(c echo.Context, id string) error {
	l, ok := a.Clients.Find(id)
	switch {
	case ok && l.Stored == nil:
		return httpapi.Conflict("client_of_settings",
			"the client "+id+" is in the settings file: change it there, and send the issuer SIGHUP")
	case ok && operator(c).Client != "" && slices.Contains(l.Entry.Scopes, oauth.ScopeAdmin):
		return errOnlyAtSocket
	}
	return nil
}

// changedClient applies a durable change to the register, and answers with the client and its new secret, if any.
func (a *API) changedClient(c echo.Context, row storage.Client, secret string) error {
	if err := a.Clients.Apply(row); err != nil {
		return err
	}
	l, _ := a.Clients.Find(row.ID)
	answer := a.client(l)
	answer.Secret = secret
	return c.JSON(http.StatusOK, answer)
}

func (a *API) client(k Client) api.Client {
	e := k.Entry
	v := api.Client{
		ID: k.ID, Name: e.Name, Source: api.SourceSettings, Auth: e.Auth, Public: e.Auth == "none", FirstParty: e.FirstParty,
		RedirectURIs: e.RedirectURIs, Grants: present(e.Grants), Scopes: present(e.Scopes), Domains: present(e.Domains),
		Resources: e.Resources, PeerResources: e.PeerResources, Embed: e.Embed, DPoP: e.DPoP,
		RequirePAR: e.RequirePAR, RequireDPoPJKT: e.RequireDPoPJKT,
		JWKS: e.JWKS, JWKSURI: e.JWKSURI, SignedResponseAlg: e.SignedResponseAlg,
	}
	if r := e.Introspection; r.Release != nil {
		v.Introspection = &api.Release{Claims: r.Claims, Reasons: &r.Reasons, Pairwise: r.Pairwise}
	}
	if e.SCIM.Issuer != "" {
		v.SCIM = &api.SCIM{Provider: e.SCIM.Provider}
		for _, sum := range e.SCIM.TokenSHA256 {
			v.SCIM.TokenSHA256 = append(v.SCIM.TokenSHA256, hex.EncodeToString(sum[:]))
		}
	}
	if k.Fault != nil {
		v.Fault = k.Fault.Error()
	}
	if row := k.Stored; row != nil {
		v.Source, v.CreatedAt = api.SourceStorage, optional(row.CreatedAt)
		v.RemovedAt, v.RemovedReason = optional(row.RemovedAt), row.RemovedReason
		if a.Now().Before(row.OldUntil) {
			v.OldSecretUntil = optional(row.OldUntil)
		}
	}
	return v
}

// present returns a list that JSON writes as an array, even if it is empty.
func present(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
