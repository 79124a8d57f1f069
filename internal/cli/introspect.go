package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

type introspectCmd struct {
	Token  string      `arg:"" help:"The access token; - reads it from standard input."`
	Caller callerFlags `embed:""`
}

// callerFlags name an issuer, and the client that asks it about tokens.
type callerFlags struct {
	Issuer     string `placeholder:"URL" help:"The issuer to ask ($$ISSUER)."`
	ClientID   string `placeholder:"ID" help:"Client to ask as ($$PEER_ID)."`
	SecretFile string `placeholder:"FILE" xor:"credentials" help:"File with its secret; the default is $$PEER_SECRET."`
	Key        string `placeholder:"FILE" xor:"credentials" help:"Private key to sign an assertion with, instead of a secret (see issuer assertion)."`
	KID        string `name:"kid" placeholder:"KID" help:"The kid that the key is registered with; the default is its thumbprint."`
}

func (*introspectCmd) Help() string {
	return `The exit code is 0 for an active token, 1 for an inactive one, 2 if the issuer refuses the request, and 3 if it does not answer.

With the issuer of serve --dev:

    . data/dev.env
    issuer introspect "$token"`
}

func (c *introspectCmd) Run(ctx context.Context, s *streams) error {
	issuer, peer, err := c.Caller.client(s, "introspect")
	if err != nil {
		return err
	}
	token := c.Token
	if token == "-" {
		if token, err = readLine(s.in); err != nil {
			return usage("read the token: %w", err)
		}
	}
	peer.HTTP = &http.Client{Timeout: 30 * time.Second}
	peer.Server, err = client.Discover(ctx, peer.HTTP, issuer)
	if err != nil {
		return unknown("%w", err)
	}
	answer, err := peer.Introspect(ctx, token)
	var e *client.Error
	if errors.As(err, &e) && e.Status < http.StatusInternalServerError {
		return usage("%w", err)
	} else if err != nil {
		return unknown("%w", err)
	}
	if err := printJSON(s, answer); err != nil {
		return unknown("print the answer: %w", err)
	}
	if active, _ := answer["active"].(bool); !active {
		return &exit{code: exitNo}
	}
	return nil
}

// client returns the URL of the issuer and the client of the flags, for the command with this name.
func (c *callerFlags) client(s *streams, command string) (issuer string, peer *client.Client, err error) {
	issuer = strings.TrimSuffix(cmp.Or(c.Issuer, s.getenv("ISSUER")), "/")
	peer = &client.Client{ID: cmp.Or(c.ClientID, s.getenv("PEER_ID"))}
	switch {
	case issuer == "":
		return "", nil, usage("%s needs the issuer to ask: --issuer URL, or ISSUER in the environment", command)
	case peer.ID == "":
		return "", nil, usage("%s needs a client to ask as: --client-id ID, or PEER_ID in the environment", command)
	case c.Key != "":
		peer.Key, peer.KID, err = readClientKey(c.Key, c.KID)
	default:
		peer.Secret, err = c.secret(s, command)
	}
	return issuer, peer, err
}

// secret reads the secret of the asking client, from a file or from the environment. It takes no argument for it, because others
// on the machine could see that.
func (c *callerFlags) secret(s *streams, command string) (string, error) {
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return "", usage("read the secret: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	if secret := s.getenv("PEER_SECRET"); secret != "" {
		return secret, nil
	}
	return "", usage("%s needs the credentials of the client: --key FILE, --secret-file FILE, or PEER_SECRET in the environment", command)
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(r).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}
