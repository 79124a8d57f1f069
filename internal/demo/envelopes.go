package demo

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/credential/cwt"
)

// certifying are the settings with which the domain has a CA, in the files of [makeCA].
func certifying(folder string) string {
	return fmt.Sprintf("domains: [{name: %s, ca: {cert_file: %q, key_file: %q}}]", Domain, filepath.Join(folder, "ca.pem"),
		filepath.Join(folder, "ca-key.pem"))
}

// makeCA makes a CA for the domain, which is its own root, and writes its files.
func makeCA(folder string) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := cert.NewRoot(nil, key, cert.CATemplate{
		Domain: Domain, Name: "Demo CA", From: time.Now().Add(-time.Hour), Until: time.Now().AddDate(1, 0, 0),
	})
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return root, errors.Join(os.WriteFile(filepath.Join(folder, "ca.pem"), cert.MarshalPEM(root.Raw), 0o600),
		os.WriteFile(filepath.Join(folder, "ca-key.pem"), text, 0o600))
}

// envelopes are the other forms of Alice's credential.
type envelopes struct {
	chain  [][]byte
	cwt    *cwt.Token
	cwtKey crypto.Signer
}

// certify gets a certificate and a CWT, each for another key.
func (t *telling) certify(ctx context.Context) error {
	_, text, err := t.credential(ctx, string(cert.Combined))
	if err != nil {
		return err
	}
	var answer struct{ X5C [][]byte }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err
	}
	t.chain = answer.X5C
	t.ok("the CA of the domain certified a key: an X.509 certificate of %d bytes, as MLS groups take it", len(t.chain[0]))
	if t.cwtKey, text, err = t.credential(ctx, "im-device-cwt"); err != nil {
		return err
	}
	data, err := cwt.ReadText(text)
	if err != nil {
		return err
	}
	if t.cwt, err = cwt.Parse(data); err != nil {
		return err
	}
	t.ok("the issuer signed a CBOR Web Token for another key, of %d bytes", len(data))
	return nil
}

// compare has a verifier check both.
func (t *telling) compare(ctx context.Context) error {
	forms, err := t.checkEnvelopes(ctx)
	if err != nil {
		return err
	}
	for _, form := range forms {
		if form.err != nil {
			return form.err
		}
		id := form.got.Identity
		if id.Device.String() != t.set.Device || id.Handle.String() != t.set.Handle {
			return fmt.Errorf("the verifier saw %+v in the %s, want the device and its handle", id, form.name)
		}
		t.ok("the %s is valid: %s on the device %s", form.name, id.Handle, id.Device)
	}
	t.say("a certificate hides nothing: the verifier trusts the root of the domain, and reads a revocation list")
	return nil
}

// refuseEnvelopes has the verifier check them again.
func (t *telling) refuseEnvelopes(ctx context.Context) error {
	forms, err := t.checkEnvelopes(ctx)
	if err != nil {
		return err
	}
	for _, form := range forms {
		if !errors.Is(form.err, credential.CodeEnded) {
			return fmt.Errorf("the verifier's answer about the %s is %w, want that it has ended", form.name, form.err)
		}
		t.ok("the %s is not valid any more", form.name)
	}
	return nil
}

// A verdict is what a verifier finds of a form of the credential.
type verdict struct {
	name string
	got  credential.Credential
	err  error
}

// checkEnvelopes shows both to a verifier.
func (t *telling) checkEnvelopes(ctx context.Context) ([]verdict, error) {
	lists, err := cert.NewCRLReader(cert.CRLReaderConfig{Client: &http.Client{Timeout: 30 * time.Second}, AllowHTTP: true})
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(t.root)
	certificate := verdict{name: "certificate"}
	certificate.got, certificate.err = cert.Verify(ctx, t.chain, cert.Options{
		Roots: cert.Roots{Domain: roots}, CRLs: lists, Development: true,
	})

	options, err := t.verifier()
	if err != nil {
		return nil, err
	}
	binding := cwt.Binding{Audience: claims.DomainURI(otherDomain), Nonce: []byte(rand.Text())}
	shown, err := t.cwt.Present(t.cwtKey, binding, time.Now())
	if err != nil {
		return nil, err
	}
	token := verdict{name: "CWT"}
	token.got, token.err = cwt.Verify(ctx, shown, cwt.Options{Options: options, Binding: &binding})
	return []verdict{certificate, token}, nil
}
