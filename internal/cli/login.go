package cli

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/web"
)

// defaultClient is the client id if no flag names one: that of the development issuer and of the examples.
const defaultClient = "im-app"

type loginCmd struct {
	kept
	Issuer     string        `placeholder:"URL" help:"The issuer ($$ISSUER)."`
	ClientID   string        `name:"client-id" placeholder:"ID" help:"The public client to log in with, which has the redirect URI http://127.0.0.1/callback (im-app)."`
	Domain     string        `placeholder:"NAME" help:"The domain to log in to, for a client of several domains."`
	Provider   string        `placeholder:"ID" help:"The OpenID provider to log in at, for a domain with several."`
	DeviceName string        `placeholder:"NAME" help:"The name of this device in lists of devices (the name of the machine)."`
	Scope      []string      `sep:" " placeholder:"SCOPE" help:"Scopes to ask for, instead of the issuer's own choice."`
	Resource   []string      `sep:"none" placeholder:"URI" help:"Resource that the tokens are for. May be repeated."`
	NewDevice  bool          `help:"Make a new key, and so a new device, even if there is a session."`
	NoBrowser  bool          `help:"Open no browser; only print the URL."`
	Device     bool          `help:"Log in with a browser elsewhere: show a code and a QR code, and wait until they are used (RFC 8628)."`
	Timeout    time.Duration `default:"5m" placeholder:"5m" help:"How long to wait for the user."`
	JSON       bool          `name:"json" help:"Print JSON."`
}

func (*loginCmd) Help() string {
	return `It opens a browser, where you sign in. It stores the session and its key in a file that only you can read. If the file already
holds a session of the same client, the login uses the key and the device of that session.

    issuer login --issuer http://127.0.0.1:8080
    issuer login --issuer https://im-id.example.com --client-id im-app --device-name "Alice's laptop"
    curl -H "Authorization: DPoP $(issuer token)" \
      -H "DPoP: $(issuer proof --session ~/.config/issuer/session.json --method GET --url "$url" --token "$(issuer token)")" "$url"

The browser must run on this machine: it returns to a port on 127.0.0.1. On a machine without one, --device prints a page, a code and a
QR code: open the page on any device, compare the code, and allow the login there. The client needs the grant for devices.

    issuer login --device --issuer https://im-id.example.com --client-id im-tv

JSON is {"issuer", "client_id",
"user", "handle", "device", "scope", "expires_at", "session"}; session is the path of the file. The exit code is
1 if you or the issuer refuse, and 3 if the issuer cannot be reached.`
}

func (c *loginCmd) Run(ctx context.Context, s *streams) error {
	if c.Device && c.Provider != "" {
		return usage("--provider has no effect with --device: the user chooses the OpenID provider in the browser")
	}
	path, err := c.file()
	if err != nil {
		return err
	}
	session, known, err := c.begin(ctx, s, path)
	if err != nil {
		return err
	}
	app, err := clientOf(ctx, session)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var tokens client.Tokens
	if c.Device {
		tokens, err = c.authorizeElsewhere(wait, s, app)
	} else {
		tokens, err = c.authorize(wait, s, app, session)
	}
	switch {
	case ctx.Err() != nil:
		return refused("cancelled: you are not signed in")
	case wait.Err() != nil:
		return refused("nobody signed in within %s: run it again, with a longer --timeout", c.Timeout)
	case err != nil:
		var e *client.Error
		if known && errors.As(err, &e) && !e.Temporary() && e.Code != "access_denied" && e.Code != "expired_token" {
			return refused("%w. If the cause is the key of the session in %s, --new-device makes a new one", answered(session.Issuer, err),
				path)
		}
		return answered(session.Issuer, err)
	}
	session.Take(tokens, time.Now())
	if err := c.keep(ctx, s, app, path, session); err != nil {
		return err
	}
	return c.welcome(s, path, session)
}

// begin returns the session for the login: with the key of an existing session, which the issuer knows, or with a new key.
func (c *loginCmd) begin(ctx context.Context, s *streams, path string) (_ client.Session, known bool, err error) {
	before, err := client.ReadSession(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return before, false, noSession(ctx, path, err)
	}
	issuer := strings.TrimSuffix(cmp.Or(c.Issuer, s.getenv("ISSUER"), before.Issuer), "/")
	id := cmp.Or(c.ClientID, before.ClientID, defaultClient)
	switch {
	case issuer == "":
		return before, false, usage("login needs the issuer: --issuer URL, or ISSUER in the environment")
	case !client.Safe(issuer):
		return before, false, usage("%s is neither an https URL nor on this machine: others could read your tokens on the way", issuer)
	case before.Issuer != "" && (before.Issuer != issuer || before.ClientID != id):
		return before, false, usage("%s holds a session of client %s at %s: end it with issuer logout, or name another file with --session",
			path, before.ClientID, before.Issuer)
	case before.Issuer != "" && !c.NewDevice:
		return client.Session{Issuer: issuer, ClientID: id, Key: before.Key}, true, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return before, false, err
	}
	session, err := client.NewSession(issuer, id, key)
	return session, false, err
}

