package cli

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/jose"
)

type certSignDeviceCmd struct {
	CA          string        `name:"ca" required:"" placeholder:"FILE" help:"Certificate of the user's CA, PEM, and perhaps the certificates above it."`
	Key         string        `required:"" placeholder:"FILE" help:"Private key of the user's CA, PEM (PKCS #8 or EC)."`
	Device      string        `required:"" placeholder:"URI" help:"The device, one of the user's."`
	Public      string        `required:"" placeholder:"FILE" help:"Public key of the device, PEM or JWK."`
	For         time.Duration `default:"720h" placeholder:"TIME" help:"How long the certificate is valid (${default}). It ends with that of the user at the latest."`
	Development bool          `help:"Allow domains that are reserved for tests."`
}

func (*certSignDeviceCmd) Help() string {
	return `The key of a user who has a certificate of the shape im-user-ca-x5c certifies a device of the user, without the issuer. The
command prints the chain, PEM:

    issuer cert sign-device --ca user.pem --key user-key.pem --device im:$USER/2@example.net --public device.jwk > device.pem

The certificate cannot be revoked by itself: it ends when it expires, or when the issuer revokes that of the user.`
}

func (c *certSignDeviceCmd) Run(s *streams) error {
	chain, err := readChain(s, c.CA)
	if err != nil {
		return err
	}
	user, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return refused("%s: not a certificate in DER", c.CA)
	}
	key, err := readKey(c.Key)
	if err != nil {
		return usage("%w", err)
	}
	device, err := claims.Parser{AllowSingleLabel: c.Development}.Parse(c.Device)
	if err != nil {
		return usage("--device: %w", err)
	}
	public, err := readPublicKey(c.Public)
	if err != nil {
		return usage("--public: %w", err)
	}
	if c.For < time.Minute || c.For > credential.MaxLife {
		return usage("--for must be a minute to %d days", credential.MaxLife/(24*time.Hour))
	}
	now := time.Now()
	made, err := cert.SignDevice(nil, user, key, cert.DeviceTemplate{
		Device: device, Key: public, From: now, Until: now.Add(c.For), Development: c.Development,
	})
	if err != nil {
		return refused("%w", err)
	}
	_, err = s.out.Write(cert.MarshalPEM(append([][]byte{made.Raw}, chain...)...))
	return err
}

// readPublicKey reads a public key, PEM or JWK.
func readPublicKey(path string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("%s holds no public key", path)
		}
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	key, err := jose.ParseJWK(bytes.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%s is neither a public key in PEM nor a JWK: %w", path, err)
	}
	return key.Public, nil
}
