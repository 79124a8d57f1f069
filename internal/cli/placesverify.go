package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/verdict"
)

// seenFlag names the file in which a verifier keeps what places have shown.
type seenFlag struct {
	Seen string `placeholder:"FILE" help:"The file of what you have seen of places (issuer/places.json in your configuration folder)."`
}

func (f *seenFlag) path() (string, error) { return configured(f.Seen, "--seen", "places.json") }

// A seenFile is the content of such a file.
type seenFile struct {
	Version int `json:"version"`
	// Addresses are those of profiles, and Memories what their places have shown, by user.
	Addresses map[string]string `json:"addresses"`
	Memories  places.Memories   `json:"memories"`
}

// readSeen reads what was seen. A file that does not exist has nothing.
func readSeen(path string) (seenFile, error) {
	empty := seenFile{Version: 1, Addresses: map[string]string{}, Memories: places.Memories{}}
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	} else if err != nil {
		return empty, usage("%w", err)
	}
	file, err := parseSeen(text)
	if err != nil {
		return empty, usage("%s is not a valid file of places: %w", path, err)
	}
	return file, nil
}

func parseSeen(text []byte) (seenFile, error) {
	var raw struct {
		Version   int               `json:"version"`
		Addresses map[string]string `json:"addresses"`
		Memories  json.RawMessage   `json:"memories"`
	}
	file := seenFile{Version: 1, Addresses: map[string]string{}, Memories: places.Memories{}}
	if err := decodeStrictly(text, &raw); err != nil {
		return file, err
	}
	if raw.Version != 1 {
		return file, fmt.Errorf("it has version %d, and this release knows 1", raw.Version)
	}
	for user, text := range raw.Addresses {
		if _, err := places.ParseAddress(text); err != nil {
			return file, err
		}
		file.Addresses[user] = text
	}
	if raw.Memories == nil {
		return file, errors.New("it has no memories")
	}
	memories, err := places.ParseMemories(raw.Memories)
	if err == nil && memories != nil {
		file.Memories = memories
	}
	return file, err
}

func writeSeen(path string, file seenFile) error {
	text, err := json.MarshalIndent(file, "", "  ")
	if err == nil && len(text) >= maxXSignFile {
		err = errors.New("there are too many users: forget some with issuer places forget")
	}
	if err == nil {
		err = writePrivate(path, string(text)+"\n")
	}
	if err != nil {
		return usage("write what was seen: %w", err)
	}
	return nil
}

// addressKey is the key of a user in the addresses: the im: and the mimi: URI are one user.
func addressKey(user claims.ID) string {
	if text := user.MIMI(); text != "" {
		return text
	}
	return user.String()
}

// lookFlags say how places are looked at.
type lookFlags struct {
	seenFlag
	Address string            `placeholder:"ASPE" help:"The address of the profile, aspe:HOST:FINGERPRINT. Without it, that of the last time."`
	DNS     string            `name:"dns" placeholder:"ADDRESS:PORT" help:"The DNS server to ask for records. Without it, that of the system."`
	Connect map[string]string `placeholder:"HOST=ADDRESS:PORT" help:"Connect to this address in place of a host. For development."`
	CA      string            `name:"ca-file" placeholder:"FILE" help:"PEM file of certificate authorities to trust besides those of the system."`
}

// reader returns a reader of places, by the strictest client.
func (f *lookFlags) reader() (*places.Reader, error) {
	c, err := fetch.NewForeignClient(fetch.Policy{MaxBody: places.MaxAnswer, DevHosts: f.Connect, CAFile: f.CA})
	if err != nil {
		return nil, usage("%w", err)
	}
	cfg := places.ReaderConfig{Client: c}
	if f.DNS != "" {
		if _, _, err := net.SplitHostPort(f.DNS); err != nil {
			return nil, usage("--dns %q is not ADDRESS:PORT", f.DNS)
		}
		cfg.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.DNS)
		}}
	}
	return places.NewReader(cfg)
}

// judge looks at the places of a user and returns what they say about the master keys that are known of the user. It stores what was seen.
func (f *lookFlags) judge(
	ctx context.Context, s *streams, known *knownFlags, about verdict.About, require verdict.PlacesRequirements,
) (*places.Report, error) {
	path, err := f.path()
	if err != nil {
		return nil, err
	}
	file, err := readSeen(path)
	if err != nil {
		return nil, err
	}
	key := addressKey(about.User)
	text := f.Address
	if text == "" {
		text = file.Addresses[key]
	}
	if text == "" {
		return nil, usage("give the --address of the profile, aspe:HOST:FINGERPRINT, which the user's places show")
	}
	address, err := places.ParseAddress(text)
	if err != nil {
		return nil, usage("--address: %w", err)
	}
	reader, err := f.reader()
	if err != nil {
		return nil, err
	}
	q := places.Query{About: about, Address: address, Require: require}
	if q.Former, q.Master, err = known.masters(s, about.User); err != nil {
		return nil, err
	}
	q.Profile, q.ProfileErr = reader.Profile(ctx, address)
	if p, err := places.ParseProfile(q.Profile); err == nil {
		q.Looks = reader.Look(ctx, p.Places)
	}
	if err := ctx.Err(); err != nil {
		return nil, unknown("%w", err)
	}
	var report *places.Report
	err = locked(ctx, path, func() error {
		file, err := readSeen(path)
		if err != nil {
			return err
		}
		q.Memory = file.Memories.Of(about.User)
		if report, err = places.Verify(q, time.Now()); err != nil {
			return usage("%w", err)
		}
		if report.Profile == nil {
			return nil
		}
		file.Memories = file.Memories.With(about.User, report.Memory)
		if q.Master == "" || q.Master == report.Profile.Thumbprint() {
			file.Addresses[key] = address.String()
		}
		return writeSeen(path, file)
	})
	return report, err
}

