package oauth

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/storage"
)

// A Consent is the question to a user before an app gets a code for them.
type Consent struct {
	// Needed says that they must be asked.
	Needed bool
	// Full says that the user has as many devices as allowed, and that this device is not among them or, if KeyNamed is false,
	// need not be.
	Full   bool
	Client clients.Client
	// Redirect is the URI that the browser goes to then. Local says that it leads to a program on the user's device, where any
	// other program could listen instead.
	Redirect string
	Local    bool
	// Device is the stored device whose key the request names. Nil if the device is new or, if KeyNamed is false, not known.
	Device   *storage.Device
	KeyNamed bool
	// DeviceName is the name that the app gives a new device; it may be empty.
	DeviceName string
	// Scopes and Audience are those of its tokens. Life is the longest time without a new login;
	// zero if it gets no refresh token.
	Scopes   []string
	Audience []string
	Life     time.Duration
}

// Consent returns the question to a user for a stored request, now that the user is known. Users are asked for every app that
// another program can pretend to be: a public client to which the browser returns by a loopback address or a private-use
// scheme, which any program on the device may use (RFC 8252 §8.6). They are also asked for every app that is not the
// operator's own, and if the request says prompt=consent.
//
// A refusal is an [*AuthorizeError]; a request with prompt=none that needs an answer is refused, too
// (OpenID Connect Core 1.0 §3.1.2.6).
func (p *Provider) Consent(ctx context.Context, request url.Values, user storage.User) (Consent, error) {
	return p.consent(ctx, request, user, true)
}

// ConsentNeeded is Consent for a caller that does not ask yet. Where the user has to be asked in any case and the request names no
// key, it leaves Full out: the page that asks reads it.
func (p *Provider) ConsentNeeded(ctx context.Context, request url.Values, user storage.User) (Consent, error) {
	return p.consent(ctx, request, user, false)
}

func (p *Provider) consent(ctx context.Context, request url.Values, user storage.User, whole bool) (Consent, error) {
	client, a, redirect, err := p.known(ctx, request, user)
	if err != nil {
		return Consent{}, err
	}
	c := Consent{
		Needed: needsConsent(client, redirect, a.Request), Client: *client, Redirect: redirect, Local: local(redirect),
		DeviceName: a.Request.Get("im_device_name"), Scopes: loginScopes(client, a.Request), Audience: a.audience,
	}
	if c.Needed && Silent(a.Request) {
		return Consent{}, p.toldAtRedirect(errConsent, redirect, a.Request.Get("state"))
	}
	if c.Device, err = p.deviceOf(ctx, a.Request, user); err != nil {
		return Consent{}, p.toldAtRedirect(err, redirect, a.Request.Get("state"))
	}
	c.KeyNamed = a.Request.Has("dpop_jkt")
	if whole || c.KeyNamed || !c.Needed {
		if c.Full, err = p.full(ctx, user, c.Device); err != nil {
			return Consent{}, err
		}
	}
	if c.Full && c.KeyNamed && Silent(a.Request) {
		return Consent{}, p.toldAtRedirect(errDeviceLimit, redirect, a.Request.Get("state"))
	}
	c.Needed = c.Needed || c.Full && !Silent(a.Request)
	if client.Allows(GrantRefresh) {
		c.Life = p.lifetimes.RefreshMax
	}
	return c, nil
}

var errConsent = refuse(CodeConsentRequired, "The user has to give consent: repeat the request without prompt=none.")

func needsConsent(c *clients.Client, redirect string, request url.Values) bool {
	return !c.FirstParty || c.Public() && local(redirect) || slices.Contains(strings.Fields(request.Get("prompt")), "consent")
}

// local reports whether a redirect URI leads to a program on the user's own device: everything but https to another
// host, which its owner has proven to have.
func local(redirect string) bool {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".localhost")
}

// deviceOf returns the device that the key named by a request is bound to; nil if it names none or a new one. A key
// that the user cannot log in with is refused.
func (p *Provider) deviceOf(ctx context.Context, request url.Values, user storage.User) (*storage.Device, error) {
	jkt := request.Get("dpop_jkt")
	if jkt == "" {
		return nil, nil
	}
	device, err := p.accounts.DeviceFor(ctx, user, jkt)
	switch {
	case errors.Is(err, account.ErrKeyInUse):
		return nil, refuse(CodeInvalidRequest, errKeyInUse.Description)
	case err != nil:
		return nil, err
	case device.Client == "": // not there yet
		return nil, nil
	}
	return &device, nil
}

// ErrDeviceLimit is wrapped by the [*AuthorizeError] of a login that is refused because the user has as many devices as allowed.
var ErrDeviceLimit error = errDeviceLimit

var errDeviceLimit = &Error{Code: CodeAccessDenied, Description: errDevices.Description}

// full reports whether the user has as many devices in use as allowed, and device is none of them. Nil is a new one.
func (p *Provider) full(ctx context.Context, user storage.User, device *storage.Device) (bool, error) {
	if device == nil {
		device = &storage.Device{Domain: user.Domain, User: user.ID}
	}
	err := p.accounts.DeviceFits(ctx, p.store, *device)
	if errors.Is(err, account.ErrTooManyDevices) {
		return true, nil
	}
	return false, err
}

// loginScopes are the scopes that a login is for: those that the request names, else handle and device.
func loginScopes(c *clients.Client, request url.Values) []string {
	scopes := scopeList(request.Get("scope"))
	if len(scopes) > 0 {
		return scopes
	}
	for _, s := range []string{ScopeHandle, ScopeDevice} {
		if c.HasScope(s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}
