package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/secretfile"
)

// caRenewal is the time before the end of a CA at which its certificate should have been renewed, unless certificates live for longer.
const caRenewal = 30 * 24 * time.Hour

// cas checks the CAs of the domains as verifiers see them: their certificates, and the revocation lists that the running issuer publishes.
// Reading the settings has refused files that no issuer starts with; here they may have changed since.
func (e *examination) cas(ctx context.Context) {
	for i := range e.cfg.Domains {
		d := &e.cfg.Domains[i]
		if d.CA.CertFile == "" {
			continue
		}
		check := "CA " + d.Name
		ca, err := e.readCA(d)
		if err != nil {
			e.found(Fail, check, "see `issuer config check`; an issuer that runs goes on with the CA that it has, and does not start again",
				"%s with %s: %v", d.CA.CertFile, d.CA.KeyFile, err)
			continue
		}
		e.caLife(check, ca)
		e.revocationList(ctx, check, ca)
	}
}

func (e *examination) readCA(d *config.Domain) (*certs.Authority, error) {
	certificates, err := os.ReadFile(d.CA.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := secretfile.Read(d.CA.KeyFile)
	if err != nil {
		return nil, err
	}
	return certs.Load(certificates, key, d.CA.Settings(d), e.cfg.Issuer, e.cfg.Development, time.Now())
}

// caLife checks for how long the certificates of a CA are valid: no certificate that it issues is valid for longer.
func (e *examination) caLife(check string, ca *certs.Authority) {
	end := ca.Certificate().NotAfter
	for _, der := range ca.Chain {
		if c, err := x509.ParseCertificate(der); err == nil && c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	left, life := time.Until(end), max(caRenewal, e.cfg.Lifetimes.Credential)
	days, date := int(left/(24*time.Hour)), end.UTC().Format(time.DateOnly)
	if left < life {
		e.found(Warn, check, "renew it with the same key (`issuer ca init DIR --renew`)",
			"it expires in %d days, on %s, and every certificate that it issues with it", days, date)
		return
	}
	e.ok(check, "its certificate is valid for %d more days", days)
}

// revocationList fetches a revocation list of a CA at the address that certificates name, as verifiers do. It is signed by the CA that the
// running issuer uses.
func (e *examination) revocationList(ctx context.Context, check string, ca *certs.Authority) {
	if !e.open {
		return // the front door was found to be shut
	}
	policy, err := e.cfg.FetchPolicy()
	if err != nil {
		e.found(Unknown, check, "", "%v", err)
		return
	}
	policy.Timeout, policy.MaxBody = patience, cert.DefaultSize
	h, err := fetch.NewClient(policy)
	if err != nil {
		e.found(Unknown, check, "", "%v", err)
		return
	}
	defer h.CloseIdleConnections()
	reader, err := cert.NewCRLReader(cert.CRLReaderConfig{Client: h, AllowHTTP: e.cfg.Development})
	if err != nil {
		e.found(Unknown, check, "", "%v", err)
		return
	}
	at := e.cfg.Issuer + certs.CRLPath + ca.ID
	list, err := reader.CRL(ctx, ca.Certificate(), []string{at + "/0"})
	if err == nil {
		e.ok(check, "a revocation list is at %s/0, until %s", at, list.Until.UTC().Format(time.RFC3339))
		return
	}
	remedy := "let the proxy forward everything below " + e.cfg.Issuer + certs.CRLPath + " unchanged"
	if e.running {
		remedy = "let the issuer read its files again (`systemctl reload issuer`), and see its log, which says which CA it uses; " + remedy
	}
	if errors.Is(err, cert.ErrTooLarge) {
		remedy = "shorten lifetimes.credential: entries stay until their certificates have expired"
	}
	e.found(Fail, check, remedy, "verifiers cannot know whether its certificates have ended: %v", cause(err))
}
