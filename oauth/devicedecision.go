package oauth

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// ErrNoUserCode is returned for a user code under which no device waits for a decision of the person: it was never given, has expired,
// was decided, or is about another domain.
var ErrNoUserCode = errors.New("oauth: no device waits under that user code")

// ErrDeviceKeyInUse is returned for a device that waits with a key of another user or of a removed device.
var ErrDeviceKeyInUse error = &Error{
	Code:        CodeAccessDenied,
	Description: "The key of the device belongs to another device or to one that was removed: it must make a new key.",
}

// A DeviceRequest is what a person decides about: a device that waits for its user.
type DeviceRequest struct {
	UserCode UserCode
	Client   clients.Client
	// DeviceName and Platform are what the device says of itself; they may be empty.
	DeviceName, Platform string
	// Network is the network that the request came from, as a prefix; it may be empty.
	Network string
	// Scopes and Audience are those of its tokens. Life is the longest time without a new login; zero if it gets no refresh token.
	Scopes   []string
	Audience []string
	Life     time.Duration
	// Device is the stored device whose key the request names. Nil if the device is new, or not known yet.
	Device *storage.Device
	// KeyInUse says that the key of the device is that of another user or of a removed device: the request can only be denied.
	KeyInUse bool
	// Full says that the user has as many devices as allowed, and that this one is not among them.
	Full                 bool
	CreatedAt, ExpiresAt time.Time
}

// DeviceRequest returns the request that waits under a user code, for a user who has logged in. The error is [ErrNoUserCode] if there is
// none. The caller bounds how often a person may ask: see [UserCode].
func (p *Provider) DeviceRequest(ctx context.Context, userCode UserCode, user storage.User) (DeviceRequest, error) {
	c, err := p.userCodes.find(ctx, p.store, userCode)
	if errors.Is(err, storage.ErrNotFound) {
		return DeviceRequest{}, ErrNoUserCode
	} else if err != nil {
		return DeviceRequest{}, err
	}
	if !c.DecidedAt.IsZero() || !p.now().Before(c.ExpiresAt) {
		return DeviceRequest{}, ErrNoUserCode
	}
	return p.describeDevice(ctx, p.store, userCode, c, user)
}

// devices reads the devices of users. Every [storage.Reader] does.
type devices interface {
	account.ActiveDevices
	DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error)
}

// describeDevice returns the request of a device code for a user, by the client as it is registered now.
func (p *Provider) describeDevice(
	ctx context.Context, db devices, userCode UserCode, c storage.DeviceCode, user storage.User,
) (DeviceRequest, error) {
	client, ok := p.clients.Client(c.Client)
	if !ok || !client.Allows(GrantDevice) {
		return DeviceRequest{}, ErrNoUserCode
	}
	domain, err := p.domainFor(client, url.Values{"im_domain": {user.Domain}})
	if err != nil || c.Request.Has("im_domain") && c.Request.Get("im_domain") != domain { // domains are isolated from each other
		return DeviceRequest{}, ErrNoUserCode
	}
	if err := checkScopes(client, c.Request); err != nil {
		return DeviceRequest{}, ErrNoUserCode // the client could not redeem it
	}
	audience, err := p.audience(client, domain, p.resources(c.Request))
	if err != nil {
		return DeviceRequest{}, ErrNoUserCode
	}
	d := DeviceRequest{
		UserCode: userCode, Client: *client, DeviceName: c.Request.Get("im_device_name"),
		Platform: c.Request.Get("im_device_platform"), Network: c.Network,
		Scopes: loginScopes(client, c.Request), Audience: audience, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt,
	}
	if client.Allows(GrantRefresh) {
		d.Life = p.lifetimes.RefreshMax
	}
	device := storage.Device{Domain: user.Domain, User: user.ID}
	if c.JKT != "" {
		switch known, err := db.DeviceByKey(ctx, user.Domain, c.JKT); {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return DeviceRequest{}, err
		case known.User != user.ID || !known.RemovedAt.IsZero() || known.JKT != c.JKT:
			d.KeyInUse = true
		default:
			d.Device, device = &known, known
		}
	}
	err = p.accounts.DeviceFits(ctx, db, device)
	if d.Full = errors.Is(err, account.ErrTooManyDevices); d.Full {
		err = nil
	}
	return d, err
}

// An Approver is the person who decides about a device that waits.
type Approver struct {
	Login
	// Device is the device by which the person decides; empty for a browser. If it is removed before the code is redeemed, the code ends.
	Device string
	// Session is the session of that device; empty for a browser.
	Session string
}

// A DeviceDecision is the decision of a person about a device that waits.
type DeviceDecision struct {
	UserCode UserCode
	Allow    bool
	// By returns the person, as they are logged in at the time of the transaction. Its error is returned as it is.
	By func(ctx context.Context, db storage.Reader) (Approver, error)
	// From is the address of the request, for the audit event.
	From netip.Addr
}

// A DecidedDevice is the outcome of [Provider.DecideDevice].
type DecidedDevice struct {
	DeviceRequest
	// Changed is false if the same person had allowed the same request before.
	Changed bool
}

