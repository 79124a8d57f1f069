package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// renewal is the time before the expiry of a certificate at which it should have been renewed.
const renewal = 21 * 24 * time.Hour

// certificate checks the certificate in the settings.
func (e *examination) certificate(context.Context) {
	if e.cfg.TLS.CertFile == "" {
		return
	}
	text, err := os.ReadFile(e.cfg.TLS.CertFile)
	if err != nil {
		e.found(Fail, "tls", "", "%v", err)
		return
	}
	block, _ := pem.Decode(text)
	if block == nil {
		e.found(Fail, "tls", "", "%s contains no PEM block", e.cfg.TLS.CertFile)
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		e.found(Fail, "tls", "", "%s: %v", e.cfg.TLS.CertFile, err)
		return
	}
	if err := leaf.VerifyHostname(e.issuer.Hostname()); err != nil {
		e.found(Fail, "tls", "get a certificate for "+e.issuer.Hostname(), "%s: %v", e.cfg.TLS.CertFile, err)
		return
	}
	e.expiry(leaf, e.cfg.TLS.CertFile)
}

// expiry checks how long a certificate is valid.
func (e *examination) expiry(leaf *x509.Certificate, of string) {
	now := time.Now()
	left := leaf.NotAfter.Sub(now)
	switch {
	case now.Before(leaf.NotBefore):
		e.found(Fail, "tls", "set the clock, or wait", "the certificate of %s is not valid before %s", of,
			leaf.NotBefore.Format(time.RFC3339))
	case left <= 0:
		e.found(Fail, "tls", "renew it", "the certificate of %s expired on %s", of, leaf.NotAfter.Format(time.RFC3339))
	case left < renewal:
		e.found(Warn, "tls", "renew it, and check why it was not renewed automatically", "the certificate of %s expires in %d days, on %s",
			of, int(left/(24*time.Hour)), leaf.NotAfter.Format(time.RFC3339))
	default:
		e.ok("tls", "the certificate of %s is valid for %d more days", of, int(left/(24*time.Hour)))
	}
}

// badCertificate describes the error in a certificate, and its remedy.
func badCertificate(err *tls.CertificateVerificationError, host string) (text, remedy string) {
	var (
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		leaf     = err.UnverifiedCertificates[0]
	)
	switch {
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate is not for %s: %v", host, hostname), "get one for " + host +
			", or let that name lead to the server that has it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate of %s is not valid before %s", host, leaf.NotBefore.Format(time.RFC3339)),
			"set the clock of this machine, or wait"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s, or one in its chain, has expired; its own end is %s", host,
			leaf.NotAfter.Format(time.RFC3339)), "renew it"
	case errors.As(err, &unknown) && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return fmt.Sprintf("the certificate of %s is signed by itself", host), "get one of an authority that clients know"
	case errors.As(err, &unknown) && len(err.UnverifiedCertificates) == 1:
		return fmt.Sprintf("the certificate of %s comes alone, and %s, which signed it, is not known here", host, leaf.Issuer),
			"let the server send the whole chain (fullchain.pem); for an authority of your own, name it in outbound.ca_file"
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s leads to no authority that is known here: %v", host, unknown),
			"get one of an authority that clients know, or name your own in outbound.ca_file"
	}
	return fmt.Sprintf("the certificate of %s is not valid: %v", host, err), "get another one"
}
