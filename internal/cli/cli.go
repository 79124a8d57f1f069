// Package cli is the command line of the issuer: it reads arguments, calls, and prints. Exit codes are 0 for yes, 1
// for no or refused, 2 for a mistake in usage or configuration, and 3 for "cannot know".
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/imidentity/issuer/internal/config"
)

// Exit codes.
const (
	exitYes     = 0
	exitNo      = 1
	exitUsage   = 2
	exitUnknown = 3
)

// commands is the command line for kong. The Run methods are in the files of their subjects.
type commands struct {
	Serve        serveCmd        `cmd:"" help:"Run the issuer."`
	Demo         demoCmd         `cmd:"" help:"Run the whole flow once, on loopback, without any setup."`
	Doctor       doctorCmd       `cmd:"" help:"Check for common problems, and print how to fix them."`
	Config       configCmd       `cmd:"" help:"Check a settings file, or print an example."`
	Devices      devicesCmd      `cmd:"" help:"List, show or remove devices of a running issuer."`
	Names        namesCmd        `cmd:"" help:"Free former handles of a running issuer."`
	Users        usersCmd        `cmd:"" help:"List, show, rename, disable or enable users of a running issuer."`
	Sessions     sessionsCmd     `cmd:"" help:"List or end sessions of a running issuer."`
	Credentials  credentialsCmd  `cmd:"" help:"List or revoke the lasting credentials of devices."`
	Clients      clientsCmd      `cmd:"" help:"List, show, add or remove clients of a running issuer."`
	Keys         keysCmd         `cmd:"" help:"List, rotate or revoke the signing keys of a running issuer."`
	Wire         wireCmd         `cmd:"" help:"Show or replace the key for certificate authorities of Wire."`
	Audit        auditCmd        `cmd:"" help:"Check, export or follow the audit log of a running issuer."`
	Backup       backupCmd       `cmd:"" help:"Write the database of a running issuer to a file."`
	Restore      restoreCmd      `cmd:"" help:"Replace the database of a stopped issuer with a backup."`
	Migrate      migrateCmd      `cmd:"" help:"Bring a PostgreSQL database to the schema of this release."`
	Storage      storageCmd      `cmd:"" help:"Copy the records of a stopped issuer to another database."`
	Statements   statementsCmd   `cmd:"" help:"Sign, list or withdraw statements of a running issuer."`
	Login        loginCmd        `cmd:"" help:"Sign in at an issuer, with the browser."`
	Token        tokenCmd        `cmd:"" help:"Print an access token of the session, refreshed as needed."`
	Logout       logoutCmd       `cmd:"" help:"End the session."`
	Introspect   introspectCmd   `cmd:"" help:"Ask an issuer about a token."`
	Proof        proofCmd        `cmd:"" help:"Print a DPoP proof, for use with curl."`
	Credential   credentialCmd   `cmd:"" help:"Get, show and check credentials of devices, which last for weeks."`
	Presentation presentationCmd `cmd:"" help:"Print a presentation, which shows a chat server who holds a token."`
	SASLHelper   saslHelperCmd   `cmd:"" name:"sasl-helper" help:"Verify for a chat server who signs in with a token."`
	Assertion    assertionCmd    `cmd:"" help:"Print a client assertion, for use with curl."`
	Gateway      gatewayCmd      `cmd:"" help:"Let only requests with a valid token through to your services."`
	Nested       nestedCmd       `cmd:"" help:"Explain tokens with several subjects."`
	Trust        trustCmd        `cmd:"" help:"Decide about a device when several methods speak about it."`
	XSign        xsignCmd        `cmd:"" name:"xsign" help:"Cross signing: keys of your own, statements about your devices and other users, and what those of others say."`
	Places       placesCmd       `cmd:"" help:"Places on the web that name a user's master key: list your own, and look at those of others."`
	ID           idCmd           `cmd:"" name:"id" help:"Explain an identifier of instant messaging."`
	CA           caCmd           `cmd:"" name:"ca" help:"Make a certification authority for the certificates of a domain."`
	Cert         certCmd         `cmd:"" help:"Show or check X.509 certificates, or certify a device."`
	Completion   completionCmd   `cmd:"" help:"Print a completion script for a shell."`
	Version      versionCmd      `cmd:"" help:"Print the version."`
}