// DecideDevice stores the decision of a person about a device that waits. The device gets its tokens with its next poll, and they belong
// to the login of the person: what ends the sessions of that login ends them, too, and the code before it is redeemed.
//
// The error is [ErrNoUserCode] if there is nothing to decide, also because somebody else was faster, [ErrDeviceLimit] if the user has as
// many devices as allowed, [ErrDeviceKeyInUse] if they cannot use the key of the device, and that of By.
func (p *Provider) DecideDevice(ctx context.Context, d DeviceDecision) (done DecidedDevice, err error) {
	err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		done = DecidedDevice{}
		by, err := d.By(ctx, tx)
		if err != nil {
			return err
		}
		c, err := p.userCodes.find(ctx, tx, d.UserCode)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoUserCode
		} else if err != nil {
			return err
		}
		user, now := by.User, p.now()
		repeated := d.Allow && c.Allowed && c.Domain == user.Domain && c.User == user.ID
		if !repeated && !c.DecidedAt.IsZero() || !now.Before(c.ExpiresAt) {
			return ErrNoUserCode
		}
		if done.DeviceRequest, err = p.describeDevice(ctx, tx, d.UserCode, c, user); err != nil {
			return err
		}
		switch err := done.Client.Check(ctx, tx); {
		case errors.Is(err, clients.ErrRemoved):
			return ErrNoUserCode
		case err != nil:
			return err
		case repeated:
			return nil
		case d.Allow && done.KeyInUse:
			return ErrDeviceKeyInUse
		case d.Allow && done.Full:
			return ErrDeviceLimit
		}
		if c.DecidedAt, c.Allowed = now, d.Allow; d.Allow {
			c.Domain, c.User, c.Device = user.Domain, user.ID, by.Device
			c.Issuer, c.UpstreamSID, c.AuthTime, c.ACR, c.AMR = by.Issuer, by.UpstreamSID, by.AuthTime, by.ACR, by.AMR
			c.UpstreamToken = by.UpstreamToken
		}
		done.Changed = true
		if err := tx.DecideDeviceCode(ctx, c); err != nil {
			return err
		}
		event := audit.Event{
			Kind: audit.ConsentDenied, Actor: audit.ActorUser, Domain: user.Domain, User: user.ID, Client: c.Client, Session: by.Session,
			Address: d.From, Reason: "device code",
		}
		if d.Allow {
			event.Kind = audit.ConsentGiven
		}
		return audit.Append(ctx, tx, event)
	})
	if err != nil {
		return DecidedDevice{}, err
	}
	return done, nil
}

// OwnDevice returns the device of a live session as the [Approver], for [DeviceDecision].By. The user must have logged in within maxAge,
// unless that is zero. The errors are [account.ErrNoSession] and [account.ErrLoginAge].
func (p *Provider) OwnDevice(by account.Owner, maxAge time.Duration) func(ctx context.Context, db storage.Reader) (Approver, error) {
	return func(ctx context.Context, db storage.Reader) (Approver, error) {
		g, u, d, err := db.Session(ctx, by.SID)
		if errors.Is(err, storage.ErrNotFound) {
			return Approver{}, account.ErrNoSession
		} else if err != nil {
			return Approver{}, err
		}
		now := p.now()
		if g.Domain != by.Domain || g.User != by.User || !statements.LiveSession(g, now) || !u.DisabledAt.IsZero() ||
			!d.RemovedAt.IsZero() {
			return Approver{}, account.ErrNoSession
		}
		// A provider whose clock is far ahead does not count, either.
		if maxAge > 0 && (g.AuthTime.IsZero() || now.Sub(g.AuthTime).Abs() > maxAge) {
			return Approver{}, account.ErrLoginAge
		}
		login := Login{
			User: u, Issuer: g.Issuer, UpstreamSID: g.UpstreamSID, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR,
			UpstreamToken: g.UpstreamToken,
		}
		return Approver{login, d.ID, g.ID}, nil
	}
}

// OwnBrowser returns the user of a live session of a browser as the [Approver], for [DeviceDecision].By; hash identifies the session. With
// fresh, the user must have signed in within [account.StepUpAge]. The errors are [account.ErrNoBrowser] and [account.ErrLoginAge].
func (p *Provider) OwnBrowser(hash [32]byte, fresh bool) func(ctx context.Context, db storage.Reader) (Approver, error) {
	return func(ctx context.Context, db storage.Reader) (Approver, error) {
		b, u, err := db.BrowserSession(ctx, hash)
		if errors.Is(err, storage.ErrNotFound) {
			return Approver{}, account.ErrNoBrowser
		} else if err != nil {
			return Approver{}, err
		}
		now := p.now()
		if !account.LiveBrowser(b, u, now) {
			return Approver{}, account.ErrNoBrowser
		}
		if fresh && !(account.Browser{BrowserSession: b, Person: u}).Fresh(now) {
			return Approver{}, account.ErrLoginAge
		}
		return Approver{
			Login: Login{
				User: u, Issuer: b.Issuer, UpstreamSID: b.UpstreamSID, AuthTime: b.AuthTime, ACR: b.ACR, AMR: b.AMR,
				UpstreamToken: b.UpstreamToken,
			},
		}, nil
	}
}
