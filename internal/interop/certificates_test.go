package interop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"slices"
	"testing"
	"time"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
)

// A hierarchy is a domain's root and issuing CA, and a certificate of each shape.
type hierarchy struct {
	root, issuing *x509.Certificate
	shapes        map[string]*x509.Certificate
	list          []byte // the revocation list of the issuing CA, with the combined certificate
}

// The identifiers of the certificates, by the form of the URIs: user, handle, device.
var certified = map[string][3]string{
	"im":   {"im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user", "im:%40alice@example.com", "im:3h3aNq0mWk2o1c8vXfYJrg/72b@example.com"},
	"mimi": {"mimi://example.com/u/3h3aNq0mWk2o1c8vXfYJrg", "mimi://example.com/u/alice", "mimi://example.com/d/3h3aNq0mWk2o1c8vXfYJrg/72b"},
}

// belowUser is the shape of a device below a user's CA.
const belowUser = "device"

func newHierarchy(t *testing.T, form string, newKey func() (crypto.Signer, error)) hierarchy {
	t.Helper()
	key := func() crypto.Signer {
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	must := func(c *x509.Certificate, err error) *x509.Certificate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	authority := func(c *x509.Certificate, key crypto.Signer) *cert.CA {
		ca, err := cert.NewCA(cert.CAConfig{Certificate: c, Key: key, Domain: "example.com", CRL: "https://im-id.example.com/crl/1", Development: true})
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	now := time.Now()
	rootKey, caKey, userKey := key(), key(), key()
	template := cert.CATemplate{Domain: "example.com", Name: "IM root CA", MIMI: form == "mimi", PathLen: 2, From: now, Until: now.AddDate(10, 0, 0)}
	h := hierarchy{root: must(cert.NewRoot(nil, rootKey, template)), shapes: make(map[string]*x509.Certificate)}
	template.Name, template.PathLen, template.Until = "IM issuing CA", 1, now.AddDate(1, 0, 0)
	h.issuing = must(authority(h.root, rootKey).IssueCA(caKey.Public(), template))
	id, err := claims.ParseIdentity(claims.Parser{}, certified[form][0], certified[form][1], certified[form][2])
	if err != nil {
		t.Fatal(err)
	}
	ca := authority(h.issuing, caKey)
	for _, shape := range cert.Shapes {
		public := key().Public()
		if shape == cert.UserCA {
			public = userKey.Public()
		}
		h.shapes[string(shape)] = must(ca.Issue(cert.Template{Shape: shape, Identity: id, Key: public, From: now, Until: now.AddDate(0, 1, 0)}))
	}
	h.shapes[belowUser] = must(cert.SignDevice(nil, h.shapes[string(cert.UserCA)], userKey, cert.DeviceTemplate{
		Device: id.Device, Key: key().Public(), From: now, Until: now.AddDate(0, 1, 0), Development: true,
	}))
	h.list, err = ca.SignCRL(cert.List{Number: big.NewInt(1), From: now, Until: now.AddDate(0, 0, 1), Entries: []cert.Entry{
		{Serial: h.shapes[string(cert.Combined)].SerialNumber, At: now, Reason: cert.CessationOfOperation},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newP256() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(nil)
	return key, err
}

// zlint finds nothing in any certificate or revocation list by its rules of RFC 5280, except that the address of the list is https.
func TestLint(t *testing.T) {
	const https = "w_distribution_point_missing_ldap_or_uri"
	rules, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{lint.RFC5280}})
	if err != nil || len(rules.Names()) < 100 {
		t.Fatalf("%d rules, %v", len(rules.Names()), err)
	}
	check := func(name string, set *zlint.ResultSet) {
		for rule, result := range set.Results {
			if result.Status > lint.Pass && rule != https {
				t.Errorf("%s: %s: %v %s", name, rule, result.Status, result.Details)
			}
		}
	}
	for form := range certified {
		for kind, newKey := range map[string]func() (crypto.Signer, error){"P-256": newP256, "Ed25519": newEd25519} {
			h := newHierarchy(t, form, newKey)
			h.shapes["root"], h.shapes["issuing"] = h.root, h.issuing
			for shape, c := range h.shapes {
				read, err := zcrypto.ParseCertificate(c.Raw)
				if err != nil {
					t.Fatal(err)
				}
				check(form+" "+kind+" "+shape, zlint.LintCertificateEx(read, rules))
			}
			list, err := zcrypto.ParseRevocationList(h.list)
			if err != nil {
				t.Fatal(err)
			}
			check(form+" "+kind+" list", zlint.LintRevocationListEx(list, rules))
		}
	}
}

// npm @peculiar/x509 builds the chains of both kinds, verifies each signature, and prints the same names.
func TestCertificatesInJavaScript(t *testing.T) {
	for form, uris := range certified {
		for shape, want := range map[string]struct {
			san, ian []string
			above    []string
		}{
			string(cert.Combined): {san: []string{uris[2], uris[0], uris[1]}},
			belowUser:             {san: []string{uris[2]}, ian: []string{uris[0]}, above: []string{string(cert.UserCA)}},
		} {
			t.Run(form+" "+shape, func(t *testing.T) {
				h := newHierarchy(t, form, newEd25519)
				chain := []*x509.Certificate{h.shapes[shape]}
				for _, name := range want.above {
					chain = append(chain, h.shapes[name])
				}
				chain = append(chain, h.issuing, h.root)
				var serials []string
				given := [][]byte{chain[0].Raw}
				for _, c := range chain {
					serials = append(serials, c.SerialNumber.Text(16))
				}
				for _, c := range slices.Backward(chain[1:]) {
					given = append(given, c.Raw)
				}
				text, err := json.Marshal(given)
				if err != nil {
					t.Fatal(err)
				}
				out, err := node(t, t.Context(), "certificates.mjs", map[string]string{"CERTIFICATES": string(text)}).Output()
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
				for i, serial := range got.Chain {
					n, ok := new(big.Int).SetString(serial, 16)
					if !ok {
						t.Fatalf("serial number %q", serial)
					}
					got.Chain[i] = n.Text(16)
				}
				if !slices.Equal(got.Chain, serials) || slices.Contains(got.Verified, false) || len(got.Verified) != len(serials) {
					t.Errorf("the library builds %v, verified: %v, want %v", got.Chain, got.Verified, serials)
				}
				if !slices.Equal(got.SAN, typed(want.san)) || !slices.Equal(got.IAN, typed(want.ian)) {
					t.Errorf("the library reads %v and %v, want %v and %v", got.SAN, got.IAN, want.san, want.ian)
				}
			})
		}
	}
}

// typed returns URIs as the library prints them.
func typed(uris []string) [][2]string {
	var list [][2]string
	for _, uri := range uris {
		list = append(list, [2]string{"url", uri})
	}
	return list
}