// authorize sends a browser through the login, and redeems the code that it returns with.
func (c *loginCmd) authorize(ctx context.Context, s *streams, app *client.Client, session client.Session) (client.Tokens, error) {
	signer, err := session.Signer()
	if err != nil {
		return client.Tokens{}, err
	}
	back, err := listenForBrowser()
	if err != nil {
		return client.Tokens{}, err
	}
	defer back.close()
	ask := c.asked()
	ask.Set("dpop_jkt", signer.JKT())
	set(ask, "im_provider", c.Provider)
	flow := app.Begin(back.redirectURI(), ask)
	if app.Server.PAREndpoint != "" {
		if err := app.Push(ctx, flow); err != nil {
			return client.Tokens{}, err
		}
	}
	fmt.Fprintf(s.err, "To sign in, open this URL in a browser on this machine:\n\n  %s\n\n", flow.URL)
	if !c.NoBrowser {
		openBrowser(s, flow.URL)
	}
	var tokens client.Tokens
	err = back.await(ctx, flow, func(answer *url.URL) error {
		var err error
		tokens, err = patient(ctx, func() (client.Tokens, error) { return app.Finish(ctx, flow, answer) })
		if err == nil && !strings.EqualFold(tokens.TokenType, "DPoP") {
			return errors.New("the issuer gave a token that is not bound to the key of this device")
		}
		return err
	})
	return tokens, err
}

// keep writes the session, and ends the previous session of the file at the issuer.
func (c *loginCmd) keep(ctx context.Context, s *streams, app *client.Client, path string, session client.Session) error {
	held, err := client.HoldSession(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := client.WriteSession(path, session); err != nil {
			return usage("%w", err)
		}
		return nil
	} else if err != nil {
		return noSession(ctx, path, err)
	}
	defer held.Release()
	before := held.Session
	held.Session = session
	if err := held.Save(); err != nil {
		return usage("%w", err)
	}
	if before.RefreshToken != "" && before.Issuer == session.Issuer && before.ClientID == session.ClientID {
		if err := app.Revoke(ctx, before.RefreshToken); err != nil {
			fmt.Fprintln(s.err, "issuer: the previous session could not be ended:", root(err))
		}
	}
	return nil
}

// welcome prints who is signed in.
func (c *loginCmd) welcome(s *streams, path string, session client.Session) error {
	set, err := claimsOf(session.AccessToken)
	if err != nil {
		return refused("this program cannot read the issuer's access token: %w", err)
	}
	if c.JSON {
		return printJSON(s, struct {
			Issuer    string    `json:"issuer"`
			ClientID  string    `json:"client_id"`
			User      string    `json:"user"`
			Handle    string    `json:"handle,omitempty"`
			Device    string    `json:"device,omitempty"`
			Scope     string    `json:"scope,omitempty"`
			ExpiresAt time.Time `json:"expires_at"`
			Session   string    `json:"session"`
		}{session.Issuer, session.ClientID, set.Subject, set.Handle, set.Device, session.Scope, session.ExpiresAt, path})
	}
	name := cmp.Or(set.Handle, set.Subject)
	if id, err := claims.Parse(name); err == nil {
		name = claims.Display(id)
	}
	fmt.Fprintf(s.out, "Signed in as %s. The session is in %s.\n", printable(name), path)
	return nil
}

// platform returns the platform hint of this device.
func platform() string {
	switch runtime.GOOS {
	case "darwin":
		return "macos"
	case "android", "ios", "linux", "windows":
		return runtime.GOOS
	}
	return "other"
}

// machine returns the name of this machine if it is a valid name of a device.
func machine() string {
	name, err := os.Hostname()
	if err != nil || printable(name) != name || utf8.RuneCountInString(name) > 64 {
		return ""
	}
	return name
}

// pageFor returns the page that the browser shows at the end.
func pageFor(l *web.Language, err error) web.Page {
	if err == nil {
		return web.Page{Status: 200, Language: l, Title: l.Say("terminal.done.title"), Text: l.Say("terminal.done.text")}
	}
	page := web.Page{Status: 200, Language: l, Title: l.Say("terminal.failed.title"), Text: l.Say("terminal.failed.text")}
	if e := (*client.Error)(nil); errors.As(err, &e) {
		page.Facts = []web.Fact{{Name: "error", Value: e.Code}, {Name: "error_description", Value: e.Description}}
	}
	return page
}

// set sets a parameter, unless its value is empty.
func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
