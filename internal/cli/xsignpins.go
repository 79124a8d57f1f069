package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

// pinsFlag names the file in which a verifier keeps what is known about users.
type pinsFlag struct {
	Pins string `placeholder:"FILE" help:"The file of the master keys that you know, and of the newest statements that you have seen (issuer/pins.json in your configuration folder)."`
}

func (p *pinsFlag) path() (string, error) { return configured(p.Pins, "--pins", "pins.json") }

// A pinsFile is the content of such a file.
type pinsFile struct {
	Version int        `json:"version"`
	Pins    xsign.Pins `json:"pins"`
}

// readPins reads pins. A file that does not exist has none.
func readPins(path string) (xsign.Pins, error) {
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return xsign.Pins{}, nil
	} else if err != nil {
		return nil, usage("%w", err)
	}
	pins, err := parsePins(text)
	if err != nil {
		return nil, usage("%s is not a valid file of pins: %w", path, err)
	}
	return pins, nil
}

func parsePins(text []byte) (xsign.Pins, error) {
	var file pinsFile
	if err := decodeStrictly(text, &file); err != nil {
		return nil, err
	}
	if file.Version != 1 {
		return nil, fmt.Errorf("it has version %d, and this release knows 1", file.Version)
	}
	for user, pin := range file.Pins {
		id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, user, "", "")
		if err != nil {
			return nil, err
		}
		// Another spelling would never be found, as if the user were not pinned.
		if same, ok := file.Pins.Of(id.User); !ok || same.Master != pin.Master {
			return nil, fmt.Errorf("%s is not spelled as this command writes it", user)
		}
		if !slices.Contains([]xsign.How{xsign.ByHand, xsign.ByVouch, xsign.FirstUse}, pin.How) || !jose.IsThumbprint(pin.Master) {
			return nil, fmt.Errorf("the pin of %s has no master key, or does not say how it is known", user)
		}
	}
	if file.Pins == nil {
		file.Pins = xsign.Pins{}
	}
	return file.Pins, nil
}

// writePins replaces a file of pins as a whole.
func writePins(path string, pins xsign.Pins) error {
	text, err := json.MarshalIndent(pinsFile{1, pins}, "", "  ")
	if err == nil && len(text) >= maxXSignFile {
		err = errors.New("there are too many pins: forget some with issuer xsign unpin")
	}
	if err == nil {
		err = writePrivate(path, string(text)+"\n")
	}
	if err != nil {
		return usage("write the pins: %w", err)
	}
	return nil
}

// changePins reads pins, and writes those that change returns. Nil leaves the file as it is.
func (p *pinsFlag) changePins(ctx context.Context, change func(xsign.Pins) (xsign.Pins, error)) error {
	path, err := p.path()
	if err != nil {
		return err
	}
	return locked(ctx, path, func() error {
		pins, err := readPins(path)
		if err != nil {
			return err
		}
		next, err := change(pins)
		if err != nil || next == nil {
			return err
		}
		return writePins(path, next)
	})
}

type xsignPinCmd struct {
	pinsFlag
	User       string `arg:"" name:"uri" help:"The user."`
	Master     string `placeholder:"THUMBPRINT" help:"Thumbprint of the master key, as you compared it with the user."`
	Introducer bool   `xor:"introducer" help:"Count the public vouches of this user, if the policy has hops: 2."`
	Stop       bool   `name:"no-introducer" xor:"introducer" help:"Count them no longer."`
}

func (*xsignPinCmd) Help() string {
	return `You need no keys of your own to know those of others. Enter the thumbprint that the user showed you, not one that a server sent:

    issuer xsign pin "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user" --master "$thumbprint"

Mark a user whose master key you know as an introducer:

    issuer xsign pin "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user" --introducer`
}

func (c *xsignPinCmd) Run(ctx context.Context, s *streams) error {
	id, err := readIdentity(c.User, "", "")
	if err == nil && c.Master != "" {
		err = checkThumbprint("--master", c.Master)
	}
	if err != nil {
		return err
	}
	var pin xsign.Pin
	err = c.changePins(ctx, func(pins xsign.Pins) (xsign.Pins, error) {
		if c.Master != "" {
			pins = pins.ByHand(id.User, c.Master, signingTime().UTC())
		}
		known := false
		if pin, known = pins.Of(id.User); !known {
			return nil, usage("there is no pin of %s: give its --master key", id.User)
		}
		pin.Introducer = (pin.Introducer || c.Introducer) && !c.Stop
		return pins.With(id.User, pin), nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Master key %s of %s is pinned (%s).\n", pin.Master, id.User, pinWords(pin))
	return nil
}

type xsignUnpinCmd struct {
	pinsFlag
	User string `arg:"" name:"uri" help:"The user."`
}

func (*xsignUnpinCmd) Help() string {
	return `After it, the user is a stranger: the next master key that a server shows is kept, and an older device list is not noticed:

    issuer xsign unpin "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user"`
}

func (c *xsignUnpinCmd) Run(ctx context.Context, s *streams) error {
	id, err := readIdentity(c.User, "", "")
	if err != nil {
		return err
	}
	err = c.changePins(ctx, func(pins xsign.Pins) (xsign.Pins, error) {
		next := pins.Without(id.User)
		if len(next) == len(pins) {
			return nil, refused("there is no pin of %s", id.User)
		}
		return next, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Nothing is known any more about %s.\n", id.User)
	return nil
}

type xsignPinsCmd struct {
	pinsFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (*xsignPinsCmd) Help() string {
	return `It says how each key is known: by hand, by a vouch of yours, or since its first use, which makes nothing good:

    issuer xsign pins
    issuer xsign pins --json

JSON is an object of pins by the URI of the user.`
}

func (c *xsignPinsCmd) Run(s *streams) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	pins, err := readPins(path)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, pins)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tMASTER KEY\tKNOWN\tKEYS\tDEVICES")
	for _, user := range slices.Sorted(maps.Keys(pins)) {
		pin := pins[user]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", user, pin.Master, pinWords(pin), pin.Keys.Seq, pin.Devices.Seq)
	}
	return w.Flush()
}

// pinWords says how and since when a master key is known.
func pinWords(pin xsign.Pin) string {
	words := map[xsign.How]string{xsign.ByHand: "by hand", xsign.ByVouch: "by a vouch", xsign.FirstUse: "first use"}[pin.How]
	words += " on " + pin.At.UTC().Format(time.DateOnly)
	if pin.Introducer {
		words += ", introducer"
	}
	return words
}
