package assertion

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// life is how long an assertion is valid: long enough for a retry with a nonce, and for a difference between the clocks.
const life = time.Minute

// Sign makes an assertion with which client authenticates at issuer once. An empty kid is left out.
func Sign(key crypto.Signer, kid, client, issuer string, now time.Time) (string, error) {
	alg := AlgorithmFor(key.Public())
	if alg == "" {
		return "", errors.New("assertion: not a key for ES256, EdDSA or RS256")
	}
	header, err := json.Marshal(struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
		Kid string `json:"kid,omitempty"`
	}{"client-authentication+jwt", alg, kid})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		JTI      string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{client, client, issuer, rand.Text(), now.Unix(), now.Add(life).Unix()})
	if err != nil {
		return "", err
	}
	return jose.Sign(key, alg, header, claims)
}
