package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/types/api"
)

type clientsCmd struct {
	List         clientsListCmd   `cmd:"" help:"List clients, and where each is registered."`
	Show         clientsShowCmd   `cmd:"" help:"Show the registration of a client."`
	Add          clientsAddCmd    `cmd:"" help:"Register a client while the issuer runs."`
	Remove       clientsRemoveCmd `cmd:"" help:"Remove a client: its sessions and tokens end, and its id cannot be used again."`
	RotateSecret clientsRotateCmd `cmd:"" help:"Give a client a new secret."`
}

type clientsListCmd struct{ operator }

func (*clientsListCmd) Help() string {
	return `It lists the clients of the settings file, and those that were added with issuer clients add:

    issuer clients list --config /etc/issuer/issuer.yaml`
}

func (c *clientsListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := socket.Clients(ctx)
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "CLIENT\tKIND\tSOURCE\tGRANTS\tSCOPES\tDOMAINS", func(w io.Writer) {
		for _, k := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, kind(k), k.Source, shortGrants(k.Grants),
				strings.Join(k.Scopes, " "), strings.Join(k.Domains, " "))
		}
	})
}

// shortGrants lists grant types for people, URNs by their last part.
func shortGrants(grants []string) string {
	return strings.ReplaceAll(strings.Join(grants, " "), "urn:ietf:params:oauth:grant-type:", "")
}

// kind returns one word for a client.
func kind(k api.Client) string {
	switch {
	case k.Fault != "":
		return "not-served"
	case k.Public:
		return "public"
	}
	return "confidential"
}

type clientsShowCmd struct {
	operator
	ID string `arg:"" help:"The client id."`
}

func (*clientsShowCmd) Help() string {
	return `It shows removed clients, too:

    issuer clients show rooms`
}

func (c *clientsShowCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.Client(ctx, c.ID)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, k)
	}
	return printClient(s, k)
}

// printClient prints a registration with the keys of the settings file, and the state of the client.
func printClient(s *streams, k api.Client) error {
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	line := func(name string, words ...string) {
		if text := strings.Join(words, " "); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, text)
		}
	}
	flag := func(name string, on bool) {
		if on {
			line(name, "true")
		}
	}
	moment := func(name string, at *time.Time, more ...string) {
		if at != nil {
			line(name, append([]string{at.Format(time.RFC3339)}, more...)...)
		}
	}
	line("id", k.ID)
	line("name", k.Name)
	line("source", k.Source)
	line("auth", k.Auth)
	flag("first_party", k.FirstParty)
	line("redirect_uris", k.RedirectURIs...)
	line("grants", k.Grants...)
	line("scopes", k.Scopes...)
	line("domains", k.Domains...)
	line("resources", k.Resources...)
	flag("peer_resources", k.PeerResources)
	line("embed", k.Embed...)
	line("dpop", k.DPoP)
	flag("require_par", k.RequirePAR)
	flag("require_dpop_jkt", k.RequireDPoPJKT)
	line("jwks", k.JWKS)
	line("jwks_uri", k.JWKSURI)
	line("introspection_signed_response_alg", k.SignedResponseAlg)
	if r := k.Introspection; r != nil {
		line("introspection.claims", r.Claims...)
		line("introspection.reasons", strconv.FormatBool(r.Reasons == nil || *r.Reasons))
		flag("introspection.pairwise", r.Pairwise)
	}
	moment("added", k.CreatedAt)
	moment("old secret valid until", k.OldSecretUntil)
	moment("removed", k.RemovedAt, "("+k.RemovedReason+")")
	line("not served", k.Fault)
	return w.Flush()
}

type clientsAddCmd struct {
	operator
	ID             string   `name:"id" required:"" placeholder:"ID" help:"The client id. The id of a removed client cannot be used again."`
	Name           string   `placeholder:"TEXT" help:"The name that users see (its id)."`
	Auth           string   `required:"" enum:"none,secret,private_key_jwt" placeholder:"none|secret|private_key_jwt" help:"How it authenticates."`
	Grants         []string `name:"grant" sep:"none" placeholder:"GRANT" help:"A grant that it may ask for; may be repeated, like all below."`
	RedirectURIs   []string `name:"redirect-uri" sep:"none" placeholder:"URI" help:"A redirect URI."`
	Scopes         []string `name:"scope" sep:"none" placeholder:"SCOPE" help:"A scope that it may ask for."`
	Domains        []string `name:"domain" required:"" sep:"none" placeholder:"NAME" help:"A domain that it serves."`
	Resources      []string `name:"resource" sep:"none" placeholder:"URI" help:"An audience that it serves and may request tokens for."`
	PeerResources  bool     `help:"It may also request tokens for every peer."`
	Embed          []string `name:"embed" sep:"none" placeholder:"RELATION" help:"A relation of tokens that it may embed in its own."`
	DPoP           string   `name:"dpop" enum:"required,optional," default:"" placeholder:"required|optional" help:"Whether its tokens are bound to a key (required)."`
	FirstParty     bool     `help:"You run it: users are not asked for consent."`
	RequirePAR     bool     `name:"require-par" help:"Its authorization requests must be pushed."`
	RequireDPoPJKT bool     `name:"require-dpop-jkt" help:"Its authorization requests must name their key."`
	JWKS           string   `name:"jwks" xor:"keys" placeholder:"FILE" help:"File with its public keys, a JWK Set."`
	JWKSURI        string   `name:"jwks-uri" xor:"keys" placeholder:"URL" help:"The URL where it publishes them."`
	SignedAlg      string   `name:"introspection-signed-response-alg" placeholder:"ALG" help:"The algorithm that all answers at introspection are signed with: that of signing.alg."`
	ReleaseClaims  []string `name:"introspection-claim" sep:"none" placeholder:"MEMBER" help:"A member of answers that it gets at introspection (all)."`
	HideReasons    bool     `name:"introspection-no-reasons" help:"It is never told why a token is not active."`
	Pairwise       bool     `name:"introspection-pairwise" help:"It gets ids of users and devices that no other caller gets."`
}

