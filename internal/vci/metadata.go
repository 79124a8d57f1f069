package vci

import (
	"encoding/json"
	"fmt"

	"github.com/imidentity/issuer/credential"
)

// Paths of the endpoints, below the URL of the issuer.
const (
	CredentialPath = "/credential"
	NoncePath      = "/credential/nonce"
)

// metadata is the credential issuer metadata (OpenID4VCI 1.0 §12.2.4). Without authorization_servers, the issuer is its own
// authorization server.
type metadata struct {
	CredentialIssuer   string               `json:"credential_issuer"`
	CredentialEndpoint string               `json:"credential_endpoint"`
	NonceEndpoint      string               `json:"nonce_endpoint"`
	Batch              batch                `json:"batch_credential_issuance"`
	Configurations     map[string]described `json:"credential_configurations_supported"`
}

type batch struct {
	Size int `json:"batch_size"`
}

// A described is a [configuration] in the metadata.
type described struct {
	Format         credential.Format    `json:"format"`
	Scope          string               `json:"scope"`
	VCT            string               `json:"vct,omitempty"`
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

// Metadata returns the credential issuer metadata as JSON. The signing key of the issuer is for alg.
func (s *Service) Metadata(alg string) ([]byte, error) {
	list := make(map[string]described, len(configurations))
	for i := range configurations {
		c, signing := &configurations[i], []string{alg}
		if !s.has(c, alg) {
			continue
		}
		if c.shape != "" {
			signing = s.algorithmsOf()
		}
		list[c.id] = described{
			Format: c.format, Scope: Scope, VCT: c.vct, BindingMethods: []string{c.binding}, SigningAlgs: signing,
			Metadata:   credentialMetadata{[]display{{c.name}}},
			ProofTypes: map[string]proofType{"jwt": {c.proofAlgorithms(s.proofs.Algorithms())}},
		}
	}
	body, err := json.Marshal(metadata{
		CredentialIssuer: s.cfg.Issuer, CredentialEndpoint: s.cfg.Issuer + CredentialPath, NonceEndpoint: s.cfg.Issuer + NoncePath,
		Batch: batch{BatchSize}, Configurations: list,
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
