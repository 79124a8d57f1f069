package cli

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/credential/cert"
)

// readX5C reads a chain of certificates of an answer. Its text is PEM.
func readX5C(text string) (one gotCredential, key crypto.PublicKey, err error) {
	var answer struct {
		X5C [][]byte `json:"x5c"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.X5C) == 0 || len(answer.X5C) > cert.MaxCertificates {
		return one, nil, errors.New("the credential is no chain of certificates (x5c)")
	}
	for i, der := range answer.X5C {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return one, nil, fmt.Errorf("certificate %d of the chain cannot be read", i+1)
		}
		if i > 0 {
			continue
		}
		names := cert.Describe(c).Subject
		if len(names) == 0 {
			return one, nil, errors.New("the certificate names no device or user")
		}
		key = c.PublicKey
		one.ID, one.Device, one.ExpiresAt = c.SerialNumber.Text(16), names[0], c.NotAfter
	}
	one.Credential = string(cert.MarshalPEM(answer.X5C...))
	return one, key, nil
}
