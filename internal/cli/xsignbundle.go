package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/xsign"
)

// A bundleFile has the statements of users, as a server shows them.
type bundleFile struct {
	// Fetched is when they were fetched. Without it, they count as fetched when they are read.
	Fetched *time.Time   `json:"fetched,omitempty"`
	Users   []userBundle `json:"users"`
}

// A userBundle has the statements of one user.
type userBundle struct {
	User string `json:"user"`
	xsign.Bundle
	Vouches []string `json:"vouches,omitempty"` // public vouches and distrusts by the user
}

// bundles are the statements of users from files.
type bundles struct {
	fetched time.Time // the earliest
	list    []userBundle
}

// readBundles reads files of statements. Nothing in them is verified.
func readBundles(s *streams, files []string) (*bundles, error) {
	b := new(bundles)
	for _, name := range files {
		text, err := s.readWhole(name)
		if err != nil {
			return nil, usage("read the statements: %w", err)
		}
		var file bundleFile
		if err := json.Unmarshal(text, &file); err != nil {
			return nil, usage("%s does not have the form that issuer xsign show --json writes: %w", name, err)
		}
		if file.Fetched != nil && (b.fetched.IsZero() || file.Fetched.Before(b.fetched)) {
			b.fetched = *file.Fetched
		}
		b.list = append(b.list, file.Users...)
	}
	return b, nil
}

// readWhole returns the content of a file. The name "-" stands for standard input.
func (s *streams) readWhole(name string) ([]byte, error) {
	in := s.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	return readAtMost(in, name)
}

// of returns the bundle of a user; nil if there is none. The server says whose a bundle is, and the statements in it are verified. Of two
// bundles of one user the first counts.
func (b *bundles) of(user claims.ID) *xsign.Bundle {
	for i := range b.list {
		if id, err := readIdentity(b.list[i].User, "", ""); err == nil && sameID(id.User, user) && b.list[i].Keys != "" {
			return &b.list[i].Bundle
		}
	}
	return nil
}

// sameID reports whether two URIs are one identifier: the im: and the mimi: URI of a user are.
func sameID(a, b claims.ID) bool { return a == b || a.MIMI() != "" && a.MIMI() == b.MIMI() }

// introductions are the public vouches of others than a user.
func (b *bundles) introductions(user claims.ID) []xsign.Introduction {
	var list []xsign.Introduction
	for _, one := range b.list {
		id, err := readIdentity(one.User, "", "")
		if err != nil || sameID(id.User, user) {
			continue
		}
		for _, text := range one.Vouches {
			list = append(list, xsign.Introduction{By: one.Bundle, User: id.User, Vouch: text})
		}
	}
	return list
}

type xsignShowCmd struct {
	keyFileFlag
	Bundle []string `placeholder:"FILE" help:"Show the statements in this file instead, which issuer xsign show --json wrote; - reads it from standard input. May be repeated."`
	JSON   bool     `name:"json" help:"Print the statements as JSON, for other people and commands."`
}

func (*xsignShowCmd) Help() string {
	return `It takes no passphrase, and shows nothing secret. Your contacts compare the master key with you:

    issuer xsign show
    issuer xsign show --json > alice.json
    issuer xsign show --bundle alice.json

JSON is {"users": [{"user", "keys", "succession", "devices", "vouches"}]}, with the statements as they were signed, and of the vouches
those that are public. What is shown of others is what they signed: whose keys they are is for issuer xsign verify.`
}

func (c *xsignShowCmd) Run(s *streams) error {
	if len(c.Bundle) == 0 {
		path, err := c.path()
		if err != nil {
			return err
		}
		signer, err := readCrossSigner(path)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, bundleFile{Users: []userBundle{signer.public()}})
		}
		return signer.print(s)
	}
	read, err := readBundles(s, c.Bundle)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, bundleFile{Users: read.list})
	}
	for i := range read.list {
		one := &read.list[i]
		id, err := readIdentity(one.User, "", "")
		if err != nil {
			return err
		}
		contents, err := one.Open(id.User)
		if err != nil {
			return refused("the statements of %s are not valid: %w", id.User, err)
		}
		own := make([]*opinion, 0, len(one.Vouches))
		for _, text := range one.Vouches {
			v, err := readOpinion(text, contents)
			if err != nil {
				return refused("the statements of %s are not valid: %w", id.User, err)
			}
			own = append(own, v)
		}
		if err := printBundle(s, contents, own, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// public returns the statements that others may see.
func (c *crossSigner) public() userBundle {
	out := userBundle{User: c.file.User, Bundle: c.file.Bundle}
	for _, text := range c.file.Own {
		if v, err := readOpinion(text, c.contents); err == nil && v.public {
			out.Vouches = append(out.Vouches, text)
		}
	}
	return out
}

func (c *crossSigner) print(s *streams) error {
	var own []*opinion
	for _, text := range c.file.Own {
		v, err := readOpinion(text, c.contents)
		if err != nil {
			return err
		}
		own = append(own, v)
	}
	return printBundle(s, c.contents, own, time.Now())
}

// An opinion is a vouch, or a distrust.
type opinion struct {
	user    claims.ID
	handle  claims.ID
	master  string
	how     string // empty for a distrust
	expires time.Time
	public  bool
}

// readOpinion reads a vouch or a distrust of the user of a bundle.
func readOpinion(text string, by *xsign.Contents) (*opinion, error) {
	v, err := xsign.ParseVouch(text, by.Keys.UserSigning)
	if err == nil {
		return &opinion{v.User, v.Handle, v.Master, v.How, v.Expires, v.Public}, nil
	}
	if !errors.Is(err, xsign.CodeType) {
		return nil, err
	}
	d, err := xsign.ParseDistrust(text, by.Keys.UserSigning)
	if err != nil {
		return nil, err
	}
	return &opinion{d.User, d.Handle, d.Master, "", d.Expires, d.Public}, nil
}

// printBundle prints statements for people.
func printBundle(s *streams, c *xsign.Contents, own []*opinion, now time.Time) error {
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("user", "%s", c.Keys.User)
	line("master key", "%s", c.Masters[len(c.Masters)-1])
	for _, former := range c.Masters[:len(c.Masters)-1] {
		line("follows", "%s", former)
	}
	line("keys", "%d, %s", c.Keys.Seq, untilWords(c.Keys.Expires, now))
	if c.Devices == nil {
		line("device list", "none: %v", c.DevicesErr)
	} else {
		line("device list", "%d of %s, %s", c.Devices.Seq, day(c.Devices.IssuedAt), untilWords(c.Devices.Expires, now))
		for _, d := range c.Devices.Devices {
			line("  device", "%s", d.ID)
			for _, key := range d.Keys {
				line("    key", "%s", key)
			}
		}
	}
	for _, o := range own {
		kind, how := "vouches for", ", compared by "+printable(o.how)
		if o.how == "" {
			kind, how = "distrusts", ""
		}
		if !o.handle.IsZero() {
			how += ", called " + o.handle.String()
		}
		if o.public {
			how += ", public"
		}
		if !o.expires.IsZero() {
			how += ", " + untilWords(o.expires, now)
		}
		line(kind, "%s of %s%s", o.master, o.user, how)
	}
	return w.Flush()
}

func untilWords(t, now time.Time) string {
	if !now.Before(t) {
		return "expired on " + day(t)
	}
	return "until " + day(t)
}
