package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
)

type credentialVerifyCmd struct {
	File      string    `arg:"" help:"File with the presentation; - reads it from standard input."`
	Trusted   trusted   `embed:""`
	Audience  string    `placeholder:"URI" help:"The audience of the verifier, for which the presentation must be made."`
	Nonce     string    `placeholder:"N" help:"The nonce that the verifier chose for it."`
	NoBinding bool      `help:"Check a credential without a presentation: who holds its key is then not known."`
	Handle    bool      `help:"Refuse it if it shows no handle, or one that is out of date."`
	At        time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Check it as of this time, such as 2026-05-01T14:00:00Z. The status is that of now."`
	JSON      bool      `name:"json" help:"Print JSON."`
}

func (*credentialVerifyCmd) Help() string {
	return `It checks who signed the credential and for which domain, who holds its key, the time, and the status in the issuer's list:

    issuer credential verify presentation.txt --peer example.com=https://im-id.example.com --audience im:example.org --nonce "$nonce"
    issuer credential verify - --peer example.com --audience im:example.org --nonce "$nonce" < presentation.txt

A presentation in the form of a CWT, in base64url, is checked in the same way; its cnonce is the text of the nonce. Check a credential
without a presentation:

    issuer credential verify credential.txt --peer example.com=https://im-id.example.com --no-binding

JSON is {"valid", "code", "part", "device", "user", "handle", "handle_ended", "former_handle", "issuer", "id", "jkt", "from", "until",
"presented", "status_read"}; code and part say why it is not valid. The exit code is 0 if it is valid, also if only the handle is hidden or
out of date, 1 if it is not, 2 for a mistake in the arguments, and 3 if that cannot be known now, as while the issuer cannot be
reached.`
}

func (c *credentialVerifyCmd) Run(ctx context.Context, s *streams) error {
	binding, err := bindingOf(c.Audience, c.Nonce, c.NoBinding)
	if err != nil {
		return err
	}
	text, err := s.read(c.File)
	if err != nil {
		return usage("read the presentation: %w", err)
	}
	table, err := c.Trusted.table()
	if err != nil {
		return err
	}
	lists, err := c.Trusted.lists(table, credentialBits)
	if err != nil {
		return err
	}
	o := sdjwt.Options{
		Options: credential.Options{Issuers: table, Status: lists, Development: c.Trusted.Development},
		Binding: binding, WithoutBinding: c.NoBinding,
	}
	if !c.At.IsZero() {
		o.Now = func() time.Time { return c.At }
	}
	got, err := verifyCredential(ctx, text, o)
	if err == nil && c.Handle && got.Identity.Handle.IsZero() {
		err = errNoHandle
		if got.HandleEnded {
			err = errHandleEnded
		}
	}
	return c.print(s, got, err)
}

// credentialBits is how many bits an entry has in a status list of credentials.
const credentialBits = 2

// bindingOf returns what the key binding of a presentation must say, and nil if there need be none.
func bindingOf(audience, nonce string, noBinding bool) (*sdjwt.Binding, error) {
	switch {
	case noBinding && (audience != "" || nonce != ""):
		return nil, usage("--audience and --nonce are those of a presentation: leave out --no-binding, or both of them")
	case noBinding:
		return nil, nil
	case audience == "" || nonce == "":
		return nil, usage("a presentation is checked with --audience and --nonce, which the holder had to sign, or else with --no-binding")
	}
	return &sdjwt.Binding{Audience: audience, Nonce: nonce}, nil
}

// Reasons to refuse a credential that is otherwise good, with --handle.
var (
	errNoHandle    = &credential.Error{Part: "handle", Code: "not_shown"}
	errHandleEnded = &credential.Error{Part: "handle", Code: "handle_ended"}
)

// print prints what was found, and returns the exit code.
func (c *credentialVerifyCmd) print(s *streams, got credential.Credential, err error) error {
	var refusal *credential.Error
	if err != nil && !errors.As(err, &refusal) {
		return unknown("the credential cannot be checked now: %w", err)
	}
	stands := credential.Stands(err) || refusal == errNoHandle || refusal == errHandleEnded
	if c.JSON {
		if printErr := printJSON(s, c.answer(got, refusal)); printErr != nil || refusal == nil {
			return printErr
		}
		return &exit{code: exitNo}
	}
	if !stands {
		return refused("the credential is not valid: %w", refusal)
	}
	fmt.Fprintln(s.out, standing(refusal))
	if err := c.describe(s.out, got); err != nil {
		return err
	}
	if refusal != nil {
		return &exit{code: exitNo}
	}
	return nil
}

