package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/fetch"
)

type certVerifyCmd struct {
	File        string    `arg:"" help:"File with the chain, PEM, the certificate of the device or user first; - reads it from standard input."`
	Root        []string  `placeholder:"DOMAIN=FILE" help:"Roots to trust for a domain, PEM. May be repeated."`
	Config      string    `placeholder:"FILE" help:"Settings of an issuer: trust the CAs of its peers (ca_file), each for its domain, and those of its own domains."`
	CRL         []string  `name:"crl" placeholder:"FILE" help:"A revocation list, DER. May be repeated. Without it, lists are fetched from where the certificates say."`
	AllowHTTP   bool      `name:"allow-http" help:"Fetch revocation lists also by http."`
	Unchecked   bool      `help:"Do not look at revocation lists."`
	At          time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME" help:"Check it as of this time, such as 2026-05-01T14:00:00Z, not now."`
	Development bool      `help:"Allow domains that are reserved for tests, and lists by http on this machine."`
	JSON        bool      `name:"json" help:"Print JSON."`
}

func (*certVerifyCmd) Help() string {
	return `The exit code is 0 if the chain is valid, 1 if it is not, and 3 if that cannot be known, as while a revocation list cannot be fetched:

    issuer cert verify device.pem --root example.net=root.pem
    issuer cert verify device.pem --root example.net=root.pem --crl ca.crl

A root counts for the domain that it is given for, and for no other. The settings of an issuer have such roots, too:

    issuer cert verify device.pem --config issuer.yaml`
}

// A verifiedCert is what the command prints of a valid chain.
type verifiedCert struct {
	Device  string    `json:"device,omitempty"`
	User    string    `json:"user,omitempty"`
	Handle  string    `json:"handle,omitempty"`
	Serial  string    `json:"serial"`
	Issuer  string    `json:"issuer"`
	JKT     string    `json:"jkt"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Checked bool      `json:"status_checked"`
}

func (c *certVerifyCmd) Run(ctx context.Context, s *streams) error {
	chain, err := readChain(s, c.File)
	if err != nil {
		return err
	}
	o, err := c.options(s)
	if err != nil {
		return err
	}
	good, err := cert.Verify(ctx, chain, o)
	var refusal *credential.Error
	switch {
	case errors.As(err, &refusal):
		return refused("the chain is not valid: %w", err)
	case err != nil:
		return unknown("the chain cannot be checked now: %w", err)
	}
	v := verifiedCert{
		Serial: good.ID, Issuer: good.Issuer, JKT: good.JKT, From: good.From.UTC(), Until: good.Until.UTC(), Checked: good.Checked,
	}
	for _, one := range []struct {
		to *string
		id claims.ID
	}{{&v.Device, good.Identity.Device}, {&v.User, good.Identity.User}, {&v.Handle, good.Identity.Handle}} {
		if !one.id.IsZero() {
			*one.to = one.id.String()
		}
	}
	if c.JSON {
		return printJSON(s, v)
	}
	v.print(s, c.Unchecked)
	return nil
}

func (v *verifiedCert) print(s *streams, unchecked bool) {
	status := "not revoked"
	switch {
	case unchecked:
		status = "not checked"
	case !v.Checked:
		status = "not known: the certificate names no revocation list"
	}
	fmt.Fprintln(s.out, "The chain is valid.")
	for _, line := range [][2]string{
		{"device", v.Device}, {"user", v.User}, {"handle", v.Handle}, {"issuer", v.Issuer}, {"serial", v.Serial},
		{"until", v.Until.Format(time.RFC3339)}, {"thumbprint", v.JKT}, {"status", status},
	} {
		if line[1] != "" {
			fmt.Fprintf(s.out, "%-11s %s\n", line[0], printable(line[1]))
		}
	}
}

// options returns what the flags demand.
func (c *certVerifyCmd) options(s *streams) (cert.Options, error) {
	o := cert.Options{Unchecked: c.Unchecked, Development: c.Development}
	if !c.At.IsZero() {
		o.Now = func() time.Time { return c.At }
	}
	if len(c.Root) == 0 && c.Config == "" {
		return o, usage("name the roots to trust with --root DOMAIN=FILE or --config FILE")
	}
	roots := make(cert.Roots)
	for _, entry := range c.Root {
		name, file, ok := strings.Cut(entry, "=")
		if !ok {
			return o, usage("--root %q is not DOMAIN=FILE", entry)
		}
		domain, err := claims.CheckDomain(name, c.Development)
		if err != nil {
			return o, usage("--root: the domain: %w", err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return o, usage("--root: %w", err)
		}
		if roots[domain] == nil {
			roots[domain] = x509.NewCertPool()
		}
		if !roots[domain].AppendCertsFromPEM(text) {
			return o, usage("--root: %s holds no certificate in PEM", file)
		}
	}
	o.Roots = roots
	var err error
	if c.Config != "" {
		if o.Roots, err = c.configured(roots, s); err != nil {
			return o, err
		}
	}
	o.CRLs, err = c.lists(o.Now)
	return o, err
}

// lists returns the revocation lists of the flags, or a reader that fetches them.
func (c *certVerifyCmd) lists(now func() time.Time) (cert.CRLSource, error) {
	if len(c.CRL) == 0 {
		newClient := fetch.NewForeignClient // the address of a list comes from the certificate
		if c.Development {
			newClient = fetch.NewClient
		}
		policy := (&trusted{Development: c.Development}).policy()
		policy.AllowHTTP, policy.MaxBody = policy.AllowHTTP || c.AllowHTTP, cert.DefaultSize
		client, err := newClient(policy)
		if err != nil {
			return nil, err
		}
		return cert.NewCRLReader(cert.CRLReaderConfig{Client: client, AllowHTTP: policy.AllowHTTP, Now: now})
	}
	lists := &cert.CRLs{Now: now}
	for _, file := range c.CRL {
		der, err := os.ReadFile(file)
		if err != nil {
			return nil, usage("--crl: %w", err)
		}
		list, err := cert.ParseCRL(der)
		if err != nil {
			return nil, unknown("--crl: %s: %w", file, err)
		}
		lists.Lists = append(lists.Lists, list)
	}
	return lists, nil
}
