package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// CredentialMetadata is the part of the metadata of a credential issuer (OpenID4VCI 1.0 §12.2.4) that the client uses.
type CredentialMetadata struct {
	Issuer             string `json:"credential_issuer"`
	CredentialEndpoint string `json:"credential_endpoint"`
	NonceEndpoint      string `json:"nonce_endpoint"`
	Batch              struct {
		Size int `json:"batch_size"`
	} `json:"batch_credential_issuance"`
	Configurations map[string]CredentialConfiguration `json:"credential_configurations_supported"`
}

// A CredentialConfiguration is a kind of credential that an issuer gives.
type CredentialConfiguration struct {
	Format string `json:"format"`
	Scope  string `json:"scope"`
	// ProofTypes are the ways to prove a key. "jwt" is the one that the client knows.
	ProofTypes map[string]struct {
		Algorithms []string `json:"proof_signing_alg_values_supported"`
	} `json:"proof_types_supported"`
}

// DiscoverCredentials reads the metadata of an issuer of credentials, and checks that they name that issuer (OpenID4VCI 1.0 §12.2.2).
func DiscoverCredentials(ctx context.Context, c *http.Client, issuer string) (CredentialMetadata, error) {
	var m CredentialMetadata
	if err := discover(ctx, c, issuer, "openid-credential-issuer", &m); err != nil {
		return CredentialMetadata{}, err
	}
	switch {
	case m.Issuer != issuer:
		return CredentialMetadata{}, errors.New("client: discover: the metadata is another issuer's")
	case m.CredentialEndpoint == "" || m.NonceEndpoint == "":
		return CredentialMetadata{}, errors.New("client: discover: the metadata names no endpoints for credentials")
	}
	return m, nil
}

// A CredentialRequest asks for one credential for each of some keys.
type CredentialRequest struct {
	// Configuration is the id of the kind of credential.
	Configuration string
	// AccessToken is a token for the issuer alone. The http.Client of the client makes its proofs.
	AccessToken string
	// Keys sign with the keys of the credentials, each with a different one.
	Keys []*dpop.Signer
}

// Credentials gets credentials of an issuer (OpenID4VCI 1.0 §8): it gets a nonce, proves each key with it, and sends the proofs. A nonce
// that has expired meanwhile is replaced once. The credentials come in no promised order, each as its text, or as the JSON of an object.
func (c *Client) Credentials(ctx context.Context, m CredentialMetadata, r CredentialRequest) ([]string, error) {
	got, err := c.credentials(ctx, m, r)
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == "invalid_nonce" { // §8.3.1.2: get another one
		got, err = c.credentials(ctx, m, r)
	}
	return got, err
}

func (c *Client) credentials(ctx context.Context, m CredentialMetadata, r CredentialRequest) ([]string, error) {
	nonce, err := c.nonce(ctx, m.NonceEndpoint)
	if err != nil {
		return nil, err
	}
	body := struct {
		Configuration string              `json:"credential_configuration_id"`
		Proofs        map[string][]string `json:"proofs"`
	}{r.Configuration, map[string][]string{}}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	for _, key := range r.Keys {
		proof, err := key.KeyProof(dpop.KeyProofParams{Audience: m.Issuer, Client: c.ID, Nonce: nonce, IssuedAt: now()})
		if err != nil {
			return nil, fmt.Errorf("client: prove a key: %w", err)
		}
		body.Proofs["jwt"] = append(body.Proofs["jwt"], proof)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.CredentialEndpoint, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "DPoP "+r.AccessToken)
	var answer struct {
		Credentials []struct {
			Credential json.RawMessage `json:"credential"`
		} `json:"credentials"`
	}
	if err := send(c.HTTP, req, maxAnswer, &answer); err != nil {
		return nil, err
	}
	list := make([]string, 0, len(r.Keys))
	for _, entry := range answer.Credentials {
		text := string(entry.Credential)
		if strings.HasPrefix(text, `"`) {
			if err := json.Unmarshal(entry.Credential, &text); err != nil {
				return nil, fmt.Errorf("client: read a credential: %w", err)
			}
		}
		list = append(list, text)
	}
	if len(list) != len(r.Keys) {
		return nil, fmt.Errorf("client: the issuer answered with %d credentials for %d keys", len(list), len(r.Keys))
	}
	return list, nil
}

// nonce gets a nonce for proofs of keys (OpenID4VCI 1.0 §7).
func (c *Client) nonce(ctx context.Context, endpoint string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(""))
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	var answer struct {
		Nonce string `json:"c_nonce"`
	}
	if err := send(c.HTTP, req, maxAnswer, &answer); err != nil {
		return "", err
	}
	if answer.Nonce == "" {
		return "", errors.New("client: the answer of the nonce endpoint holds no nonce")
	}
	return answer.Nonce, nil
}
