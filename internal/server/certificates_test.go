package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/storage"
)

// certified are the domains that have a CA in tests.
var certified = []string{"example.com", "generic.example", "wxyz.example", "wire.example", "xmpp.example", "mimi.example"}

// withCAs returns settings with a CA for each domain, and their roots.
func withCAs(t *testing.T, until time.Time) (fill map[string]string, roots cert.Roots) {
	t.Helper()
	fill, roots = make(map[string]string), make(cert.Roots)
	for _, domain := range certified {
		rootKey, key := caKey(t), caKey(t)
		from := time.Now().AddDate(-1, 0, 0)
		root, err := cert.NewRoot(nil, rootKey, cert.CATemplate{
			Domain: domain, Name: "root", MIMI: domain == "mimi.example", PathLen: 2, From: from, Until: time.Now().AddDate(5, 0, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		authority, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: rootKey, Domain: domain, Development: true})
		if err != nil {
			t.Fatal(err)
		}
		ca, err := authority.IssueCA(key.Public(), cert.CATemplate{
			Domain: domain, Name: "CA", MIMI: domain == "mimi.example", PathLen: 1, From: from, Until: until,
		})
		if err != nil {
			t.Fatal(err)
		}
		roots[domain] = x509.NewCertPool()
		roots[domain].AddCert(root)
		folder := t.TempDir()
		writeCA(t, folder, ca, key)
		fill["ca-"+domain] = fmt.Sprintf("ca: {cert_file: %q, key_file: %q, user_cas: %t}", filepath.Join(folder, "ca.pem"),
			filepath.Join(folder, "ca-key.pem"), domain != "generic.example")
	}
	return fill, roots
}

func caKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writeCA(t *testing.T, folder string, ca *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = errors.Join(os.WriteFile(filepath.Join(folder, "ca.pem"), cert.MarshalPEM(ca.Raw), 0o600),
		os.WriteFile(filepath.Join(folder, "ca-key.pem"), text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// askCertificates asks for a certificate of a shape for each key proof.
func (s *site) askCertificates(t *testing.T, d *device, token string, shape cert.Shape, proofs ...string) answer {
	t.Helper()
	return s.held(t, d, token, http.MethodPost, "/credential", object{
		"credential_configuration_id": string(shape), "proofs": object{"jwt": proofs},
	})
}

// wantChains wants n chains of certificates.
func wantChains(t *testing.T, a answer, n int) (chains [][][]byte) {
	t.Helper()
	var got struct {
		Credentials []struct{ Credential struct{ X5C [][]byte } }
	}
	if a.status == http.StatusOK {
		decode(t, []byte(a.body), &got)
	}
	if a.status != http.StatusOK || len(got.Credentials) != n {
		t.Fatalf("answer = %v, want %d chains", a, n)
	}
	wantNotStored(t, a)
	for _, c := range got.Credentials {
		chains = append(chains, c.Credential.X5C)
	}
	return chains
}

// certificate gets a certificate for a new key.
func (s *site) certificate(t *testing.T, d *device, token string, shape cert.Shape) [][]byte {
	t.Helper()
	return wantChains(t, s.askCertificates(t, d, token, shape, s.keyProof(t, newDevice(t).Signer)), 1)[0]
}

// verifyChain verifies a chain as another party does, which knows the roots, and reads the revocation lists that certificates name.
func (s *site) verifyChain(t *testing.T, roots cert.Roots, chain [][]byte) (credential.Credential, error) {
	t.Helper()
	lists, err := cert.NewCRLReader(cert.CRLReaderConfig{Client: s.http, AllowHTTP: true, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return cert.Verify(t.Context(), chain, cert.Options{Roots: roots, CRLs: lists, Now: s.clock.now, Development: true})
}

// revoked returns the entry of a certificate in the list that it names, and the list.
func (s *site) revoked(t *testing.T, chain [][]byte) (cert.Entry, bool, *cert.CRL) {
	t.Helper()
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	a := s.get(t, c.CRLDistributionPoints[0])
	wantStatus(t, a, http.StatusOK)
	list, err := cert.ParseCRL([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	e, ok := list.Entry(c.SerialNumber)
	return e, ok, list
}

// listed returns how many certificates are in all lists of the CA that issued a certificate.
func (s *site) listed(t *testing.T, chain [][]byte) (n int) {
	t.Helper()
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	at := c.CRLDistributionPoints[0]
	for _, part := range strings.Split("0123456789abcdef", "") {
		list, err := cert.ParseCRL([]byte(s.get(t, at[:len(at)-1]+part).body))
		if err != nil {
			t.Fatal(err)
		}
		n += list.Len()
	}
	return n
}

// TestCertificates gets a certificate of each shape in a domain of each identifier system, and verifies it as another party.
func TestCertificates(t *testing.T) {
	fill, roots := withCAs(t, time.Now().AddDate(1, 0, 0))
	s := start(t, fill)
	s.freshly(t)
	for _, domain := range certified[1:] {
		for _, shape := range cert.Shapes {
			if domain == "generic.example" && shape == cert.UserCA {
				continue
			}
			t.Run(domain+" "+string(shape), func(t *testing.T) {
				d, key := newDevice(t), newDevice(t)
				code := s.code(t, "alice", url.Values{
					"client_id": {manyApp.id}, "im_domain": {domain}, "scope": {"im:handle im:device im:credential"}, "resource": {s.issuer},
				})
				held := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
				own, err := held.set.Identity()
				if err != nil {
					t.Fatal(err)
				}
				proof, err := key.KeyProof(dpop.KeyProofParams{
					Audience: s.issuer, Client: manyApp.id, Nonce: s.nonceForKeys(t), IssuedAt: s.clock.now(),
				})
				if err != nil {
					t.Fatal(err)
				}
				chain := wantChains(t, s.askCertificates(t, d, held.access, shape, proof), 1)[0]
				if len(chain) != 2 {
					t.Fatalf("%d certificates, want that of the device or user, and that of the CA", len(chain))
				}
				want := own
				switch shape {
				case cert.DeviceOnly:
					want = claims.Identity{Device: own.Device}
				case cert.UserOnly:
					want.Device = claims.ID{}
				case cert.UserCA: // its key certifies the device
					user, err := x509.ParseCertificate(chain[0])
					if err != nil {
						t.Fatal(err)
					}
					below, err := cert.SignDevice(nil, user, key.key, cert.DeviceTemplate{
						Device: own.Device, Key: newDevice(t).key.Public(), From: s.clock.now(), Until: user.NotAfter, Development: true,
					})
					if err != nil {
						t.Fatal(err)
					}
					chain = append([][]byte{below.Raw}, chain...)
				}
				c, err := s.verifyChain(t, roots, chain)
				if err != nil {
					t.Fatalf("Verify = %v", err)
				}
				if c.Identity != want || c.Format != credential.X509 || !c.Checked {
					t.Errorf("credential = %+v, want one about %+v", c, want)
				}
				if shape != cert.UserCA && c.JKT != key.JKT() {
					t.Errorf("it is bound to %s, want %s", c.JKT, key.JKT())
				}
				leaf, err := x509.ParseCertificate(chain[len(chain)-2])
				if err != nil {
					t.Fatal(err)
				}
				row, err := s.store.Credential(t.Context(), leaf.SerialNumber.Text(16))
				handle := own.Handle.Local()
				if !shape.HasHandle() {
					handle = ""
				}
				if err != nil || row.User != own.User.Local() && domain != "xmpp.example" || row.Device != own.Device.Device() || row.JKT != key.JKT() ||
					row.Format != "im-x5c" || (row.Handle == "") != (handle == "") || row.CA == "" || !row.ExpiresAt.Equal(leaf.NotAfter) ||
					row.Status != (storage.StatusEntry{}) {
					t.Errorf("row = %+v, %v, want that of the certificate", row, err)
				}
				if bits := leaf.SerialNumber.BitLen(); bits > 126 || bits < 96 {
					t.Errorf("a serial number of %d bits, want 126", bits)
				}
			})
		}
	}
}

// TestCertificateMetadata holds that the metadata lists certificates if a domain has a CA, and users' CAs if a domain makes them.
func TestCertificateMetadata(t *testing.T) {
	all, _ := withCAs(t, time.Now().AddDate(1, 0, 0))
	for name, test := range map[string]struct {
		fill map[string]string
		want []string
	}{
		"no CA": {nil, []string{"im-device"}},
		"a CA": {map[string]string{"ca-generic.example": all["ca-generic.example"]},
			[]string{"im-device", "im-device-only-x5c", "im-device-x5c", "im-user-x5c"}},
		"users' CAs": {all, []string{"im-device", "im-device-only-x5c", "im-device-x5c", "im-user-ca-x5c", "im-user-x5c"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.fill)
			var got struct {
				Configurations map[string]struct {
					Format, Scope, VCT string
					Algs               []string `json:"credential_signing_alg_values_supported"`
				} `json:"credential_configurations_supported"`
			}
			decode(t, []byte(s.get(t, "/.well-known/openid-credential-issuer").body), &got)
			ids := slices.DeleteFunc(slices.Sorted(maps.Keys(got.Configurations)), func(id string) bool { return strings.HasSuffix(id, "cwt") })
			if !slices.Equal(ids, test.want) {
				t.Errorf("configurations = %q, want %q", ids, test.want)
			}
			for id, c := range got.Configurations {
				if strings.HasSuffix(id, "x5c") && (c.Format != "im-x5c" || c.VCT != "" || c.Scope != "im:credential" || !slices.Equal(c.Algs, []string{"ES256"})) {
					t.Errorf("%s = %+v", id, c)
				}
			}
			if test.fill == nil {
				d := newDevice(t)
				own := s.forCredentials(t, d, s.inWallet(t, d, "alice"))
				wantDenied(t, s.askCertificates(t, d, own, cert.Combined, s.keyProofs(t, 1)...), vci.UnknownConfiguration)
				wantStatus(t, s.get(t, "/crl/00000000000000000000000000000000/0"), http.StatusNotFound)
			}
		})
	}
}

// TestCertificateRefused holds who gets no certificate.
func TestCertificateRefused(t *testing.T) {
	fill, _ := withCAs(t, time.Now().AddDate(1, 0, 0))
	delete(fill, "ca-wxyz.example")
	s := start(t, fill)
	many := func(domain string) (*device, string) {
		d := newDevice(t)
		code := s.code(t, "alice", url.Values{
			"client_id": {manyApp.id}, "im_domain": {domain}, "scope": {"im:device im:credential"}, "resource": {s.issuer},
		})
		return d, wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil))).access
	}
	d, token := many("wxyz.example")
	wantDenied(t, s.askCertificates(t, d, token, cert.Combined, s.keyProofs(t, 1)...), vci.Denied) // no CA
	d, token = many("generic.example")
	wantDenied(t, s.askCertificates(t, d, token, cert.UserCA, s.keyProofs(t, 1)...), vci.Denied) // no users' CAs

	phone := newDevice(t)
	own := s.forCredentials(t, phone, s.inWallet(t, phone, "alice"))
	set := claimsOf(t, own)
	set.AuthTime = s.clock.now().Add(-5*time.Minute - time.Second)
	for name, old := range map[string]claims.Set{"long ago": set, "unknown": func() claims.Set { set := set; set.AuthTime = time.Time{}; return set }()} {
		a := s.askCertificates(t, phone, s.signs(t, old), cert.UserCA, s.keyProofs(t, 1)...)
		wantRefused(t, a, http.StatusUnauthorized, "insufficient_user_authentication")
		for _, part := range []string{`error="insufficient_user_authentication"`, `max_age="300"`} {
			if !strings.Contains(a.header.Get("WWW-Authenticate"), part) {
				t.Errorf("%s: challenge = %s, want %s", name, a.header.Get("WWW-Authenticate"), part)
			}
		}
	}
	now := s.justNow(t, own)
	wantDenied(t, s.askCertificates(t, phone, now, cert.UserCA, s.keyProof(t, phone.Signer)), vci.InvalidProof) // the key of the device
	wantChains(t, s.askCertificates(t, phone, now, cert.UserCA, s.keyProofs(t, 1)...), 1)

	// A key of another device, its credential, or a sixth certificate; the formats are counted apart.
	bobs, key := newDevice(t), newDevice(t)
	his := s.forCredentials(t, bobs, s.inWallet(t, bobs, "bob"))
	wantChains(t, s.askCertificates(t, bobs, his, cert.UserOnly, s.keyProof(t, key.Signer)), 1)
	for _, other := range []*device{bobs, key} {
		wantDenied(t, s.askCertificates(t, phone, own, cert.Combined, s.keyProof(t, other.Signer)), vci.InvalidProof)
		wantDenied(t, s.askCredentials(t, phone, own, s.keyProof(t, other.Signer)), vci.InvalidProof)
	}
	wantChains(t, s.askCertificates(t, phone, own, cert.Combined, s.keyProofs(t, 4)...), 4)
	wantDenied(t, s.askCertificates(t, phone, own, cert.DeviceOnly, s.keyProofs(t, 1)...), vci.Denied)
	wantCredentials(t, s.askCredentials(t, phone, own, s.keyProofs(t, 1)...), 1)

	// A proof is used once, for whatever configuration.
	proof := s.keyProof(t, newDevice(t).Signer)
	wantChains(t, s.askCertificates(t, bobs, his, cert.Combined, proof), 1)
	wantDenied(t, s.askCertificates(t, bobs, his, cert.DeviceOnly, proof), vci.InvalidProof)
}

// TestCertificatesOfOneUser holds that nobody makes the revocation list of a domain long.
func TestCertificatesOfOneUser(t *testing.T) {
	fill, _ := withCAs(t, time.Now().AddDate(1, 0, 0))
	s := start(t, fill)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own, id := s.forCredentials(t, phone, held), deviceOf(t, held)
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range vci.MaxCertificates - 1 {
			err := tx.InsertCredential(ctx, storage.Credential{
				ID: fmt.Sprintf("%032x", i+1), Domain: id.Domain(), User: id.Local(), Device: id.Device(), Format: "im-x5c",
				JKT: fmt.Sprint(i), CA: "former", IssuedAt: s.clock.now(), ExpiresAt: s.clock.now().Add(time.Hour),
			})
			if err != nil {
				return err
			}
		}
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: id.Domain(), User: id.Local()}, s.clock.now(), "user_ended")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tablet := newDevice(t)
	other := s.forCredentials(t, tablet, s.inWallet(t, tablet, "alice"))
	wantDenied(t, s.askCertificates(t, tablet, other, cert.Combined, s.keyProofs(t, 2)...), vci.Denied)
	wantChains(t, s.askCertificates(t, tablet, other, cert.Combined, s.keyProofs(t, 1)...), 1)
	wantDenied(t, s.askCertificates(t, phone, own, cert.Combined, s.keyProofs(t, 1)...), vci.Denied)
	wantCredentials(t, s.askCredentials(t, phone, own, s.keyProofs(t, 1)...), 1)
}

// TestCertificateEnds holds that whatever ends a certificate is in the revocation list at once, with its reason, and stays there when
// the user is removed.
func TestCertificateEnds(t *testing.T) {
	fill, roots := withCAs(t, time.Now().AddDate(1, 0, 0))
	s := start(t, fill)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, hers, his := s.inWallet(t, phone, "alice"), s.inWallet(t, tablet, "alice"), s.inWallet(t, bobs, "bob")
	onPhone, onTablet, onBobs := s.forCredentials(t, phone, held), s.forCredentials(t, tablet, hers), s.forCredentials(t, bobs, his)
	combined, device, user := s.certificate(t, phone, onPhone, cert.Combined), s.certificate(t, phone, onPhone, cert.DeviceOnly),
		s.certificate(t, phone, onPhone, cert.UserOnly)
	lost, left := s.certificate(t, tablet, onTablet, cert.DeviceOnly), s.certificate(t, tablet, onTablet, cert.DeviceOnly)
	erased := s.certificate(t, bobs, onBobs, cert.Combined)
	check := func(ended map[*[][]byte]cert.Reason) {
		t.Helper()
		for _, chain := range []*[][]byte{&combined, &device, &user, &lost, &left, &erased} {
			reason, want := ended[chain]
			if e, ok, _ := s.revoked(t, *chain); ok != want || ok && e.Reason != reason {
				t.Errorf("entry = %+v, %t, want %v, %t", e, ok, reason, want)
			}
			_, err := s.verifyChain(t, roots, *chain)
			if want && !isEnded(err) || !want && err != nil {
				t.Errorf("Verify = %v, want it ended: %t", err, want)
			}
		}
		if n := s.listed(t, combined); n != len(ended) {
			t.Errorf("%d entries in all lists, want %d", n, len(ended))
		}
	}
	ended := make(map[*[][]byte]cert.Reason)
	check(ended)
	// With the handle ends what states it, and no more.
	s.rename(t, deviceOf(t, held).Local(), "alison")
	ended[&combined], ended[&user] = cert.AffiliationChanged, cert.AffiliationChanged
	check(ended)
	// The user ends one.
	again := wantTokens(t, s.token(t, wallet, tablet, refreshForm(hers.refresh)))
	account := wantTokens(t, s.token(t, wallet, tablet, s.walletRefresh(again, "account"))).access
	c, err := x509.ParseCertificate(left[0])
	if err != nil {
		t.Fatal(err)
	}
	listed := s.myCredentials(t, tablet, account)
	if v := listed[c.SerialNumber.Text(16)]; v == nil || v["format"] != "im-x5c" || v["state"] != "live" || v["handle"] != nil {
		t.Errorf("credential = %v of %d, want the certificate", v, len(listed))
	}
	wantStatus(t, s.held(t, tablet, account, http.MethodDelete, "/me/credentials/"+c.SerialNumber.Text(16), nil), http.StatusNoContent)
	ended[&left] = cert.Unspecified
	check(ended)
	// The operator says that a key is known to others.
	c, err = x509.ParseCertificate(device[0])
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/credentials/example.com/"+c.SerialNumber.Text(16), url.Values{"reason": {"keyCompromise"}}), http.StatusOK)
	ended[&device] = cert.KeyCompromise
	check(ended)
	// The device is removed.
	s.remove(t, hers.set.Device)
	ended[&lost] = cert.CessationOfOperation
	check(ended)
	// The user is removed for ever.
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/users/"+deviceOf(t, his).Local(), url.Values{"domain": {"example.com"}}), http.StatusOK)
	ended[&erased] = cert.CessationOfOperation
	check(ended)
	s.restart(t, nil)
	check(ended)
	// An entry stays until its certificate has expired, and a while after it.
	s.advance(t, 30*24*time.Hour-time.Minute)
	if n := s.listed(t, erased); n != len(ended) {
		t.Errorf("%d entries before the certificates expire, want %d", n, len(ended))
	}
	s.advance(t, 4*time.Hour)
	if n := s.listed(t, erased); n != 0 {
		t.Errorf("%d entries after the certificates expired, want none", n)
	}
}

// TestRevocationList holds how a revocation list is published.
func TestRevocationList(t *testing.T) {
	fill, _ := withCAs(t, time.Now().AddDate(1, 0, 0))
	s := start(t, fill)
	s.freeze(t)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	chain := s.certificate(t, phone, own, cert.Combined)
	ca, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	_, _, before := s.revoked(t, chain)
	if err := before.Verify(ca, s.clock.now()); err != nil || before.Until.Sub(before.From) != 24*time.Hour || before.Len() != 0 {
		t.Errorf("the list = %+v, %v, want one of the CA for a day, without entries", before, err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	uri := leaf.CRLDistributionPoints[0]
	get := func(header http.Header) answer {
		r := s.request(t, http.MethodGet, uri, "")
		maps.Copy(r.Header, header)
		return s.send(t, s.http, r)
	}
	first := get(nil)
	for name, want := range map[string]string{"Content-Type": "application/pkix-crl", "Cache-Control": "public, max-age=300", "Dpop-Nonce": ""} {
		if got := first.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if a := get(http.Header{"If-None-Match": {first.header.Get("ETag")}}); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("the same list = %v, want 304", a)
	}
	s.rename(t, deviceOf(t, held).Local(), "alison")
	if a := get(http.Header{"If-None-Match": {first.header.Get("ETag")}}); a.status != http.StatusOK {
		t.Errorf("another list = %v, want 200", a)
	}
	_, _, after := s.revoked(t, chain)
	if after.Number.Cmp(before.Number) <= 0 || after.From.Before(before.From) {
		t.Errorf("the number %v follows %v, want it to rise", after.Number, before.Number)
	}
	// Another process makes the same list of the same rows.
	s.restart(t, nil)
	_, _, same := s.revoked(t, chain)
	if same.Number.Cmp(after.Number) != 0 || !same.From.Equal(after.From) || !same.Until.Equal(after.Until) || same.Len() != after.Len() {
		t.Errorf("another process says %v, %v with %d entries, want %v, %v with %d", same.Number, same.From, same.Len(), after.Number, after.From, after.Len())
	}
	s.advance(t, time.Hour)
	if _, _, next := s.revoked(t, chain); next.Number.Cmp(after.Number) <= 0 || !next.From.After(after.From) {
		t.Errorf("an hour later, the number is %v, want more than %v", next.Number, after.Number)
	}
	if !after.About([]string{uri}) || after.About([]string{uri + "0"}) {
		t.Errorf("the list is not about the certificates that name %s alone", uri)
	}
	ca32, part := uri[len(uri)-34:len(uri)-2], uri[len(uri)-2:]
	for _, path := range []string{
		"1" + part, strings.Repeat("0", 32) + part, strings.ToUpper(ca32) + "A" + part, ca32 + "0" + part, strings.Repeat("f", 1000) + part, "%00" + part,
		ca32, ca32 + "/", ca32 + "/g", ca32 + "/A", ca32 + "/00", ca32 + "/%30%30", ca32 + part + "/",
	} {
		wantStatus(t, s.get(t, uri[:len(uri)-34]+path), http.StatusNotFound)
	}
}

// TestCertificateEndsWithItsCA holds that no certificate outlives the CA, and that there is none when the CA has expired.
func TestCertificateEndsWithItsCA(t *testing.T) {
	until := time.Now().Add(10 * 24 * time.Hour).UTC().Truncate(time.Second)
	fill, roots := withCAs(t, until)
	s := start(t, fill)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	chain := s.certificate(t, phone, s.forCredentials(t, phone, held), cert.Combined)
	c, err := s.verifyChain(t, roots, chain)
	if err != nil || !c.Until.Equal(until) {
		t.Errorf("credential until %v, %v, want %v", c.Until, err, until)
	}
	s.advance(t, 11*24*time.Hour)
	held = wantTokens(t, s.token(t, wallet, phone, refreshForm(held.refresh)))
	wantStatus(t, s.askCertificates(t, phone, s.forCredentials(t, phone, held), cert.Combined, s.keyProofs(t, 1)...), http.StatusServiceUnavailable)
}

// withAllCAs are the CAs of the flow that gets a certificate.
func withAllCAs(t *testing.T, s *site) {
	t.Helper()
	fill, _ := withCAs(t, time.Now().AddDate(1, 0, 0))
	s.restart(t, fill)
}

// gettingCertificate gets a certificate and reads the revocation list. In an outage there is no list.
func gettingCertificate(t *testing.T, s *site) []step {
	withAllCAs(t, s)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	list := ""
	ask := func() answer {
		return s.askCertificates(t, phone, own, cert.Combined, s.keyProof(t, newDevice(t).Signer))
	}
	return []step{{
		name: "certificate",
		ask:  ask,
		good: func(a answer) {
			c, err := x509.ParseCertificate(wantChains(t, a, 1)[0][0])
			if err != nil {
				t.Fatal(err)
			}
			list = c.CRLDistributionPoints[0]
		},
		again: func(bool) answer { return ask() },
	}, {
		name:  "revocation list",
		ready: func() { s.restart(t, nil) }, // which has not read the list yet
		ask:   func() answer { return s.get(t, list) },
		good:  func(a answer) { wantStatus(t, a, http.StatusOK) },
	}}
}
