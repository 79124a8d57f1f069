package config

import (
	"os"
	"time"

	"github.com/imidentity/issuer/internal/certs"
)

// ca checks the CA of a domain as verifiers would. Others has the domain of each CA: what verifiers trust for one domain must not speak
// for another.
func (k *checker) ca(path string, d *Domain, others map[string]string) {
	ca := &d.CA
	switch {
	case ca.CertFile == "" && ca.KeyFile == "" && !ca.UserCAs:
		return
	case ca.CertFile == "":
		k.report(join(path, "cert_file"), "is missing: name the file with the certificate of the CA, such as ca.pem of `issuer ca init`")
		return
	case ca.KeyFile == "":
		k.report(join(path, "key_file"), "is missing: name the file with the key of the CA, such as ca-key.pem of `issuer ca init`")
		return
	}
	ca.CertFile, ca.KeyFile = k.resolve(ca.CertFile), k.resolve(ca.KeyFile)
	certificates, err := os.ReadFile(ca.CertFile)
	if err != nil {
		k.report(join(path, "cert_file"), "%s cannot be read: %s", ca.CertFile, cause(err))
		return
	}
	key, ok := k.private(join(path, "key_file"), ca.KeyFile)
	if !ok {
		return
	}
	loaded, err := certs.Load(certificates, key, ca.Settings(d), k.Issuer, k.Development, time.Now())
	if err != nil {
		k.report(path, "%s with %s: %v", ca.CertFile, ca.KeyFile, err)
		return
	}
	if other, twice := others[loaded.ID]; twice {
		k.report(path, "is the CA of %s, too: make another one for this domain", other)
	}
	others[loaded.ID] = d.Name
	if left := time.Until(loaded.Certificate().NotAfter); left < caEndsSoon {
		k.warn(join(path, "cert_file"), "expires in %d days, and every certificate that the CA issues with it: renew it with the same key "+
			"(`issuer ca init DIR --renew`)", int(left/(24*time.Hour)))
	}
}

// caEndsSoon is how long before the end of a CA's certificate that is told.
const caEndsSoon = 30 * 24 * time.Hour

// Settings returns what the CA of a domain is for.
func (c *CA) Settings(d *Domain) certs.Settings {
	return certs.Settings{Domain: d.Name, MIMI: d.URI == "mimi", UserCAs: c.UserCAs}
}
