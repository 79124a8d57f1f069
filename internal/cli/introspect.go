package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/introspect"
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
	cfg, err := c.Caller.config(s, "introspect")
	if err != nil {
		return err
	}
	token := c.Token
	if token == "-" {
		if token, err = readLine(s.in); err != nil {
			return usage("read the token: %w", err)
		}
	}
	if token == "" {
		return usage("the token is empty")
	}
	cfg.Timeout = 30 * time.Second
	asker, err := introspect.NewClient(cfg)
	if err != nil {
		return unknown("%w", err)
	}
	result, err := asker.Introspect(ctx, introspect.Question{Token: token})
	var refusal *introspect.CallerError
	if errors.As(err, &refusal) {
		return usage("%s", refusalText(refusal))
	} else if err != nil {
		return unknown("%w", err)
	}
	if err := printAnswer(s, &result.Answer); err != nil {
		return unknown("print the answer: %w", err)
	}
	if !result.Answer.Active {
		return &exit{code: exitNo}
	}
	return nil
}

// printAnswer prints an answer with its members in alphabetical order.
func printAnswer(s *streams, a *introspect.Answer) error {
	var members map[string]any
	if err := json.Unmarshal(a.AppendJSON(nil), &members); err != nil {
		return err
	}
	return printJSON(s, members)
}

// refusalText returns how the issuer refuses a client, in the issuer's words.
func refusalText(e *introspect.CallerError) string {
	return fmt.Sprintf("the issuer answered %d %s: %s", e.Status, cmp.Or(e.Code, "no OAuth error"), e.Description)
}

// config returns the configuration of a client that asks as the flags say, for the command with this name. It keeps no answers.
func (c *callerFlags) config(s *streams, command string) (cfg introspect.ClientConfig, err error) {
	cfg = introspect.ClientConfig{
		Issuer:        strings.TrimSuffix(cmp.Or(c.Issuer, s.getenv("ISSUER")), "/"),
		ClientID:      cmp.Or(c.ClientID, s.getenv("PEER_ID")),
		AllowLoopback: true, AllowUnproven: true, MaxAge: -1, RefusalAge: -1,
	}
	switch {
	case cfg.Issuer == "":
		return cfg, usage("%s needs the issuer to ask: --issuer URL, or ISSUER in the environment", command)
	case cfg.ClientID == "":
		return cfg, usage("%s needs a client to ask as: --client-id ID, or PEER_ID in the environment", command)
	case c.Key == "":
		cfg.Secret, err = c.secret(s, command)
		return cfg, err
	}
	key, kid, err := readClientKey(c.Key, c.KID)
	cfg.Assertion = func(context.Context) (string, error) {
		return assertion.Sign(key, kid, cfg.ClientID, cfg.Issuer, time.Now())
	}
	return cfg, err
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
