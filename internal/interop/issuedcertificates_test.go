package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/trust"
)

// A certifier is a running issuer with a CA.
type certifier struct {
	issuer, data, binary string
	root                 *x509.Certificate
	rootFile             string
	lists                *cert.CRLReader
	issuers              *trust.Table // knows none: certificates have roots

	mu      sync.Mutex
	members map[string]member
}

// A member is a device with the key that it has in a group.
type member struct {
	certifiedDevice
	device claims.ID
}

// startCertifier makes a CA and starts an issuer that uses it.
func startCertifier(t *testing.T, ctx context.Context, form string) *certifier {
	t.Helper()
	dir := t.TempDir()
	c := &certifier{data: filepath.Join(dir, "data"), binary: program(t, "./cmd/issuer"), rootFile: filepath.Join(dir, "ca/root.pem"),
		members: make(map[string]member)}
	c.run(t, ctx, "ca", "init", filepath.Join(dir, "ca"), "--domain", "example.com", "--uri", form, "--alg", "EdDSA", "--user-cas", "--development")
	write(t, dir, map[string]string{"settings.yaml": fmt.Sprintf(
		"domains: [{name: example.com, uri: %s, ca: {cert_file: ca/ca.pem, key_file: ca/ca-key.pem, user_cas: true}}]\n", form)})
	c.issuer = ready(t, exec.CommandContext(ctx, c.binary, "serve", "--dev", "--config", filepath.Join(dir, "settings.yaml"), "--data", c.data,
		"--listen", "127.0.0.1:0", "--dev-idp-listen", "127.0.0.1:0", "--log-format", "json"), "issuer")
	text, err := os.ReadFile(c.rootFile)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.ParsePEM(text)
	if err == nil {
		c.root, err = x509.ParseCertificate(list[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	// The lists are fetched anew each time.
	c.lists, err = cert.NewCRLReader(cert.CRLReaderConfig{Client: http.DefaultClient, AllowHTTP: true, Fresh: time.Nanosecond, MaxStale: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if c.issuers, err = trust.NewTable(trust.Config{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *certifier) run(t *testing.T, ctx context.Context, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, c.binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("issuer %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// login gets a credential of each configuration for a key, in a login of its own.
func (c *certifier) login(t *testing.T, ctx context.Context, person string, key crypto.Signer, configurations ...string) ([]string, claims.ID) {
	t.Helper()
	app, _ := newClient(t, ctx, c.issuer, "im-app", "")
	tokens := logIn(t, ctx, app, url.Values{"scope": {"im:credential"}, "resource": {c.issuer}, "max_age": {"300"}}, "text", person)
	var set struct{ Device string }
	payload(t, tokens.AccessToken, &set)
	device, err := claims.Parse(set.Device)
	if err != nil {
		t.Fatal(err)
	}
	return credentialsFor(t, ctx, app, c.issuer, tokens.AccessToken, key, configurations...), device
}

// credentialsFor gets a credential of each configuration for a key.
func credentialsFor(t *testing.T, ctx context.Context, app *client.Client, issuer, token string, key crypto.Signer, configurations ...string) []string {
	t.Helper()
	meta, err := client.DiscoverCredentials(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	prover, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, configuration := range configurations {
		list, err := app.Credentials(ctx, meta, client.CredentialRequest{Configuration: configuration, AccessToken: token, Keys: []*dpop.Signer{prover}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list[0])
	}
	return all
}

// get gets a certificate of each shape for a key, in a login of its own.
func (c *certifier) get(t *testing.T, ctx context.Context, person string, key crypto.Signer, shapes ...cert.Shape) ([][][]byte, claims.ID) {
	t.Helper()
	var configurations []string
	for _, shape := range shapes {
		configurations = append(configurations, string(shape))
	}
	list, device := c.login(t, ctx, person, key, configurations...)
	var chains [][][]byte
	for _, text := range list {
		chains = append(chains, chainIn(t, text))
	}
	return chains, device
}

// chainIn returns the certificates in a credential of the format im-x5c.
func chainIn(t *testing.T, text string) [][]byte {
	t.Helper()
	var answer struct{ X5C [][]byte }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.X5C) == 0 {
		t.Fatalf("credential = %.40s, %v, want certificates", text, err)
	}
	return answer.X5C
}

// revocationList gets a certificate, and reads the revocation list that it names.
func revocationList(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "im-app", "")
	tokens := logIn(t, ctx, app, url.Values{"scope": {"im:credential"}}, "login", "bob")
	list := credentialsFor(t, ctx, app, issuer, tokens.AccessToken, newKeyring()["EdDSA"], string(cert.Combined))
	leaf, err := x509.ParseCertificate(chainIn(t, list[0])[0])
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, leaf.CRLDistributionPoints[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.ParseCRL(der); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d, %v, want a revocation list", req.URL, resp.StatusCode, err)
	}
}

// TestIssuedCertificates has a running issuer give a certificate of each shape. zlint finds nothing in them by its rules of RFC 5280, OpenSSL
// accepts the chains, but not for TLS, and npm @peculiar/x509 builds that of a device below a user's CA. When the device is removed,
// its certificates are in the list that OpenSSL reads.
func TestIssuedCertificates(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"im", "mimi"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
			defer cancel()
			c := startCertifier(t, ctx, form)
			_, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			chains, device := c.get(t, ctx, "alice", key, cert.Shapes...)
			parse := func(der []byte) *x509.Certificate {
				t.Helper()
				one, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				return one
			}
			user := parse(chains[slices.Index(cert.Shapes, cert.UserCA)][0])
			below, err := cert.SignDevice(nil, user, key, cert.DeviceTemplate{
				Device: device, Key: key.Public(), From: time.Now(), Until: user.NotAfter, Development: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			cascade := append([][]byte{below.Raw}, chains[slices.Index(cert.Shapes, cert.UserCA)]...)
			named := map[string][][]byte{belowUser: cascade}
			for i, shape := range cert.Shapes {
				named[string(shape)] = chains[i]
			}
			rules, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{lint.RFC5280}})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for shape, chain := range named {
				for i, der := range append(chain, c.root.Raw) {
					read, err := zcrypto.ParseCertificate(der)
					if err != nil {
						t.Fatal(err)
					}
					for rule, result := range zlint.LintCertificateEx(read, rules).Results {
						if result.Status > lint.Pass && rule != "w_distribution_point_missing_ldap_or_uri" {
							t.Errorf("%s: certificate %d: %s: %v %s", shape, i, rule, result.Status, result.Details)
						}
					}
				}
				file := filepath.Join(dir, shape+".pem")
				if err := os.WriteFile(file, cert.MarshalPEM(chain...), 0o600); err != nil {
					t.Fatal(err)
				}
				verify := []string{"verify", "-x509_strict", "-CAfile", c.rootFile, "-untrusted", file}
				if out, err := exec.CommandContext(ctx, "openssl", append(verify, file)...).CombinedOutput(); err != nil {
					t.Errorf("%s: openssl verify = %v\n%s", shape, err, out)
				}
				out, err := exec.CommandContext(ctx, "openssl", append(verify, "-purpose", "sslclient", file)...).CombinedOutput()
				if err == nil || !bytes.Contains(out, []byte("unsuitable certificate purpose")) && !bytes.Contains(out, []byte("unsupported certificate purpose")) {
					t.Errorf("%s: openssl verify as a client of TLS = %v\n%s", shape, err, out)
				}
				if shape == string(cert.UserCA) {
					continue // it is no credential
				}
				if out := c.run(t, ctx, "cert", "verify", file, "--root", "example.com="+c.rootFile, "--development"); !strings.Contains(out, "status      not revoked") {
					t.Errorf("%s: issuer cert verify printed\n%s", shape, out)
				}
			}
			c.inJavaScript(t, ctx, cascade)

			c.run(t, ctx, "devices", "remove", device.Device(), "--data", c.data, "--reason", "lost")
			for shape, chain := range named {
				if shape == belowUser {
					continue // it names no list
				}
				leaf := parse(chain[0])
				shown := openssl(t, ctx, leaf.CRLDistributionPoints[0])
				serial := fmt.Sprintf("Serial Number: %X", leaf.SerialNumber.Bytes())
				for _, part := range []string{serial, "Cessation Of Operation", "Issuing Distribution Point: critical", leaf.CRLDistributionPoints[0]} {
					if !strings.Contains(shown, part) {
						t.Errorf("%s: the list has no %q:\n%s", shape, part, shown)
					}
				}
			}
		})
	}
}

// openssl returns what OpenSSL reads in the revocation list at a URL.
func openssl(t *testing.T, ctx context.Context, at string) string {
	t.Helper()
	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	show := exec.CommandContext(ctx, "openssl", "crl", "-inform", "DER", "-noout", "-text")
	show.Stdin = resp.Body
	shown, err := show.Output()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %s, which OpenSSL reads as %q, %v", at, resp.Status, shown, err)
	}
	return string(shown)
}

// inJavaScript has npm @peculiar/x509 build a cascading chain.
func (c *certifier) inJavaScript(t *testing.T, ctx context.Context, chain [][]byte) {
	t.Helper()
	given := append([][]byte{chain[0], c.root.Raw}, chain[1:]...)
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	out, err := node(t, ctx, "certificates.mjs", map[string]string{"CERTIFICATES": string(text)}).Output()
	if err != nil {
		t.Fatalf("certificates.mjs: %v", err)
	}
	var got struct {
		Chain    []string
		Verified []bool
		SAN, IAN [][2]string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	user, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Chain) != len(given) || len(got.Verified) != len(given) || slices.Contains(got.Verified, false) {
		t.Errorf("the library builds %v, verified: %v, want %d certificates", got.Chain, got.Verified, len(given))
	}
	if san, ian := cert.Describe(leaf).Subject, cert.Describe(user).Subject[:1]; !slices.Equal(got.SAN, typed(san)) || !slices.Equal(got.IAN, typed(ian)) {
		t.Errorf("the library reads %v and %v, want %v and %v", got.SAN, got.IAN, san, ian)
	}
}

// TestMLSIssuedCertificates has npm ts-mls 1 form a group with combined certificates of a running issuer. A removed device is out.
func TestMLSIssuedCertificates(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
	defer cancel()
	c := startCertifier(t, ctx, "im")
	routes := http.NewServeMux()
	device := func(ctx context.Context, in struct{ Name string }) (certifiedDevice, error) {
		return c.member(t, ctx, in.Name).certifiedDevice, nil
	}
	routes.HandleFunc("POST /device", answer(t, device))
	routes.HandleFunc("POST /validate", answer(t, c.validate))
	routes.HandleFunc("POST /revoke", answer(t, func(ctx context.Context, in struct{ Name string }) (struct{}, error) {
		c.run(t, ctx, "devices", "remove", c.member(t, ctx, in.Name).device.Device(), "--data", c.data, "--reason", "lost")
		return struct{}{}, nil
	}))
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
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

// member returns a device of a name, with a certificate for a new key. Names that nobody has stand for other devices of Bob.
func (c *certifier) member(t *testing.T, ctx context.Context, name string) member {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.members[name]; ok {
		return known
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	person := "bob"
	if name == "alice" {
		person = name
	}
	chains, device := c.get(t, ctx, person, private, cert.Combined)
	c.members[name] = member{certifiedDevice{Private: private.Seed(), Public: public, Certificates: chains[0]}, device}
	return c.members[name]
}

func (c *certifier) validate(ctx context.Context, in mlsLeaf) (mlsAnswer, error) {
	shown, err := mls.Parse(in.Credential)
	if err != nil {
		return mlsAnswer{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.root)
	got, err := mls.Validate(ctx, shown, mls.Leaf{CipherSuite: 1, SignatureKey: in.Key, Room: mlsRoom}, mls.Options{
		Options:   credential.Options{Issuers: c.issuers, Development: true},
		Verifiers: map[mls.Type]mls.Verifier{mls.X509: mls.Certificates(cert.Roots{"example.com": roots}, c.lists)},
	})
	return leafAnswer(got, err)
}
