package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/imidentity/issuer/claims"
)

type idCmd struct {
	Identifier string `arg:"" help:"The identifier, as a URI or in the native form of its system."`
	As         string `enum:"guess,uri,xmpp,irc,sip,wire,wxyz,email,generic" default:"guess" placeholder:"FORM" help:"How to read it: uri, xmpp, irc, sip, wire, wxyz, email or generic. Default: guessed from the text."`
	Network    string `placeholder:"NAME" help:"Domain of the IRC network of a native IRC name."`
	Reading    string `enum:"strict,lenient,registration" default:"lenient" placeholder:"HOW" help:"strict (canonical spelling only), lenient or registration (the rules for a new name) (${default})."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

func (*idCmd) Help() string {
	return `Explain an identifier: its system and type, and how each form writes it:

    issuer id im:%40alice@example.com
    issuer id @Alice@Example.com
    issuer id --as xmpp juliet@example.com/balcony
    issuer id --as irc --network irc.example.com '#projectX'`
}

// An explanation describes an identifier.
type explanation struct {
	System    string   `json:"system"`
	Type      string   `json:"type"`
	Domain    string   `json:"domain"`
	Local     string   `json:"local,omitempty"`
	Device    string   `json:"device,omitempty"`
	Native    string   `json:"native,omitempty"`
	IM        string   `json:"im,omitempty"`
	MIMI      string   `json:"mimi,omitempty"`
	Canonical bool     `json:"canonical"`
	Warnings  []string `json:"warnings"`
}

// A misreading is the reason why a text is not an identifier.
type misreading struct {
	Error struct {
		Code    string `json:"code"`
		Part    string `json:"part"`
		Offset  int    `json:"offset"`
		Message string `json:"message"`
	} `json:"error"`
}

func (c *idCmd) Run(s *streams) error {
	form := c.As
	if form == "guess" {
		form = guess(c.Identifier, c.Network)
	}
	if form == "irc" && c.Network == "" {
		return usage("a native IRC name does not include its network: give --network, for example irc.example.com")
	}
	reading := map[string]claims.Reading{
		"strict": claims.Strict, "lenient": claims.Lenient, "registration": claims.Registration,
	}[c.Reading]
	id, err := c.read(form, reading)
	var wrong *claims.Error
	switch {
	case errors.As(err, &wrong):
		return c.misread(s, form, wrong)
	case err != nil:
		return err
	}
	_, err = c.read(form, claims.Strict)
	e := explanation{
		System: string(id.System()), Type: string(id.Type()), Domain: id.Domain(), Local: id.Local(), Device: id.Device(),
		Native: id.Native(), IM: id.IM(), MIMI: id.MIMI(), Canonical: err == nil, Warnings: []string{},
	}
	for _, w := range new(claims.Policy).Warnings(id) {
		warning := string(w.Code) + " in " + w.Part
		if w.Like != "" {
			warning += fmt.Sprintf(": looks like %q", w.Like)
		}
		e.Warnings = append(e.Warnings, warning)
	}
	if c.JSON {
		return printJSON(s, e)
	}
	e.print(s, c.As == "guess", form)
	return nil
}

func (c *idCmd) read(form string, reading claims.Reading) (claims.ID, error) {
	p := claims.Parser{Reading: reading, Network: c.Network, AllowSingleLabel: true, Policy: &claims.Policy{Development: true}}
	if form == "uri" {
		return p.Parse(c.Identifier)
	}
	return p.ParseNative(claims.System(form), c.Identifier)
}

// misread prints the error and exits with 1.
func (c *idCmd) misread(s *streams, form string, wrong *claims.Error) error {
	if c.JSON {
		var m misreading
		m.Error.Code, m.Error.Part, m.Error.Offset = string(wrong.Code), wrong.Part, wrong.Offset
		m.Error.Message = wrong.Error()
		if err := printJSON(s, m); err != nil {
			return err
		}
		return &exit{code: exitNo}
	}
	return refused("not an identifier (read as %s): %s at byte %d: %s (%s)", form, wrong.Part, wrong.Offset, wrong.Code.Description(),
		wrong.Code)
}

// print writes the explanation for people, one field a line.
func (e explanation) print(s *streams, guessed bool, form string) {
	if guessed {
		fmt.Fprintf(s.out, "read as    %s (guessed; use --as to change it)\n", form)
	}
	spelling := "canonical"
	if !e.Canonical {
		spelling = "not canonical"
	}
	for _, line := range [][2]string{
		{"is", e.System + " " + e.Type + ", " + spelling}, {"domain", e.Domain}, {"local", e.Local}, {"device", e.Device},
		{"native", e.Native}, {"im", e.IM}, {"mimi", e.MIMI}, {"warning", strings.Join(e.Warnings, ", ")},
	} {
		if line[1] != "" {
			fmt.Fprintf(s.out, "%-10s %s\n", line[0], line[1])
		}
	}
}

var (
	scheme = regexp.MustCompile(`^(?i)(im|mimi|xmpp|sips?|mailto|wireapp):`)
	uuid   = regexp.MustCompile(`^(?i)[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}([:/@]|$)`)
)

// guess returns the most likely form of a text. If several systems share a form, it returns the simplest.
func guess(text, network string) string {
	at := strings.LastIndexByte(text, '@')
	switch {
	case scheme.MatchString(text):
		if strings.HasPrefix(strings.ToLower(text), "sip") {
			return "sip"
		}
		return "uri"
	case uuid.MatchString(text):
		return "wire"
	case strings.HasPrefix(text, "##"), strings.HasPrefix(text, "$"):
		return "wxyz"
	case network != "", strings.HasPrefix(text, "&"), strings.HasPrefix(text, "!"):
		return "irc"
	case strings.HasPrefix(text, "#"):
		return "wxyz"
	case strings.HasPrefix(text, "@"):
		return "generic"
	case at > 0 && strings.Contains(text[at:], "/"):
		return "xmpp"
	case at > 0 && strings.Contains(text[:at], "/"):
		return "generic"
	case at > 0:
		return "email"
	}
	return "xmpp" // a bare domain
}

func printJSON(s *streams, v any) error { return writeJSON(s.out, v) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
