package sdjwt_test

import (
	"crypto"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
)

// beside times fn and, in turn with it, the floor. It returns how many floors fn costs: medians, so that a few times that other programs
// on the machine have made long do not count.
func beside(b *testing.B, fn, floor func() error) float64 {
	var works, floors []time.Duration
	timed := func(list *[]time.Duration, fn func() error) {
		began := time.Now()
		err := fn()
		*list = append(*list, time.Since(began))
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		timed(&floors, floor)
		b.StartTimer()
		timed(&works, fn)
	}
	slices.Sort(works)
	slices.Sort(floors)
	return float64(works[len(works)/2]) / float64(floors[len(floors)/2])
}

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
	ratio := beside(b, func() error {
		_, err := sdjwt.Verify(b.Context(), text, o)
		return err
	}, func() error { return jose.Verify(jose.ES256, key, input, signature) })
	b.ReportMetric(ratio, "V")
}

// BenchmarkSign makes a credential and, in the same run, one bare P-256 signature, S. It reports what making costs in S.
func BenchmarkSign(b *testing.B) {
	key := issuers[home].key.(deterministic).PrivateKey // signs with randomness, as an issuer's does
	issuer := &author{"im-id-1", jose.ES256, key}
	v := vc()
	sum := make([]byte, 32)
	ratio := beside(b, func() error {
		_, err := v.Sign(issuer, nil)
		return err
	}, func() error {
		_, err := key.Sign(rand.Reader, sum, crypto.SHA256)
		return err
	})
	b.ReportMetric(ratio, "S")
}

// BenchmarkPresent makes a presentation with a P-256 key and, in the same run, one bare P-256 signature, S.
func BenchmarkPresent(b *testing.B) {
	v := vc()
	v.Key = laptop.key.Public()
	token := issue(b, v)
	key := laptop.key.(deterministic).PrivateKey
	sum := make([]byte, 32)
	ratio := beside(b, func() error {
		_, err := token.Present(key, sdjwt.Binding{Audience: room, Nonce: nonce}, now, "handle")
		return err
	}, func() error {
		_, err := key.Sign(rand.Reader, sum, crypto.SHA256)
		return err
	})
	b.ReportMetric(ratio, "S")
}

// What verifying allocates has a ceiling; 38 allocations are crypto/ecdsa's.
func TestVerifyAllocations(t *testing.T) {
	v := vc()
	v.Key = laptop.key.Public()
	text := present(t, issue(t, v), laptop, "handle")
	o := options()
	n := testing.AllocsPerRun(100, func() {
		if _, err := sdjwt.Verify(t.Context(), text, o); err != nil {
			t.Fatal(err)
		}
	})
	const most = 95
	if n > most {
		t.Errorf("verifying a presentation makes %v allocations, want at most %v", n, most)
	}
}
