package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

type xsignCmd struct {
	Init         xsignInitCmd         `cmd:"" help:"Make the three keys of a user, and sign the first statements."`
	Show         xsignShowCmd         `cmd:"" help:"Show your own statements, or those of others in a file."`
	AddDevice    xsignAddDeviceCmd    `cmd:"" help:"Sign a device list that has another device or key."`
	RemoveDevice xsignRemoveDeviceCmd `cmd:"" help:"Sign a device list that lacks a device."`
	Renew        xsignRenewCmd        `cmd:"" help:"Sign keys and device list again, before they expire."`
	Rotate       xsignRotateCmd       `cmd:"" help:"Replace the two keys below the master key."`
	Succeed      xsignSucceedCmd      `cmd:"" help:"Replace the master key by a new one, which the old one names."`
	Passphrase   xsignPassphraseCmd   `cmd:"" help:"Change the passphrase of the keys."`
	Vouch        xsignVouchCmd        `cmd:"" help:"Sign that you have compared the master key of another user."`
	Distrust     xsignDistrustCmd     `cmd:"" help:"Sign that you distrust the master key of another user."`
	Withdraw     xsignWithdrawCmd     `cmd:"" help:"Forget a vouch or a distrust of your own."`
	Verify       xsignVerifyCmd       `cmd:"" help:"Judge a user or a device by what the user's own keys say."`
	Pin          xsignPinCmd          `cmd:"" help:"Keep the master key of a user, which you have compared by hand."`
	Unpin        xsignUnpinCmd        `cmd:"" help:"Forget what is known about a user."`
	Pins         xsignPinsCmd         `cmd:"" help:"List the users whose master keys are known."`
	Publish      xsignPublishCmd      `cmd:"" help:"Store your statements at the issuer."`
	Fetch        xsignFetchCmd        `cmd:"" help:"Fetch the statements of users from the issuer."`
}

// keyFileFlag names the key file of a user.
type keyFileFlag struct {
	File string `placeholder:"FILE" help:"The file of your keys and statements (issuer/xsign.json in your configuration folder)."`
}

// path returns the path of the key file.
func (k *keyFileFlag) path() (string, error) { return configured(k.File, "--file", "xsign.json") }

// configured returns the path that a flag names, or that of a file in the user's configuration folder.
func configured(path, flag, name string) (string, error) {
	if path != "" {
		return path, nil
	}
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", usage("name the file with %s: %w", flag, err)
	}
	return filepath.Join(folder, "issuer", name), nil
}

// signing is what the commands have in common that sign.
type signing struct {
	keyFileFlag
	passphraseFlag
}

// change opens the key file, calls sign, and writes the file. The passphrase is asked for before the file is locked.
func (k *signing) change(ctx context.Context, s *streams, sign func(c *crossSigner) error) (*crossSigner, error) {
	return k.reseal(ctx, s, nil, sign)
}

// reseal is change that seals the file by another passphrase, if next is not nil.
func (k *signing) reseal(
	ctx context.Context, s *streams, next func() ([]byte, error), sign func(*crossSigner) error,
) (*crossSigner, error) {
	path, err := k.path()
	if err != nil {
		return nil, err
	}
	if _, err := readCrossSigner(path); err != nil { // before the user is asked
		return nil, err
	}
	passphrase, err := k.ask(s)
	if err != nil {
		return nil, err
	}
	to := passphrase
	if next != nil {
		if to, err = next(); err != nil {
			return nil, err
		}
	}
	var c *crossSigner
	err = locked(ctx, path, func() (err error) {
		if c, err = readCrossSigner(path); err != nil {
			return err
		}
		if err := c.unlock(passphrase); err != nil {
			return err
		}
		if err := sign(c); err != nil {
			return err
		}
		return c.save(to)
	})
	return c, err
}

// save seals the keys and writes the file.
func (c *crossSigner) save(passphrase []byte) error {
	if err := c.seal(passphrase); err != nil {
		return err
	}
	text, err := c.text()
	if err != nil {
		return refused("%w", err)
	}
	if err := c.read(); err != nil {
		return err
	}
	if err := writePrivate(c.path, text); err != nil {
		return usage("%w", err)
	}
	return nil
}

// lives are for how long statements are valid.
type lives struct {
	KeysFor    time.Duration `default:"8760h" placeholder:"TIME" help:"How long the statement of the keys is valid (${default})."`
	DevicesFor time.Duration `default:"2160h" placeholder:"TIME" help:"How long the device list is valid, and a server can hide a newer one (${default})."`
}

func (l lives) check() error {
	for _, one := range []struct {
		flag      string
		life, max time.Duration
	}{{"--keys-for", l.KeysFor, xsign.MaxLife}, {"--devices-for", l.DevicesFor, xsign.MaxListLife}} {
		if one.life < time.Minute || one.life > one.max {
			return usage("%s must be a minute to %dh", one.flag, one.max/time.Hour)
		}
	}
	return nil
}

