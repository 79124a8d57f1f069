package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/places"
)

type placesCmd struct {
	Add       placesAddCmd       `cmd:"" help:"Add places to your profile, and sign it."`
	Remove    placesRemoveCmd    `cmd:"" help:"Take places out of your profile, and sign it."`
	Show      placesShowCmd      `cmd:"" help:"Show your profile, or that in a file, and what each place must show."`
	Publish   placesPublishCmd   `cmd:"" help:"Store your profile at the issuer, which serves it to others."`
	Unpublish placesUnpublishCmd `cmd:"" help:"Delete your profile at the issuer."`
	Verify    placesVerifyCmd    `cmd:"" help:"Look at the places of a user: which master key do they name?"`
	Forget    placesForgetCmd    `cmd:"" help:"Forget the places of a user."`
}

// maxProfileFile is how many bytes a file with a profile may have.
const maxProfileFile = places.MaxProfile + 1<<10

// profileFlag names the file with the profile of the user.
type profileFlag struct {
	Profile string `placeholder:"FILE" help:"The file with your profile (issuer/profile.jwt in your configuration folder)."`
}

func (p *profileFlag) profilePath() (string, error) {
	return configured(p.Profile, "--profile", "profile.jwt")
}

// readProfile reads a file with a profile, and returns the profile and its text. The profile is nil if there is no file.
func readProfile(path string) (*places.Profile, string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	} else if err != nil {
		return nil, "", usage("%w", err)
	}
	if len(data) > maxProfileFile {
		return nil, "", refused("the profile in %s is refused: it is too large", path)
	}
	text := strings.TrimSpace(string(data))
	p, err := places.ParseProfile(text)
	if err != nil {
		return nil, "", refused("the profile in %s is refused: %w", path, err)
	}
	return p, text, nil
}

// noProfile returns the error of a command that needs a profile.
func noProfile(path string) error {
	return refused("there is no profile in %s: make it with issuer places add", path)
}

// hostFlag names the server of the profile.
type hostFlag struct {
	kept
	Host string `placeholder:"HOST" help:"The host that serves your profile. Without it, that of the issuer of the session."`
}

// host returns the host of the profile.
func (h *hostFlag) host(ctx context.Context) (string, error) {
	if h.Host != "" {
		return h.Host, nil
	}
	path, err := h.file()
	if err != nil {
		return "", err
	}
	session, err := client.ReadSession(path)
	if err != nil {
		return "", noSession(ctx, path, err)
	}
	u, err := url.Parse(session.Issuer)
	switch {
	case err != nil || u.Host == "":
		return "", usage("the session names no issuer: give --host")
	case u.Port() != "":
		return "", usage("the issuer %s is at a port, which the address of a profile cannot name: give the --host of a server that passes "+
			"requests on to it", session.Issuer)
	}
	return u.Hostname(), nil
}

// address returns the address of a profile, which its places show.
func (h *hostFlag) address(ctx context.Context, fingerprint string) (places.Address, error) {
	host, err := h.host(ctx)
	if err != nil {
		return places.Address{}, err
	}
	a, err := places.ParseAddress("aspe:" + host + ":" + fingerprint)
	if err != nil {
		return a, usage("%q cannot be the host of a profile: %w", host, err)
	}
	return a, nil
}

// profileFlags are what the commands have in common that sign a profile.
type profileFlags struct {
	signing
	profileFlag
}

// sign changes the profile of the user, signs it with the master key, and writes it. A change that is refused is so before the passphrase
// is asked for.
func (k *profileFlags) sign(ctx context.Context, s *streams, change func(p *places.Profile) error) (*places.Profile, error) {
	keys, err := k.signing.path()
	if err != nil {
		return nil, err
	}
	signer, err := readCrossSigner(keys)
	if err != nil {
		return nil, err
	}
	path, err := k.profilePath()
	if err != nil {
		return nil, err
	}
	changed := func() (*places.Profile, error) {
		p, _, err := readProfile(path)
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = &places.Profile{Name: signer.user.String()}
		}
		p.User = signer.user
		return p, change(p)
	}
	if _, err := changed(); err != nil {
		return nil, err
	}
	passphrase, err := k.ask(s)
	if err != nil {
		return nil, err
	}
	if err := signer.unlock(passphrase); err != nil {
		return nil, err
	}
	var made *places.Profile
	err = locked(ctx, path, func() error {
		p, err := changed()
		if err != nil {
			return err
		}
		text, err := p.Sign(signer.keys.master)
		if err != nil {
			return refused("%w", err)
		}
		if made, err = places.ParseProfile(text); err != nil {
			return err
		}
		if err := writePrivate(path, text+"\n"); err != nil {
			return usage("%w", err)
		}
		return nil
	})
	return made, err
}

type placesAddCmd struct {
	profileFlags
	hostFlag
	Name   string        `placeholder:"NAME" help:"What you want to be called in the profile. Nothing checks it."`
	Life   time.Duration `name:"for" placeholder:"TIME" help:"How long the profile is valid, such as 8760h. Without it, it has no end."`
	Places []string      `arg:"" name:"uri" help:"The places."`
}

func (*placesAddCmd) Help() string {
	return `The profile lists your places on the web, and the master key of issuer xsign init signs it. For each place, the command prints what to put
there, so that the place names your master key:

    issuer places add dns:alice.example https://social.example/@alice

Places are: dns:DOMAIN (a TXT record), https://HOST/.well-known/im-places (a JSON array), https://HOST/@NAME (an ActivityPub account),
https://HOST/NAME/forgejo_proof and https://HOST/NAME/gitlab_proof (the description of the repository), and
https://gist.github.com/NAME/ID (the file proof.md). Those below the domain of your provider do not count.`
}