type placesVerifyCmd struct {
	lookFlags
	knownFlags
	User   string `arg:"" name:"uri" help:"The user."`
	Policy string `placeholder:"FILE" help:"File with the policy, which says how many places must agree, and for how long. Without it, 2 for 7 days."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (*placesVerifyCmd) Help() string {
	return `It gets the profile of the user, looks at each place, and says which master key they name:

    issuer places verify "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user" --address aspe:id.example.com:4WRGUE7FRHXIYENBP2AFE4ONEY
    issuer places verify "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user"

A place must have named the key for some days, so look again. What was seen is kept: places that turn to another key, or vanish at once,
are noticed. Good does not say that the places are the user's: anyone can name places of their own. Look whether you know them.

If you have pinned the user's master key, or give statements of the user as --bundle, a profile of another master key is never good:

    issuer xsign fetch "$user" --to bundle.json
    issuer places verify "$user" --bundle bundle.json

JSON is {"user", "master", "result", "code", "details", "since", "until", "places": [{"uri", "domain", "state", "first", "counts",
"error"}], "dropped"}. The exit code is 0 if they are good, 1 if not, 2 for a mistake in the arguments, and 3 if it cannot be known now.`
}

// A judgedPlaces is what places say, as JSON.
type judgedPlaces struct {
	User    string         `json:"user"`
	Master  string         `json:"master,omitempty"`
	Result  verdict.Result `json:"result"`
	Code    verdict.Code   `json:"code,omitempty"`
	Details string         `json:"details"`
	Since   *time.Time     `json:"since,omitempty"`
	Until   *time.Time     `json:"until,omitempty"`
	Places  []judgedPlace  `json:"places"`
	Dropped []string       `json:"dropped,omitempty"`
}

type judgedPlace struct {
	URI    string       `json:"uri"`
	Domain string       `json:"domain"`
	State  places.State `json:"state"`
	First  *time.Time   `json:"first,omitempty"`
	Counts bool         `json:"counts"`
	Error  string       `json:"error,omitempty"`
}

func (c *placesVerifyCmd) Run(ctx context.Context, s *streams) error {
	id, err := readIdentity(c.User, "", "")
	if err != nil {
		return err
	}
	policy, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	report, err := c.judge(ctx, s, &c.knownFlags, verdict.About{User: id.User}, policy.Methods.Places)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s, newJudgedPlaces(report))
	} else {
		err = printPlaces(s, report)
	}
	if err != nil {
		return err
	}
	switch report.Verdict.User.Result {
	case verdict.Good:
		return nil
	case verdict.Unknown:
		return &exit{code: exitUnknown}
	}
	return &exit{code: exitNo}
}

func newJudgedPlaces(r *places.Report) judgedPlaces {
	moment := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Second)
		return &t
	}
	f := r.Verdict.User
	v := judgedPlaces{
		User: r.Verdict.About.User.String(), Result: f.Result, Code: f.Code, Details: f.Details, Since: moment(f.Since),
		Until: moment(f.Until), Places: []judgedPlace{}, Dropped: r.Dropped,
	}
	if r.Profile != nil {
		v.Master = r.Profile.Thumbprint()
	}
	for _, one := range r.Places {
		p := judgedPlace{URI: one.Place.URI, Domain: one.Place.Domain, State: one.State, First: moment(one.First), Counts: one.Counts}
		if one.Err != nil {
			p.Error = printable(one.Err.Error())
		}
		v.Places = append(v.Places, p)
	}
	return v
}

func printPlaces(s *streams, r *places.Report) error {
	v := newJudgedPlaces(r)
	words := string(v.Result)
	if v.Code != "" {
		words += " (" + string(v.Code) + ")"
	}
	fmt.Fprintf(s.out, "%s: %s\n", words, printable(v.Details))
	if v.Master != "" {
		fmt.Fprintf(s.out, "master key %s\n", v.Master)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for i, p := range v.Places {
		var notes []string
		if p.First != nil {
			notes = append(notes, "since "+day(*p.First))
		}
		if r.Places[i].Own {
			notes = append(notes, "does not count: the provider's own domain")
		}
		if p.Error != "" {
			notes = append(notes, p.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.URI, p.State, strings.Join(notes, ", "))
	}
	return w.Flush()
}

type placesForgetCmd struct {
	seenFlag
	User string `arg:"" name:"uri" help:"The user."`
}

func (*placesForgetCmd) Help() string {
	return `After it, the user's places are new: do this when the user has told you by another way why they changed:

    issuer places forget "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user"`
}

func (c *placesForgetCmd) Run(ctx context.Context, s *streams) error {
	id, err := readIdentity(c.User, "", "")
	if err != nil {
		return err
	}
	path, err := c.path()
	if err != nil {
		return err
	}
	err = locked(ctx, path, func() error {
		file, err := readSeen(path)
		if err != nil {
			return err
		}
		_, named := file.Addresses[addressKey(id.User)]
		if len(file.Memories.Of(id.User)) == 0 && !named {
			return refused("nothing is known about places of %s", id.User)
		}
		delete(file.Addresses, addressKey(id.User))
		file.Memories = file.Memories.Without(id.User)
		return writeSeen(path, file)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Nothing is known any more about the places of %s.\n", id.User)
	return nil
}
