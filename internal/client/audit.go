package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/imidentity/issuer/types/api"
)

// Audit returns the audit log as lines of JSON, or the part that query selects. The caller closes it.
func (a Admin) Audit(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: a.origin.Scheme, Host: a.origin.Host, Path: "/admin/audit", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	c := *a.http
	c.Timeout = 0 // a long log takes long
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }() // the answer was read
	return nil, refusalOf(resp, maxAdminAnswer)
}

// AuditChains returns the chains of the audit log.
func (a Admin) AuditChains(ctx context.Context) ([]api.AuditChain, error) {
	return ask[[]api.AuditChain](ctx, a, http.MethodGet, "/admin/audit/chains", nil)
}

// AuditKeys returns the public keys that ever signed heads of the audit log, a JWK Set.
func (a Admin) AuditKeys(ctx context.Context) (json.RawMessage, error) {
	return ask[json.RawMessage](ctx, a, http.MethodGet, "/admin/audit/keys", nil)
}
