package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

type introspectCmd struct {
	Token      string `arg:"" help:"The access token; - reads it from standard input."`
	Issuer     string `env:"ISSUER" required:"" placeholder:"URL" help:"The issuer to ask ($$ISSUER)."`
	ClientID   string `env:"PEER_ID" required:"" placeholder:"ID" help:"Client to ask as ($$PEER_ID)."`
	SecretFile string `placeholder:"FILE" help:"File that holds its secret; without it, $$PEER_SECRET does."`
}

func (c *introspectCmd) Run(ctx context.Context, s *streams) error {
	secret, err := c.secret(s)
	if err != nil {
		return err
	}
	token := c.Token
	if token == "-" {
		if token, err = readLine(s.in); err != nil {
			return usage("read the token: %w", err)
		}
	}
	h := &http.Client{Timeout: 30 * time.Second}
	meta, err := client.Discover(ctx, h, strings.TrimSuffix(c.Issuer, "/"))
	if err != nil {
		return unknown("%w", err)
	}
	peer := &client.Client{Server: meta, ID: c.ClientID, Secret: secret, HTTP: h}
	answer, err := peer.Introspect(ctx, token)
	var e *client.Error
	if errors.As(err, &e) && e.Status < http.StatusInternalServerError {
		return usage("%w", err)
	} else if err != nil {
		return unknown("%w", err)
	}
	encoder := json.NewEncoder(s.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		return unknown("print the answer: %w", err)
	}
	if active, _ := answer["active"].(bool); !active {
		return &exit{code: exitNo}
	}
	return nil
}

// secret reads the secret of the client that asks: from a file, or from the environment, never from an argument,
// which others on the machine could see.
func (c *introspectCmd) secret(s *streams) (string, error) {
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return "", usage("read the secret: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	for _, entry := range s.env {
		if value, ok := strings.CutPrefix(entry, "PEER_SECRET="); ok && value != "" {
			return value, nil
		}
	}
	return "", usage("introspect needs the client's secret: --secret-file FILE, or PEER_SECRET in the environment")
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(r).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}
