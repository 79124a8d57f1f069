package forwardauth

import (
	"encoding/json"
	"net/http"

	"github.com/imidentity/issuer/dpop"
)

// MetadataPath is the path of the metadata of each public origin (RFC 9728 §3.1).
const MetadataPath = "/.well-known/oauth-protected-resource"

// Metadata is the metadata of the public origins (RFC 9728 §2), without the members that [Metadata.Write] adds.
type Metadata struct {
	dpop.ResourceMetadata
	// Audience are the values of `aud` of which a token needs one. A client asks its issuer for a token with one as `resource` (RFC 8707).
	Audience []string `json:"im_audience,omitempty"`
	// Algorithms are those of proofs.
	Algorithms []string `json:"dpop_signing_alg_values_supported"`
}

// Write writes the metadata of the public origin.
func (m Metadata) Write(w http.ResponseWriter, origin string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=300")
	_ = json.NewEncoder(w).Encode(struct { // an error means that the client has disconnected
		Resource string `json:"resource"`
		Metadata
		Bearer   []string `json:"bearer_methods_supported"` // RFC 9728 §2: none
		Required bool     `json:"dpop_bound_access_tokens_required"`
	}{origin, m, []string{}, true})
}

// Origin returns the public origin that a request without a token is for, such as one for metadata: the one that a trusted proxy
// forwards, or else that of Host. If there is only one public origin, it is that one.
func (r *Reader) Origin(q *http.Request) (string, bool) {
	proto, host := "http", q.Host
	if q.TLS != nil {
		proto = "https"
	}
	if r.cfg.Proxy != Direct && r.listed(q.RemoteAddr) {
		if values := q.Header["X-Forwarded-Proto"]; len(values) == 1 {
			proto = values[0]
		}
		if values := q.Header["X-Forwarded-Host"]; len(values) == 1 {
			host = values[0]
		}
	}
	for _, scheme := range []string{proto, "https"} {
		if origin, ok := r.origin(scheme, host); ok {
			return origin, true
		}
	}
	if len(r.cfg.Origins) == 1 {
		return r.cfg.Origins[0], true
	}
	return "", false
}
