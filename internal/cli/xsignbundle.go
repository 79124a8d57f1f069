package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/xsign"
)

// A bundleFile has the statements of users by their URIs, as the issuer shows them, and public vouches about them.
type bundleFile struct {
	// Fetched is when they were fetched. Without it, they count as fetched when they are read.
	Fetched *time.Time               `json:"fetched,omitempty"`
	Users   map[string]api.XSignUser `json:"users"`
}

// bundles are statements from files.
type bundles struct {
	fetched time.Time // the earliest
	files   []bundleFile
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
			return nil, usage("%s does not have the form that issuer xsign fetch and show --json write: %w", name, err)
		}
		if file.Fetched != nil && (b.fetched.IsZero() || file.Fetched.Before(b.fetched)) {
			b.fetched = *file.Fetched
		}
		b.files = append(b.files, file)
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

// about returns what the files say about a user.
func (b *bundles) about(user claims.ID) []api.XSignUser {
	var list []api.XSignUser
	for _, file := range b.files {
		for _, uri := range slices.Sorted(maps.Keys(file.Users)) {
			if id, err := readIdentity(uri, "", ""); err == nil && sameID(id.User, user) {
				list = append(list, file.Users[uri])
			}
		}
	}
	return list
}

// of returns the bundle of a user; nil if there is none. Of two the first counts. The statements in it say whose they are.
func (b *bundles) of(user claims.ID) *xsign.Bundle {
	for _, one := range b.about(user) {
		if one.Keys != "" {
			return bundleOf(one.XSignBundle)
		}
	}
	return nil
}

func bundleOf(b api.XSignBundle) *xsign.Bundle {
	return &xsign.Bundle{Keys: b.Keys, Succession: b.Succession, Devices: b.Devices}
}

// sameID reports whether two URIs are one identifier: the im: and the mimi: URI of a user are.
func sameID(a, b claims.ID) bool { return a == b || a.MIMI() != "" && a.MIMI() == b.MIMI() }

// introductions are the public vouches for a user.
func (b *bundles) introductions(user claims.ID) []xsign.Introduction {
	var list []xsign.Introduction
	for _, one := range b.about(user) {
		for _, v := range one.Vouches {
			if id, err := readIdentity(v.User, "", ""); err == nil {
				list = append(list, xsign.Introduction{By: *bundleOf(v.By), User: id.User, Vouch: v.Vouch})
			}
		}
	}
	return list
}

type xsignShowCmd struct {
	keyFileFlag
	Bundle []string `placeholder:"FILE" help:"Show the statements in this file instead, which issuer xsign fetch or show --json wrote; - reads it from standard input. May be repeated."`
	JSON   bool     `name:"json" help:"Print the statements as JSON, for other people and commands."`
}

func (*xsignShowCmd) Help() string {
	return `It takes no passphrase, and shows nothing secret. Your contacts compare the master key with you:

    issuer xsign show
    issuer xsign show --json > alice.json
    issuer xsign show --bundle alice.json

JSON is {"users"}, with {"keys", "succession", "devices", "vouches"} for the URI of each user: your statements as you signed them, and your
public vouches with the users that they are about. What is shown of others is what they signed: whose keys they are is for issuer
xsign verify.`
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
			return printJSON(s, signer.public())
		}
		return signer.print(s)
	}
	read, err := readBundles(s, c.Bundle)
	if err != nil {
		return err
	}
	if c.JSON {
		for _, file := range read.files {
			if err := printJSON(s, file); err != nil {
				return err
			}
		}
		return nil
	}
	for _, file := range read.files {
		for _, uri := range slices.Sorted(maps.Keys(file.Users)) {
			if err := printUser(s, uri, file.Users[uri]); err != nil {
				return err
			}
		}
	}
	return nil
}

// printUser prints what is shown of a user, if there are keys, and the vouches about the user.
func printUser(s *streams, uri string, shown api.XSignUser) error {
	id, err := readIdentity(uri, "", "")
	if err != nil {
		return err
	}
	if shown.Keys != "" {
		contents, err := bundleOf(shown.XSignBundle).Open(id.User)
		if err != nil {
			return refused("the statements of %s are not valid: %w", id.User, err)
		}
		if err := printBundle(s, contents, nil, time.Now()); err != nil {
			return err
		}
	}
	for _, one := range shown.Vouches {
		author, err := readIdentity(one.User, "", "")
		if err != nil {
			return err
		}
		by, err := bundleOf(one.By).Open(author.User)
		if err != nil {
			return refused("the keys of %s are not valid: %w", author.User, err)
		}
		v, err := xsign.ParseVouch(one.Vouch, by.Keys.UserSigning)
		if err != nil {
			return refused("the vouch of %s is not valid: %w", author.User, err)
		}
		fmt.Fprintf(s.out, "%s vouches for %s of %s, compared by %s, %s\n", author.User, v.Master, v.User, printable(v.How),
			untilWords(v.Expires, time.Now()))
	}
	return nil
}

// public returns the statements that others may see.
func (c *crossSigner) public() bundleFile {
	own := c.file.Bundle
	by := api.XSignBundle{Keys: own.Keys, Succession: own.Succession}
	file := bundleFile{Users: map[string]api.XSignUser{c.file.User: {
		XSignBundle: api.XSignBundle{Keys: own.Keys, Succession: own.Succession, Devices: own.Devices}, Vouches: []api.XSignVouch{},
	}}}
	for _, text := range c.file.Own {
		v, err := xsign.ParseVouch(text, c.contents.Keys.UserSigning)
		if err != nil || !v.Public { // a distrust is for its author alone
			continue
		}
		about := file.Users[v.User.String()]
		about.Vouches = append(about.Vouches, api.XSignVouch{User: c.file.User, By: by, Vouch: text})
		file.Users[v.User.String()] = about
	}
	return file
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
