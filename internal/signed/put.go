package signed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

// An Upload is a request to store statements of a user.
type Upload struct {
	Owner account.Owner
	// AuthTime is when the user last signed in at the provider.
	AuthTime time.Time
	// Keys is an im-keys+jwt and Devices an im-devices+jwt. One may be empty.
	Keys, Devices string
}

// attempts is how often an upload is checked again when the statements have changed meanwhile.
const attempts = 4

// Put checks and stores keys and a device list, both or neither. Statements that are stored already change nothing. The errors are those
// of [account.Accounts.Live], [ErrNoKeys], an [*xsign.Error] for a statement that is refused, and [account.ErrLoginAge] for another master
// key if the user signed in more than [account.StepUpAge] ago: who has stolen a device must not replace the user to all contacts.
func (s *Service) Put(ctx context.Context, up Upload) error {
	for range attempts {
		err := s.put(ctx, up)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// put reads, checks without a transaction, and stores if nothing has changed since it has read.
func (s *Service) put(ctx context.Context, up Upload) error {
	var u storage.User
	var base set
	err := s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		if u, err = s.cfg.Accounts.Live(ctx, r, up.Owner); err != nil {
			return err
		}
		base, err = readSet(ctx, r, u)
		return err
	})
	if err != nil {
		return fmt.Errorf("signed: read the statements of a user: %w", err)
	}
	user, err := s.userOf(u)
	if err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	c, err := check(user, &base, up, s.cfg.Now())
	if err != nil {
		return err
	}
	if c.otherMaster {
		if err := s.cfg.Accounts.FreshLogin(up.AuthTime); err != nil {
			return err
		}
	}
	if c.none() {
		return nil
	}
	err = s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		u, err := s.cfg.Accounts.Live(ctx, tx, up.Owner)
		if err != nil {
			return err
		}
		now, err := readSet(ctx, tx, u)
		if err != nil {
			return err
		}
		if !now.equal(&base) {
			return errMoved
		}
		return c.store(ctx, tx, u, s.cfg.Now())
	})
	if err != nil {
		return fmt.Errorf("signed: store statements: %w", err)
	}
	s.facts.forget(u.Domain, u.ID)
	return nil
}

// A change is an upload that was checked.
type change struct {
	base *set
	// keys and devices are those to store, nil for none.
	keys    *xsign.Keys
	devices *xsign.Devices
	up      Upload
	// succession are the statements of earlier master keys as they are to be, with the thumbprints of these.
	succession []link
	// otherMaster says that there were keys of another master key.
	otherMaster bool
}

type link struct{ former, text string }

func (c *change) none() bool { return c.keys == nil && c.devices == nil }

// check checks an upload against the statements that are stored.
func check(user claims.ID, base *set, up Upload, now time.Time) (*change, error) {
	c := &change{base: base, up: up}
	before, bundle := (*xsign.Contents)(nil), base.bundle()
	if bundle.Keys != "" {
		var err error
		if before, err = bundle.Open(user); err != nil {
			return nil, fmt.Errorf("signed: what is stored: %v", err) // not a refusal
		}
	}
	if up.Keys != "" {
		if err := c.checkKeys(before, &bundle, now); err != nil {
			return nil, err
		}
	}
	if up.Devices != "" {
		bundle.Devices = up.Devices
	}
	if bundle.Keys == "" {
		return nil, ErrNoKeys
	}
	after, err := bundle.Open(user)
	if err != nil {
		return nil, err
	}
	if err := c.checkMasters(before, after); err != nil {
		return nil, err
	}
	if bundle.Devices != "" && after.Devices == nil {
		if up.Devices == "" { // else no one could judge the devices of the user, until the app has noticed
			return nil, refuse(typKeys, "keys", xsign.CodeKey,
				"the stored device list does not go with these keys: send a new list with them")
		}
		return nil, after.DevicesErr
	}
	if up.Devices != "" {
		return c, c.checkDevices(before, after, now)
	}
	return c, nil
}

// checkKeys checks new keys beside those that are stored, and puts them into the bundle.
func (c *change) checkKeys(before *xsign.Contents, bundle *xsign.Bundle, now time.Time) error {
	k, err := xsign.ParseKeys(c.up.Keys)
	if err != nil {
		return err
	}
	if err := current(typKeys, k.IssuedAt, k.Expires, now); err != nil {
		return err
	}
	if before != nil {
		if c.otherMaster = !sameKey(k.Master, before.Keys.Master); !c.otherMaster {
			is, err := newer(typKeys, before.Keys.Seq, bundle.Keys, k.Seq, c.up.Keys)
			if err != nil || !is {
				return err
			}
		}
	}
	c.keys, bundle.Keys = k, c.up.Keys
	if before == nil {
		return nil
	}
	if !c.otherMaster {
		for _, d := range c.base.succession {
			c.succession = append(c.succession, link{d.Key, d.Content})
		}
		return nil
	}
	bundle.Succession = nil
	if k.Succeeds == "" { // nothing joins the two
		return nil
	}
	links := c.base.bundle().Succession
	if before.Keys.Succeeds != "" {
		links = append(links, before.Keys.Succeeds)
	}
	for i, text := range links {
		c.succession = append(c.succession, link{before.Masters[i], text})
	}
	c.succession = c.succession[max(0, len(c.succession)-xsign.MaxSuccession+1):] // one more is in the keys
	for _, l := range c.succession {
		bundle.Succession = append(bundle.Succession, l.text)
	}
	return nil
}

