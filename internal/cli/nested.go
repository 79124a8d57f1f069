package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

type nestedCmd struct {
	Explain explainCmd `cmd:"" help:"Check a token with all tokens that it encloses, and explain the result."`
}

type explainCmd struct {
	File        string    `arg:"" help:"File with the token; - reads it from standard input."`
	Peer        []string  `required:"" placeholder:"DOMAIN=URL" help:"An issuer to trust for a domain. May be repeated."`
	JWKS        []string  `name:"jwks" placeholder:"[URL=]FILE" help:"The keys of that issuer, or of all. Without it, they are fetched from the issuers."`
	Along       []string  `placeholder:"FILE" help:"File with a token that the token names by its digest. May be repeated."`
	NJWT        string    `name:"njwt" enum:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by," default:"" placeholder:"RELATION" help:"The relation of a token in the member njwt to the outer one, such as acts_for. Without it, such tokens are refused."`
	Audience    []string  `placeholder:"NAME" help:"An audience of the verifier: the token must be for one of them. Without it, any audience is accepted."`
	At          time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Check it as of this time, such as 2026-05-01T14:00:00Z, not now."`
	Development bool      `help:"Allow domains that are reserved for tests, and issuers by http."`
	JSON        bool      `name:"json" help:"Print JSON."`
}

func (*explainCmd) Help() string {
	return `Check a token with keys from a file, or with the keys that the issuer publishes:

    issuer nested explain token --peer example.net=https://im-id.example.net --jwks keys.json
    issuer nested explain - --peer example.net=https://im-id.example.net < token

Check an access token or a statement together with a token that it names by its digest:

    issuer nested explain token --along grant --peer example.net=https://im-id.example.net

Of a token with a status, the command fetches the status list of its issuer. Otherwise it does not check whether a token was revoked.`
}

// explained are the types of tokens that can be explained.
var explained = []string{
	nested.TypeAccessToken, nested.TypeActor, nested.TypeDelegation, nested.TypeDevice, nested.TypeLink, nested.TypeRename,
	nested.TypeMove, nested.TypeMember, nested.TypeGuardian,
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
	statuses, err := c.statuses(table)
	if err != nil {
		return err
	}
	o := nested.Options{
		Status: statuses,
		Keys:   table, Audience: c.Audience, AnyAudience: len(c.Audience) == 0, Development: c.Development,
		Types: explained, NJWT: nested.Relation(c.NJWT),
	}
	for _, file := range c.Along {
		token, err := os.ReadFile(file)
		if err != nil {
			return usage("read the token of --along: %w", err)
		}
		o.Along = append(o.Along, strings.TrimSpace(string(token)))
	}
	if !c.At.IsZero() {
		o.Now = func() time.Time { return c.At }
	}
	tree, err := nested.Open(ctx, strings.TrimSpace(text), o)
	var refusal *nested.Error
	switch {
	case errors.As(err, &refusal):
		return refused("the token is not valid: %w", err)
	case err != nil:
		return unknown("the token cannot be checked now: %w", err)
	case c.JSON:
		return printJSON(s, tree)
	}
	fmt.Fprint(s.out, tree.Explain())
	return nil
}

func (c *explainCmd) read(s *streams) (string, error) {
	const most = 1 << 20 // longer text is refused as a token
	if c.File == "-" {
		text, err := io.ReadAll(io.LimitReader(s.in, most))
		return string(text), err
	}
	text, err := os.ReadFile(c.File)
	return string(text), err
}

// table returns the trusted issuers of the flags.
func (c *explainCmd) table() (*trust.Table, error) {
	client, err := fetch.NewClient(c.policy())
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

func (c *explainCmd) policy() fetch.Policy {
	policy := fetch.Policy{AllowHTTP: c.Development}
	if c.Development { // an issuer on this machine
		policy.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return policy
}

// statuses returns a function that looks up the status of a token in the list of its issuer, as it is now.
func (c *explainCmd) statuses(table *trust.Table) (func(context.Context, *nested.Layer) (bool, error), error) {
	newClient := fetch.NewForeignClient // the address of a list comes from the token
	if c.Development {
		newClient = fetch.NewClient
	}
	policy := c.policy()
	policy.MaxBody = statuslist.DefaultPacked
	client, err := newClient(policy)
	if err != nil {
		return nil, err
	}
	lists, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: client, AllowHTTP: c.Development})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, l *nested.Layer) (bool, error) {
		var ref *claims.Status
		if l.Access != nil {
			ref = l.Access.Status
		} else {
			ref = l.Statement.Status
		}
		status, err := lists.Status(ctx, l.Issuer, statuslist.Reference{Index: ref.Index, URI: ref.URI})
		return status == statuslist.Valid, err
	}, nil
}
