package interop_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/trust"
)

const certificateSteps = `two clients form a group: Hello Bob [@bob@example.com; @alice@example.com]
the certificate of another: ValidationError: Could not validate credential [signature_key wrong_key]
a revoked certificate: ValidationError: Could not validate credential [ended]`

// npm ts-mls 1, a release that reads x509 credentials, forms a group whose members have combined certificates. Package mls is its
// authentication service.
func TestMLSCertificates(t *testing.T) {
	t.Parallel()
	s := newCertificateService(t)
	routes := http.NewServeMux()
	routes.HandleFunc("POST /device", answer(t, s.device))
	routes.HandleFunc("POST /validate", answer(t, s.validate))
	routes.HandleFunc("POST /revoke", answer(t, s.revoke))
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of what hangs
	defer cancel()
	script := node(t, ctx, "mlscertificates.mjs", map[string]string{"SERVICE": server.URL})
	script.Stderr = t.Output()
	printed, err := script.Output()
	if err != nil {
		t.Fatalf("mlscertificates.mjs: %v, after\n%s", err, printed)
	}
	if got := strings.TrimSpace(string(printed)); got != certificateSteps {
		t.Errorf("mlscertificates.mjs printed\n%s\nwant\n%s", got, certificateSteps)
	}
}

// A certificateService is the CA of example.com with its revocation list, the devices with their keys, and the members' authentication
// service.
type certificateService struct {
	ca    *cert.CA
	roots *x509.CertPool
	// issuers knows none: certificates have roots.
	issuers *trust.Table

	mu      sync.Mutex
	revoked []cert.Entry
	devices map[string]certifiedDevice
}

func newCertificateService(t *testing.T) *certificateService {
	t.Helper()
	now := time.Now()
	key, err := newP256()
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(nil, key, cert.CATemplate{Domain: "example.com", Name: "root", From: now.Add(-time.Hour), Until: now.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: key, Domain: "example.com", CRL: "https://id.example.com/crl/1", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	issuers, err := trust.NewTable(trust.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &certificateService{ca: ca, roots: x509.NewCertPool(), issuers: issuers, devices: make(map[string]certifiedDevice)}
	s.roots.AddCert(root)
	return s
}

// A certifiedDevice is a device with the key that it has in the group, and with its chain.
type certifiedDevice struct {
	Private      []byte   `json:"private"`
	Public       []byte   `json:"public"` // as in a leaf
	Certificates [][]byte `json:"certificates"`
	serial       *big.Int
}

// device returns a device with its key and certificate, which are made for a new name.
func (s *certificateService) device(_ context.Context, in struct{ Name string }) (certifiedDevice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.devices[in.Name]; ok {
		return known, nil
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return certifiedDevice{}, err
	}
	id, err := claims.ParseIdentity(claims.Parser{}, "im:"+in.Name+"@example.com;id-type=user", "im:%40"+in.Name+"@example.com", "im:"+in.Name+"/1@example.com")
	if err != nil {
		return certifiedDevice{}, err
	}
	now := time.Now()
	c, err := s.ca.Issue(cert.Template{Shape: cert.Combined, Identity: id, Key: public, From: now.Add(-time.Minute), Until: now.AddDate(0, 1, 0)})
	if err != nil {
		return certifiedDevice{}, err
	}
	s.devices[in.Name] = certifiedDevice{private.Seed(), public, [][]byte{c.Raw}, c.SerialNumber}
	return s.devices[in.Name], nil
}

// revoke ends the certificate of a device.
func (s *certificateService) revoke(ctx context.Context, in struct{ Name string }) (struct{}, error) {
	d, err := s.device(ctx, in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.revoked = append(s.revoked, cert.Entry{Serial: d.serial, At: time.Now(), Reason: cert.CessationOfOperation})
	}
	return struct{}{}, err
}

func (s *certificateService) validate(ctx context.Context, in mlsLeaf) (mlsAnswer, error) {
	c, err := mls.Parse(in.Credential)
	if err != nil {
		return mlsAnswer{}, err
	}
	got, err := mls.Validate(ctx, c, mls.Leaf{CipherSuite: 1, SignatureKey: in.Key, Room: mlsRoom}, mls.Options{
		Options:   credential.Options{Issuers: s.issuers, Development: true},
		Verifiers: map[mls.Type]mls.Verifier{mls.X509: mls.Certificates(cert.Roots{"example.com": s.roots}, s)},
	})
	var refused *credential.Error
	switch {
	case err == nil:
		return mlsAnswer{true, got.Identity.Handle.Native()}, nil
	case errors.As(err, &refused):
		return mlsAnswer{false, strings.TrimSpace(refused.Part + " " + string(refused.Code))}, nil
	}
	return mlsAnswer{}, err
}

// CRL returns the list of now.
func (s *certificateService) CRL(context.Context, *x509.Certificate, []string) (*cert.CRL, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	der, err := s.ca.SignCRL(cert.List{Number: big.NewInt(1), From: now, Until: now.Add(time.Hour), Entries: s.revoked})
	if err != nil {
		return nil, err
	}
	list, err := cert.ParseCRL(der)
	if err == nil {
		err = list.Verify(s.ca.Certificate(), now)
	}
	return list, err
}
