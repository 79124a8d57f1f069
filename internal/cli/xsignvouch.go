package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/xsign"
)

// opinionFlags are those of a vouch and of a distrust.
type opinionFlags struct {
	signing
	User   string `arg:"" name:"uri" help:"The other user."`
	Master string `required:"" placeholder:"THUMBPRINT" help:"Thumbprint of the master key, as you compared it with the user."`
	Handle string `placeholder:"URI" help:"The handle that you know the user by."`
	Public bool   `help:"Let others see it. Without this flag, the issuer shows it to you alone."`
}

// identity returns the user and the handle.
func (o *opinionFlags) identity() (claims.Identity, error) {
	id, err := readIdentity(o.User, o.Handle, "")
	if err == nil {
		err = checkThumbprint("--master", o.Master)
	}
	return id, err
}

// replace removes the user's own statement about a master key, and adds another one; an empty text adds none. It reports whether there
// was one. There is one for each master key, as at the issuer.
func (c *crossSigner) replace(master, text string) bool {
	kept := slices.DeleteFunc(slices.Clone(c.file.Own), func(old string) bool { return c.about(old) == master })
	found := len(kept) < len(c.file.Own)
	if text != "" {
		kept = append(kept, text)
	}
	c.file.Own = append([]string{}, kept...)
	return found
}

// about returns the master key that one of the user's own statements is about.
func (c *crossSigner) about(text string) string {
	v, d, err := c.opinion(text)
	switch {
	case err != nil:
		return ""
	case d != nil:
		return d.Master
	}
	return v.Master
}

// distrusts reports whether the user distrusts a master key.
func (c *crossSigner) distrusts(master string) bool {
	return slices.ContainsFunc(c.file.Own, func(text string) bool {
		_, d, err := c.opinion(text)
		return err == nil && d != nil && d.Master == master
	})
}

type xsignVouchCmd struct {
	opinionFlags
	How string        `required:"" placeholder:"WORD" help:"How you compared the key: qr, hand, numbers, call, or another word."`
	For time.Duration `default:"8760h" placeholder:"TIME" help:"How long the vouch is valid (${default})."`
}

func (*xsignVouchCmd) Help() string {
	return `A vouch says that you have compared the master key with the user, over a way that no server controls: face to face, by a QR code, in a
call. Enter the thumbprint that the user showed you, not one that a server sent:

    issuer xsign vouch "im:0vTzGrLe2H1XrXqkx1yGAw@example.org;id-type=user" --how qr --master "$thumbprint"

With --handle the vouch says, too, that you know the user by that handle. With --public, people who have marked you as an introducer
count it. A rename, or another master key of the user, ends what it is good for.`
}

func (c *xsignVouchCmd) Run(ctx context.Context, s *streams) error {
	id, err := c.identity()
	switch {
	case err != nil:
		return err
	case c.How == "" || len(c.How) > 64:
		return usage("--how needs a word of at most 64 bytes")
	case c.For < time.Minute || c.For > xsign.MaxLife:
		return usage("--for must be a minute to %dh", xsign.MaxLife/time.Hour)
	}
	now := signingTime()
	_, err = c.change(ctx, s, func(f *crossSigner) error {
		if f.distrusts(c.Master) {
			return refused("you distrust this master key: end that first with issuer xsign withdraw --master %s", c.Master)
		}
		v := xsign.Vouch{
			By: f.user, User: id.User, IssuedAt: now, Expires: now.Add(c.For), Master: c.Master, How: c.How, Handle: id.Handle,
			Public: c.Public,
		}
		text, err := v.Sign(f.keys.userSigning)
		if err != nil {
			return refused("%w", err)
		}
		f.replace(c.Master, text)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "You vouch for master key %s of %s until %s.\n", c.Master, id.User, day(now.Add(c.For)))
	return nil
}

type xsignDistrustCmd struct{ opinionFlags }

func (*xsignDistrustCmd) Help() string {
	return `Whatever else is said about the user, you refuse the user's devices (rule F2), until you withdraw it. It replaces a vouch for the key:

    issuer xsign distrust "im:0vTzGrLe2H1XrXqkx1yGAw@example.org;id-type=user" --master "$thumbprint"`
}

func (c *xsignDistrustCmd) Run(ctx context.Context, s *streams) error {
	id, err := c.identity()
	if err != nil {
		return err
	}
	_, err = c.change(ctx, s, func(f *crossSigner) error {
		d := xsign.Distrust{By: f.user, User: id.User, IssuedAt: signingTime(), Master: c.Master, Handle: id.Handle, Public: c.Public}
		text, err := d.Sign(f.keys.userSigning)
		if err != nil {
			return refused("%w", err)
		}
		f.replace(c.Master, text)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "You distrust master key %s of %s.\n", c.Master, id.User)
	return nil
}

type xsignWithdrawCmd struct {
	signing
	Master string `required:"" placeholder:"THUMBPRINT" help:"Thumbprint of the master key that the statement is about."`
}

func (*xsignWithdrawCmd) Help() string {
	return `The next issuer xsign publish removes the statement from the issuer, too. Someone who has seen a public vouch may believe it until it
expires:

    issuer xsign withdraw --master "$thumbprint"`
}

func (c *xsignWithdrawCmd) Run(ctx context.Context, s *streams) error {
	if err := checkThumbprint("--master", c.Master); err != nil {
		return err
	}
	_, err := c.change(ctx, s, func(f *crossSigner) error {
		if !f.replace(c.Master, "") {
			return refused("there is no vouch and no distrust of that master key in %s", f.path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "You say nothing any more about master key %s.\n", c.Master)
	return nil
}
