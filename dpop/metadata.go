package dpop

import (
	"encoding/json"
	"net/http"
)

// ResourceMetadata is the metadata of a resource (RFC 9728 §2), without the members that [Resource.Metadata] adds.
type ResourceMetadata struct {
	// AuthorizationServers are the issuers whose tokens the resource accepts.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	Name                 string   `json:"resource_name,omitempty"`          // for people
	Documentation        string   `json:"resource_documentation,omitempty"` // URL of a page for developers
	Policy               string   `json:"resource_policy_uri,omitempty"`    // URL of a page
	TermsOfService       string   `json:"resource_tos_uri,omitempty"`       // URL of a page
	JWKS                 string   `json:"jwks_uri,omitempty"`               // URL of the resource's own keys
}

// Metadata returns the pattern and the handler for the resource's metadata, for [http.ServeMux.Handle]. The path of
// PublicURL follows the well-known path (RFC 9728 §3.1). Requests for the metadata need no token.
func (s *Resource) Metadata() (pattern string, handler http.Handler) {
	return "GET " + s.metadataPath(), http.HandlerFunc(s.serveMetadata)
}

// MetadataURL returns the URL of the resource's metadata at the public origin that a request is for (RFC 9728 §3.1). It is empty if the
// resource has no metadata, or if a trusted proxy names another origin.
func (s *Resource) MetadataURL(r *http.Request) string {
	if s.cfg.Metadata == nil {
		return ""
	}
	origin, err := s.origin(r)
	if err != nil {
		return ""
	}
	return origin + s.metadataPath()
}

func (s *Resource) metadataPath() string { return "/.well-known/oauth-protected-resource" + s.prefix }

func (s *Resource) serveMetadata(w http.ResponseWriter, r *http.Request) {
	origin, err := s.origin(r)
	if err != nil {
		s.Refuse(w, r, err)
		return
	}
	document := struct {
		Resource string `json:"resource"`
		ResourceMetadata
		Bearer     []string `json:"bearer_methods_supported"`
		Algorithms []string `json:"dpop_signing_alg_values_supported"`
		Required   bool     `json:"dpop_bound_access_tokens_required"`
	}{
		Resource:   origin + s.prefix,
		Bearer:     []string{}, // RFC 9728 §2: bearer tokens are not supported
		Algorithms: s.cfg.Verifier.Algorithms(),
		Required:   !s.cfg.AllowBearer,
	}
	if s.cfg.Metadata != nil {
		document.ResourceMetadata = *s.cfg.Metadata
	}
	if s.cfg.AllowBearer {
		document.Bearer = []string{"header"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=300")
	_ = json.NewEncoder(w).Encode(document) // an error means that the client has disconnected
}
