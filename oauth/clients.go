package oauth

import (
	"errors"
	"strings"
)

// SetClients says which clients there are, in the place of those before; a new provider knows none. A request that has
// found its client goes on with what it found: none sees a mixture.
func (p *Provider) SetClients(list []Client) error {
	clients := make(map[string]*Client, len(list))
	for _, c := range list {
		if c.ID == "" || strings.Contains(c.ID, ":") {
			return errors.New("oauth: a client id is empty or holds a colon")
		}
		if c.JWKSURI != "" && p.published == nil {
			return errors.New("oauth: Config needs ClientKeys for a client with a JWKSURI")
		}
		clients[c.ID] = &c
	}
	p.clients.Store(&clients)
	return nil
}

// Client returns the registered client of an id, and false if there is none.
func (p *Provider) Client(id string) (*Client, bool) {
	c, ok := (*p.clients.Load())[id]
	return c, ok
}