// signKeys signs the keys with the next sequence number, at least seq. The statements that are signed by the keys are signed again by the
// caller, if there are other keys.
func (c *crossSigner) signKeys(now time.Time, life time.Duration, seq int64, succeeds string) error {
	k := xsign.Keys{
		User: c.user, IssuedAt: now, Expires: now.Add(life), Seq: seq, Succeeds: succeeds,
		DeviceSigning: c.keys.deviceSigning.Public(), UserSigning: c.keys.userSigning.Public(),
	}
	text, err := k.Sign(c.keys.master)
	c.file.Bundle.Keys = text
	return err
}

// signDevices signs a device list.
func (c *crossSigner) signDevices(now time.Time, life time.Duration, seq int64, devices []xsign.Device) error {
	d := xsign.Devices{User: c.user, IssuedAt: now, Expires: now.Add(life), Seq: seq, Devices: devices}
	text, err := d.Sign(c.keys.deviceSigning)
	c.file.Devices = text
	return err
}

// signingTime returns the time for new statements, in whole seconds.
func signingTime() time.Time { return time.Now().Truncate(time.Second) }

// subjectFlags name a device and its keys.
type subjectFlags struct {
	kept
	Device string   `placeholder:"URI" help:"The device. Without it, the device and key of the session are meant."`
	Key    []string `placeholder:"JKT" help:"Thumbprint of a key of the device, as issuer proof --thumbprint prints it. May be repeated."`
}

// device returns the device of the flags, or that of the session.
func (f *subjectFlags) device(ctx context.Context) (claims.ID, []string, error) {
	if f.Device == "" {
		id, jkt, err := f.ownDevice(ctx)
		return id.Device, append([]string{jkt}, f.Key...), err
	}
	if len(f.Key) == 0 {
		return claims.ID{}, nil, usage("--device goes with --key: a device without a key says nothing")
	}
	id, err := readIdentity("", "", f.Device)
	return id.Device, f.Key, err
}

// ownDevice returns the user and the device of the session, with the thumbprint of its key.
func (f *subjectFlags) ownDevice(ctx context.Context) (claims.Identity, string, error) {
	path, err := f.file()
	if err != nil {
		return claims.Identity{}, "", err
	}
	session, err := client.ReadSession(path)
	if err != nil {
		return claims.Identity{}, "", noSession(ctx, path, err)
	}
	set, err := claimsOf(session.AccessToken)
	if err != nil {
		return claims.Identity{}, "", refused("%w", err)
	}
	id, err := set.Identity()
	if err == nil && (id.User.IsZero() || id.Device.IsZero() || set.JKT == "") {
		err = errors.New("the token of the session names no user and device with its key: log in with the scope im:device")
	}
	if err != nil {
		return claims.Identity{}, "", refused("%w", err)
	}
	return id, set.JKT, nil
}

// readIdentity reads the URIs of a user, of a handle and of a device of the command line, each of which may be empty.
func readIdentity(user, handle, device string) (claims.Identity, error) {
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, user, handle, device)
	if err == nil {
		return id, nil
	}
	var at *claims.ClaimError
	if errors.As(err, &at) {
		text := map[string]string{"sub": user, "handle": handle, "device": device}[at.Claim]
		what := map[string]string{"sub": "user"}[at.Claim]
		if what == "" {
			what = at.Claim
		}
		return id, usage("%q is not the URI of a %s: %w (see issuer id)", text, what, at.Err)
	}
	return id, usage("%w", err)
}

// checkThumbprint refuses text that is not a thumbprint.
func checkThumbprint(flag, text string) error {
	if !jose.IsThumbprint(text) {
		return usage("%s: %q is not a thumbprint: it has 43 characters of base64url", flag, text)
	}
	return nil
}

type xsignInitCmd struct {
	signing
	lives
	subjectFlags
	User      string `placeholder:"URI" help:"The user. Without it, the user and the device of the session are taken."`
	Algorithm string `name:"alg" enum:"ES256,EdDSA" default:"EdDSA" placeholder:"ALG" help:"Algorithm of the keys: ES256 or EdDSA (${default})."`
}

func (*xsignInitCmd) Help() string {
	return `It makes a master key, and below it a key that signs the list of your devices and one that vouches for others. The three are in one
file, sealed by a passphrase. The first device list has the device of your session:

    issuer login
    issuer xsign init
    issuer xsign publish

Without a session, name the user, and add devices afterwards:

    issuer xsign init --user "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user"

It prints the thumbprint of the master key: your contacts compare it. Keep a copy of the file elsewhere. Without it nothing of yours can
be changed any more, and your contacts have to compare a new key.`
}

