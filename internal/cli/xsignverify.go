package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// knownFlags are where a verifier has the statements of users, and their master keys.
type knownFlags struct {
	Bundle []string `placeholder:"FILE" help:"Statements of the user, and of introducers, as issuer xsign fetch and show --json write them; - reads them from standard input. May be repeated."`
	Pins   string   `placeholder:"FILE" help:"The file of the master keys that you know, and of the newest statements that you have seen (issuer/pins.json in your configuration folder)."`

	read *bundles
}

// bundles returns the content of the bundles. They are read once: they may come from standard input.
func (c *knownFlags) bundles(s *streams) (*bundles, error) {
	if c.read == nil {
		read, err := readBundles(s, c.Bundle)
		if err != nil {
			return nil, err
		}
		c.read = read
	}
	return c.read, nil
}

// crossFlags are what a verifier knows about cross signing.
type crossFlags struct {
	knownFlags
	Own string `placeholder:"FILE" help:"The file of your own vouches and distrusts (issuer/xsign.json in your configuration folder, if it exists)."`
}

// judge returns what cross signing says about a subject. It stores the pins, unless the time is not that of now.
func (c *crossFlags) judge(
	ctx context.Context, s *streams, about verdict.About, require verdict.XSignRequirements, now time.Time, store bool,
) (verdict.Verdict, error) {
	read, err := c.bundles(s)
	if err != nil {
		return verdict.Verdict{}, err
	}
	own, err := c.own()
	if err != nil {
		return verdict.Verdict{}, err
	}
	if read.fetched.After(now.Add(time.Minute)) {
		return verdict.Verdict{}, usage("the statements were fetched in the future, at %s", read.fetched.Format(time.RFC3339))
	}
	q := xsign.Query{
		About: about, Bundle: read.of(about.User), Fetched: read.fetched, Own: own,
		Introductions: read.introductions(about.User), Require: require,
	}
	var v verdict.Verdict
	pins := pinsFlag{c.Pins}
	err = pins.changePins(ctx, func(known xsign.Pins) (next xsign.Pins, err error) {
		q.Pins = known
		if v, next, err = xsign.Verify(q, now); err != nil {
			return nil, usage("%w", err)
		}
		if !store {
			next = nil
		}
		return next, nil
	})
	return v, err
}

// masters returns the master keys that are known of a user, by their thumbprints: the former ones, and the present one, which is empty if
// none is known. A bundle counts if it is valid, and if the pinned master key is among its own.
func (c *knownFlags) masters(s *streams, user claims.ID) (former []string, master string, err error) {
	pins, err := c.pins()
	if err != nil {
		return nil, "", err
	}
	pin, pinned := pins.Of(user)
	read, err := c.bundles(s)
	if err != nil {
		return nil, "", err
	}
	if b := read.of(user); b != nil {
		// One that is refused says nothing: anyone can make it.
		if contents, err := b.Open(user); err == nil && (!pinned || slices.Contains(contents.Masters, pin.Master)) {
			last := len(contents.Masters) - 1
			return contents.Masters[:last], contents.Masters[last], nil
		}
	}
	return pin.Former, pin.Master, nil
}

// pins returns the pins of the verifier, and none if there is no file.
func (c *knownFlags) pins() (xsign.Pins, error) {
	path, err := configured(c.Pins, "--pins", "pins.json")
	if err != nil { // there is no configuration folder, and so no file in it
		return nil, nil
	}
	return readPins(path)
}

