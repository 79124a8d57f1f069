package cli

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/jose"
)

type caCmd struct {
	Init caInitCmd `cmd:"" help:"Make a root and an issuing CA for the certificates of a domain."`
	CSR  caCSRCmd  `cmd:"" name:"csr" help:"Make a key and a request, for an issuing CA below a CA that you have."`
}

// The files of a CA.
const (
	rootFile    = "root.pem"
	rootKeyFile = "root-key.pem"
	caFile      = "ca.pem"
	caKeyFile   = "ca-key.pem"
	requestFile = "ca.csr"
)

// noConstraint says why the CA of a domain with im: URIs has no name constraint.
const noConstraint = `The CA has no name constraint: im: URIs have no authority, so verifiers refuse every one of them below a CA that constrains URIs
(RFC 5280, section 4.2.1.10). Verifiers must list the root for this domain only.`

// caFlags say what a CA is for.
type caFlags struct {
	Folder      string `arg:"" name:"dir" help:"Folder for the files. It is created if it does not exist."`
	Domain      string `placeholder:"NAME" help:"The domain of the users and devices."`
	URI         string `name:"uri" enum:"im,mimi" default:"im" placeholder:"FORM" help:"Form of the identifiers: im or mimi (${default})."`
	Algorithm   string `name:"alg" enum:"ES256,EdDSA" default:"ES256" placeholder:"ALG" help:"Algorithm of the keys: ES256 or EdDSA (${default})."`
	UserCAs     bool   `name:"user-cas" help:"The CA may make users CAs for their own devices (im-user-ca-x5c)."`
	Development bool   `help:"Allow domains that are reserved for tests."`
}

// domain returns the domain in canonical form.
func (c *caFlags) domain() (string, error) {
	if c.Domain == "" {
		return "", usage("give the domain of the users and devices with --domain")
	}
	domain, err := claims.CheckDomain(c.Domain, c.Development)
	if err != nil {
		return "", usage("--domain: %w", err)
	}
	return domain, nil
}

// template returns what the certificate of the issuing CA says.
func (c *caFlags) template(domain string, from time.Time) cert.CATemplate {
	t := cert.CATemplate{Domain: domain, Name: "IM issuing CA", MIMI: c.URI == "mimi", From: from, Until: from.AddDate(1, 0, 0)}
	if c.UserCAs {
		t.PathLen = 1
	}
	return t
}

// key returns a new key.
func (c *caFlags) key() (crypto.Signer, error) {
	if c.Algorithm == jose.EdDSA {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// A newFile is a file that a command makes.
type newFile struct {
	name    string
	content []byte
	secret  bool
}

func certificateFile(name string, c *x509.Certificate) newFile {
	return newFile{name: name, content: cert.MarshalPEM(c.Raw)}
}

func keyFile(name string, key crypto.Signer) (newFile, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return newFile{name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), true}, err
}

// unused refuses a folder that has one of the files: nothing is replaced.
func (c *caFlags) unused(names ...string) error {
	for _, name := range names {
		switch _, err := os.Lstat(filepath.Join(c.Folder, name)); {
		case err == nil:
			return usage("%s exists already, and is not replaced", filepath.Join(c.Folder, name))
		case !errors.Is(err, fs.ErrNotExist):
			return usage("%w", err)
		}
	}
	return nil
}

// write writes files that do not exist. Only the user may read the secret ones.
func (c *caFlags) write(files ...newFile) error {
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return usage("%w", err)
	}
	for _, file := range files {
		mode := fs.FileMode(0o644)
		if file.secret {
			mode = 0o600
		}
		f, err := os.OpenFile(filepath.Join(c.Folder, file.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return usage("%w", err)
		}
		_, err = f.Write(file.content)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return usage("write %s: %w", f.Name(), err)
		}
	}
	return nil
}

type caInitCmd struct {
	caFlags
	Renew bool `help:"Renew the certificate of the issuing CA in the folder, with the same key."`
}

func (*caInitCmd) Help() string {
	return `It makes a root CA for ten years and an issuing CA below it for one year:

    issuer ca init ca --domain example.net
    issuer ca init ca --domain example.net --uri mimi

The issuer needs ca.pem and ca-key.pem. Verifiers need root.pem, which they list for this domain only. Keep root-key.pem offline: it is
needed once a year, to renew the certificate of the issuing CA:

    issuer ca init ca --renew

The CA of a domain with mimi: URIs is constrained to URIs of the domain. That of a domain with im: URIs has no name constraint: im: URIs
have no authority, so verifiers refuse every one of them below a CA that constrains URIs (RFC 5280, section 4.2.1.10).`
}

