package cert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/imidentity/issuer/claims"
)

// DeviceTemplate says what a certificate of a device below a user's CA is about.
type DeviceTemplate struct {
	// Device is the device. It must be one of the user's.
	Device claims.ID
	// Key is its public key.
	Key crypto.PublicKey
	// From and Until are as in [Template].
	From, Until time.Time
	// Development also accepts domains that are reserved for tests and examples.
	Development bool
}

// SignDevice certifies a device of a user with the user's own key, of which the domain has issued a certificate of the shape [UserCA]. The
// domain does not take part, so the key may be offline. The device's certificate states the device alone, and the user as its issuer
// (issuerAltName). Nil random means [crypto/rand.Reader].
//
// Such a certificate names no revocation list: it ends when it expires, or with that of the user. The error is about the arguments, or
// [ErrCAEnded], or comes from the key.
func SignDevice(random io.Reader, user *x509.Certificate, key crypto.Signer, t DeviceTemplate) (*x509.Certificate, error) {
	if !samePublic(user.PublicKey, key.Public()) {
		return nil, errors.New("cert: the key is not that of the user's certificate")
	}
	owner, uri, err := userOf(user, t.Development)
	if err != nil {
		return nil, fmt.Errorf("cert: the user's certificate: %w", err)
	}
	if err := checkOwner(owner.User, t.Device, t.Development); err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	subject, err := altName(oidSubjectAltName, true, t.Device.String())
	if err != nil {
		return nil, fmt.Errorf("cert: subjectAltName: %w", err)
	}
	issuer, err := altName(oidIssuerAltName, false, uri) // RFC 5280 §4.2.1.7: not critical
	if err != nil {
		return nil, fmt.Errorf("cert: issuerAltName: %w", err)
	}
	return sign(random, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{subject, issuer}, NotBefore: t.From, NotAfter: t.Until,
	}, user, t.Key, key)
}

var (
	errNoUserCA  = errors.New("not that of a CA for devices alone (basicConstraints with path length 0, keyUsage keyCertSign)")
	errNoUser    = errors.New("its subjectAltName names no user")
	errHasDevice = errors.New("its subjectAltName names a device")
	errOwner     = errors.New("the device is not one of the user's")
)

// userOf returns the identity of a user's CA, and its user's URI as it is written.
func userOf(c *x509.Certificate, development bool) (claims.Identity, string, error) {
	if !c.BasicConstraintsValid || !c.IsCA || !c.MaxPathLenZero || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return claims.Identity{}, "", errNoUserCA
	}
	list, err := namesOf(c, oidSubjectAltName)
	if err != nil {
		return claims.Identity{}, "", fmt.Errorf("subjectAltName: %w", err)
	}
	id, err := readIdentity(list, development)
	switch {
	case err != nil:
		return claims.Identity{}, "", fmt.Errorf("subjectAltName: %w", err)
	case id.User.IsZero():
		return claims.Identity{}, "", errNoUser
	case !id.Device.IsZero():
		return claims.Identity{}, "", errHasDevice
	}
	return id, id.User.String(), nil
}

// checkOwner checks that a device is one of a user's. A device whose URI does not name its user could be anybody's.
func checkOwner(user, device claims.ID, development bool) error {
	if device.Type() != claims.TypeDevice || device.Local() == "" {
		return errOwner
	}
	return claims.Identity{User: user, Device: device}.Check([]string{user.Domain()}, development)
}
