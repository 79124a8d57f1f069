package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

type nestedCmd struct {
	Explain explainCmd `cmd:"" help:"Check a token with all that it encloses, and say what it comes to."`
}

type explainCmd struct {
	File        string    `arg:"" help:"File that holds the token; - reads it from standard input."`
	Peer        []string  `required:"" placeholder:"DOMAIN=URL" help:"An issuer to believe for a domain. May be repeated."`
	JWKS        []string  `name:"jwks" placeholder:"[URL=]FILE" help:"The keys of that issuer, or of all. Without, they are asked for at the issuers."`
	Audience    []string  `placeholder:"NAME" help:"A name of the verifier: the token must be for one of them. Without, it may be for anybody."`
	At          time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Check it as of this time, such as 2026-05-01T14:00:00Z, not now."`
	Development bool      `help:"Admit domains set aside for tests, and issuers by http."`
	JSON        bool      `name:"json" help:"Print JSON."`
}

func (*explainCmd) Help() string {
	return `Offline, and with the keys that the issuer publishes:

    issuer nested explain token --peer example.net=https://im-id.example.net --jwks keys.json
    issuer nested explain - --peer example.net=https://im-id.example.net < token

Nobody is asked whether a token was revoked.`
}

func (c *explainCmd) Run(ctx context.Context, s *streams) error {
	text, err := c.read(s)
	if err != nil {
		return usage("read the token: %w", err)
	}
	table, err := c.table()
	if err != nil {
		return err
	}
	o := nested.Options{
		Keys: table, Audience: c.Audience, AnyAudience: len(c.Audience) == 0, Development: c.Development,
		Types: []string{nested.TypeAccessToken},
	}
	if !c.At.IsZero() {
		o.Now = func() time.Time { return c.At }
	}
	tree, err := nested.Open(ctx, strings.TrimSpace(text), o)
	var refusal *nested.Error
	switch {
	case errors.As(err, &refusal):
		return refused("the token does not hold: %w", err)
	case err != nil:
		return unknown("the token cannot be checked now: %w", err)
	case c.JSON:
		return printJSON(s, tree)
	}
	fmt.Fprint(s.out, tree.Explain())
	return nil
}

func (c *explainCmd) read(s *streams) (string, error) {
	const most = 1 << 20 // what is longer than a token may be is refused as one
	if c.File == "-" {
		text, err := io.ReadAll(io.LimitReader(s.in, most))
		return string(text), err
	}
	text, err := os.ReadFile(c.File)
	return string(text), err
}

// table is whom the flags say to believe.
func (c *explainCmd) table() (*trust.Table, error) {
	client, err := fetch.NewClient(fetch.Policy{AllowHTTP: c.Development})
	if err != nil {
		return nil, err
	}
	cfg := trust.Config{Client: client, Development: c.Development}
	keys := make(map[string][]byte) // by issuer; "" for all
	for _, entry := range c.JWKS {
		issuer, file, named := strings.Cut(entry, "=")
		if !named {
			issuer, file = "", entry
		}
		if keys[issuer], err = os.ReadFile(file); err != nil {
			return nil, usage("read the keys: %w", err)
		}
	}
	for _, entry := range c.Peer {
		domain, issuer, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, usage("--peer %q is not DOMAIN=URL", entry)
		}
		jwks := keys[issuer]
		if jwks == nil {
			jwks = keys[""]
		}
		cfg.Peers = append(cfg.Peers, trust.Peer{Domain: domain, Issuer: issuer, JWKS: jwks})
	}
	table, err := trust.NewTable(cfg)
	if err != nil {
		return nil, usage("%w", err)
	}
	return table, nil
}
