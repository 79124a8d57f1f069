package issuer

import (
	"log/slog"
	"time"

	"github.com/imidentity/issuer/internal/certs"
)

// caEndsSoon is how long before the end of a CA's certificate the log warns.
const caEndsSoon = 30 * 24 * time.Hour

// openCAs reads the CAs of the domains, which must be valid.
func (i *Instance) openCAs() error {
	i.cas = certs.New(i.store, i.mirror, i.now)
	issuer, development := i.cfg.Issuer, i.cfg.Development // a reload does not change them
	for n := range i.cfg.Domains {
		d := &i.cfg.Domains[n]
		if d.CA.CertFile == "" {
			continue
		}
		settings, set := d.CA.Settings(d), i.cas.Add
		w := &watched{certFile: d.CA.CertFile, keyFile: d.CA.KeyFile}
		w.use = func(cert, key []byte, err error) error {
			var ca *certs.Authority
			if err == nil {
				ca, err = certs.Load(cert, key, settings, issuer, development, i.now())
			}
			before := i.cas.Authority(settings.Domain)
			if err == nil {
				err = set(ca)
			}
			if err != nil {
				if before != nil {
					i.log.Error("the new CA is not valid: the one before is used", slog.String("domain", settings.Domain),
						slog.String("file", w.certFile), slog.Any("error", err))
				}
				return err
			}
			set = i.cas.Replace
			i.noteCA(ca, before)
			return nil
		}
		if err := w.reload(); err != nil {
			return i.cfg.Fault("domains", "the CA of %s in %s with %s: %v", d.Name, w.certFile, w.keyFile, err)
		}
		i.caFiles = append(i.caFiles, w)
	}
	return nil
}

// noteCA logs which CA is in use.
func (i *Instance) noteCA(ca, before *certs.Authority) {
	c := ca.Certificate()
	if before == nil || !before.Certificate().Equal(c) {
		i.log.Info("CA", slog.String("domain", ca.Domain), slog.String("id", ca.ID), slog.String("serial", c.SerialNumber.Text(16)),
			slog.Time("not_after", c.NotAfter))
	}
	if before != nil && before.ID != ca.ID {
		i.log.Warn("the CA has another key or name: whether certificates of the one before have ended cannot be known any more",
			slog.String("domain", ca.Domain), slog.String("before", before.ID), slog.String("id", ca.ID))
	}
	if c.NotAfter.Sub(i.now()) < caEndsSoon {
		i.log.Warn("the certificate of the CA expires soon, and all that it issued with it: renew it with the same key "+
			"(issuer ca init --renew)", slog.String("domain", ca.Domain), slog.Time("not_after", c.NotAfter))
	}
}
