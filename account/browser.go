package account

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// The bounds of browser sessions.
const (
	// BrowserIdle is how long a browser session lasts without use, and BrowserLife how long at most.
	BrowserIdle = 15 * time.Minute
	BrowserLife = time.Hour
	// MaxBrowsers is how many browser sessions a user may have. Another one ends the one that was not used for the longest time.
	MaxBrowsers = 10
	// StepUpAge is how long ago the user may have signed in at the provider for an act that needs a fresh login.
	StepUpAge = 5 * time.Minute

	// browserTouch is how exact the time of the last use is, so that not every request writes.
	browserTouch = time.Minute
)

// ErrNoBrowser is returned for a browser that is not signed in: it never was, or its session ended or expired.
var ErrNoBrowser = errors.New("account: the browser is not signed in")

// A BrowserLogin is a login at an OpenID provider that makes a browser session.
type BrowserLogin struct {
	User storage.User
	// Provider is the id of the provider in the settings.
	Provider string
	// Issuer, SID, AuthTime, ACR and AMR are the values of the provider.
	Issuer, SID string
	AuthTime    time.Time
	ACR         string
	AMR         []string
	// NewToken is the upstream token of the login, which is stored with the session; nil if it has none.
	NewToken *storage.UpstreamToken
	// Former is the secret of the session that the browser had before, which ends; empty if it had none.
	Former string
}

// A PendingBrowser is a browser session that is not stored yet.
type PendingBrowser struct {
	// Secret is the value of the cookie. Storage has a hash of it.
	Secret string

	row      storage.BrowserSession
	upstream *storage.UpstreamToken
	former   string
}

// PrepareBrowser makes a browser session with a new secret. The caller stores it by [PendingBrowser.Insert], in the transaction that ends
// the login.
func (a *Accounts) PrepareBrowser(l BrowserLogin) (PendingBrowser, error) {
	var secret [32]byte
	if _, err := io.ReadFull(a.rand, secret[:]); err != nil {
		return PendingBrowser{}, fmt.Errorf("account: make a browser session: %w", err)
	}
	now := a.now()
	p := PendingBrowser{Secret: base64.RawURLEncoding.EncodeToString(secret[:]), former: l.Former}
	p.row = storage.BrowserSession{
		Hash: browserHash(p.Secret), Domain: l.User.Domain, User: l.User.ID, Provider: l.Provider, Issuer: l.Issuer, UpstreamSID: l.SID,
		AuthTime: l.AuthTime, ACR: l.ACR, AMR: l.AMR, CreatedAt: now, UsedAt: now,
		IdleAt: now.Add(BrowserIdle), ExpiresAt: now.Add(BrowserLife),
	}
	if l.NewToken != nil {
		token := *l.NewToken
		token.User, p.row.UpstreamToken = l.User.ID, token.ID
		p.upstream = &token
	}
	return p, nil
}

// Insert stores the session and ends the former one of the browser. If the user has [MaxBrowsers] already, the one that was not used for
// the longest time ends. The error is [ErrDisabled] if the user was disabled meanwhile, and [ErrNoUser] if the user is gone.
func (p PendingBrowser) Insert(ctx context.Context, tx storage.Tx) error {
	u, err := tx.User(ctx, p.row.Domain, p.row.User)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return ErrNoUser
	case err != nil:
		return err
	case !u.DisabledAt.IsZero():
		return ErrDisabled
	}
	if p.former != "" {
		if err := tx.DeleteBrowserSession(ctx, browserHash(p.former)); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	if err := tx.TrimBrowserSessions(ctx, u.Domain, u.ID, MaxBrowsers-1); err != nil {
		return err
	}
	if p.upstream != nil {
		if err := tx.InsertUpstreamToken(ctx, *p.upstream); err != nil {
			return err
		}
	}
	return tx.InsertBrowserSession(ctx, p.row)
}

