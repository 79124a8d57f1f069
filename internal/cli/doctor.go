package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/doctor"
)

type doctorCmd struct {
	Config string `required:"" placeholder:"FILE" help:"The settings file of the issuer."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (*doctorCmd) Help() string {
	return `It checks the settings, files and disk; that the issuer runs, its name resolves, its certificate is
valid, and its proxy forwards the headers that proofs need; the CAs of domains and their revocation lists; the clocks; the
OpenID providers; and the store of used proofs.
Run it as the user that the issuer runs as. It changes nothing.

    sudo -u issuer issuer doctor --config /etc/issuer/issuer.yaml
    issuer doctor --config issuer.yaml --json

Each finding is ok, warn, fail, or unknown if the check was not possible. JSON is {"status", "findings"}: the
worst status, and an array of {"check", "status", "text", "remedy"}. The exit code is 0 if no check
fails, 1 if one fails, 2 if the settings file does not exist, and 3 if no check fails but some were not possible.`
}

func (c *doctorCmd) Run(ctx context.Context, s *streams) error {
	if _, err := os.Stat(c.Config); err != nil {
		return usage("read the settings: %w", err)
	}
	answer := struct {
		Status   doctor.Status    `json:"status"`
		Findings []doctor.Finding `json:"findings"`
	}{Status: doctor.OK}
	note := func(f doctor.Finding) {
		answer.Findings = append(answer.Findings, f)
		answer.Status = worse(answer.Status, f.Status)
		if !c.JSON {
			fmt.Fprintf(s.out, "%-7s  %s: %s\n", f.Status, f.Check, printable(f.Text))
			if f.Remedy != "" {
				fmt.Fprintf(s.out, "         -> %s\n", printable(f.Remedy))
			}
		}
	}
	if err := c.look(ctx, s, note); err != nil {
		return unknown("%w", err)
	}
	if c.JSON {
		if err := printJSON(s, answer); err != nil {
			return unknown("%w", err)
		}
	}
	switch answer.Status {
	case doctor.Fail:
		return &exit{code: exitNo}
	case doctor.Unknown:
		return &exit{code: exitUnknown}
	}
	return nil
}

// look reports the errors in the settings or, if there are none, the state of the issuer.
func (c *doctorCmd) look(ctx context.Context, s *streams, note func(doctor.Finding)) error {
	cfg, todo, err := config.Check(c.Config, s.env)
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		for _, f := range faults {
			note(doctor.Finding{Check: "settings", Status: doctor.Fail, Text: f.Error()})
		}
		return nil
	} else if err != nil {
		return err
	}
	note(doctor.Finding{Check: "settings", Status: doctor.OK, Text: fmt.Sprintf("%s is valid: issuer %s, %s, %s", c.Config, cfg.Issuer,
		count(len(cfg.Domains), "domain"), count(len(cfg.Clients), "client"))})
	for _, e := range append(cfg.Warnings(), todo...) {
		note(doctor.Finding{Check: "settings", Status: doctor.Warn, Text: e.Path + ": " + e.Message})
	}
	return doctor.Run(ctx, cfg, note)
}

// worse returns the worse of two statuses. A failure is worse than an unknown.
func worse(a, b doctor.Status) doctor.Status {
	for _, s := range []doctor.Status{doctor.Fail, doctor.Unknown, doctor.Warn} {
		if a == s || b == s {
			return s
		}
	}
	return doctor.OK
}
