package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// Where a client is kept.
const (
	sourceSettings = "settings"
	sourceStorage  = "storage"
)

// keepAtMost bounds how long a client's old secret is good beside the new one.
const keepAtMost = 30 * 24 * time.Hour

// Clients is the register of all clients, those of the settings and those in storage.
type Clients interface {
	// List returns the clients in the order of their ids, without those that were removed.
	List() []RegisteredClient
	// Find returns the client with an id, also one that was removed, and false if there never was one.
	Find(id string) (RegisteredClient, bool)
	// Check reads a registration by the rules of the settings. Its error is a [config.Errors] if it breaks one.
	Check(registration []byte, secret [32]byte) (config.Client, error)
	// Apply merges rows that were written, ignoring any that are older than those of the register.
	Apply(rows ...storage.Client) error
}

// A RegisteredClient is a client of the register.
type RegisteredClient struct {
	ID    string
	Entry config.Client
	// Stored is the client's row; nil if the client is in the settings.
	Stored *storage.Client
	// Fault is set if the client is not served, because its registration is not valid under the present settings.
	Fault error
}

// AdminClient is a client as operators see it, without its secret.
type AdminClient struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Source string `json:"source"` // settings or storage
	Auth   string `json:"auth,omitempty"`
	// Secret is that of a client that was just added or given a new one: shown once, and never again.
	Secret         string     `json:"secret,omitempty"`
	Public         bool       `json:"public"`
	FirstParty     bool       `json:"first_party,omitempty"`
	RedirectURIs   []string   `json:"redirect_uris,omitempty"`
	Grants         []string   `json:"grants"`
	Scopes         []string   `json:"scopes"`
	Domains        []string   `json:"domains"`
	Resources      []string   `json:"resources,omitempty"`
	Embed          []string   `json:"embed,omitempty"`
	DPoP           string     `json:"dpop,omitempty"`
	RequirePAR     bool       `json:"require_par,omitempty"`
	RequireDPoPJKT bool       `json:"require_dpop_jkt,omitempty"`
	JWKS           string     `json:"jwks,omitempty"`
	JWKSURI        string     `json:"jwks_uri,omitempty"`
	CreatedAt      *time.Time `json:"created_at,omitempty"`
	OldSecretUntil *time.Time `json:"old_secret_until,omitempty"`
	RemovedAt      *time.Time `json:"removed_at,omitempty"`
	RemovedReason  string     `json:"removed_reason,omitempty"`
	// Fault is why a client in storage is not served.
	Fault string `json:"fault,omitempty"`
}

// registerRefused says to an operator why a client cannot be added or changed.
type registerRefused struct {
	status int
	code   string
	words  string
}

func (e *registerRefused) Error() string { return "server: client refused: " + e.words }

// listClients serves GET /admin/clients.
func (s *Server) listClients(c echo.Context) error {
	list := make([]AdminClient, 0)
	for _, l := range s.Clients.List() {
		list = append(list, s.adminClient(l))
	}
	return c.JSON(http.StatusOK, list)
}

// showClient serves GET /admin/client?id=… An id may hold slashes, so it is no part of the path.
func (s *Server) showClient(c echo.Context) error {
	l, ok := s.Clients.Find(c.QueryParam("id"))
	if !ok {
		return oauth.ErrNoClient
	}
	return c.JSON(http.StatusOK, s.adminClient(l))
}

