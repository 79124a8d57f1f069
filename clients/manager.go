package clients

import (
	"crypto/sha256"
	"crypto/subtle"
)

// minManagerToken is how long a bearer token is at least: 256 bits in base64url. The hash of a shorter secret could be inverted by trying.
const minManagerToken = 43

// Managers reports whether there are clients with the scope scim.
func (r *Registry) Managers() bool { return len(*r.managers.Load()) > 0 }

// Manager returns the client with the scope scim that has a bearer token, and false if there is none. The token is accepted nowhere else.
// Every token of every such client is compared, so that the time tells nothing of where a comparison succeeds.
func (r *Registry) Manager(token string) (*Client, bool) {
	sum := sha256.Sum256([]byte(token))
	var (
		found *Client
		n     int
	)
	for _, c := range *r.managers.Load() {
		for i := range c.SCIM.TokenSHA256 {
			if subtle.ConstantTimeCompare(sum[:], c.SCIM.TokenSHA256[i][:]) == 1 {
				found, n = c, n+1
			}
		}
	}
	if len(token) < minManagerToken || n != 1 { // a token of two clients tells nothing
		return nil, false
	}
	return found, true
}