// checkMasters checks that new keys follow the stored ones.
func (c *change) checkMasters(before, after *xsign.Contents) error {
	if before == nil || c.keys == nil {
		return nil
	}
	const typ = jose.TypeSuccession
	was := before.Masters[len(before.Masters)-1]
	switch n := len(after.Masters); {
	case c.otherMaster && c.keys.Succeeds != "" && after.Masters[n-2] != was:
		return refuse(typ, "", xsign.CodeSuccession, "not by the master key that is stored: leave succeeds out to begin anew")
	case !c.otherMaster && before.Keys.Succeeds != "" && !slices.Equal(before.Masters, after.Masters):
		return refuse(typKeys, "succeeds", xsign.CodeSuccession,
			"the keys of one master key keep the former master key that they name")
	}
	return nil
}

// checkDevices checks a new device list beside that which is stored. A list is newer than all before it of the same master key, and of
// the same device-signing key: so verifiers find it.
func (c *change) checkDevices(before, after *xsign.Contents, now time.Time) error {
	d := after.Devices
	if err := current(typDevices, d.IssuedAt, d.Expires, now); err != nil {
		return err
	}
	if before != nil && before.Devices != nil &&
		(!c.otherMaster || sameKey(before.Keys.DeviceSigning, after.Keys.DeviceSigning)) {
		is, err := newer(typDevices, before.Devices.Seq, c.base.devices.Content, d.Seq, c.up.Devices)
		if err != nil || !is {
			return err
		}
	}
	c.devices = d
	return nil
}

func sameKey(a, b any) bool {
	x, err1 := xsign.Thumbprint(a)
	y, err2 := xsign.Thumbprint(b)
	return err1 == nil && err2 == nil && x == y
}

// store writes a change in a transaction that has found the statements as they were.
func (c *change) store(ctx context.Context, tx storage.Tx, u storage.User, now time.Time) error {
	row := func(kind storage.DocumentKind, key string, seq int64, text string, expires time.Time) error {
		return tx.PutSignedDocument(ctx, storage.SignedDocument{
			Domain: u.Domain, User: u.ID, Kind: kind, Key: key, Seq: seq, Content: text, CreatedAt: now, ChangedAt: now, ExpiresAt: expires,
		})
	}
	if c.keys != nil {
		if err := row(storage.DocumentKeys, "", c.keys.Seq, c.up.Keys, c.keys.Expires); err != nil {
			return err
		}
		if err := c.storeSuccession(ctx, tx, u, row); err != nil {
			return err
		}
		if c.otherMaster { // the profile of the user's places is by the former one
			list, err := profiles(ctx, tx, u)
			if err == nil {
				err = dropProfiles(ctx, tx, u, list, "")
			}
			if err != nil {
				return err
			}
		}
		event := audit.Event{Kind: audit.UserKeysChanged, Domain: u.Domain, User: u.ID}
		switch {
		case c.otherMaster && c.keys.Succeeds == "":
			event.Kind, event.Reason = audit.UserMasterChanged, "without succession"
		case c.otherMaster:
			event.Kind, event.Reason = audit.UserMasterChanged, "succession"
		case c.base.keys.Content == "":
			event.Reason = "first"
		}
		if err := audit.Append(ctx, tx, event); err != nil {
			return err
		}
	}
	if c.devices != nil {
		return row(storage.DocumentDevices, "", c.devices.Seq, c.up.Devices, c.devices.Expires)
	}
	return nil
}

// storeSuccession makes the stored statements of earlier master keys those of the change.
func (c *change) storeSuccession(ctx context.Context, tx storage.Tx, u storage.User,
	row func(storage.DocumentKind, string, int64, string, time.Time) error) error {
	last := int64(0)
	there := make(map[string]bool)
	for _, d := range c.base.succession {
		last = max(last, d.Seq)
		if !slices.ContainsFunc(c.succession, func(l link) bool { return l.former == d.Key && l.text == d.Content }) {
			if err := tx.DeleteSignedDocument(ctx, u.Domain, u.ID, storage.DocumentSuccession, d.Key); err != nil {
				return err
			}
			continue
		}
		there[d.Key] = true
	}
	for _, l := range c.succession {
		if !there[l.former] {
			last++
			if err := row(storage.DocumentSuccession, l.former, last, l.text, time.Time{}); err != nil {
				return err
			}
		}
	}
	return nil
}