func (c *xsignInitCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	path, err := c.path()
	if err != nil {
		return err
	}
	user, devices, err := c.subject(ctx)
	if err != nil {
		return err
	}
	unused := func() error {
		if _, err := os.Lstat(path); err == nil {
			return usage("%s exists already, and is not replaced", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return usage("%w", err)
		}
		return nil
	}
	if err := unused(); err != nil {
		return err
	}
	passphrase, err := c.askNew(s)
	if err != nil {
		return err
	}
	made := &crossSigner{path: path, user: user, file: keyFileV1{Version: 1, User: user.String(), Own: []string{}}}
	if made.keys, err = newKeys(c.Algorithm); err != nil {
		return err
	}
	now := signingTime()
	if err := made.signKeys(now, c.KeysFor, 1, ""); err != nil {
		return refused("%w", err)
	}
	if err := made.signDevices(now, c.DevicesFor, 1, devices); err != nil {
		return refused("%w", err)
	}
	err = locked(ctx, path, func() error {
		if err := unused(); err != nil {
			return err
		}
		return made.save(passphrase)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Master key %s of %s, in %s.\n", made.master(), user, path)
	fmt.Fprintf(s.out, "The device list has %s. Your contacts compare the master key.\n", count(len(devices), "device"))
	return nil
}

// subject returns the user and the first devices.
func (c *xsignInitCmd) subject(ctx context.Context) (claims.ID, []xsign.Device, error) {
	if c.User == "" {
		if c.Device != "" {
			return claims.ID{}, nil, usage("--device goes with --user")
		}
		id, jkt, err := c.ownDevice(ctx)
		return id.User, []xsign.Device{{ID: id.Device, Keys: append([]string{jkt}, c.Key...)}}, err
	}
	id, err := readIdentity(c.User, "", c.Device)
	switch {
	case err != nil:
		return claims.ID{}, nil, err
	case c.Device == "" && len(c.Key) > 0:
		return claims.ID{}, nil, usage("--key goes with --device")
	case c.Device == "":
		return id.User, nil, nil
	}
	_, keys, err := c.device(ctx)
	return id.User, []xsign.Device{{ID: id.Device, Keys: keys}}, err
}

type xsignAddDeviceCmd struct {
	signing
	lives
	subjectFlags
}

func (*xsignAddDeviceCmd) Help() string {
	return `It adds the device of your session, or the one that you name, with its keys. A device that is in the list gets the keys besides those that
it has:

    issuer xsign add-device --session phone.json
    issuer xsign add-device --device im:7kHb3h043lahTHszoAokdg/8c1969eb0e727f63@example.com --key "$jkt"

Only you can know whether a device is yours: look at its key on the device itself, not in what the issuer says.`
}

func (c *xsignAddDeviceCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	device, keys, err := c.device(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := checkThumbprint("--key", key); err != nil {
			return err
		}
	}
	return c.changeDevices(ctx, s, c.lives, func(list []xsign.Device) ([]xsign.Device, error) {
		i := slices.IndexFunc(list, func(d xsign.Device) bool { return sameID(d.ID, device) })
		if i < 0 {
			list, i = append(list, xsign.Device{ID: device}), len(list)
		}
		added := false
		for _, key := range keys {
			if !slices.Contains(list[i].Keys, key) {
				list[i].Keys, added = append(list[i].Keys, key), true
			}
		}
		if !added {
			return nil, refused("the device list has %s with that key already", device)
		}
		return list, nil
	})
}

type xsignRemoveDeviceCmd struct {
	signing
	lives
	Device string `arg:"" name:"uri" help:"The device."`
}

func (*xsignRemoveDeviceCmd) Help() string {
	return `Everyone who sees the new list knows that the device is not yours any more. A contact who is shown the old list believes it until that
list expires:

    issuer xsign remove-device im:7kHb3h043lahTHszoAokdg/8c1969eb0e727f63@example.com`
}

func (c *xsignRemoveDeviceCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	id, err := readIdentity("", "", c.Device)
	if err != nil {
		return err
	}
	return c.changeDevices(ctx, s, c.lives, func(list []xsign.Device) ([]xsign.Device, error) {
		i := slices.IndexFunc(list, func(d xsign.Device) bool { return sameID(d.ID, id.Device) })
		if i < 0 {
			return nil, refused("the device list does not have %s", id.Device)
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// changeDevices signs the next device list.
func (k *signing) changeDevices(
	ctx context.Context, s *streams, l lives, change func([]xsign.Device) ([]xsign.Device, error),
) error {
	c, err := k.change(ctx, s, func(c *crossSigner) error {
		devices, err := change(cloneDevices(c.contents.Devices.Devices))
		if err != nil {
			return err
		}
		if err := c.signDevices(signingTime(), l.DevicesFor, c.contents.Devices.Seq+1, devices); err != nil {
			return refused("%w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.printList(s)
	return nil
}

func cloneDevices(list []xsign.Device) []xsign.Device {
	list = slices.Clone(list)
	for i := range list {
		list[i].Keys = slices.Clone(list[i].Keys)
	}
	return list
}

// printList says what the device list is now.
func (c *crossSigner) printList(s *streams) {
	d := c.contents.Devices
	fmt.Fprintf(s.out, "Device list %d with %s, until %s. Publish it with issuer xsign publish.\n", d.Seq, count(len(d.Devices), "device"),
		day(d.Expires))
}