func (*clientsAddCmd) Help() string {
	return `The client is stored in the database. The same rules apply to it as to clients of the settings file (docs/settings.md). With
--auth secret, the issuer generates the secret, shows it once, and stores only its hash.

    issuer clients add --id rooms --auth secret --domain acme.im --grant client_credentials --scope introspect
    issuer clients add --id im-app --auth none --domain acme.im --first-party --redirect-uri http://127.0.0.1/callback \
        --grant authorization_code --grant refresh_token`
}

func (c *clientsAddCmd) Run(ctx context.Context, s *streams) error {
	registration := api.NewClient{
		ID: c.ID, Name: c.Name, Auth: c.Auth, FirstParty: c.FirstParty, RedirectURIs: c.RedirectURIs, Grants: c.Grants,
		Scopes: c.Scopes, Domains: c.Domains, Resources: c.Resources, PeerResources: c.PeerResources, Embed: c.Embed, DPoP: c.DPoP,
		RequirePAR: c.RequirePAR, RequireDPoPJKT: c.RequireDPoPJKT, JWKSURI: c.JWKSURI, SignedResponseAlg: c.SignedAlg,
	}
	if c.ReleaseClaims != nil || c.HideReasons || c.Pairwise {
		reasons := !c.HideReasons
		registration.Introspection = &api.Release{Claims: c.ReleaseClaims, Reasons: &reasons, Pairwise: c.Pairwise}
	}
	if c.JWKS != "" {
		text, err := os.ReadFile(c.JWKS)
		if err != nil {
			return usage("read the keys: %w", err)
		}
		registration.JWKS = strings.TrimSpace(string(text))
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.AddClient(ctx, registration)
	if err != nil {
		return explain(socket, err)
	}
	return c.changed(s, k, "Added client %s.\n", k.ID)
}

type clientsRemoveCmd struct {
	operator
	ID     string `arg:"" help:"The client id."`
	Reason string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*clientsRemoveCmd) Help() string {
	return `Its sessions end, its tokens become inactive at once, and its id cannot be used again. To remove a client of the settings
file, edit that file.

    issuer clients remove rooms --reason "shut down"`
}

func (c *clientsRemoveCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.RemoveClient(ctx, c.ID, c.Reason)
	if err != nil {
		return explain(socket, err)
	}
	return c.changed(s, k, "Removed client %s.\n", k.ID)
}

type clientsRotateCmd struct {
	operator
	ID   string        `arg:"" help:"The client id."`
	Keep time.Duration `default:"24h" placeholder:"TIME" help:"How long the old secret stays valid (${default}); 0s ends it at once."`
}

func (*clientsRotateCmd) Help() string {
	return `The new secret is shown only once. The old secret stays valid for the time of --keep. Another rotation ends the oldest of
three secrets, so at most two are valid:

    issuer clients rotate-secret rooms
    issuer clients rotate-secret rooms --keep 0s      # the old secret has leaked`
}

func (c *clientsRotateCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.ReplaceSecret(ctx, c.ID, c.Keep)
	if err != nil {
		return explain(socket, err)
	}
	return c.changed(s, k, "Client %s has a new secret.\n", k.ID)
}

// changed prints a change of a client, and its new secret.
func (o *operator) changed(s *streams, k api.Client, format string, args ...any) error {
	if o.JSON {
		return printJSON(s, k)
	}
	fmt.Fprintf(s.out, format, args...)
	if k.Secret != "" {
		fmt.Fprintf(s.out, "The secret, shown only once: %s\n", k.Secret)
	} else if k.Auth == "secret" && k.RemovedAt == nil {
		fmt.Fprintf(s.out, "The answer with its secret was lost. Make another one: issuer clients rotate-secret %s\n", k.ID)
	}
	if k.OldSecretUntil != nil {
		fmt.Fprintf(s.out, "The old secret is valid until %s.\n", k.OldSecretUntil.Format(time.RFC3339))
	}
	return nil
}
