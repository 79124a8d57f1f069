// Package registration lets clients register themselves (RFC 7591) and manage their registration (RFC 7592).
//
// A client registers with an initial access token, which is named in the settings with what such clients can be. The metadata become a
// registration in the form of the settings, and are checked by their rules.
package registration

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/storage"
)

// Error codes (RFC 7591 §3.2.2).
const (
	CodeInvalidRedirect = "invalid_redirect_uri"
	CodeInvalidMetadata = "invalid_client_metadata"
)

// ErrToken is returned for an initial or a registration access token that is not valid. It does not tell whether there is such a client.
var ErrToken = errors.New("registration: the access token is not valid")

// An Error refuses metadata.
type Error struct {
	Code        string // of RFC 7591 §3.2.2
	Description string // for the developer of the client
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

// grantDevice is the grant type of devices without a browser (RFC 8628 §3.4).
const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

func refuse(description string) error { return &Error{CodeInvalidMetadata, description} }

// A Register reads registrations by the rules of the settings, and serves the clients that are stored.
type Register interface {
	Check(registration []byte, secret [32]byte) (config.Client, error)
	Apply(rows ...storage.Client) error
}

// Config configures [New]. All fields are required.
type Config struct {
	// URL is the registration endpoint.
	URL      string
	Tokens   []config.InitialToken
	Registry *clients.Registry
	Register Register
	Store    clients.Reader
}

// A Service registers clients. Its methods may be called by several goroutines.
type Service struct{ Config }

// New returns a service.
func New(cfg Config) *Service { return &Service{cfg} }

// Information is the answer to a client (RFC 7591 §3.2.1, RFC 7592 §3).
type Information struct {
	ClientID string `json:"client_id"`
	// ClientSecret is there only in the answer to the request that made it, and so is SecretExpires, which is 0: it does not expire.
	ClientSecret  string `json:"client_secret,omitempty"`
	SecretExpires *int64 `json:"client_secret_expires_at,omitempty"`
	IssuedAt      int64  `json:"client_id_issued_at"`
	// Token manages the registration at URI. It is there only in the answer to the registration.
	Token string `json:"registration_access_token,omitempty"`
	URI   string `json:"registration_client_uri"`
	Metadata
}

// Register registers a client with an initial access token. The errors are [ErrToken], an [*Error] and [clients.ErrRegistrations]; any
// other one means that nothing was registered.
func (s *Service) Register(ctx context.Context, token string, body []byte) (Information, error) {
	with, ok := s.initial(token)
	if !ok {
		return Information{}, ErrToken
	}
	r, err := parse(body)
	if err != nil {
		return Information{}, err
	}
	if r.clientID != "" || r.secret != "" {
		return Information{}, refuse("client_id and client_secret are set by the issuer: leave them out.")
	}
	if err := s.admit(&r.Metadata, r, with); err != nil {
		return Information{}, err
	}
	n, err := s.Registry.Register(ctx, with.Name, with.Clients, r.withSecret(), func(id string) ([]byte, error) {
		return s.write(id, r)
	})
	if err != nil {
		return Information{}, err
	}
	return s.answer(n, r.Metadata)
}

// Read returns the registration of a client, without secrets. The error is [ErrToken] if token does not manage it.
func (s *Service) Read(ctx context.Context, id, token string) (Information, error) {
	row, err := s.managed(ctx, id, token)
	if err != nil {
		return Information{}, err
	}
	m, err := s.metadata(row)
	if err != nil {
		return Information{}, err
	}
	return s.answer(clients.Registered{Row: row}, m)
}

// Replace replaces the metadata of a client (RFC 7592 §2.2): those that are left out get their defaults. The errors are those of
// [Service.Register]. A client whose initial access token is not in the settings any more can be read and removed, but not changed.
func (s *Service) Replace(ctx context.Context, id, token string, body []byte) (Information, error) {
	row, err := s.managed(ctx, id, token)
	if err != nil {
		return Information{}, err
	}
	r, err := parse(body)
	if err != nil {
		return Information{}, err
	}
	if r.clientID != id {
		return Information{}, refuse("client_id must be that of the client (RFC 7592 section 2.2).")
	}
	if r.secret != "" {
		if sum := sha256.Sum256([]byte(r.secret)); subtle.ConstantTimeCompare(sum[:], row.Secret) != 1 {
			return Information{}, refuse("client_secret must be the present one, or left out.")
		}
	}
	i := slices.IndexFunc(s.Tokens, func(t config.InitialToken) bool { return t.Name == row.RegisteredWith })
	if i < 0 {
		return Information{}, refuse("The client cannot be changed: the initial access token that it was registered with was withdrawn.")
	}
	if err := s.admit(&r.Metadata, r, s.Tokens[i]); err != nil {
		return Information{}, err
	}
	registration, err := s.write(id, r)
	if err != nil {
		return Information{}, err
	}
	n, err := s.Registry.Reregister(ctx, id, token, registration, r.withSecret())
	if errors.Is(err, clients.ErrManagement) {
		return Information{}, ErrToken
	} else if err != nil {
		return Information{}, err
	}
	return s.answer(n, r.Metadata)
}

// Remove ends a client, its sessions and its tokens. The error is [ErrToken] if token does not manage it.
func (s *Service) Remove(ctx context.Context, id, token string) error {
	if _, err := s.managed(ctx, id, token); err != nil {
		return err
	}
	row, _, err := s.Registry.Remove(ctx, id, "unregistered")
	if err != nil {
		return err
	}
	return s.Config.Register.Apply(row)
}

func (s *Service) managed(ctx context.Context, id, token string) (storage.Client, error) {
	row, err := s.Registry.Managed(ctx, s.Store, id, token)
	if errors.Is(err, clients.ErrManagement) {
		return storage.Client{}, ErrToken
	}
	return row, err
}

// initial returns the initial access token with that value. All are compared, each in constant time.
func (s *Service) initial(token string) (found config.InitialToken, ok bool) {
	sum := sha256.Sum256([]byte(token))
	for _, t := range s.Tokens {
		if subtle.ConstantTimeCompare(sum[:], t.SHA256[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}

// withSecret reports whether the client has a secret.
func (r *read) withSecret() bool { return strings.HasPrefix(r.AuthMethod, "client_secret_") }

// admit completes the metadata and refuses those that the initial access token does not allow.
func (s *Service) admit(m *Metadata, r *read, with config.InitialToken) error {
	if err := r.complete(); err != nil {
		return err
	}
	if m.IMDomains == nil {
		m.IMDomains = with.Domains
	}
	if m.Scope == "" && (slices.Contains(m.GrantTypes, "authorization_code") || slices.Contains(m.GrantTypes, grantDevice)) {
		var scopes []string
		for _, scope := range []string{"im:handle", "im:device"} {
			if slices.Contains(with.Scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
		m.Scope = strings.Join(scopes, " ")
	}
	for _, member := range []struct {
		name         string
		asked, among []string
	}{
		{"grant_types", m.GrantTypes, with.Grants}, {"scope", strings.Fields(m.Scope), with.Scopes},
		{"im_domains", m.IMDomains, with.Domains}, {"im_resources", m.IMResources, with.Resources},
	} {
		for _, value := range member.asked {
			if !slices.Contains(member.among, value) {
				return refuse(errtext.Clean(fmt.Sprintf("%s: %.100s is not among what clients with this initial access token can have: %s.",
					member.name, value, strings.Join(member.among, ", "))))
			}
		}
	}
	return nil
}

// entry is a registration in the form of the settings.
type entry struct {
	ID                string   `json:"id"`
	Name              string   `json:"name,omitempty"`
	Auth              string   `json:"auth"`
	JWKS              string   `json:"jwks,omitempty"`
	JWKSURI           string   `json:"jwks_uri,omitempty"`
	RedirectURIs      []string `json:"redirect_uris,omitempty"`
	Grants            []string `json:"grants"`
	Scopes            []string `json:"scopes"`
	Domains           []string `json:"domains"`
	Resources         []string `json:"resources,omitempty"`
	RequirePAR        bool     `json:"require_par,omitempty"`
	SignedResponseAlg string   `json:"introspection_signed_response_alg,omitempty"`
}

// members holds the names of the metadata for the keys of an entry.
var members = map[string]string{
	"name": "client_name", "auth": "token_endpoint_auth_method", "grants": "grant_types", "scopes": "scope", "domains": "im_domains",
	"resources": "im_resources", "require_par": "require_pushed_authorization_requests",
}

// auths holds the words of the settings for authentication methods (RFC 7591 §2, OpenID Connect Core 1.0 §9).
var auths = map[string]string{
	"none": "none", "client_secret_basic": "secret", "client_secret_post": "secret", "private_key_jwt": "private_key_jwt",
}

// write writes metadata as a registration, and checks it by the rules of the settings.
func (s *Service) write(id string, r *read) ([]byte, error) {
	auth, ok := auths[r.AuthMethod]
	if !ok {
		return nil, refuse("token_endpoint_auth_method must be none, client_secret_basic, client_secret_post or private_key_jwt.")
	}
	e := entry{
		ID: id, Name: r.ClientName, Auth: auth, JWKS: string(r.JWKS), JWKSURI: r.JWKSURI, RedirectURIs: r.RedirectURIs,
		Grants: r.GrantTypes, Scopes: strings.Fields(r.Scope), Domains: r.IMDomains, Resources: r.IMResources,
		RequirePAR: r.RequirePAR, SignedResponseAlg: r.SignedResponseAlg,
	}
	if e.Scopes == nil {
		e.Scopes = []string{}
	}
	registration, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("registration: %w", err)
	}
	var secret [32]byte
	if auth == "secret" {
		secret[0] = 1 // any: the client will have one
	}
	_, err = s.Config.Register.Check(registration, secret)
	var faults config.Errors
	if errors.As(err, &faults) && len(faults) > 0 {
		f := faults[0]
		key, rest := f.Path, ""
		if i := strings.IndexAny(key, ".["); i >= 0 {
			key, rest = key[:i], key[i:]
		}
		if name, ok := members[key]; ok {
			key = name
		}
		return nil, &Error{codeOf(key), errtext.Clean(key + rest + " " + f.Message + ".")}
	}
	return registration, err
}

// codeOf returns the code of a refusal that is about a member.
func codeOf(member string) string {
	if strings.HasPrefix(member, "redirect_uri") {
		return CodeInvalidRedirect
	}
	return CodeInvalidMetadata
}

// metadata returns the metadata of a stored registration. The settings do not tell the two ways to send a secret apart, nor are the
// application type and response types stored.
func (s *Service) metadata(row storage.Client) (Metadata, error) {
	var e entry
	if err := json.Unmarshal(row.Registration, &e); err != nil {
		return Metadata{}, fmt.Errorf("registration: read a stored client: %w", err)
	}
	m := Metadata{
		RedirectURIs: e.RedirectURIs, AuthMethod: e.Auth, GrantTypes: e.Grants, ResponseTypes: []string{}, ClientName: e.Name,
		Scope: strings.Join(e.Scopes, " "), JWKSURI: e.JWKSURI, DPoPBound: true, RequirePAR: e.RequirePAR,
		SignedResponseAlg: e.SignedResponseAlg, IMDomains: e.Domains, IMResources: e.Resources,
	}
	if e.Auth == "secret" {
		m.AuthMethod = "client_secret_basic"
	}
	if e.JWKS != "" {
		m.JWKS = json.RawMessage(e.JWKS)
	}
	if slices.Contains(e.Grants, "authorization_code") {
		m.ResponseTypes = []string{"code"}
	}
	return m, nil
}

// answer serves the client from now on, and returns what it is told.
func (s *Service) answer(n clients.Registered, m Metadata) (Information, error) {
	if err := s.Config.Register.Apply(n.Row); err != nil {
		return Information{}, err
	}
	i := Information{
		ClientID: n.Row.ID, ClientSecret: n.Secret, IssuedAt: n.Row.CreatedAt.Unix(), Token: n.Token, URI: s.URL + "/" + n.Row.ID,
		Metadata: m,
	}
	if n.Secret != "" {
		i.SecretExpires = new(int64)
	}
	return i, nil
}