// browserHash returns what storage has of a secret.
func browserHash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// A Browser is a user who is signed in in a browser.
type Browser struct {
	storage.BrowserSession
	Person storage.User
}

// Owner returns the user as the owner of devices.
func (b Browser) Owner() Owner {
	return Owner{Domain: b.Domain, User: b.User, Browser: b.Hash}
}

// Fresh reports whether the user signed in at the provider within [StepUpAge]. It is false if the provider did not say when that was, or
// if its clock is further ahead than that.
func (b Browser) Fresh(now time.Time) bool {
	return !b.AuthTime.IsZero() && now.Sub(b.AuthTime).Abs() <= StepUpAge
}

// Browser returns the session of a secret, and prolongs it. The error is [ErrNoBrowser] if there is no live one.
func (a *Accounts) Browser(ctx context.Context, secret string) (b Browser, err error) {
	if secret == "" {
		return Browser{}, ErrNoBrowser
	}
	hash := browserHash(secret)
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		b, err = a.browser(ctx, r, hash)
		return err
	})
	now := a.now()
	if err == nil && now.Sub(b.UsedAt) >= browserTouch {
		err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			if b, err = a.browser(ctx, tx, hash); err != nil { // it may have ended meanwhile
				return err
			}
			if b.UsedAt, b.IdleAt = now, now.Add(BrowserIdle); b.IdleAt.After(b.ExpiresAt) {
				b.IdleAt = b.ExpiresAt
			}
			return tx.TouchBrowserSession(ctx, hash, b.UsedAt, b.IdleAt)
		})
	}
	if err != nil {
		return Browser{}, fmt.Errorf("account: find a browser session: %w", err)
	}
	return b, nil
}

// browser returns a live browser session.
func (a *Accounts) browser(ctx context.Context, r storage.Reader, hash [32]byte) (b Browser, err error) {
	b.BrowserSession, b.Person, err = r.BrowserSession(ctx, hash)
	if errors.Is(err, storage.ErrNotFound) {
		return Browser{}, ErrNoBrowser
	} else if err != nil {
		return Browser{}, err
	}
	if _, known := a.domains[b.Domain]; !known || !LiveBrowser(b.BrowserSession, b.Person, a.now()) {
		return Browser{}, ErrNoBrowser
	}
	return b, nil
}

// LiveBrowser reports whether the session of a browser can be used at now by its user u.
func LiveBrowser(b storage.BrowserSession, u storage.User, now time.Time) bool {
	return u.DisabledAt.IsZero() && now.Before(b.IdleAt) && now.Before(b.ExpiresAt)
}

// An OwnEventDevice is an event as its user sees it, with the device as it is now.
type OwnEventDevice struct {
	storage.UserEvent
	Device storage.Device
}

// RecentEvents returns the last events of a user, at most limit, newest first. The errors are those of [Accounts.OwnEvents].
func (a *Accounts) RecentEvents(ctx context.Context, by Owner, limit int) (list []OwnEventDevice, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		last, err := r.LastUserEvent(ctx, u.Domain, u.ID)
		if err != nil {
			return err
		}
		page, err := r.UserEvents(ctx, u.Domain, u.ID, last-int64(limit), limit)
		if err != nil {
			return err
		}
		for _, e := range slices.Backward(page) {
			d, err := r.Device(ctx, u.Domain, e.Device)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			list = append(list, OwnEventDevice{e, d})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: list events: %w", err)
	}
	return list, nil
}

// An OwnDeviceDetail is a device as its user sees it, with its live sessions.
type OwnDeviceDetail struct {
	OwnDevice
	Sessions []storage.Grant
	// Credentials are at most [MaxOwnCredentials] that have not expired: the live ones first, and then those that ended last.
	Credentials []OwnCredential
}

// MaxOwnCredentials is how many credentials [Accounts.OwnDevice] returns. More than that are never live.
const MaxOwnCredentials = 50

