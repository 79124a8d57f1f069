package cli

import (
	"cmp"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/jose"
)

type assertionCmd struct {
	Key      string `required:"" placeholder:"FILE" help:"Private key, PEM (PKCS #8 or EC). If it does not exist, it is created with a new P-256 key."`
	ClientID string `placeholder:"ID" help:"The client that authenticates."`
	Issuer   string `placeholder:"URL" help:"The issuer to authenticate at ($$ISSUER)."`
	KID      string `name:"kid" placeholder:"KID" help:"The kid that the key is registered with; the default is its thumbprint."`
	JWKS     bool   `name:"jwks" help:"Print the public key instead, as the JWK Set to register for the client."`
}

func (*assertionCmd) Help() string {
	return `A client that is registered with auth: private_key_jwt signs an assertion for each request. An assertion is valid once, for one
minute. These commands print the JWK Set to register, and get a token for the client itself:

    issuer assertion --key client.pem --jwks
    curl "$ISSUER/token" -H "DPoP: $proof" -d grant_type=client_credentials \
      -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
      -d client_assertion="$(issuer assertion --key client.pem --client-id gateway --issuer "$ISSUER")"`
}

func (c *assertionCmd) Run(s *streams) error {
	issuer := cmp.Or(c.Issuer, s.getenv("ISSUER"))
	switch {
	case c.JWKS:
	case c.ClientID == "":
		return usage("assertion needs --client-id, or --jwks")
	case issuer == "":
		return usage("assertion needs the issuer to authenticate at: --issuer URL, or ISSUER in the environment")
	}
	key, kid, err := readClientKey(c.Key, c.KID)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = makeKey(c.Key); err == nil {
			key, kid, err = readClientKey(c.Key, c.KID)
		}
	}
	if err != nil {
		return usage("%w", err)
	}
	if c.JWKS {
		jwk, err := jose.MarshalJWK(key.Public())
		if err != nil {
			return usage("%w", err)
		}
		name, err := json.Marshal(kid)
		if err != nil {
			return usage("%w", err)
		}
		fmt.Fprintf(s.out, "{\"keys\":[%s,\"kid\":%s}]}\n", jwk[:len(jwk)-1], name)
		return nil
	}
	text, err := assertion.Sign(key, kid, c.ClientID, strings.TrimSuffix(issuer, "/"), time.Now())
	if err != nil {
		return usage("%w", err)
	}
	fmt.Fprintln(s.out, text)
	return nil
}

// readClientKey reads a private key for assertions. It returns the key with the kid given or, without one, its thumbprint.
func readClientKey(path, kid string) (crypto.Signer, string, error) {
	key, err := readKey(path)
	if err != nil {
		return nil, "", usage("%w", err)
	}
	if assertion.AlgorithmFor(key.Public()) == "" {
		return nil, "", usage("%s is not a key for ES256, EdDSA or RS256", path)
	}
	if kid == "" {
		kid, err = jose.Thumbprint(key.Public())
	}
	return key, kid, err
}
