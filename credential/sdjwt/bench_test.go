package sdjwt_test

import (
	"crypto"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
)

// BenchmarkVerify verifies a presentation with a handle, and in the same run one bare P-256 signature, V. Issuer and holder have P-256
// keys, so the floor is 2 V. It reports what verifying costs in V, which is not to be more than 2.3.
func BenchmarkVerify(b *testing.B) {
	v := vc()
	v.Key = laptop.key.Public()
	text := present(b, issue(b, v), laptop, "handle")
	o := options()
	signed, _, _ := strings.Cut(text, "~")
	dot := strings.LastIndexByte(signed, '.')
	input, signature := []byte(signed[:dot]), decodeBase64(b, signed[dot+1:])
	var key crypto.PublicKey = issuers[home].key.Public()
	var verifying, checking time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := sdjwt.Verify(b.Context(), text, o); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := jose.Verify(jose.ES256, key, input, signature); err != nil {
			b.Fatal(err)
		}
		verifying += middle.Sub(start)
		checking += time.Since(middle)
	}
	b.ReportMetric(float64(verifying.Nanoseconds())/float64(b.N), "verify-ns/op")
	b.ReportMetric(float64(verifying)/float64(checking), "V")
}

// BenchmarkSign makes a credential and, in the same run, one bare P-256 signature, S. It reports what making costs in S.
func BenchmarkSign(b *testing.B) {
	key := issuers[home].key.(deterministic).PrivateKey // signs with randomness, as an issuer's does
	issuer := &author{"im-id-1", jose.ES256, key}
	v := vc()
	var making, signing time.Duration
	sum := make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := v.Sign(issuer, nil); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if _, err := key.Sign(rand.Reader, sum, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
		making += middle.Sub(start)
		signing += time.Since(middle)
	}
	b.ReportMetric(float64(making.Nanoseconds())/float64(b.N), "sign-ns/op")
	b.ReportMetric(float64(making)/float64(signing), "S")
}

// BenchmarkPresent makes a presentation with an Ed25519 key.
func BenchmarkPresent(b *testing.B) {
	token := issue(b, vc())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Present(phone.key, sdjwt.Binding{Audience: room, Nonce: nonce}, now, "handle"); err != nil {
			b.Fatal(err)
		}
	}
}
