// Package admin serves operators: the endpoints below /admin. It authenticates nobody. Its caller has admitted each request as that of
// an operator ([httpapi.WithOperator]), at the admin socket or over the network, and the table of routes says which operators each
// endpoint serves. Every change is an event of [audit], with the operator as its actor.
//
// The rules are in the packages below. A handler reads what is asked, makes one call, and writes the answer, which is of
// types/api.
package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/idempotency"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Config configures an [API]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the issuer identifier.
	Issuer string
	// Domains are the domains of the issuer.
	Domains []string
	// Settings are the settings of the domains.
	Settings []config.Domain
	// Providers are the issuers of the OpenID providers at which users sign in.
	Providers  []string
	Accounts   *account.Accounts
	Statements *statements.Service
	Registry   *clients.Registry
	Keys       *keys.Ring
	Cluster    *keys.Cluster
	Clients    Clients
	// Backup writes the database to a new file. Its error is [storage.ErrBackupExists] for a file that exists. Nil if the database is
	// backed up with its own tools.
	Backup func(ctx context.Context, to string) error
	// WireKey returns the key that signs tokens for certificate authorities of Wire; the error is [keys.ErrNoFixedKey] if no domain has
	// one. ReplaceWireKey replaces it.
	WireKey, ReplaceWireKey func(ctx context.Context) (keys.FixedKey, error)
	// Idempotency remembers the requests that come with an idempotency key.
	Idempotency *idempotency.Keeper
	// Audit has the audit log.
	Audit *audit.Book
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// Clients is the register of all clients, those of the settings and those in storage.
type Clients interface {
	// List returns the clients in the order of their ids, without those that were removed.
	List() []Client
	// Find returns the client with an id, also one that was removed, and false if there never was one.
	Find(id string) (Client, bool)
	// Check reads a registration by the rules of the settings. Its error is a [config.Errors] if it breaks one.
	Check(registration []byte, secret [32]byte) (config.Client, error)
	// Apply merges rows that were written, ignoring any that are older than those of the register.
	Apply(rows ...storage.Client) error
}

// A Client is a client of the register.
type Client struct {
	ID    string
	Entry config.Client
	// Stored is the client's row; nil if the client is in the settings.
	Stored *storage.Client
	// Fault is set if the client is not served, because its registration is not valid under the present settings.
	Fault error
}

// An API is the endpoints for operators.
type API struct{ Config }

