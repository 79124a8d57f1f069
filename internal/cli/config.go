package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/imidentity/issuer/internal/config"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"List every error in a settings file."`
	Example configExampleCmd `cmd:"" help:"Print a settings file with every key, its default and its meaning."`
	Issuer  imIssuerCmd      `cmd:"" name:"im-issuer" help:"Print the document with which a domain names its issuer."`
}

type configCheckCmd struct {
	File string `arg:"" help:"The settings file."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*configCheckCmd) Help() string {
	return `It reads the file and the ISSUER_ variables of the environment, as serve does, but starts nothing. Things that you must create
before the first start are listed separately, not as faults. Warnings list settings that are valid but make logins impossible,
such as a claim that cannot be a handle.

    issuer config check /etc/issuer/issuer.yaml
    issuer config check --json issuer.yaml

JSON is {"valid", "issuer", "domains", "clients", "faults", "warnings", "before_first_start"}.
issuer, domains and clients are the URL and two counts, if the file is valid. The last three are arrays of
{"file", "line", "path", "message"}. The exit code is 0 if it is valid, else 2.`
}

func (c *configCheckCmd) Run(s *streams) error {
	cfg, todo, err := config.Check(c.File, s.env)
	if c.JSON {
		return c.print(s, cfg, todo, err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is valid: issuer %s, %s, %s.\n", filepath.Base(c.File), cfg.Issuer,
		count(len(cfg.Domains), "domain"), count(len(cfg.Clients), "client"))
	for _, e := range cfg.Warnings() {
		fmt.Fprintf(s.err, "Warning: %v\n", e)
	}
	for _, e := range todo {
		fmt.Fprintf(s.out, "Before the first start: %s: %s\n", e.Path, e.Message)
	}
	return nil
}

// A fault is an error in the settings, or a thing that must be created first, as JSON.
type fault struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

func faultsOf(list config.Errors) []fault {
	faults := make([]fault, 0, len(list))
	for _, e := range list {
		faults = append(faults, fault{e.File, e.Line, e.Path, e.Message})
	}
	return faults
}

// print writes the result of a check as JSON.
func (c *configCheckCmd) print(s *streams, cfg *config.Config, todo config.Errors, err error) error {
	var faults config.Errors
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	answer := struct {
		Valid   bool    `json:"valid"`
		Issuer  string  `json:"issuer,omitempty"`
		Domains int     `json:"domains"`
		Clients int     `json:"clients"`
		Faults  []fault `json:"faults"`
		Warned  []fault `json:"warnings"`
		Before  []fault `json:"before_first_start"`
	}{Valid: err == nil, Faults: faultsOf(faults), Warned: []fault{}, Before: faultsOf(todo)}
	if cfg != nil {
		answer.Warned = faultsOf(cfg.Warnings())
		answer.Issuer, answer.Domains, answer.Clients = cfg.Issuer, len(cfg.Domains), len(cfg.Clients)
	}
	if err := printJSON(s, answer); err != nil {
		return unknown("%w", err)
	}
	if !answer.Valid {
		return &exit{code: exitUsage}
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

type configExampleCmd struct{}

func (*configExampleCmd) Help() string {
	return `The printed file is valid. Replace the names with your own:

    issuer config example > issuer.yaml
    issuer config check issuer.yaml`
}

func (*configExampleCmd) Run(s *streams) error {
	_, err := io.WriteString(s.out, config.Example)
	return err
}
