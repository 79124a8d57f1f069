package cli

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

type certCmd struct {
	Show       certShowCmd       `cmd:"" help:"Show certificates, without checking them."`
	Verify     certVerifyCmd     `cmd:"" help:"Check a chain of certificates of a device or user."`
	SignDevice certSignDeviceCmd `cmd:"" name:"sign-device" help:"Certify a device with the key of its user."`
}

// maxChain bounds a file of certificates: longer chains are refused anyway.
const maxChain = 1 << 20

// readChain reads the certificates of a file, in DER. The name - stands for standard input.
func readChain(s *streams, path string) ([][]byte, error) {
	in := s.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usage("%w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxChain))
	if err != nil {
		return nil, usage("read %s: %w", path, err)
	}
	chain, err := cert.ParsePEM(text)
	if err != nil {
		return nil, refused("%s: %w", path, err)
	}
	return chain, nil
}

// readCertificate reads the first certificate of a file.
func readCertificate(path string) (*x509.Certificate, error) {
	chain, err := readChain(&streams{}, path)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, refused("%s: not a certificate in DER", path)
	}
	return c, nil
}

type certShowCmd struct {
	File string `arg:"" help:"File with certificates, PEM or DER; - reads it from standard input."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*certShowCmd) Help() string {
	return `Show each certificate of a file: of which shape it is, the URIs of its subject and of its issuer, and its key. Nothing is checked:
see issuer cert verify.

    issuer cert show device.pem
    issuer cert show --json device.pem`
}

// A shownCert is a certificate as the command prints it.
type shownCert struct {
	Is      string    `json:"is"`
	URIs    []string  `json:"uris,omitempty"`
	Issuers []string  `json:"issuer_uris,omitempty"`
	Other   string    `json:"other_names,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Issuer  string    `json:"issuer"`
	Serial  string    `json:"serial"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Key     string    `json:"key"`
	JKT     string    `json:"jkt,omitempty"`
	KeyID   string    `json:"key_id,omitempty"`
	CRL     []string  `json:"crl,omitempty"`
	Within  []string  `json:"permitted_uris,omitempty"`
}

func (c *certShowCmd) Run(s *streams) error {
	chain, err := readChain(s, c.File)
	if err != nil {
		return err
	}
	list := make([]shownCert, len(chain))
	for i, der := range chain {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return refused("%s: certificate %d is not one in DER", c.File, i+1)
		}
		list[i] = show(one)
	}
	if c.JSON {
		return printJSON(s, list)
	}
	for i, one := range list {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		one.print(s)
	}
	return nil
}

func show(c *x509.Certificate) shownCert {
	d := cert.Describe(c)
	shown := shownCert{
		Is: d.Kind, URIs: d.Subject, Issuers: d.Issuer, Subject: c.Subject.String(), Issuer: c.Issuer.String(),
		Serial: c.SerialNumber.Text(16), From: c.NotBefore.UTC(), Until: c.NotAfter.UTC(), Key: d.Key, JKT: d.JKT,
		KeyID: hex.EncodeToString(c.SubjectKeyId), CRL: c.CRLDistributionPoints, Within: c.PermittedURIDomains,
	}
	if d.Other {
		shown.Other = "the names are not URIs alone"
	}
	return shown
}

// print writes a certificate for people, one field a line. Values come from others: control characters are made visible.
func (c *shownCert) print(s *streams) {
	lines := [][2]string{{"is", c.Is}}
	for _, uri := range c.URIs {
		lines = append(lines, [2]string{"URI", uri})
	}
	for _, uri := range c.Issuers {
		lines = append(lines, [2]string{"issuer URI", uri})
	}
	lines = append(lines,
		[2]string{"names", c.Other}, [2]string{"subject", c.Subject}, [2]string{"issuer", c.Issuer}, [2]string{"serial", c.Serial},
		[2]string{"valid", c.From.Format(time.RFC3339) + " to " + c.Until.Format(time.RFC3339)}, [2]string{"key", c.Key},
		[2]string{"thumbprint", c.JKT}, [2]string{"permitted", strings.Join(c.Within, ", ")}, [2]string{"CRL", strings.Join(c.CRL, ", ")},
	)
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(s.out, "%-11s %s\n", line[0], printable(line[1]))
		}
	}
}
