package cert_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

// floor is what one Ed25519 verification and one signature cost, in this very run.
func floor(b *testing.B) (verify, sign time.Duration) {
	b.Helper()
	private, message := key("floor"), make([]byte, 600) // about a certificate
	const n = 500
	var signature []byte
	start := time.Now()
	for range n {
		signature = ed25519.Sign(private, message)
	}
	sign = time.Since(start) / n
	public := private.Public().(ed25519.PublicKey)
	start = time.Now()
	for range n {
		if !ed25519.Verify(public, message, signature) {
			b.Fatal("the signature does not verify")
		}
	}
	return time.Since(start) / n, sign
}

// BenchmarkVerify verifies chains, beside the signatures that this cannot do without: one for each certificate.
func BenchmarkVerify(b *testing.B) {
	f := newFixture(b)
	list, err := cert.ParseCRL(f.issuing.crl(b, nil))
	if err != nil {
		b.Fatal(err)
	}
	o := options(map[string]party{"example.com": f.root})
	checked := o
	checked.Unchecked, checked.CRLs = false, verified{list}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		o     cert.Options
	}{
		"Combined": {[]*x509.Certificate{f.issuing.issue(b, cert.Combined, f.id, crlAt), f.issuing.Certificate}, o},
		"Status":   {[]*x509.Certificate{f.issuing.issue(b, cert.Combined, f.id, crlAt), f.issuing.Certificate}, checked},
		"Cascade":  {[]*x509.Certificate{f.user.signDevice(b, alicePhone), f.user.Certificate, f.issuing.Certificate}, o},
	} {
		b.Run(name, func(b *testing.B) {
			chain := chainOf(c.chain...)
			verify, _ := floor(b)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := cert.Verify(b.Context(), chain, c.o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(verify)/float64(len(chain)), "x-bare-verify")
		})
	}
}

// BenchmarkIssue issues certificates, beside the signature of one.
func BenchmarkIssue(b *testing.B) {
	f := newFixture(b)
	ca := f.issuing.ca(b, crlAt)
	template := cert.Template{Shape: cert.Combined, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)}
	_, sign := floor(b)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, err := ca.Issue(template); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(sign), "x-bare-sign")
}

// BenchmarkCRL signs and reads a list of 10,000 certificates.
func BenchmarkCRL(b *testing.B) {
	f := newFixture(b)
	ca := f.issuing.ca(b, "")
	l := cert.List{Number: bigInt(1), From: now, Until: now.Add(day)}
	for i := range int64(10_000) {
		l.Entries = append(l.Entries, cert.Entry{Serial: bigInt(i<<40 + 1), At: now, Reason: cert.CessationOfOperation})
	}
	der, err := ca.SignCRL(l)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := ca.SignCRL(l); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(der))/10_000, "B/entry")
	})
	b.Run("Parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := cert.ParseCRL(der); err != nil {
				b.Fatal(err)
			}
		}
	})
}
