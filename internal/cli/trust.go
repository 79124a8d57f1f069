package cli

import (
	"context"
	"errors"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
	"github.com/imidentity/issuer/verdict"
)

type trustCmd struct {
	Explain trustExplainCmd `cmd:"" help:"Decide whether to trust a device, and explain the decision."`
}

type trustExplainCmd struct {
	Credential string `xor:"shown" placeholder:"FILE" help:"File with a presentation of a credential; - reads it from standard input."`
	Token      string `xor:"shown" placeholder:"FILE" help:"File with an access token; - reads it from standard input."`
	User       string `placeholder:"URI" help:"The user that you decide about. It must be that of the credential or token, if there is one."`
	Device     string `placeholder:"URI" help:"The device that you decide about, with its --key."`
	Key        string `placeholder:"JKT" help:"Thumbprint of the key that the device has proved."`
	Handle     string `placeholder:"URI" help:"The handle that you decide about."`
	crossFlags
	Places bool `help:"Look at the places of the user, too (see issuer places verify)."`
	lookFlags
	Policy    string    `placeholder:"FILE" help:"File with the policy. Without it, the issuer of the domain is enough to be accepted."`
	Trusted   trusted   `embed:""`
	Audience  string    `placeholder:"URI" help:"The audience of the verifier, which the presentation or the token must name."`
	Nonce     string    `placeholder:"N" help:"The nonce that the verifier chose for the presentation."`
	NoBinding bool      `help:"Decide about a credential without a presentation: who holds its key is then not known."`
	At        time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Decide as of this time, such as 2026-05-01T14:00:00Z. The status is that of now."`
	JSON      bool      `name:"json" help:"Print JSON."`
}

func (*trustExplainCmd) Help() string {
	return `Decide about the device that a credential or a token names, by the fixed rules and a policy:

    issuer trust explain --credential presentation.txt --peer example.com=https://im-id.example.com --audience im:example.org --nonce "$nonce"
    issuer trust explain --token token.txt --policy policy.yaml --peer example.com

With --bundle or --pins, the user's own keys are asked, too (see issuer xsign verify):

    issuer trust explain --credential presentation.txt --peer example.com --audience im:example.org --nonce "$nonce" --bundle bundle.json

With --places, the places of the user are looked at, too (see issuer places verify). The first time, name the address of the profile:

    issuer trust explain --token token.txt --audience im:example.org --peer example.com --places --address aspe:id.example.com:4WRGUE7FRHXIYENBP2AFE4ONEY

Without a credential and a token, or with one of an issuer that you do not trust, name the subject. The issuer then says nothing about it:

    issuer trust explain --user "$user" --device "$device" --key "$jkt" --bundle bundle.json

The exit code is 0 for verified and accepted, 1 for update_only, quarantined and refused, 2 for a mistake in the arguments or the policy,
and 3 for undecided: it cannot be known now.`
}

func (c *trustExplainCmd) Run(ctx context.Context, s *streams) error {
	policy, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	about, err := c.about()
	if err != nil {
		return err
	}
	if err := c.checkPlaces(); err != nil {
		return err
	}
	now := time.Now()
	if !c.At.IsZero() {
		now = c.At
	}
	hierarchy, err := c.hierarchy(ctx, s, about, now)
	if err != nil {
		return err
	}
	verdicts := []verdict.Verdict{hierarchy}
	if len(c.Bundle) > 0 || c.Pins != "" {
		v, err := c.crossFlags.judge(ctx, s, hierarchy.About, policy.Methods.XSign, now, c.At.IsZero())
		if err != nil {
			return err
		}
		verdicts = append(verdicts, v)
	}
	if c.Places {
		report, err := c.lookFlags.judge(ctx, s, &c.knownFlags, hierarchy.About, policy.Methods.Places)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, report.Verdict)
		now = time.Now() // looking has taken its time
	}
	d, err := verdict.Decide(policy, verdicts, now)
	if err != nil {
		return usage("%w", err)
	}
	if c.JSON {
		err = printJSON(s, newDecision(d))
	} else {
		_, err = s.out.Write([]byte(d.Explain(now)))
	}
	switch {
	case err != nil:
		return err
	case d.Outcome.Yes():
		return nil
	case d.Outcome == verdict.Undecided:
		return &exit{code: exitUnknown}
	}
	return &exit{code: exitNo}
}

// checkPlaces refuses flags that contradict each other.
func (c *trustExplainCmd) checkPlaces() error {
	switch {
	case c.Places && !c.At.IsZero():
		return usage("--places are looked at now: leave out --at")
	case !c.Places && (c.Address != "" || c.DNS != "" || len(c.Connect) > 0 || c.CA != "" || c.Seen != ""):
		return usage("--address, --seen, --dns, --connect and --ca-file go with --places")
	}
	return nil
}

// about returns the subject of the flags, which is empty if a credential or a token names it.
func (c *trustExplainCmd) about() (verdict.About, error) {
	id, err := readIdentity(c.User, c.Handle, c.Device)
	switch {
	case err != nil:
		return verdict.About{}, err
	case c.Credential == "" && c.Token == "" && c.User == "":
		return verdict.About{}, usage("say what to decide about: --credential FILE, --token FILE, or --user URI")
	case c.User == "" && (c.Device != "" || c.Handle != ""):
		return verdict.About{}, usage("--device and --handle go with --user")
	case (c.Device == "") != (c.Key == ""):
		return verdict.About{}, usage("--device and --key go together")
	}
	return verdict.About{User: id.User, Handle: id.Handle, Device: id.Device, JKT: c.Key}, nil
}

