package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/introspect"
)

// A Story configures the demonstration.
type Story struct {
	Out    io.Writer
	Colour bool
	// Keep serves at the usual addresses and goes on after the story, until the context ends.
	Keep bool
	Log  *slog.Logger
}

const (
	redirectURI = "http://127.0.0.1:7777/callback" // nothing listens there: the browser stops before that request
	person      = "alice"
)

// Run starts a development issuer in a temporary folder and plays the story over HTTP: a login, the bound token, a question of a
// peer, attacks that must fail, a bot that acts for a user, a credential, also as a certificate and as a CWT, and the gateway of another
// provider. The error names the step that failed.
func Run(ctx context.Context, s Story) error {
	folder, err := os.MkdirTemp("", "issuer-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	root, err := makeCA(folder)
	if err != nil {
		return err
	}
	options := Options{Data: folder, Listen: "127.0.0.1:0", ProviderListen: "127.0.0.1:0",
		Overlay: []byte(visits + "\n" + certifying(folder)),
		Log:     func(config.Log) *slog.Logger { return s.Log }}
	if s.Keep {
		options.Listen, options.ProviderListen = "", ""
	}
	dev, err := Start(ctx, options)
	if err != nil {
		return err
	}
	t := &telling{Story: s, dev: dev, root: root}
	err = t.tell(ctx)
	if err == nil && s.Keep {
		err = t.invite(ctx)
	}
	if err == nil && s.Keep {
		return dev.Wait()
	}
	return errors.Join(err, dev.Close())
}

// telling is the state of a running story.
type telling struct {
	Story
	dev *Dev

	server client.Metadata
	signer *dpop.Signer
	app    *client.Client
	peer   *introspect.Client
	tokens client.Tokens
	set    claims.Set

	bot     *client.Client
	granted actorGrant
	acting  client.Tokens // the bot's, about Alice

	holder holder // of a credential
	envelopes
	root *x509.Certificate // of the domain

	gateway *room  // of the other provider; nil before Alice visits it
	visitor string // the token that is shown there
}

// A step is a part of the story.
type step struct {
	name string
	play func(context.Context) error
}

// tell plays the story.
func (t *telling) tell(ctx context.Context) error {
	err := t.play(ctx, []step{
		{"the issuer and an OpenID provider start", t.meet},
		{"Alice logs in on a new device", t.login},
		{"the device refreshes its token", t.refresh},
		{"the content of the token", t.read},
		{"a peer asks the issuer about it", t.ask},
		{"a thief uses a stolen token with another key", t.steal},
		{"an attacker sends the same proof twice", t.replay},
		{"Alice lets a bot act for her", t.grant},
		{"the bot acts for Alice, and a peer sees it", t.act},
		{"Alice revokes the grant", t.takeBack},
		{"the device gets a credential, which lasts for weeks", t.obtain},
		{"the device shows it to a verifier, without the handle", t.show},
		{"the device gets it as a certificate and as a CWT, too", t.certify},
		{"the verifier checks both", t.compare},
		{"another provider's gateway lets Alice's device in, and not the thief", t.visit},
		{"the operator removes the device", t.remove},
		{"the other provider's gateway refuses the old token", t.turnAway},
		{"the verifier refuses the credential", t.refuse},
		{"and the certificate and the CWT", t.refuseEnvelopes},
	})
	if t.gateway != nil {
		t.gateway.close()
	}
	if err == nil {
		fmt.Fprintf(t.Out, "\n%s\n", t.paint("1;32", "Every step worked as expected."))
	}
	return err
}

// play plays steps in order.
func (t *telling) play(ctx context.Context, steps []step) error {
	for _, step := range steps {
		fmt.Fprintf(t.Out, "\n%s\n", t.paint("1;36", "● "+step.name))
		if err := step.play(ctx); err != nil {
			t.say("%s %v", t.paint("31", "✗"), err)
			return fmt.Errorf("step %q: %w", step.name, err)
		}
	}
	return nil
}

func (t *telling) meet(ctx context.Context) error {
	t.say("issuer            %s  (domain %s, SQLite in a temporary folder)", t.dev.Issuer, Domain)
	t.say("OpenID provider   %s  (users alice and bob)", t.dev.Provider)
	var err error
	if t.server, err = client.Discover(ctx, &http.Client{Timeout: 30 * time.Second}, t.dev.Issuer); err != nil {
		return err
	}
	// The peer keeps no answers, so that it learns what each step changes.
	t.peer, err = introspect.NewClient(introspect.ClientConfig{
		Issuer: t.dev.Issuer, AllowLoopback: true, ClientID: PeerID, Secret: t.dev.PeerSecret,
		AllowUnproven: true, MaxAge: -1, RefusalAge: -1, Timeout: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	return t.device(ctx)
}

// device makes the app on a new device.
func (t *telling) device(context.Context) (err error) {
	if t.signer, err = newSigner(); err != nil {
		return err
	}
	t.app = &client.Client{Server: t.server, ID: AppID, HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: t.signer},
	}}
	t.ok("the device made a P-256 key that never leaves it; thumbprint %s", t.signer.JKT())
	return nil
}

// newSigner makes a key.
func newSigner() (*dpop.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return dpop.NewSigner(key, "")
}

func (t *telling) login(ctx context.Context) (err error) {
	flow := t.app.Begin(redirectURI, url.Values{"dpop_jkt": {t.signer.JKT()}, "im_device_name": {"Alice's laptop"},
		"scope": {"im:handle im:device account " + credentialScope}, "resource": {claims.DomainURI(Domain), claims.DomainURI(otherDomain)}})
	alices := browser.New(nil)
	asked, err := alices.Login(ctx, flow.URL, browser.To(t.dev.Issuer+"/login/consent"),
		map[string]string{"text": person, "password": person})
	if err != nil {
		return err
	}
	t.say("the browser went to the provider, and Alice signed in")
	back, err := alices.Login(ctx, asked.String(), browser.To(redirectURI), map[string]string{"decision": "allow"})
	if err != nil {
		return err
	}
	t.say("the issuer asked Alice for consent, because any program could claim to be this app")
	t.ok("Alice allows it, and the browser returns to the app with a code")
	if t.tokens, err = t.app.Finish(ctx, flow, back); err != nil {
		return err
	}
	if t.tokens.TokenType != "DPoP" || t.tokens.RefreshToken == "" {
		return errors.New("the answer is not a DPoP token with a refresh token")
	}
	t.ok("code, PKCE verifier and proof of the key: access token for %d s and a refresh token", t.tokens.ExpiresIn)
	return nil
}

func (t *telling) refresh(ctx context.Context) error {
	before := t.tokens
	var err error
	if t.tokens, err = t.app.Refresh(ctx, before.RefreshToken); err != nil {
		return err
	}
	if t.tokens.RefreshToken == before.RefreshToken || t.tokens.AccessToken == before.AccessToken {
		return errors.New("the refresh returned the same token")
	}
	t.ok("a new access token and a new refresh token, bound to the same key")
	return nil
}

func (t *telling) read(context.Context) error {
	parts := strings.Split(t.tokens.AccessToken, ".")
	if len(parts) != 3 {
		return errors.New("the access token is not a signed JWT")
	}
	for _, part := range parts[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return err
		}
		var object any
		if err := json.Unmarshal(raw, &object); err != nil {
			return err
		}
		pretty, err := json.MarshalIndent(object, "  ", "  ")
		if err != nil {
			return err
		}
		t.say("%s", t.paint("2", string(pretty)))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	if t.set, err = claims.ParseSet(payload); err != nil {
		return err
	}
	if t.set.JKT != t.signer.JKT() {
		return errors.New("cnf.jkt is not the thumbprint of the device's key")
	}
	t.say("the handle   %s   is the name that others see; it can change", t.set.Handle)
	t.say("the user     %s   is Alice; it never changes", t.set.Subject)
	t.say("the device   %s   is her device; it is one key", t.set.Device)
	t.ok("the issuer's signature binds these three to the key with thumbprint %s", t.set.JKT)
	t.say("a client that presents the token must prove that it has that key: the token alone is not enough")
	return nil
}

func (t *telling) ask(ctx context.Context) error {
	a, err := t.answer(ctx, t.tokens.AccessToken)
	if err != nil {
		return err
	}
	if !a.Active || a.Handle != t.set.Handle || a.Subject != t.set.Subject || a.Device != t.set.Device {
		return fmt.Errorf("the answer is not active with the identity of the token: %+v", a)
	}
	t.ok("active: %s on %s", a.Handle, a.Device)
	return nil
}

// answer returns the issuer's answer to the peer about a token.
func (t *telling) answer(ctx context.Context, token string) (introspect.Answer, error) {
	result, err := t.peer.Introspect(ctx, introspect.Question{Token: token})
	return result.Answer, err
}

// invite prints what to try next, with the token of a device that is not removed.
func (t *telling) invite(ctx context.Context) error {
	err := t.play(ctx, []step{{"a new device for you", t.device}, {"Alice logs in on it", t.login}})
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Out, `
The issuer keeps serving until you press Ctrl-C. In another terminal:

  . %[1]s
  curl -s $ISSUER/.well-known/oauth-authorization-server
  issuer introspect %[2]s
  issuer devices list --data %[3]s
`, t.dev.EnvFile, t.tokens.AccessToken, strings.TrimSuffix(t.dev.EnvFile, "/dev.env"))
	return nil
}

func (t *telling) say(format string, args ...any) { fmt.Fprintf(t.Out, "  "+format+"\n", args...) }

func (t *telling) ok(format string, args ...any) {
	t.say("%s "+format, append([]any{t.paint("32", "✓")}, args...)...)
}

func (t *telling) paint(code, text string) string {
	if !t.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
