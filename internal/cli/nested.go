package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/nested"
)

type nestedCmd struct {
	Explain explainCmd `cmd:"" help:"Check a token with all tokens that it encloses, and explain the result."`
}

type explainCmd struct {
	File     string    `arg:"" help:"File with the token; - reads it from standard input."`
	Trusted  trusted   `embed:""`
	Along    []string  `placeholder:"FILE" help:"File with a token that the token names by its digest. May be repeated."`
	NJWT     string    `name:"njwt" enum:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by," default:"" placeholder:"RELATION" help:"The relation of a token in the member njwt to the outer one, such as acts_for. Without it, such tokens are refused."`
	Audience []string  `placeholder:"NAME" help:"An audience of the verifier: the token must be for one of them. Without it, any audience is accepted."`
	At       time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Check it as of this time, such as 2026-05-01T14:00:00Z, not now."`
	JSON     bool      `name:"json" help:"Print JSON."`
}

func (*explainCmd) Help() string {
	return `Check a token with keys from a file, or with the keys that the issuer publishes:

    issuer nested explain token --peer example.net=https://im-id.example.net --jwks keys.json
    issuer nested explain - --peer example.net=https://im-id.example.net < token

Let the domain name its issuer (docs/discovery.md):

    issuer nested explain token --peer example.net

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
	text, err := s.read(c.File)
	if err != nil {
		return usage("read the token: %w", err)
	}
	table, err := c.Trusted.table()
	if err != nil {
		return err
	}
	statuses, err := c.Trusted.statuses(table)
	if err != nil {
		return err
	}
	o := nested.Options{
		Status: statuses,
		Keys:   table, Audience: c.Audience, AnyAudience: len(c.Audience) == 0, Development: c.Trusted.Development,
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
	tree, err := nested.Open(ctx, text, o)
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