// OwnDevice returns a device of a user that is not removed. The errors are [ErrNoDevice], and those of [Accounts.OwnDevices].
func (a *Accounts) OwnDevice(ctx context.Context, by Owner, id string) (found OwnDeviceDetail, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		found = OwnDeviceDetail{}
		u, current, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		d, err := r.Device(ctx, u.Domain, id)
		if errors.Is(err, storage.ErrNotFound) || err == nil && (d.User != u.ID || !d.RemovedAt.IsZero()) {
			return ErrNoDevice
		} else if err != nil {
			return err
		}
		names, err := a.Identify(u, d)
		if err != nil {
			return err
		}
		found.Device, found.URI, found.Current = d, names.Device, d.ID == current.ID
		if found.Active, err = r.DeviceActive(ctx, u.Domain, d.ID, a.now()); err != nil {
			return err
		}
		grants, err := r.Grants(ctx, u.Domain, u.ID)
		for _, g := range grants {
			if g.Device != d.ID {
				continue
			}
			for _, at := range []time.Time{g.CreatedAt, g.RotatedAt} {
				if at.After(found.SeenAt) {
					found.SeenAt = at
				}
			}
			if found.Login = g; a.goesOn(g, u, d) {
				found.Sessions = append(found.Sessions, g)
			}
		}
		if err != nil {
			return err
		}
		credentials, err := r.DeviceCredentials(ctx, u.Domain, d.ID, a.now(), MaxOwnCredentials)
		for _, c := range credentials {
			own, err := a.ownCredential(u, c)
			if err != nil {
				return err
			}
			found.Credentials = append(found.Credentials, own)
		}
		return err
	})
	if err != nil {
		return OwnDeviceDetail{}, fmt.Errorf("account: find a device: %w", err)
	}
	return found, nil
}

// OwnSession returns a live session of a user. The errors are [ErrUnknownSession], and those of [Accounts.OwnSessions].
func (a *Accounts) OwnSession(ctx context.Context, by Owner, id string) (g storage.Grant, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		if _, _, err := a.owner(ctx, r, by); err != nil {
			return err
		}
		var u storage.User
		var d storage.Device
		if g, u, d, err = r.Session(ctx, id); errors.Is(err, storage.ErrNotFound) ||
			err == nil && (g.Domain != by.Domain || g.User != by.User || !a.goesOn(g, u, d)) {
			err = ErrUnknownSession
		}
		return err
	})
	if err != nil {
		return storage.Grant{}, fmt.Errorf("account: find a session: %w", err)
	}
	return g, nil
}

// Browsers returns the live browser sessions of a user, in the order in which they were last used.
func (a *Accounts) Browsers(ctx context.Context, domain, user string) ([]storage.BrowserSession, error) {
	stored, err := a.store.BrowserSessions(ctx, domain, user)
	if err != nil {
		return nil, fmt.Errorf("account: list browser sessions: %w", err)
	}
	now := a.now()
	live := stored[:0]
	for _, b := range stored {
		if now.Before(b.IdleAt) && now.Before(b.ExpiresAt) {
			live = append(live, b)
		}
	}
	return live, nil
}

// EndBrowser ends a browser session. Ending it again changes nothing.
func (a *Accounts) EndBrowser(ctx context.Context, b Browser) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.DeleteBrowserSession(ctx, b.Hash); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("account: end a browser session: %w", err)
	}
	return nil
}

// EndOtherBrowsers ends the browser sessions of a user but b, which must be live; else the error is [ErrNoBrowser].
func (a *Accounts) EndOtherBrowsers(ctx context.Context, b Browser) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if _, err := a.browser(ctx, tx, b.Hash); err != nil {
			return err
		}
		list, err := tx.BrowserSessions(ctx, b.Domain, b.User)
		if err != nil {
			return err
		}
		for _, other := range list {
			if other.Hash == b.Hash {
				continue
			}
			if err := tx.DeleteBrowserSession(ctx, other.Hash); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("account: end browser sessions: %w", err)
	}
	return nil
}