func (c *placesAddCmd) Run(ctx context.Context, s *streams) error {
	if c.Life < 0 {
		return usage("--for is a time from now")
	}
	var list []places.Place
	for _, uri := range c.Places {
		p, err := places.ParsePlace(uri)
		if err != nil {
			return usage("%q: %w (issuer places add --help lists the kinds)", uri, err)
		}
		list = append(list, p)
	}
	host, err := c.host(ctx)
	if err != nil {
		return err
	}
	c.Host = host
	if _, err := c.address(ctx, strings.Repeat("A", 26)); err != nil { // before the user is asked, and anything is written
		return err
	}
	p, err := c.sign(ctx, s, func(p *places.Profile) error {
		for _, one := range list {
			if hasPlace(p, one.URI) >= 0 {
				return refused("the profile has %s already", one.URI)
			}
			p.Places = append(p.Places, one)
		}
		if len(p.Places) > places.MaxPlaces {
			return refused("a profile has at most %d places", places.MaxPlaces)
		}
		if c.Name != "" {
			p.Name = c.Name
		}
		if c.Life > 0 {
			p.Expires = signingTime().Add(c.Life)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a, err := c.address(ctx, p.Fingerprint())
	if err != nil {
		return err
	}
	for _, one := range list {
		fmt.Fprintf(s.out, "%s: put this text %s:\n    %s\n", one.URI, where(one), textFor(one, a))
	}
	fmt.Fprintf(s.out, "The profile has %s. Others get it from %s, once it is there: see issuer places publish.\n",
		count(len(p.Places), "place"), a.URL())
	return nil
}

// hasPlace returns the index of a place of a profile, and -1 if there is none.
func hasPlace(p *places.Profile, uri string) int {
	return slices.IndexFunc(p.Places, func(one places.Place) bool { return one.URI == uri })
}

// where says where a place shows the address.
func where(p places.Place) string {
	switch p.Kind() {
	case "dns":
		return "into a TXT record of the domain"
	case "well-known":
		return "there, as application/json"
	case "github":
		return "into the file proof.md of the gist"
	case "activitypub":
		return "into the profile of the account, its text or the value of a field"
	}
	return "into the description of the repository"
}

// textFor is what a place must show.
func textFor(p places.Place, a places.Address) string {
	if p.Kind() == "well-known" {
		return `["` + a.String() + `"]`
	}
	return a.String()
}

type placesRemoveCmd struct {
	profileFlags
	Places []string `arg:"" name:"uri" help:"The places."`
}

func (*placesRemoveCmd) Help() string {
	return `Contacts notice that the profile has fewer places than before. Remove the address from the place, too:

    issuer places remove https://social.example/@alice`
}

func (c *placesRemoveCmd) Run(ctx context.Context, s *streams) error {
	p, err := c.sign(ctx, s, func(p *places.Profile) error {
		for _, uri := range c.Places {
			i := hasPlace(p, uri)
			if i < 0 {
				return refused("the profile does not have %s", printable(uri))
			}
			p.Places = slices.Delete(p.Places, i, i+1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The profile has %s. Others get it after issuer places publish.\n", count(len(p.Places), "place"))
	return nil
}

type placesShowCmd struct {
	profileFlag
	hostFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (*placesShowCmd) Help() string {
	return `It verifies the signature and shows what is in the profile. The text of the profile is in the file:

    issuer places show
    issuer places show --profile profile.jwt --host id.example.com --json

JSON is {"user", "name", "master", "address", "expires", "places": [{"uri", "kind", "shows"}], "other"}. The exit code is 1 for a profile
that is refused.`
}

// A shownProfile is a profile as JSON.
type shownProfile struct {
	User    string       `json:"user"`
	Name    string       `json:"name"`
	Master  string       `json:"master"`
	Address string       `json:"address"`
	Expires *time.Time   `json:"expires,omitempty"`
	Places  []shownPlace `json:"places"`
	Other   []string     `json:"other,omitempty"`
}

type shownPlace struct {
	URI   string `json:"uri"`
	Kind  string `json:"kind"`
	Shows string `json:"shows"`
}

func (c *placesShowCmd) Run(ctx context.Context, s *streams) error {
	path, err := c.profilePath()
	if err != nil {
		return err
	}
	p, _, err := readProfile(path)
	switch {
	case err != nil:
		return err
	case p == nil:
		return noProfile(path)
	}
	a, err := c.address(ctx, p.Fingerprint())
	if err != nil {
		return err
	}
	v := shownProfile{
		User: p.User.String(), Name: p.Name, Master: p.Thumbprint(), Address: a.String(), Places: []shownPlace{}, Other: p.Other,
	}
	if !p.Expires.IsZero() {
		v.Expires = &p.Expires
	}
	for _, one := range p.Places {
		v.Places = append(v.Places, shownPlace{one.URI, one.Kind(), textFor(one, a)})
	}
	if c.JSON {
		return printJSON(s, v)
	}
	fmt.Fprintf(s.out, "Profile of %s, who is called %s.\nMaster key %s, address %s.\n", v.User, printable(v.Name), v.Master, v.Address)
	if v.Expires != nil {
		fmt.Fprintf(s.out, "It is valid until %s.\n", day(p.Expires))
	}
	for _, one := range v.Places {
		fmt.Fprintf(s.out, "%s: shows %s\n", one.URI, one.Shows)
	}
	for _, other := range v.Other {
		fmt.Fprintf(s.out, "%s: not a place of a known kind\n", printable(other))
	}
	return nil
}