// own returns the verifier's own vouches and distrusts.
func (c *crossFlags) own() (*xsign.Own, error) {
	path, err := configured(c.Own, "--own", "xsign.json")
	if err != nil {
		if c.Own == "" { // there is no configuration folder, and so no file in it
			return nil, nil
		}
		return nil, err
	}
	if c.Own == "" {
		if _, err := readPrivate(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	signer, err := readCrossSigner(path)
	if err != nil {
		return nil, err
	}
	return signer.own, nil
}

type xsignVerifyCmd struct {
	crossFlags
	User   string    `arg:"" name:"uri" help:"The user."`
	Device string    `placeholder:"URI" help:"The device, with its --key."`
	Key    string    `placeholder:"JKT" help:"Thumbprint of the key that the device has proved, such as cnf.jkt of its token."`
	Handle string    `placeholder:"URI" help:"The handle. Only a vouch that names it makes it good."`
	Policy string    `placeholder:"FILE" help:"File with the policy, which says whether introducers count. Without it, they do not."`
	At     time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Judge as of this time, such as 2026-05-01T14:00:00Z, and store nothing."`
	JSON   bool      `name:"json" help:"Print JSON."`
}

func (*xsignVerifyCmd) Help() string {
	return `It says what the user's own keys say, and nothing about what the issuer says; for both see issuer trust explain:

    issuer xsign fetch "$user" --to bundle.json
    issuer xsign verify "$user" --bundle bundle.json --device "$device" --key "$jkt"

The pins change with what it sees: an older list, or another master key, is noticed the next time. A master key that was seen for the
first time makes nothing good until you compare it: issuer xsign pin, or issuer xsign vouch.

JSON is {"user", "device", "handle", "jkt", "pinned", "findings"}, where findings has for user, device and handle {"result", "code", "details",
"since", "checked", "until"}. The exit code is 0 if all that you ask about is good, 1 if something is not, 2 for a mistake in the
arguments, and 3 if it cannot be known now.`
}

func (c *xsignVerifyCmd) Run(ctx context.Context, s *streams) error {
	id, err := readIdentity(c.User, c.Handle, c.Device)
	if err != nil {
		return err
	}
	if (c.Device == "") != (c.Key == "") {
		return usage("--device and --key go together")
	}
	policy, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	now, store := time.Now(), true
	if !c.At.IsZero() {
		now, store = c.At, false
	}
	about := verdict.About{User: id.User, Handle: id.Handle, Device: id.Device, JKT: c.Key}
	v, err := c.judge(ctx, s, about, policy.Methods.XSign, now, store)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s, newJudged(v))
	} else {
		err = printVerdict(s, v)
	}
	if code := exitOf(v); err == nil && code != exitYes {
		return &exit{code: code}
	}
	return err
}

// asked returns the facets that a subject has.
func asked(a verdict.About) []verdict.Facet {
	var list []verdict.Facet
	for _, f := range verdict.Facets() {
		if uriOf(a, f) != "" {
			list = append(list, f)
		}
	}
	return list
}

func uriOf(a verdict.About, f verdict.Facet) string {
	id := map[verdict.Facet]interface {
		IsZero() bool
		String() string
	}{verdict.User: a.User, verdict.Device: a.Device, verdict.Handle: a.Handle}[f]
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// exitOf returns the exit code for the findings of one method: what speaks against the subject, or is not said, counts first.
func exitOf(v verdict.Verdict) int {
	code := exitYes
	for _, f := range asked(v.About) {
		switch v.Finding(f).Result {
		case verdict.Good:
		case verdict.Unknown:
			code = exitUnknown
		default:
			return exitNo
		}
	}
	return code
}

func printVerdict(s *streams, v verdict.Verdict) error {
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for _, f := range asked(v.About) {
		found := v.Finding(f)
		words := string(found.Result)
		if words == "" {
			words = string(verdict.None)
		}
		if found.Code != "" {
			words += " (" + string(found.Code) + ")"
		}
		if found.Details != "" {
			words += ": " + printable(found.Details)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", f, uriOf(v.About, f), words)
	}
	return w.Flush()
}

// A judged is what --json prints of a verdict.
type judged struct {
	User     string                          `json:"user"`
	Device   string                          `json:"device,omitempty"`
	Handle   string                          `json:"handle,omitempty"`
	JKT      string                          `json:"jkt,omitempty"`
	Pinned   bool                            `json:"pinned"`
	Findings map[verdict.Facet]judgedFinding `json:"findings"`
}

type judgedFinding struct {
	Result  verdict.Result `json:"result"`
	Code    verdict.Code   `json:"code,omitempty"`
	Details string         `json:"details,omitempty"`
	Since   *time.Time     `json:"since,omitempty"`
	Checked *time.Time     `json:"checked,omitempty"`
	Until   *time.Time     `json:"until,omitempty"`
}

func newJudged(v verdict.Verdict) judged {
	out := judged{
		User: uriOf(v.About, verdict.User), Device: uriOf(v.About, verdict.Device), Handle: uriOf(v.About, verdict.Handle),
		JKT: v.About.JKT, Pinned: v.Pinned, Findings: make(map[verdict.Facet]judgedFinding),
	}
	moment := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	for _, f := range asked(v.About) {
		found := v.Finding(f)
		if found.Result == "" {
			found.Result = verdict.None
		}
		out.Findings[f] = judgedFinding{
			found.Result, found.Code, found.Details, moment(found.Since), moment(found.Checked), moment(found.Until),
		}
	}
	return out
}

// readPolicy reads a policy; without a file it is the default.
func readPolicy(path string) (verdict.Policy, error) {
	if path == "" {
		return verdict.DefaultPolicy(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return verdict.Policy{}, usage("read the policy: %w", err)
	}
	policy, err := config.ParsePolicy(path, text)
	if err != nil {
		return verdict.Policy{}, usage("the policy is not valid:\n%w", err)
	}
	return policy, nil
}