// hierarchy returns what the issuer of the domain says, by a credential or a token. About one that is refused it says nothing, because
// anyone can make one: then the subject is that of the flags.
func (c *trustExplainCmd) hierarchy(
	ctx context.Context, s *streams, about verdict.About, now time.Time,
) (verdict.Verdict, error) {
	read := c.fromCredential
	switch {
	case c.Credential == "" && c.Token == "":
		return verdict.Verdict{Method: verdict.Hierarchy, About: about}, nil
	case c.Token != "":
		read = c.fromToken
	}
	table, err := c.Trusted.table()
	if err != nil {
		return verdict.Verdict{}, err
	}
	v, refusal, err := read(ctx, s, about, table, now)
	switch {
	case errors.Is(err, verdict.ErrSubjects):
		return v, refused("refused: what is shown is about another subject than the one that you named: %w", err)
	case err != nil:
		return verdict.Verdict{}, err
	case v.About != (verdict.About{}):
		return v, nil
	case errors.As(refusal, new(*credential.Error)), errors.As(refusal, new(*nested.Error)):
		return v, refused("refused: it is not valid: %w", refusal)
	}
	return v, unknown("undecided: it cannot be checked now: %w", refusal)
}

// fromCredential returns the verdict of a credential, and why the credential was refused.
func (c *trustExplainCmd) fromCredential(
	ctx context.Context, s *streams, about verdict.About, table *trust.Table, now time.Time,
) (v verdict.Verdict, refusal, err error) {
	binding, err := bindingOf(c.Audience, c.Nonce, c.NoBinding)
	if err != nil {
		return v, nil, err
	}
	lists, err := c.Trusted.lists(table, credentialBits)
	if err != nil {
		return v, nil, err
	}
	text, err := s.read(c.Credential)
	if err != nil {
		return v, nil, usage("read the credential: %w", err)
	}
	got, refusal := sdjwt.Verify(ctx, text, sdjwt.Options{
		Options: credential.Options{
			Issuers: table, Status: lists, Now: func() time.Time { return now }, Development: c.Trusted.Development,
		},
		Binding: binding, WithoutBinding: c.NoBinding,
	})
	v, err = verdict.FromCredential(about, &got, refusal, now)
	return v, refusal, err
}

// fromToken returns the verdict of an access token, and why the token was refused.
func (c *trustExplainCmd) fromToken(
	ctx context.Context, s *streams, about verdict.About, table *trust.Table, now time.Time,
) (v verdict.Verdict, refusal, err error) {
	switch {
	case c.Audience == "":
		return v, nil, usage("--token needs --audience, for which the token was issued")
	case c.Nonce != "", c.NoBinding:
		return v, nil, usage("--nonce and --no-binding are for --credential")
	}
	statuses, err := c.Trusted.statuses(table)
	if err != nil {
		return v, nil, err
	}
	text, err := s.read(c.Token)
	if err != nil {
		return v, nil, usage("read the token: %w", err)
	}
	tree, refusal := nested.Open(ctx, text, nested.Options{
		Keys: table, Status: statuses, Audience: []string{c.Audience}, Now: func() time.Time { return now },
		Development: c.Trusted.Development,
		Revoked: func(_ context.Context, l *nested.Layer) (bool, error) {
			if l.Access != nil && l.Access.Status != nil { // the status list says it
				return false, nil
			}
			return false, nested.ErrNotAsked
		},
	})
	v, err = verdict.FromTree(about, tree, refusal, now)
	return v, refusal, err
}

// A decision is what --json prints.
type decision struct {
	Outcome verdict.Outcome `json:"outcome"`
	User    string          `json:"user,omitempty"`
	Device  string          `json:"device,omitempty"`
	Handle  string          `json:"handle,omitempty"`
	JKT     string          `json:"jkt,omitempty"`
	Parts   []judgment      `json:"parts"`
	Until   *time.Time      `json:"until,omitempty"`
}

// A judgment is the decision about the user, the device or the handle.
type judgment struct {
	About    verdict.Facet              `json:"about"`
	Outcome  verdict.Outcome            `json:"outcome"`
	Rule     string                     `json:"rule"`
	Findings map[verdict.Method]finding `json:"findings"`
}

type finding struct {
	Result verdict.Result `json:"result"`
	Code   verdict.Code   `json:"code,omitempty"`
}

func newDecision(d verdict.Decision) decision {
	out := decision{
		Outcome: d.Outcome, User: d.About.User.String(), Device: d.About.Device.String(), Handle: d.About.Handle.String(), JKT: d.About.JKT,
	}
	if !d.Until.IsZero() {
		out.Until = &d.Until
	}
	for _, j := range d.Judgments {
		part := judgment{j.Facet, j.Outcome, j.Rule, make(map[verdict.Method]finding)}
		for method, f := range j.Findings {
			part.Findings[method] = finding{f.Result, f.Code}
		}
		out.Parts = append(out.Parts, part)
	}
	return out
}
