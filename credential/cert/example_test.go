package cert_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
)

// A domain makes a user a CA, the user certifies a device, and a verifier that knows the domain's root reads the chain.
func Example() {
	now := time.Now()
	_, domainKey, _ := ed25519.GenerateKey(nil)
	root, err := cert.NewRoot(nil, domainKey, cert.CATemplate{
		Domain: "example.com", Name: "IM root CA", PathLen: 1, From: now, Until: now.AddDate(10, 0, 0),
	})
	if err != nil {
		panic(err)
	}
	ca, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: domainKey, Domain: "example.com", Development: true})
	if err != nil {
		panic(err)
	}

	id, err := claims.ParseIdentity(claims.Parser{}, "im:3h3aNq0m@example.com;id-type=user", "im:%40alice@example.com", "")
	if err != nil {
		panic(err)
	}
	userPublic, userKey, _ := ed25519.GenerateKey(nil)
	user, err := ca.Issue(cert.Template{Shape: cert.UserCA, Identity: id, Key: userPublic, From: now, Until: now.AddDate(0, 3, 0)})
	if err != nil {
		panic(err)
	}

	phone, err := claims.Parse("im:3h3aNq0m/72b@example.com")
	if err != nil {
		panic(err)
	}
	phonePublic, _, _ := ed25519.GenerateKey(nil)
	device, err := cert.SignDevice(nil, user, userKey, cert.DeviceTemplate{
		Device: phone, Key: phonePublic, From: now, Until: now.AddDate(0, 1, 0), Development: true,
	})
	if err != nil {
		panic(err)
	}

	roots := x509.NewCertPool()
	roots.AddCert(root)
	got, err := cert.Verify(context.Background(), [][]byte{device.Raw, user.Raw}, cert.Options{
		Roots: cert.Roots{"example.com": roots}, Unchecked: true, Development: true,
	})
	fmt.Println(got.Identity.Device, got.Identity.User, got.Identity.Handle, phonePublic.Equal(got.Key), err)
	// Output: im:3h3aNq0m/72b@example.com im:3h3aNq0m@example.com;id-type=user im:%40alice@example.com true <nil>
}
