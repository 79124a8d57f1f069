package oauth_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

const peerKID = "peer-1"

// A peer is an issuer of another domain: a name and a key.
type peer struct {
	issuer, domain string
	key            *ecdsa.PrivateKey
	now            func() time.Time
}

// stranger makes an issuer that is not trusted.
func (i *issuer) stranger(t *testing.T, domain string) *peer {
	t.Helper()
	return &peer{"https://id." + domain, domain, newKey(t), i.clock.now}
}

// peer makes an issuer that is trusted for its domain.
func (i *issuer) peer(t *testing.T, domain string) *peer {
	t.Helper()
	p := i.stranger(t, domain)
	i.peers.peers[p.issuer] = p
	return p
}

// sign is a [nested.SignFunc].
func (p *peer) sign(typ string, payload []byte) (string, error) {
	return jose.Sign(p.key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, peerKID), payload)
}

// states signs a statement for an hour, after change.
func (p *peer) states(t *testing.T, typ, subject string, change func(s *nested.Statement)) string {
	t.Helper()
	now := p.now().Truncate(time.Second)
	s := nested.Statement{
		Type: typ, Issuer: p.issuer, Subject: subject, Audience: []string{issuerURL}, JTI: rand.Text(),
		IssuedAt: now.Add(-time.Minute), Expires: now.Add(time.Hour),
	}
	change(&s)
	token, err := s.Sign(p.sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// vouches signs an access token of a user of the peer, bound to a key.
func (p *peer) vouches(t *testing.T, jkt string) string {
	t.Helper()
	now := p.now().Truncate(time.Second)
	set := claims.Set{
		Issuer: p.issuer, Subject: "im:a11ce@" + p.domain + ";id-type=user", Audience: []string{issuerURL}, ClientID: "app",
		Scope: "im:handle", JTI: rand.Text(), IssuedAt: now.Add(-time.Minute), Expires: now.Add(10 * time.Minute), JKT: jkt,
	}
	token, err := p.sign(nested.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// edited signs the claims of a token again, with some text replaced.
func (p *peer) edited(t *testing.T, typ, token, from, to string) string {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), from) {
		t.Fatalf("no %s in %s", from, body)
	}
	if token, err = p.sign(typ, []byte(strings.Replace(string(body), from, to, 1))); err != nil {
		t.Fatal(err)
	}
	return token
}