// standing says in one sentence what stands about a credential whose signature, identifiers and binding are good.
func standing(refusal *credential.Error) string {
	switch {
	case refusal == nil:
		return "The credential is valid."
	case refusal == errNoHandle:
		return "Not valid here: the handle is not shown."
	case refusal == errHandleEnded:
		return "Not valid here: the handle is out of date."
	case errors.Is(refusal, credential.CodeExpired):
		return "Not valid: the credential has expired."
	}
	return "Not valid: the credential has ended. " +
		"Its device was removed or has another key, its user was disabled or removed, or it was revoked."
}

// describe prints what a credential says.
func (c *credentialVerifyCmd) describe(out io.Writer, got credential.Credential) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(w, "  %s\t%s\n", name, value) }
	uri := func(name string, id claims.ID) {
		if !id.IsZero() {
			line(name, id.String())
		}
	}
	uri("device", got.Identity.Device)
	uri("user", got.Identity.User)
	switch {
	case !got.Identity.Handle.IsZero():
		line("handle", got.Identity.Handle.String()+", which is "+claims.Display(got.Identity.Handle))
	case got.HandleEnded && !got.FormerHandle.IsZero():
		line("handle", "out of date: "+got.FormerHandle.String()+" is not the user's any more")
	case got.HandleEnded:
		line("handle", "not shown, and out of date")
	default:
		line("handle", "not shown")
	}
	line("issuer", printable(got.Issuer))
	line("id", printable(got.ID))
	line("key", got.JKT)
	line("holder", c.holder())
	line("valid", got.From.UTC().Format(time.RFC3339)+" to "+got.Until.UTC().Format(time.RFC3339))
	line("status", statusWords(got))
	return w.Flush()
}

// holder says whether the holder of the key was seen.
func (c *credentialVerifyCmd) holder() string {
	if c.NoBinding {
		return "not seen: anyone may have sent the credential"
	}
	return "holds the key, and made the presentation for " + printable(c.Audience)
}

func statusWords(got credential.Credential) string {
	switch {
	case got.Status == nil:
		return "none: the credential cannot end before its time"
	case !got.Checked:
		return "not looked up"
	case got.HandleEnded:
		return "only the handle has ended"
	}
	return "looked up in " + printable(got.Status.URI)
}

// A credentialAnswer is what was found about a credential. Of one that was refused as a whole, it has code and part alone.
type credentialAnswer struct {
	Valid        bool       `json:"valid"`
	Code         string     `json:"code,omitempty"`
	Part         string     `json:"part,omitempty"`
	Device       string     `json:"device,omitempty"`
	User         string     `json:"user,omitempty"`
	Handle       string     `json:"handle,omitempty"`
	HandleEnded  bool       `json:"handle_ended,omitempty"`
	FormerHandle string     `json:"former_handle,omitempty"`
	Issuer       string     `json:"issuer,omitempty"`
	ID           string     `json:"id,omitempty"`
	JKT          string     `json:"jkt,omitempty"`
	From         *time.Time `json:"from,omitempty"`
	Until        *time.Time `json:"until,omitempty"`
	Presented    bool       `json:"presented"`
	StatusRead   bool       `json:"status_read"`
}

func (c *credentialVerifyCmd) answer(got credential.Credential, refusal *credential.Error) credentialAnswer {
	a := credentialAnswer{Valid: refusal == nil}
	if refusal != nil {
		a.Code, a.Part = string(refusal.Code), refusal.Part
	}
	if got.ID == "" {
		return a
	}
	text := func(id claims.ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	from, until := got.From.UTC(), got.Until.UTC()
	a.Device, a.User, a.Handle = text(got.Identity.Device), text(got.Identity.User), text(got.Identity.Handle)
	a.HandleEnded, a.FormerHandle = got.HandleEnded, text(got.FormerHandle)
	a.Issuer, a.ID, a.JKT, a.From, a.Until = got.Issuer, got.ID, got.JKT, &from, &until
	a.Presented, a.StatusRead = !c.NoBinding, got.Checked
	return a
}
