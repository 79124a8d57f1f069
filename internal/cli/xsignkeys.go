package cli

import (
	"context"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

type xsignRenewCmd struct {
	signing
	lives
	After int64 `placeholder:"N" help:"Sign with sequence numbers above this one: for a file that was restored from an old copy."`
}

func (*xsignRenewCmd) Help() string {
	return `Keys and device list expire, so that a server can hide a newer one for a while only. Once the list has expired, your contacts cannot
know any more which devices are yours. Renew it before:

    issuer xsign renew
    issuer xsign publish`
}

func (c *xsignRenewCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.After < 0 || c.After >= 1<<52 {
		return usage("--after must be a sequence number")
	}
	signer, err := c.change(ctx, s, func(f *crossSigner) error {
		keys, devices := f.contents.Keys, f.contents.Devices
		return f.signAll(c.lives, max(keys.Seq, c.After)+1, max(devices.Seq, c.After)+1, keys.Succeeds)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Keys %d, until %s.\n", signer.contents.Keys.Seq, day(signer.contents.Keys.Expires))
	signer.printList(s)
	return nil
}

// signAll signs the keys, the device list, and if there is another user-signing key the vouches and distrusts again.
func (c *crossSigner) signAll(l lives, keySeq, deviceSeq int64, succeeds string) error {
	now := signingTime()
	if err := c.signKeys(now, l.KeysFor, keySeq, succeeds); err != nil {
		return refused("%w", err)
	}
	if err := c.signDevices(now, l.DevicesFor, deviceSeq, c.contents.Devices.Devices); err != nil {
		return refused("%w", err)
	}
	return c.signOwn()
}

// signOwn signs the vouches and distrusts again as they are: readers verify them by the user-signing key of now.
func (c *crossSigner) signOwn() error {
	for i, text := range c.file.Own {
		v, d, err := c.opinion(text)
		if err != nil {
			return err
		}
		if d != nil {
			text, err = d.Sign(c.keys.userSigning)
		} else {
			text, err = v.Sign(c.keys.userSigning)
		}
		if err != nil {
			return err
		}
		c.file.Own[i] = text
	}
	return nil
}

// opinion reads one of the user's own statements, which is a vouch or a distrust.
func (c *crossSigner) opinion(text string) (*xsign.Vouch, *xsign.Distrust, error) {
	key := c.contents.Keys.UserSigning
	if v, err := xsign.ParseVouch(text, key); err == nil {
		return v, nil, nil
	}
	d, err := xsign.ParseDistrust(text, key)
	return nil, d, err
}

type xsignRotateCmd struct {
	signing
	lives
	Algorithm string `name:"alg" enum:"ES256,EdDSA" default:"EdDSA" placeholder:"ALG" help:"Algorithm of the keys: ES256 or EdDSA (${default})."`
}

func (*xsignRotateCmd) Help() string {
	return `The master key stays, and your contacts notice nothing. Your vouches and distrusts are signed again:

    issuer xsign rotate
    issuer xsign publish`
}

func (c *xsignRotateCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	signer, err := c.change(ctx, s, func(f *crossSigner) (err error) {
		master := f.keys.master
		if f.keys, err = newKeys(c.Algorithm); err != nil {
			return err
		}
		f.keys.master = master
		keys, devices := f.contents.Keys, f.contents.Devices
		return f.signAll(c.lives, keys.Seq+1, devices.Seq+1, keys.Succeeds)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Keys %d below master key %s are new. Publish them with issuer xsign publish.\n", signer.contents.Keys.Seq,
		signer.master())
	return nil
}

type xsignSucceedCmd struct {
	signing
	lives
	Algorithm string `name:"alg" enum:"ES256,EdDSA" default:"EdDSA" placeholder:"ALG" help:"Algorithm of the keys: ES256 or EdDSA (${default})."`
}

func (*xsignSucceedCmd) Help() string {
	return `All three keys are new, and the old master key signs that the new one follows it: contacts who have pinned the old one follow. People who
have vouched for the old one vouch again, and places that name it have to name the new one:

    issuer xsign succeed
    issuer xsign publish

If another person may have the old master key, do not use this: they could name a successor, too. Make a new file with init, and have your
contacts compare its master key.`
}

func (c *xsignSucceedCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	signer, err := c.change(ctx, s, func(f *crossSigner) (err error) {
		former := f.keys.master
		if f.keys, err = newKeys(c.Algorithm); err != nil {
			return err
		}
		next, err := jose.Thumbprint(f.keys.master.Public())
		if err != nil {
			return err
		}
		succession := xsign.Succession{User: f.user, IssuedAt: signingTime(), Next: next}
		text, err := succession.Sign(former)
		if err != nil {
			return err
		}
		keys, devices := f.contents.Keys, f.contents.Devices
		if keys.Succeeds != "" {
			f.file.Succession = append(f.file.Succession, keys.Succeeds)
		}
		return f.signAll(c.lives, keys.Seq+1, devices.Seq+1, text)
	})
	if err != nil {
		return err
	}
	former := signer.contents.Masters[len(signer.contents.Masters)-2]
	fmt.Fprintf(s.out, "Master key %s follows %s. Publish it with issuer xsign publish.\n", signer.master(), former)
	return nil
}

type xsignPassphraseCmd struct {
	signing
	NewPassphraseFile string `placeholder:"FILE" help:"File with the new passphrase, in its first line. Without it, you are asked."`
}

func (*xsignPassphraseCmd) Help() string {
	return `Copies of the file keep the old passphrase:

    issuer xsign passphrase`
}

func (c *xsignPassphraseCmd) Run(ctx context.Context, s *streams) error {
	if c.NewPassphraseFile == "-" {
		return usage("--new-passphrase-file names a file")
	}
	signer, err := c.reseal(ctx, s, func() ([]byte, error) {
		return s.newPassphrase(c.NewPassphraseFile, "--new-passphrase-file")
	}, func(*crossSigner) error { return nil })
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s has the new passphrase.\n", signer.path)
	return nil
}
