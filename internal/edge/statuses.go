package edge

import (
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/statuslist"
)

// newStatuses makes the reader of status lists.
func newStatuses(s *state, client, foreign *http.Client, now func() time.Time) (*statuslist.Reader, error) {
	origins := issuerOrigins(s.cfg)
	return statuslist.NewReader(statuslist.ReaderConfig{
		Keys: s.table, AllowHTTP: s.cfg.Development, Now: now,
		Client: &http.Client{
			Transport: byOrigin{origins: func() map[string]bool { return origins }, listed: client.Transport, foreign: foreign.Transport},
			Timeout:   client.Timeout, CheckRedirect: client.CheckRedirect,
		},
	})
}

// A byOrigin sends requests for the origins of issuers in the settings as the settings allow, and others under the strictest rules: their
// URLs come from tokens, or from the metadata of issuers.
type byOrigin struct {
	origins         func() map[string]bool
	listed, foreign http.RoundTripper
}

// RoundTrip sends a request.
func (t byOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.origins()[r.URL.Scheme+"://"+r.URL.Host] {
		return t.listed.RoundTrip(r)
	}
	return t.foreign.RoundTrip(r)
}

func issuerOrigins(cfg *config.Gateway) map[string]bool {
	origins := make(map[string]bool)
	for _, p := range cfg.Peers {
		if p.Issuer == "" { // it is discovered, and may be at the domain itself
			origins["https://"+p.Domain] = true
		} else if u, err := url.Parse(p.Issuer); err == nil && u.Host != "" {
			origins[u.Scheme+"://"+u.Host] = true
		}
	}
	return origins
}
