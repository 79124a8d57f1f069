package sasl

import (
	"context"
	"errors"
	"sync"

	"github.com/imidentity/issuer/internal/client"
)

// An Issuer asks an issuer about tokens. It reads the metadata of the issuer before the first question, so the issuer need not run
// when the helper starts. It is safe for concurrent use.
type Issuer struct {
	url string

	mu     sync.Mutex
	client client.Client
	known  bool // client.Server is the metadata
}

// NewIssuer returns an Issuer that asks the issuer with this URL as the client c, whose metadata need not be set.
func NewIssuer(url string, c client.Client) *Issuer { return &Issuer{url: url, client: c} }

// Introspect asks about a token. An answer with an OAuth error is a [*client.Error].
func (i *Issuer) Introspect(ctx context.Context, token string) (map[string]any, error) {
	c, err := i.ready(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.Introspect(ctx, token)
	if err != nil {
		i.mu.Lock()
		i.known = false // the issuer may have moved its endpoint
		i.mu.Unlock()
	}
	return answer, err
}

func (i *Issuer) ready(ctx context.Context) (*client.Client, error) {
	i.mu.Lock()
	c, known := i.client, i.known
	i.mu.Unlock()
	if known {
		return &c, nil
	}
	server, err := client.Discover(ctx, c.HTTP, i.url)
	if err != nil {
		return nil, err
	}
	if !client.Safe(server.IntrospectionEndpoint) {
		return nil, errors.New("sasl: the metadata of the issuer names no introspection endpoint with https")
	}
	c.Server = server
	i.mu.Lock()
	i.client, i.known = c, true
	i.mu.Unlock()
	return &c, nil
}