// addClient serves POST /admin/clients. The body is the client as the settings write one, in JSON.
func (s *Server) addClient(c echo.Context) error {
	if types := c.Request().Header.Values("Content-Type"); len(types) != 1 || !isJSON(types[0]) {
		return invalid("The body must be of type application/json.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return &tooLarge{}
	} else if err != nil {
		return invalid("The body is incomplete.")
	}
	var registration bytes.Buffer
	if err := json.Compact(&registration, body); err != nil {
		return invalid("The body is not JSON.")
	}
	var head struct{ Auth string }
	_ = json.Unmarshal(registration.Bytes(), &head) // what is wrong with it, check will say
	var secret [32]byte
	if head.Auth == "secret" {
		secret[0] = 1 // any: there will be one
	}
	entry, err := s.Clients.Check(registration.Bytes(), secret)
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		var words []string
		for _, e := range faults {
			words = append(words, strings.TrimPrefix(e.Path+": ", ": ")+e.Message)
		}
		return &registerRefused{http.StatusBadRequest, oauth.CodeInvalidRequest, strings.Join(words, "\n")}
	} else if err != nil {
		return err
	}
	if l, ok := s.Clients.Find(entry.ID); ok && l.Stored == nil {
		return &registerRefused{http.StatusConflict, "client_taken", "the settings have a client " + entry.ID}
	}
	row, shown, err := s.OAuth.AddClient(c.Request().Context(), entry.ID, registration.Bytes(), entry.Auth == "secret")
	if err != nil {
		return err
	}
	return s.changedClient(c, row, shown)
}

// rotateSecret serves POST /admin/clients/secret?id=…&keep=24h
func (s *Server) rotateSecret(c echo.Context) error {
	keep, err := time.ParseDuration(c.QueryParam("keep"))
	if err != nil || keep < 0 || keep > keepAtMost {
		return invalid("keep must be a duration such as 24h, at most 720h; 0s ends the old secret at once.")
	}
	id := c.QueryParam("id")
	if err := s.ownClient(id); err != nil {
		return err
	}
	row, secret, err := s.OAuth.RotateSecret(c.Request().Context(), id, keep)
	if errors.Is(err, oauth.ErrNoSecret) {
		return &registerRefused{http.StatusConflict, "no_secret", "the client " + id + " has no secret: it does not authenticate with one"}
	} else if err != nil {
		return err
	}
	return s.changedClient(c, row, secret)
}

// removeClient serves DELETE /admin/clients?id=…&reason=…
func (s *Server) removeClient(c echo.Context) error {
	reason := c.QueryParam("reason")
	if reason == "" {
		reason = "operator"
	}
	id := c.QueryParam("id")
	if err := s.ownClient(id); err != nil {
		return err
	}
	row, err := s.OAuth.RemoveClient(c.Request().Context(), id, reason)
	if err != nil {
		return err
	}
	return s.changedClient(c, row, "")
}

// ownClient refuses to change a client of the settings.
func (s *Server) ownClient(id string) error {
	if l, ok := s.Clients.Find(id); ok && l.Stored == nil {
		return &registerRefused{http.StatusConflict, "client_of_settings", "the client " + id + " is in the settings file: change it there, and send the issuer SIGHUP"}
	}
	return nil
}

// changedClient answers a change that is durable, with the secret that came of it, once it is taken up here.
func (s *Server) changedClient(c echo.Context, row storage.Client, secret string) error {
	if err := s.Clients.Apply(row); err != nil {
		return err
	}
	l, _ := s.Clients.Find(row.ID)
	answer := s.adminClient(l)
	answer.Secret = secret
	return c.JSON(http.StatusOK, answer)
}

func (s *Server) adminClient(l RegisteredClient) AdminClient {
	e := l.Entry
	a := AdminClient{
		ID: l.ID, Name: e.Name, Source: sourceSettings, Auth: e.Auth, Public: e.Auth == "none", FirstParty: e.FirstParty,
		RedirectURIs: e.RedirectURIs, Grants: orNone(e.Grants), Scopes: orNone(e.Scopes), Domains: orNone(e.Domains), Resources: e.Resources,
		Embed: e.Embed, DPoP: e.DPoP, RequirePAR: e.RequirePAR, RequireDPoPJKT: e.RequireDPoPJKT, JWKS: e.JWKS, JWKSURI: e.JWKSURI,
	}
	if l.Stored == nil {
		return a
	}
	row := l.Stored
	a.Source, a.CreatedAt, a.RemovedAt, a.RemovedReason = sourceStorage, once(row.CreatedAt), once(row.RemovedAt), row.RemovedReason
	if s.Now().Before(row.OldUntil) {
		a.OldSecretUntil = once(row.OldUntil)
	}
	if l.Fault != nil {
		a.Fault = l.Fault.Error()
	}
	return a
}

// orNone writes a list that is there, also if nothing is in it.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
