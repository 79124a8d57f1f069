package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// certified is the settings of an issuer that speaks TLS itself.
const certified = `
issuer: https://id.acme.im/chat
listen: 127.0.0.1:0
kek_file: kek
tls: {cert_file: cert.pem, key_file: key.pem}
domains:
  - name: acme.im
    providers:
      - {id: corp, issuer: https://login.acme.im, client_id: issuer, authoritative_handles: true}
`

// An authority gives certificates to the issuer of a test.
type authority struct {
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	roots  *x509.CertPool
	serial int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: cert, roots: x509.NewCertPool(), serial: 100}
	a.roots.AddCert(cert)
	return a
}

// issue makes a certificate of the next serial number and its key, PEM.
func (a *authority) issue(t *testing.T) (serial int64, cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"id.acme.im"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return a.serial, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// renew puts a new certificate and its key in the place of the old ones, one file after the other, as programs do that
// renew certificates.
func (a *authority) renew(t *testing.T, folder string) (serial int64) {
	t.Helper()
	serial, cert, key := a.issue(t)
	replace(t, filepath.Join(folder, "cert.pem"), cert)
	replace(t, filepath.Join(folder, "key.pem"), key)
	return serial
}

// replace puts a file in the place of another in one moment.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// newCertified makes an issuer that speaks TLS, whose certificates an authority gives.
func newCertified(t *testing.T) (*victim, *authority) {
	t.Helper()
	v, a := &victim{folder: t.TempDir()}, newAuthority(t)
	a.renew(t, v.folder)
	for name, content := range map[string]string{"issuer.yaml": certified, "kek": strings.Repeat("0", 64)} {
		if err := os.WriteFile(filepath.Join(v.folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v, a
}

// client returns what talks to the issuer wherever it listens, over connections of its own.
func (a *authority) client(v *victim, o *tls.Config) *http.Client {
	o.RootCAs = a.roots
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: o,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, v.listen)
		},
	}}
}

// ready asks whether the issuer is, and returns the serial number of the certificate that it showed for that.
func ready(c *http.Client) (int64, *http.Response, error) {
	resp, err := c.Get("https://id.acme.im/chat/readyz")
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp, nil
}

// shows waits until new connections are shown the certificate of a serial number.
func (a *authority) shows(t *testing.T, v *victim, serial int64) {
	t.Helper()
	for range 600 {
		c := a.client(v, &tls.Config{})
		got, _, err := ready(c)
		c.CloseIdleConnections()
		if err != nil {
			t.Fatalf("%v\n%s", err, v.log(t))
		}
		if got == serial {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("certificate %d is not shown\n%s", serial, v.log(t))
}

// logs waits until the issuer has logged something n times.
func (v *victim) logs(t *testing.T, what string, n int) {
	t.Helper()
	for range 600 {
		if strings.Count(v.log(t), what) >= n {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no %q, %d times, in\n%s", what, n, v.log(t))
}

// TestTLS holds what the issuer speaks where it has a certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	v, a := newCertified(t)
	v.start(t)
	_, resp, err := ready(a.client(v, &tls.Config{}))
	if err != nil || resp.ProtoMajor != 2 || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("readyz = %+v, %v, want HTTP/2 and TLS 1.3", resp, err)
	}
	if _, resp, err := ready(a.client(v, &tls.Config{MaxVersion: tls.VersionTLS12})); err != nil || resp.TLS.Version != tls.VersionTLS12 {
		t.Errorf("readyz by TLS 1.2 = %v, want an answer", err)
	}
	if _, _, err := ready(a.client(v, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})); err == nil {
		t.Error("readyz by TLS 1.1 = an answer, want none")
	}
	if resp, err := http.Get("http://" + v.listen + "/chat/readyz"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("readyz by http = %v, %v, want 400", resp, err)
	}
	v.stop(t)
}

// TestTLSRenewal renews the certificate again and again while requests are under way: none fails, over connections
// that last and over new ones. What is no certificate is not taken.
func TestTLSRenewal(t *testing.T) {
	t.Parallel()
	v, a := newCertified(t)
	v.start(t)
	done := make(chan struct{})
	var working sync.WaitGroup
	pace := time.NewTicker(2 * time.Millisecond) // the renewals take seconds, in which other tests need the processors
	defer pace.Stop()
	for i := range 4 {
		working.Go(func() {
			c := a.client(v, &tls.Config{})
			for {
				select {
				case <-done:
					return
				case <-pace.C:
				}
				if _, _, err := ready(c); err != nil {
					t.Errorf("readyz = %v", err)
					return
				}
				if i%2 == 0 {
					c.CloseIdleConnections()
				}
			}
		})
	}
	var serial int64
	for range 3 {
		serial = a.renew(t, v.folder)
		a.shows(t, v, serial)
	}

	_, cert, key := a.issue(t)
	const kept = "the new certificate is no good: the one before is shown"
	for n, broken := range [][2][]byte{
		{cert, nil},                     // the key of another, which stays
		{[]byte("no certificate"), nil}, // half of a file
		{cert[:len(cert)/2], key},
	} {
		replace(t, filepath.Join(v.folder, "cert.pem"), broken[0])
		if broken[1] != nil {
			replace(t, filepath.Join(v.folder, "key.pem"), broken[1])
		}
		v.logs(t, kept, n+1)
		a.shows(t, v, serial)
	}
	if err := os.Remove(filepath.Join(v.folder, "key.pem")); err != nil {
		t.Fatal(err)
	}
	v.logs(t, kept, 4)
	_, cert, key = a.issue(t)
	replace(t, filepath.Join(v.folder, "cert.pem"), cert)
	if err := os.WriteFile(filepath.Join(v.folder, "key.pem"), key, 0o644); err != nil {
		t.Fatal(err)
	}
	v.logs(t, "key.pem is open to every user (mode 0644)", 1)
	a.shows(t, v, serial)
	if err := os.Chmod(filepath.Join(v.folder, "key.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.shows(t, v, a.serial)

	close(done)
	working.Wait()
	v.end(t)
}
