package cert

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/credential"
)

// A CRLSource finds certificate revocation lists. A [CRLReader] fetches them, and [CRLs] has some.
type CRLSource interface {
	// CRL returns the list of issuer that is about certificates which name urls ([CRL.About]). The source has verified it ([CRL.Verify]).
	// Every error means that the status of these certificates cannot be known now.
	CRL(ctx context.Context, issuer *x509.Certificate, urls []string) (*CRL, error)
}

// checkStatus looks up each certificate of a path that names a revocation list (RFC 5280 §6.3), from the root down: a list counts only if
// the CA that signed it has not ended. The root is not looked up. The error is a refusal, or means that the status cannot be known now.
func (o *Options) checkStatus(ctx context.Context, c *credential.Credential, path []*x509.Certificate) error {
	if o.Unchecked {
		return nil
	}
	for i := len(path) - 2; i >= 0; i-- {
		if _, ok := extension(path[i], oidDistributionList); !ok {
			continue
		}
		switch urls := path[i].CRLDistributionPoints; {
		case o.CRLs == nil:
			return refuse(partCRL, credential.CodeUnchecked, nil)
		case len(urls) == 0:
			return errNoURL
		default:
			list, err := o.CRLs.CRL(ctx, path[i+1], urls)
			if err != nil {
				return fmt.Errorf("cert: the revocation list: %w", err)
			}
			if !list.About(urls) { // whatever the source says: another list says nothing of this certificate
				return fmt.Errorf("cert: the revocation list: %w", ErrScope)
			}
			c.Checked = c.Checked || i == 0 || i == 1 && hasURI(path[1])
			if entry, ok := list.Entry(path[i].SerialNumber); ok {
				return ended(i, path, entry.Reason)
			}
		}
	}
	return nil
}

// ended returns the refusal of a chain whose certificate i is revoked. The device's or user's own has ended, and with it the
// credential. Below a CA of the domain that has ended, or any CA whose key is known to others, nothing is certain.
func ended(i int, path []*x509.Certificate, reason Reason) error {
	err := errors.New(reason.String())
	if i == 0 || i == 1 && hasURI(path[1]) && !reason.compromise() {
		return &credential.Error{Code: credential.CodeEnded, Err: err}
	}
	return refuse(part(i), credential.CodeIssuer, fmt.Errorf("revoked: %w", err))
}
