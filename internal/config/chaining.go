package config

import (
	"slices"
	"time"
)

const (
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// chaining checks which clients take part in identity chaining with a peer. The peers before p have been checked.
func (k *checker) chaining(path string, p *Peer) {
	k.lasts(join(path, "lifetime"), p.Chaining.Lifetime, time.Minute, time.Hour, "1m and 60m")
	clients := make(map[string]string)
	for i := range p.Chaining.Give {
		c, path := &p.Chaining.Give[i], index(join(path, "give"), i)
		k.unique(clients, join(path, "client"), c.Client)
		k.chains(join(path, "client"), c.Client, grantExchange)
		if c.As == "" {
			c.As = c.Client
		} else if !clientID.MatchString(c.As) {
			k.report(join(path, "as"), "%q is not a client id", c.As)
		}
		for j := range k.Peers {
			if other := &k.Peers[j]; other == p {
				break
			} else if other.Issuer == p.Issuer && p.Issuer != "" && slices.ContainsFunc(other.Chaining.Give, func(g GivenClient) bool {
				return g.Client == c.Client && g.As != c.As
			}) {
				k.report(join(path, "as"), "the same issuer knows the client under another id above: an issuer knows it under one")
			}
		}
	}
	for i, id := range p.Chaining.Take {
		k.chains(index(join(path, "take"), i), id, grantJWTBearer)
	}
}

// chains checks that a client of the settings has a grant. Other clients may be in storage.
func (k *checker) chains(path, id, grant string) {
	if !clientID.MatchString(id) {
		k.report(path, "%q is not a client id", id)
		return
	}
	var ids []string
	for _, c := range k.Clients {
		if c.ID != id {
			ids = append(ids, c.ID)
		} else if !slices.Contains(c.Grants, grant) {
			k.report(path, "the client %s lacks the grant %s, without which this has no effect", id, grant)
		}
	}
	if best := nearest(id, ids); best != "" && len(ids) == len(k.Clients) {
		k.warn(path, "%q is not among the clients of these settings; did you mean %q? A client in storage may have this id", id, best)
	}
}