func (c *caInitCmd) Run(s *streams) error {
	if c.Renew {
		return c.renew(s)
	}
	domain, err := c.domain()
	if err != nil {
		return err
	}
	if err := c.unused(rootFile, rootKeyFile, caFile, caKeyFile); err != nil {
		return err
	}
	rootKey, err := c.key()
	if err != nil {
		return err
	}
	caKey, err := c.key()
	if err != nil {
		return err
	}
	from := time.Now()
	root, err := cert.NewRoot(nil, rootKey, cert.CATemplate{
		Domain: domain, Name: "IM root CA", MIMI: c.URI == "mimi", PathLen: 2, From: from, Until: from.AddDate(10, 0, 0),
	})
	if err != nil {
		return err
	}
	authority, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: rootKey, Domain: domain})
	if err != nil {
		return err
	}
	issuing, err := authority.IssueCA(caKey.Public(), c.template(domain, from))
	if err != nil {
		return err
	}
	rootSecret, err := keyFile(rootKeyFile, rootKey)
	if err != nil {
		return err
	}
	caSecret, err := keyFile(caKeyFile, caKey)
	if err != nil {
		return err
	}
	if err := c.write(rootSecret, certificateFile(rootFile, root), caSecret, certificateFile(caFile, issuing)); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Root CA     %s, until %s. Give it to verifiers, and keep %s offline.\n", filepath.Join(c.Folder, rootFile),
		day(root.NotAfter), filepath.Join(c.Folder, rootKeyFile))
	fmt.Fprintf(s.out, "Issuing CA  %s, until %s. Renew it before.\n", filepath.Join(c.Folder, caFile), day(issuing.NotAfter))
	if c.URI == "im" {
		fmt.Fprintln(s.out, noConstraint)
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// renew replaces the certificate of the issuing CA by one with the same key and name. Certificates that it issued stay valid, and so do
// its revocation lists.
func (c *caInitCmd) renew(s *streams) error {
	if c.Domain != "" || c.UserCAs || c.URI != "im" {
		return usage("--renew keeps what the CA is for: it takes no other flags")
	}
	root, err := readCertificate(filepath.Join(c.Folder, rootFile))
	if err != nil {
		return err
	}
	rootKey, err := readKey(filepath.Join(c.Folder, rootKeyFile))
	if err != nil {
		return usage("%w", err)
	}
	old, err := readCertificate(filepath.Join(c.Folder, caFile))
	if err != nil {
		return err
	}
	if len(old.Subject.Organization) != 1 || !bytes.Equal(old.RawIssuer, root.RawSubject) {
		return usage("%s is not the certificate of an issuing CA below %s", filepath.Join(c.Folder, caFile), rootFile)
	}
	domain := old.Subject.Organization[0]
	authority, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: rootKey, Domain: domain})
	if err != nil {
		return usage("%w", err)
	}
	from := time.Now()
	issuing, err := authority.IssueCA(old.PublicKey, cert.CATemplate{
		Domain: domain, Name: old.Subject.CommonName, MIMI: len(old.PermittedURIDomains) > 0, PathLen: old.MaxPathLen,
		From: from, Until: from.AddDate(1, 0, 0),
	})
	if err != nil {
		return usage("%w", err)
	}
	if err := replace(filepath.Join(c.Folder, caFile), cert.MarshalPEM(issuing.Raw)); err != nil {
		return usage("%w", err)
	}
	fmt.Fprintf(s.out, "Issuing CA  %s, until %s.\n", filepath.Join(c.Folder, caFile), day(issuing.NotAfter))
	return nil
}

// replace replaces a file as a whole, also if the program is killed meanwhile.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

type caCSRCmd struct{ caFlags }

func (*caCSRCmd) Help() string {
	return `It makes a key and a request (PKCS #10) for the certificate of an issuing CA, for a CA that you have, such as that of your company:

    issuer ca csr ca --domain example.net

Have that CA sign ca.csr with the extensions that it asks for, and save the certificate as ca.pem. It must be that of a CA for keys of
instant messaging alone (extKeyUsage id-kp-imUri, 1.3.6.1.5.5.7.3.40): then nothing that it signs passes for a server or a person of
your company elsewhere.`
}

func (c *caCSRCmd) Run(s *streams) error {
	domain, err := c.domain()
	if err != nil {
		return err
	}
	if err := c.unused(caFile, caKeyFile, requestFile); err != nil {
		return err
	}
	key, err := c.key()
	if err != nil {
		return err
	}
	request, err := cert.Request(nil, key, c.template(domain, time.Time{}))
	if err != nil {
		return err
	}
	secret, err := keyFile(caKeyFile, key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	if err := c.write(secret, newFile{name: requestFile, content: text}); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Request     %s. Have your CA sign it, and save the certificate as %s.\n", filepath.Join(c.Folder, requestFile),
		filepath.Join(c.Folder, caFile))
	if c.URI == "im" {
		fmt.Fprintln(s.out, noConstraint)
	}
	return nil
}