// New returns an API.
func New(cfg Config) (*API, error) {
	if cfg.Issuer == "" || len(cfg.Domains) == 0 || cfg.Accounts == nil || cfg.Registry == nil || cfg.Statements == nil ||
		cfg.Keys == nil || cfg.Cluster == nil || cfg.Clients == nil || cfg.Idempotency == nil || cfg.Audit == nil ||
		cfg.WireKey == nil || cfg.ReplaceWireKey == nil {
		return nil, errors.New("admin: Config is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &API{cfg}, nil
}

// Routes returns the table of the endpoints. Their requests need an operator: see [httpapi.WithOperator].
func (a *API) Routes() []httpapi.Route {
	const domain, issuer = httpapi.OneDomain, httpapi.WholeIssuer
	page := func(filters ...string) []string { return append([]string{"limit", "cursor", "after"}, filters...) }
	pageByUser := func(filters ...string) []string { return append([]string{"limit", "cursor", "user"}, filters...) }
	reason := []string{"reason"}
	table := []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/admin/audit", Handler: a.exportAudit, Reach: issuer,
			Query: []string{"node", "after", "since", "until", "user"},
		},
		{Method: http.MethodGet, Path: "/admin/audit/chains", Handler: a.auditChains, Reach: issuer},
		{Method: http.MethodGet, Path: "/admin/audit/keys", Handler: a.auditKeys, Reach: issuer},
		{Method: http.MethodPost, Path: "/admin/backup", Handler: a.backup, Reach: httpapi.AtSocket, Query: []string{"to"}},
		{Method: http.MethodGet, Path: "/admin/devices", Handler: a.listDevices, Reach: domain, Query: page("user", "client", "removed")},
		{Method: http.MethodGet, Path: "/admin/devices/{domain}/{device}", Handler: a.showDevice, Reach: domain},
		{Method: http.MethodDelete, Path: "/admin/devices/{domain}/{device}", Handler: a.removeDevice, Reach: domain, Query: reason},
		{Method: http.MethodGet, Path: "/admin/users", Handler: a.listUsers, Reach: domain, Query: page("search", "disabled")},
		{Method: http.MethodGet, Path: "/admin/users/{user}", Handler: a.showUser, Reach: domain},
		{
			Method: http.MethodPut, Path: "/admin/users/{user}/handle", Handler: a.renameUser, Reach: domain,
			Query: []string{"handle", "reserved"},
		},
		{Method: http.MethodPost, Path: "/admin/links", Handler: a.relink, Reach: domain, Query: []string{"dry_run"}},
		{Method: http.MethodDelete, Path: "/admin/names", Handler: a.releaseHandle, Reach: domain, Query: []string{"handle"}},
		{Method: http.MethodPost, Path: "/admin/users/{user}/disable", Handler: a.disableUser, Reach: domain},
		{Method: http.MethodPost, Path: "/admin/users/{user}/enable", Handler: a.enableUser, Reach: domain},
		{Method: http.MethodDelete, Path: "/admin/users/{user}", Handler: a.removeUser, Reach: domain, Query: []string{"may_return"}},
		{
			Method: http.MethodPost, Path: "/admin/users/{user}/erase", Handler: a.eraseUser, Reach: domain,
			Query: []string{"confirm", "may_return"},
		},
		{Method: http.MethodGet, Path: "/admin/users/{user}/export", Handler: a.exportUser, Reach: domain},
		{Method: http.MethodDelete, Path: "/admin/removals", Handler: a.readmit, Reach: domain, Query: []string{"iss", "sub"}},
		{Method: http.MethodGet, Path: "/admin/handles", Handler: a.listHandles, Reach: domain, Query: pageByUser("held")},
		{
			Method: http.MethodGet, Path: "/admin/sessions", Handler: a.listSessions, Reach: domain,
			Query: pageByUser("client", "device", "ended"),
		},
		{Method: http.MethodDelete, Path: "/admin/sessions/{domain}/{session}", Handler: a.endSession, Reach: domain, Query: reason},
		{
			Method: http.MethodGet, Path: "/admin/credentials", Handler: a.listCredentials, Reach: domain,
			Query: page("user", "device", "format", "live"),
		},
		{
			Method: http.MethodDelete, Path: "/admin/credentials/{domain}/{credential}", Handler: a.endCredential, Reach: domain,
			Query: reason,
		},
		{Method: http.MethodGet, Path: "/admin/domains", Handler: a.listDomains, Reach: httpapi.EachEntry, Query: page()},
		{
			Method: http.MethodGet, Path: "/admin/clients", Handler: a.listClients, Reach: httpapi.EachEntry,
			Query: page("domain", "source"),
		},
		{Method: http.MethodPost, Path: "/admin/clients", Handler: a.addClient, Reach: issuer},
		{Method: http.MethodDelete, Path: "/admin/clients", Handler: a.removeClient, Reach: issuer, Query: []string{"id", "reason"}},
		{Method: http.MethodPost, Path: "/admin/clients/secret", Handler: a.replaceSecret, Reach: issuer, Query: []string{"id", "keep"}},
		{Method: http.MethodGet, Path: "/admin/client", Handler: a.showClient, Reach: httpapi.EachEntry, Query: []string{"id"}},
		{Method: http.MethodGet, Path: "/admin/keys", Handler: a.listKeys, Reach: issuer, Query: page("state")},
		{Method: http.MethodPost, Path: "/admin/keys", Handler: a.rotateKey, Reach: issuer, Query: []string{"now"}},
		{Method: http.MethodDelete, Path: "/admin/keys/{kid}", Handler: a.revokeKey, Reach: issuer, Query: reason},
		{Method: http.MethodGet, Path: "/admin/cluster-secrets", Handler: a.listClusterSecrets, Reach: issuer},
		{
			Method: http.MethodPost, Path: "/admin/cluster-secrets", Handler: a.rotateClusterSecret, Reach: issuer,
			Query: []string{"leaked"},
		},
		{Method: http.MethodGet, Path: "/admin/key-encryption-keys", Handler: a.listKEKs, Reach: issuer},
		{Method: http.MethodPost, Path: "/admin/key-encryption-keys", Handler: a.rotateKEK, Reach: issuer},
		{Method: http.MethodGet, Path: "/admin/wire-key", Handler: a.showWireKey, Reach: issuer},
		{Method: http.MethodPost, Path: "/admin/wire-key", Handler: a.replaceWireKey, Reach: issuer},
		{Method: http.MethodGet, Path: "/admin/statements", Handler: a.listStatements, Reach: domain, Query: page("user", "typ")},
		{Method: http.MethodPost, Path: "/admin/statements", Handler: a.makeStatement, Reach: httpapi.EachEntry},
		{Method: http.MethodDelete, Path: "/admin/statements/{id}", Handler: a.withdrawStatement, Reach: domain, Query: reason},
	}
	for i, r := range table {
		table[i].Handler = a.guard(r)
	}
	return table
}

// domain returns the domain of a request: the one that it names, or the only one of the issuer.
func (a *API) domain(c echo.Context) (string, error) {
	if domain := c.Param("domain"); domain != "" {
		return domain, nil
	}
	if domain := c.QueryParam("domain"); domain != "" {
		return domain, nil
	}
	if len(a.Domains) == 1 {
		return a.Domains[0], nil
	}
	return "", httpapi.Invalid("The issuer serves several domains: name one.")
}

// servedDomain is domain for requests to which an empty answer about an unknown domain would mislead.
func (a *API) servedDomain(c echo.Context) (string, error) {
	domain, err := a.domain(c)
	if err == nil && !slices.Contains(a.Domains, domain) {
		err = httpapi.Invalid("The issuer does not serve that domain.")
	}
	return domain, err
}

// reason returns the reason that a request gives, or a default.
func reason(c echo.Context) string {
	if reason := c.QueryParam("reason"); reason != "" {
		return reason
	}
	return "operator"
}

// flag reads a parameter that is true or false. An absent one is false.
func flag(c echo.Context, name string) (bool, error) {
	switch c.QueryParam(name) {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, httpapi.Invalid("The parameter " + name + " must be true or false.")
}

// optional returns a time that may never have come: nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = rounded(t)
	return &t
}

// rounded returns a time as storage returns it, for an answer that was not read from there.
func rounded(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
