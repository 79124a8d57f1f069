package cli

import (
	"context"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// trusted holds the flags that say which issuers a command trusts, and where it finds their keys.
type trusted struct {
	Peer        []string `placeholder:"DOMAIN[=URL]" help:"A domain, and the issuer to trust for it. Without URL, the domain itself names its issuer. May be repeated."`
	JWKS        []string `name:"jwks" placeholder:"[URL=]FILE" help:"The keys of that issuer, or of all. Without it, they are fetched from the issuers."`
	Development bool     `help:"Allow domains that are reserved for tests, and issuers by http."`
}

// table returns the trusted issuers.
func (c *trusted) table() (*trust.Table, error) {
	if len(c.Peer) == 0 {
		return nil, usage("name the domains and issuers that you trust: --peer DOMAIN[=URL]")
	}
	client, err := fetch.NewClient(c.policy())
	if err != nil {
		return nil, err
	}
	cfg := trust.Config{Client: client, Development: c.Development}
	if c.Development {
		cfg.ForeignClient = client
	}
	keys := make(map[string][]byte) // by issuer; "" for all
	var all string
	for _, entry := range c.JWKS {
		issuer, file, named := strings.Cut(entry, "=")
		if !named {
			issuer, file, all = "", entry, entry
		}
		if keys[issuer], err = os.ReadFile(file); err != nil {
			return nil, usage("read the keys: %w", err)
		}
	}
	for _, entry := range c.Peer {
		peer, named := trust.Peer{}, false
		peer.Domain, peer.Issuer, named = strings.Cut(entry, "=")
		if named && peer.Issuer == "" {
			return nil, usage("--peer %s names no URL: write the issuer after it, or leave out \"=\"", entry)
		}
		if peer.JWKS = keys[peer.Issuer]; peer.JWKS == nil {
			peer.JWKS = keys[""]
		}
		if peer.Issuer == "" && peer.JWKS != nil {
			return nil, usage("--jwks %s holds the keys of all issuers, and --peer %s names none: write --peer %[2]s=URL", all, peer.Domain)
		}
		cfg.Peers = append(cfg.Peers, peer)
	}
	table, err := trust.NewTable(cfg)
	if err != nil {
		return nil, usage("%w", err)
	}
	return table, nil
}

// lists returns a reader of the status lists of trusted issuers, whose entries have that many bits. Zero allows any number.
func (c *trusted) lists(table *trust.Table, bits int) (*statuslist.Reader, error) {
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
	return statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: client, Bits: bits, AllowHTTP: c.Development})
}

func (c *trusted) policy() fetch.Policy {
	policy := fetch.Policy{AllowHTTP: c.Development}
	if c.Development { // an issuer on this machine
		policy.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return policy
}

// statuses returns a function that looks up the status of a token in the list of its issuer, as it is now.
func (c *trusted) statuses(table *trust.Table) (func(context.Context, *nested.Layer) (bool, error), error) {
	lists, err := c.lists(table, 0)
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

// read returns the text of a file without white space around it. The name "-" stands for standard input.
func (s *streams) read(file string) (string, error) {
	const most = 1 << 20 // longer text is refused as a token
	in := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	return strings.TrimSpace(string(text)), err
}
