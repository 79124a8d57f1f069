package oauth

import (
	"crypto/sha256"
	"fmt"

	"github.com/imidentity/issuer/internal/random"
)

// random returns 256 random bits in base64url: a code, a request URI or a client's secret.
func (p *Provider) random() (string, error) { return p.randomText(32) }

// newGrantID returns 128 random bits in base64url: the id of a session, a token or a statement.
func (p *Provider) newGrantID() (string, error) { return p.randomText(grantIDSize) }

func (p *Provider) randomText(size int) (string, error) {
	text, err := random.Text(p.rand, size)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	return text, nil
}

// hash is how a random secret is stored.
func hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }
