package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/xsign"
)

// accountScope is the scope of tokens that manage the account of their user.
const accountScope = "account"

type xsignPublishCmd struct {
	keyFileFlag
	kept
}

func (*xsignPublishCmd) Help() string {
	return `The issuer stores your newest keys and device list, and your vouches and distrusts. Of the latter it shows the public ones to others.
What your file does not have any more is removed there. It needs a session with the scope account:

    issuer login --scope "im:handle im:device account"
    issuer xsign publish

Another master key takes a login that is at most five minutes old. The exit code is 1 if the issuer refuses, and 3 if it cannot be reached.`
}

func (c *xsignPublishCmd) Run(ctx context.Context, s *streams) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	signer, err := readCrossSigner(path)
	if err != nil {
		return err
	}
	session, err := c.kept.file()
	if err != nil {
		return err
	}
	app, token, err := issuerToken(ctx, session, accountScope, noScopeFor(c.Session, accountScope, "publish statements"))
	if err != nil {
		return err
	}
	p := publication{signer: signer, app: app, token: token}
	if err := p.publish(ctx); err != nil {
		return p.explain(err)
	}
	fmt.Fprintf(s.out, "Published at %s: keys %d, device list %d, and %s about other users.\n", app.Server.Issuer,
		signer.contents.Keys.Seq, signer.contents.Devices.Seq, count(len(signer.file.Own), "statement"))
	return nil
}

// noScopeFor returns the error of a session that lacks a scope.
func noScopeFor(file, scope, purpose string) func(client.Session) error {
	return func(session client.Session) error {
		again := ""
		if file != "" {
			again = " --session " + file
		}
		scopes := strings.Fields(session.Scope)
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
		return refused("the session may not %s: log in again with issuer login%s --scope %q", purpose, again, strings.Join(scopes, " "))
	}
}

// A publication brings what the issuer stores in line with a key file.
type publication struct {
	signer *crossSigner
	app    *client.Client
	token  string
}

func (p *publication) publish(ctx context.Context) error {
	stored, err := p.app.OwnXSign(ctx, p.token)
	if err != nil {
		return err
	}
	if err := p.newer(stored); err != nil {
		return err
	}
	keys, devices := p.signer.file.Bundle.Keys, p.signer.file.Devices
	if stored.Keys == keys {
		keys = ""
	}
	if stored.Devices == devices {
		devices = ""
	}
	if keys != "" || devices != "" {
		if err := p.app.PutXSign(ctx, p.token, keys, devices); err != nil {
			return err
		}
	}
	for _, text := range p.signer.file.Own {
		if slices.Contains(stored.Vouches, text) {
			continue
		}
		if err := p.app.PutVouch(ctx, p.token, p.signer.about(text), text); err != nil {
			return err
		}
	}
	for _, text := range stored.Vouches {
		master, err := masterOf(text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.signer.file.Own, func(own string) bool { return p.signer.about(own) == master }) {
			continue
		}
		if err := p.app.DeleteVouch(ctx, p.token, master); err != nil {
			return err
		}
	}
	return nil
}

// newer refuses a file that is older than what was published with the same master key: contacts have seen the newer statements.
func (p *publication) newer(stored api.OwnXSign) error {
	b := xsign.Bundle{Keys: stored.Keys, Succession: stored.Succession, Devices: stored.Devices}
	if b.Keys == "" {
		return nil
	}
	there, err := b.Open(p.signer.user)
	if err != nil || there.Masters[len(there.Masters)-1] != p.signer.master() {
		return nil // what is there is nothing to keep, or the issuer decides
	}
	here := p.signer.contents
	seen := there.Keys.Seq
	if there.Devices != nil {
		seen = max(seen, there.Devices.Seq)
	}
	if there.Keys.Seq > here.Keys.Seq || there.Devices != nil && there.Devices.Seq > here.Devices.Seq {
		return refused("%s is older than what the issuer has: look at that with issuer xsign fetch, and sign above it with "+
			"issuer xsign renew --after %d", p.signer.path, seen)
	}
	return nil
}

// masterOf reads the master key that a statement of the user's own is about. Its signature may be by a former key.
func masterOf(text string) (string, error) {
	var in struct {
		Master string `json:"master"`
	}
	_, payload, err := decodeJWT(text)
	if err == nil {
		err = json.Unmarshal(payload, &in)
	}
	if err == nil {
		err = checkThumbprint("the issuer's answer", in.Master)
	}
	if err != nil {
		return "", refused("the issuer's answer is not usable: %w", err)
	}
	return in.Master, nil
}

// explain returns an error of the issuer in the user's words.
func (p *publication) explain(err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Code == "insufficient_user_authentication" {
		return refused("another master key takes a new login: run issuer login again, and publish within five minutes")
	}
	return answered(p.app.Server.Issuer, err)
}
