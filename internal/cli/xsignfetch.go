package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

// introspectScope is the scope of tokens that ask an issuer about others.
const introspectScope = "introspect"

// The limits of a question to the issuer.
const (
	maxQueryUsers   = 100
	maxQueryAuthors = 20
)

type xsignFetchCmd struct {
	kept
	Users      []string `arg:"" name:"uri" help:"The users."`
	By         []string `placeholder:"URI" help:"Fetch the public vouches of this user about them, too, such as one of an introducer. May be repeated."`
	To         string   `placeholder:"FILE" help:"Write the statements to this file, and replace an earlier one. Without it, they are printed."`
	Issuer     string   `placeholder:"URL" help:"The issuer to ask; the default is that of the session, or $$ISSUER for a client."`
	ClientID   string   `placeholder:"ID" help:"Ask as this client instead of by the session ($$PEER_ID, if there is no --session)."`
	SecretFile string   `placeholder:"FILE" help:"File with its secret; the default is $$PEER_SECRET."`
}

func (*xsignFetchCmd) Help() string {
	return `It asks the issuer of the users for their keys, device lists, and public vouches about them. Nothing of the answer is believed before
issuer xsign verify has judged it. It needs a session with the scope introspect, or a client that may introspect:

    issuer login --scope "im:handle im:device introspect"
    issuer xsign fetch "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user" --to bundle.json

JSON is {"fetched", "users"}, where users has for the URI of each user {"keys", "succession", "devices", "vouches"}. A user without statements
is absent. The exit code is 1 if the issuer refuses, and 3 if it cannot be reached.`
}

func (c *xsignFetchCmd) Run(ctx context.Context, s *streams) error {
	users, err := queried("users", c.Users, maxQueryUsers)
	if err != nil {
		return err
	}
	by, err := queried("authors", c.By, maxQueryAuthors)
	if err != nil {
		return err
	}
	issuer, query, err := c.asker(ctx, s)
	if err != nil {
		return err
	}
	fetched := time.Now().UTC().Truncate(time.Second)
	file := bundleFile{Fetched: &fetched, Users: make(map[string]api.XSignUser)}
	for next := users; len(next) > 0; { // those that did not fit into an answer are asked about again
		got, err := query(client.XSignQuestion{Users: next, By: by})
		if err != nil {
			return answered(issuer, err)
		}
		for uri, one := range got.Users {
			if !slices.Contains(next, uri) {
				return refused("the issuer's answer is not usable: it is about %s, which was not asked for", printable(uri))
			}
			file.Users[uri] = one
		}
		for _, uri := range got.Omitted {
			if !slices.Contains(next, uri) {
				return refused("the issuer's answer is not usable: it leaves out %s, which was not asked for", printable(uri))
			}
		}
		if len(got.Omitted) >= len(next) {
			return refused("the issuer's answer is not usable: it has nothing that was asked for")
		}
		next = got.Omitted
	}
	if c.To == "" {
		return printJSON(s, file)
	}
	var text strings.Builder
	if err := writeJSON(&text, file); err != nil {
		return err
	}
	if err := writePrivate(c.To, text.String()); err != nil {
		return usage("--to: %w", err)
	}
	fmt.Fprintf(s.out, "%s has the statements of %s.\n", c.To, count(len(file.Users), "user"))
	return nil
}

// queried returns the canonical URIs of users, each once.
func queried(what string, list []string, most int) ([]string, error) {
	if len(list) > most {
		return nil, usage("at most %d %s can be asked about at a time", most, what)
	}
	var uris []string
	for _, text := range list {
		id, err := readIdentity(text, "", "")
		if err != nil {
			return nil, err
		}
		if id.User == (claims.ID{}) {
			return nil, usage("the URI of a user is empty")
		}
		if uri := id.User.String(); !slices.Contains(uris, uri) {
			uris = append(uris, uri)
		}
	}
	return uris, nil
}

type xsignQuery func(client.XSignQuestion) (api.XSignUsers, error)

// asker returns the issuer, and a function that asks it as a client or by the session.
func (c *xsignFetchCmd) asker(ctx context.Context, s *streams) (string, xsignQuery, error) {
	issuer := strings.TrimSuffix(c.Issuer, "/")
	if id := cmp.Or(c.ClientID, s.getenv("PEER_ID")); c.Session == "" && id != "" {
		caller := callerFlags{Issuer: issuer, ClientID: id, SecretFile: c.SecretFile}
		cfg, err := caller.config(s, "xsign fetch")
		if err != nil {
			return "", nil, err
		}
		app := client.Client{ID: id, Secret: cfg.Secret, HTTP: bare()}
		return cfg.Issuer, func(q client.XSignQuestion) (api.XSignUsers, error) {
			return app.QueryXSign(ctx, cfg.Issuer, "", q)
		}, checkIssuer(cfg.Issuer)
	}
	path, err := c.file()
	if err != nil {
		return "", nil, err
	}
	if issuer != "" {
		if err := checkIssuer(issuer); err != nil {
			return "", nil, err
		}
	}
	app, token, err := issuerTokenFor(ctx, path, issuer, introspectScope, noScopeFor(c.Session, introspectScope, "ask about others"))
	if err != nil {
		return "", nil, err
	}
	issuer = cmp.Or(issuer, app.Server.Issuer)
	return issuer, func(q client.XSignQuestion) (api.XSignUsers, error) { return app.QueryXSign(ctx, issuer, token, q) }, nil
}

// checkIssuer refuses an issuer that secrets and tokens must not be sent to.
func checkIssuer(issuer string) error {
	if !client.Safe(issuer) {
		return usage("the issuer %s is neither an https URL nor on this machine", issuer)
	}
	return nil
}
