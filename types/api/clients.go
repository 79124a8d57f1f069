package api

import "time"

// The values of [Client.Source].
const (
	SourceSettings = "settings"
	SourceStorage  = "storage"
)

// A Client is a registered client as operators see it.
type Client struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Source string `json:"source"`
	Auth   string `json:"auth,omitempty"`
	// Secret is only in the answer that adds the client or replaces its secret.
	Secret            string   `json:"secret,omitempty"`
	Public            bool     `json:"public"`
	FirstParty        bool     `json:"first_party,omitempty"`
	RedirectURIs      []string `json:"redirect_uris,omitempty"`
	Grants            []string `json:"grants"`
	Scopes            []string `json:"scopes"`
	Domains           []string `json:"domains"`
	Resources         []string `json:"resources,omitempty"`
	PeerResources     bool     `json:"peer_resources,omitempty"`
	Embed             []string `json:"embed,omitempty"`
	DPoP              string   `json:"dpop,omitempty"`
	RequirePAR        bool     `json:"require_par,omitempty"`
	RequireDPoPJKT    bool     `json:"require_dpop_jkt,omitempty"`
	JWKS              string   `json:"jwks,omitempty"`
	JWKSURI           string   `json:"jwks_uri,omitempty"`
	SignedResponseAlg string   `json:"introspection_signed_response_alg,omitempty"`
	// Introspection is what the client is told about tokens; absent if it is told everything.
	Introspection  *Release   `json:"introspection,omitempty"`
	SCIM           *SCIM      `json:"scim,omitempty"`
	CreatedAt      *time.Time `json:"created_at,omitempty"`
	OldSecretUntil *time.Time `json:"old_secret_until,omitempty"`
	RemovedAt      *time.Time `json:"removed_at,omitempty"`
	RemovedReason  string     `json:"removed_reason,omitempty"`
	// Fault is set if a client in storage is not served, and says why.
	Fault string `json:"fault,omitempty"`
}

// A NewClient is the registration of a client, with the keys that the settings file has for clients.
type NewClient struct {
	ID                string   `json:"id"`
	Name              string   `json:"name,omitempty"`
	Auth              string   `json:"auth"`
	FirstParty        bool     `json:"first_party,omitempty"`
	RedirectURIs      []string `json:"redirect_uris,omitempty"`
	Grants            []string `json:"grants,omitempty"`
	Scopes            []string `json:"scopes,omitempty"`
	Domains           []string `json:"domains,omitempty"`
	Resources         []string `json:"resources,omitempty"`
	PeerResources     bool     `json:"peer_resources,omitempty"`
	Embed             []string `json:"embed,omitempty"`
	DPoP              string   `json:"dpop,omitempty"`
	RequirePAR        bool     `json:"require_par,omitempty"`
	RequireDPoPJKT    bool     `json:"require_dpop_jkt,omitempty"`
	JWKS              string   `json:"jwks,omitempty"`
	JWKSURI           string   `json:"jwks_uri,omitempty"`
	SignedResponseAlg string   `json:"introspection_signed_response_alg,omitempty"`
	Introspection     *Release `json:"introspection,omitempty"`
	SCIM              *SCIM    `json:"scim,omitempty"`
}

// A SCIM says which OpenID provider manages its users by the client.
type SCIM struct {
	Provider string `json:"provider,omitempty"`
	// TokenSHA256 are the SHA-256 hashes of its bearer tokens, in hexadecimal.
	TokenSHA256 []string `json:"token_sha256,omitempty"`
}

// A Release says what a client is told at introspection. In a registration, absent members have the defaults of the settings file.
type Release struct {
	// Claims are the members of active answers that the client gets, beside those that are in every answer.
	Claims []string `json:"claims,omitzero"`
	// Reasons tells it why a token is not active, if it has the scope for that.
	Reasons *bool `json:"reasons,omitempty"`
	// Pairwise replaces users and devices by ids that no other caller gets.
	Pairwise bool `json:"pairwise,omitempty"`
}