// streams are what a command reads from and writes to.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      []string
}

// getenv returns a variable of the environment, or "".
func (s *streams) getenv(name string) string {
	for _, entry := range s.env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// An exit is an error with an exit code of its own.
type exit struct {
	code int
	err  error // nil if everything was printed already
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

func refused(format string, args ...any) error { return &exit{exitNo, fmt.Errorf(format, args...)} }

func unknown(format string, args ...any) error {
	return &exit{exitUnknown, fmt.Errorf(format, args...)}
}

// Run runs one command and returns its exit code. Env has the form of [os.Environ]. The command ends when ctx does.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer, env []string) int {
	if len(args) == 0 { // without a command, print the help
		Run(ctx, []string{"--help"}, in, errOut, errOut, env)
		return exitUsage
	}
	if len(args) == 1 && args[0] == "help" {
		args = []string{"--help"}
	}
	stopped := -1 // kong ends the process for --help; here only parsing ends
	parsing := func(grammar any) (*kong.Context, error) {
		parser, err := kong.New(grammar,
			kong.Name("issuer"),
			kong.Description("An OAuth 2.0 token issuer and introspection service for instant messaging identity, with DPoP-bound tokens."),
			kong.Writers(out, errOut),
			kong.Exit(func(code int) { stopped = code; panic(kongExit{}) }),
			kong.BindTo(ctx, (*context.Context)(nil)),
			kong.Bind(&streams{in: in, out: out, err: errOut, env: env}),
			kong.WithHyphenPrefixedParameters(true), // user ids and nonces are base64url: one in 64 begins with a hyphen
			kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		)
		if err != nil {
			panic(err) // the table above is wrong
		}
		return parse(parser, args)
	}
	grammar := commandOf(args)
	parsed, err := parsing(grammar)
	if _, whole := grammar.(*commands); err != nil && !whole {
		parsed, err = parsing(new(commands)) // for the words of the error
	}
	if stopped >= 0 {
		return stopped
	}
	if err != nil {
		fmt.Fprintf(errOut, "issuer: %v\nRun \"%s --help\" to see how.\n", err, nearest(err))
		return exitUsage
	}
	err = parsed.Run()
	var (
		e      *exit
		faults config.Errors
	)
	switch {
	case err == nil:
		return exitYes
	case errors.As(err, &faults): // FILE:LINE: at the start of each line, where editors look for it
		fmt.Fprintln(errOut, faults)
		return exitUsage
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintln(errOut, "issuer:", e.err)
		}
		return e.code
	}
	fmt.Fprintln(errOut, "issuer:", err)
	return exitUnknown
}

// commandOf returns as much of the command line as the arguments need: the command that they begin with. To set up all of it takes
// milliseconds, which each start of the issuer would wait for. Help and completion need all.
func commandOf(args []string) any {
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		return new(commands)
	}
	all := reflect.TypeFor[commands]()
	for i := range all.NumField() {
		field := all.Field(i)
		if name := cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name)); name == args[0] && name != "completion" {
			return reflect.New(reflect.StructOf([]reflect.StructField{field})).Interface()
		}
	}
	return new(commands)
}

// nearest returns the command whose help fits a mistake in the arguments: the part of it that could be parsed.
func nearest(err error) string {
	var e *kong.ParseError
	if errors.As(err, &e) {
		if node := e.Context.Selected(); node != nil {
			return node.FullPath()
		}
		for _, path := range e.Context.Path {
			if path.Command != nil {
				return path.Command.FullPath()
			}
		}
	}
	return "issuer"
}

type kongExit struct{}

func parse(parser *kong.Kong, args []string) (_ *kong.Context, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(kongExit); !ok {
				panic(p)
			}
		}
	}()
	return parser.Parse(args)
}
