package cli

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

type proofCmd struct {
	Device     deviceFlags `embed:""`
	Method     string      `placeholder:"M" help:"Method of the request, such as POST."`
	URL        string      `name:"url" placeholder:"U" help:"URL of the request; query and fragment are ignored."`
	Nonce      string      `placeholder:"N" help:"The server's newest nonce: the DPoP-Nonce header of its last answer."`
	Token      string      `placeholder:"T" help:"Access token that goes with the request, at a resource."`
	Thumbprint bool        `help:"Print the thumbprint of the key instead: the value of dpop_jkt and cnf.jkt."`
}

// deviceFlags name the key of a device.
type deviceFlags struct {
	Key     string `required:"" xor:"key" placeholder:"FILE" help:"Private key, PEM (PKCS #8 or EC). If it does not exist, it is created with a new P-256 key."`
	Session string `required:"" xor:"key" placeholder:"FILE" help:"Use the key of the session in this file instead of --key."`
}

func (*proofCmd) Help() string {
	return `Print a first proof for the token endpoint, and the thumbprint of its key:

    issuer proof --key device.pem --method POST --url "$ISSUER/token" --nonce "$nonce"
    issuer proof --key device.pem --thumbprint

Print a proof for a resource, with the key of issuer login:

    issuer proof --session FILE --method GET --url "$url" --token "$(issuer token --session FILE)"`
}

func (c *proofCmd) Run(ctx context.Context, s *streams) error {
	if !c.Thumbprint && (c.Method == "" || c.URL == "") {
		return usage("proof needs --method and --url, or --thumbprint")
	}
	if _, err := dpop.NormalizeHTU(c.URL); err != nil && !c.Thumbprint { // before a key is made
		return usage("--url: %w", err)
	}
	signer, err := c.Device.signer(ctx)
	if err != nil {
		return err
	}
	if c.Thumbprint {
		fmt.Fprintln(s.out, signer.JKT())
		return nil
	}
	proof, err := signer.Proof(dpop.ProofParams{Method: c.Method, URL: c.URL, Nonce: c.Nonce, AccessToken: c.Token})
	if err != nil {
		return usage("%w", err)
	}
	fmt.Fprintln(s.out, proof)
	return nil
}

// signer returns a signer with the key of the flags.
func (c *deviceFlags) signer(ctx context.Context) (*dpop.Signer, error) {
	if c.Session != "" {
		session, err := client.ReadSession(c.Session)
		if err != nil {
			return nil, noSession(ctx, c.Session, err)
		}
		return session.Signer()
	}
	key, err := readKey(c.Key)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(c.Key)
	}
	if err != nil {
		return nil, usage("%w", err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return nil, usage("%s: %w", c.Key, err)
	}
	return signer, nil
}

// readKey reads a private key for proofs.
func readKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	if block.Type == "EC PRIVATE KEY" {
		return x509.ParseECPrivateKey(block.Bytes)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not a private key in PKCS #8: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s is a key that cannot sign", path)
	}
	return signer, nil
}

// makeKey generates a P-256 key and writes it to a new file at path, with mode 0600.
func makeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Close()); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}
