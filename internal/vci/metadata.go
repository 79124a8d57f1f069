package vci

import (
	"encoding/json"
	"fmt"

	"github.com/imidentity/issuer/credential"
)

// ConfigurationDevice is the credential configuration of a device's SD-JWT VC.
const ConfigurationDevice = "im-device"

// Paths of the endpoints, below the URL of the issuer.
const (
	CredentialPath = "/credential"
	NoncePath      = "/credential/nonce"
)

// metadata is the credential issuer metadata (OpenID4VCI 1.0 §12.2.4). Without authorization_servers, the issuer is its own
// authorization server.
type metadata struct {
	CredentialIssuer   string                   `json:"credential_issuer"`
	CredentialEndpoint string                   `json:"credential_endpoint"`
	NonceEndpoint      string                   `json:"nonce_endpoint"`
	Batch              batch                    `json:"batch_credential_issuance"`
	Configurations     map[string]configuration `json:"credential_configurations_supported"`
}

type batch struct {
	Size int `json:"batch_size"`
}

// A configuration describes one kind of credential; vct is of appendix A.3.2.
type configuration struct {
	Format         credential.Format    `json:"format"`
	Scope          string               `json:"scope"`
	VCT            string               `json:"vct"`
	BindingMethods []string             `json:"cryptographic_binding_methods_supported"`
	SigningAlgs    []string             `json:"credential_signing_alg_values_supported"`
	Metadata       credentialMetadata   `json:"credential_metadata"`
	ProofTypes     map[string]proofType `json:"proof_types_supported"`
}

type credentialMetadata struct {
	Display []display `json:"display"`
}

type display struct {
	Name string `json:"name"`
}

type proofType struct {
	Algs []string `json:"proof_signing_alg_values_supported"`
}

// Metadata returns the credential issuer metadata as JSON. Credentials are signed with alg.
func (s *Service) Metadata(alg string) ([]byte, error) {
	body, err := json.Marshal(metadata{
		CredentialIssuer:   s.cfg.Issuer,
		CredentialEndpoint: s.cfg.Issuer + CredentialPath,
		NonceEndpoint:      s.cfg.Issuer + NoncePath,
		Batch:              batch{BatchSize},
		Configurations: map[string]configuration{ConfigurationDevice: {
			Format: credential.SDJWT, Scope: Scope, VCT: credential.VCT,
			BindingMethods: []string{"jwk"}, SigningAlgs: []string{alg},
			Metadata:   credentialMetadata{[]display{{"Device"}}},
			ProofTypes: map[string]proofType{"jwt": {s.proofs.Algorithms()}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("vci: write metadata: %w", err)
	}
	return body, nil
}

// IssuerMetadata returns the JWT VC issuer metadata as JSON (draft-ietf-oauth-sd-jwt-vc §4.2): where the keys of an SD-JWT VC are.
func (s *Service) IssuerMetadata() ([]byte, error) {
	body, err := json.Marshal(struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}{s.cfg.Issuer, s.cfg.Issuer + "/jwks"})
	if err != nil {
		return nil, fmt.Errorf("vci: write metadata: %w", err)
	}
	return body, nil
}

// configured reports whether there is a credential configuration.
func configured(id string) bool { return id == ConfigurationDevice }
