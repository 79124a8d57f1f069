package forwardauth

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
)

// IdentityLife is how long an identity may be used after it was signed.
const IdentityLife = time.Minute

// identityClaims are the claims of an `im-identity+jwt`.
type identityClaims struct {
	Issuer      string `json:"iss"`
	Subject     string `json:"sub"`
	Audience    string `json:"aud"`
	Handle      string `json:"handle,omitempty"`
	Device      string `json:"device,omitempty"`
	Domain      string `json:"domain,omitempty"`
	TokenIssuer string `json:"token_iss,omitempty"`
	HomeIssuer  string `json:"home_iss,omitempty"`
	ClientID    string `json:"client_id,omitempty"`
	Service     bool   `json:"service,omitempty"`
	Actor       string `json:"actor,omitempty"`
	Scope       string `json:"scope,omitempty"`
	Method      string `json:"htm"`
	PathHash    string `json:"path_hash"`
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"`
	ID          string `json:"jti"`
}

// SignerConfig configures a [Signer].
type SignerConfig struct {
	// Issuer is the `iss` of identities: a URL of the gateway, never that of an issuer of tokens. Required.
	Issuer string
	// Key signs, by ES256 or EdDSA. It is for this purpose alone. Required.
	Key crypto.Signer
	// Before are public keys that signed before Key did. They are published with it.
	Before []crypto.PublicKey
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Signer signs identities for the services behind the proxy. It may be used by several goroutines.
type Signer struct {
	issuer string
	key    crypto.Signer
	alg    string
	header []byte
	jwks   []byte
	now    func() time.Time
}

// NewSigner returns a Signer. The error is about a missing issuer, or a key of another type.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	s := &Signer{issuer: cfg.Issuer, key: cfg.Key, now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if cfg.Issuer == "" || cfg.Key == nil {
		return nil, errors.New("forwardauth: a signer needs an issuer and a key")
	}
	if s.alg = jose.AlgorithmFor(cfg.Key.Public()); s.alg != jose.ES256 && s.alg != jose.EdDSA {
		return nil, errors.New("forwardauth: the key is not one for ES256 or EdDSA")
	}
	kid, err := jose.Thumbprint(cfg.Key.Public())
	if err != nil {
		return nil, err
	}
	if s.header, err = json.Marshal(struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}{jose.TypeIdentity, s.alg, kid}); err != nil {
		return nil, err
	}
	s.jwks, err = publish(append([]crypto.PublicKey{cfg.Key.Public()}, cfg.Before...))
	return s, err
}

// publish returns the JWK Set of keys. The kid of each is its thumbprint.
func publish(keys []crypto.PublicKey) ([]byte, error) {
	type jwkSet struct {
		Keys []map[string]string `json:"keys"`
	}
	var set jwkSet
	for _, key := range keys {
		raw, err := jose.MarshalJWK(key)
		if err != nil {
			return nil, err
		}
		members := make(map[string]string)
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, err
		}
		if members["kid"], err = jose.Thumbprint(key); err != nil {
			return nil, err
		}
		members["alg"], members["use"] = jose.AlgorithmFor(key), "sig"
		set.Keys = append(set.Keys, members)
	}
	return json.Marshal(set)
}

// JWKS returns the JWK Set by which services verify identities. The caller does not change it.
func (s *Signer) JWKS() []byte { return s.jwks }

// Issuer returns the `iss` of identities.
func (s *Signer) Issuer() string { return s.issuer }

// Sign returns an identity for one request to the upstream with that name. It expires after [IdentityLife].
func (s *Signer) Sign(id *gateway.Identity, upstream string, t Target) (string, error) {
	now, subject := s.now().Unix(), id.User
	if id.Service {
		subject = id.ClientID
	}
	payload, err := json.Marshal(identityClaims{
		Issuer: s.issuer, Subject: subject, Audience: upstream, Handle: id.Handle, Device: id.Device, Domain: id.Domain,
		TokenIssuer: id.Issuer, HomeIssuer: id.HomeIssuer, ClientID: id.ClientID,
		Service: id.Service, Actor: id.Actor, Scope: strings.Join(id.Scope, " "),
		Method: t.Method, PathHash: pathHash(t.Path),
		IssuedAt: now, Expires: now + int64(IdentityLife/time.Second), ID: rand.Text(),
	})
	if err != nil {
		return "", err
	}
	token, err := jose.Sign(s.key, s.alg, s.header, payload)
	if err != nil {
		return "", fmt.Errorf("forwardauth: sign the identity: %w", err)
	}
	return token, nil
}

// pathHash returns the `path_hash` of a path: the base64url of its SHA-256, as percent-encoded and without the query.
func pathHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
