package cwt_test

import (
	"crypto"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/internal/jose"
)

// beside runs work and, in the same run, its floor: the signatures alone. It reports what the work costs beyond them.
func beside(b *testing.B, work, floor func() error) {
	b.Helper()
	var working, signatures time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if err := work(); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := floor(); err != nil {
			b.Fatal(err)
		}
		working += middle.Sub(start)
		signatures += time.Since(middle)
	}
	b.ReportMetric(float64(working.Nanoseconds())/float64(b.N), "work-ns/op")
	b.ReportMetric(float64((working-signatures).Nanoseconds())/float64(b.N), "ns-beyond-floor")
	b.ReportMetric(float64(working)/float64(signatures), "x-floor")
}

// bareVerify verifies one signature of the issuer, and bareSign makes one.
func bareVerify(b *testing.B) func() error {
	input := []byte("floor")
	signature := sign1{key: issuerP256}.sign(input)
	key := issuerP256.Public()
	return func() error { return jose.Verify(jose.ES256, key, input, signature) }
}

func bareSign(*testing.B) func() error {
	digest := sha256.Sum256([]byte("floor"))
	return func() error {
		_, err := issuerP256.Sign(nil, digest[:], crypto.SHA256)
		return err
	}
}

func BenchmarkAccessToken(b *testing.B) {
	set, s := userSet(b), signer(b, "k1", issuerP256)
	data := signed(b, set, phone, "k1", issuerP256)
	b.Logf("%d bytes, %d as text; the claims as JSON %d", len(data), len(cwt.Text(data)), len(set.AppendJSON(nil)))
	b.Run("Sign", func(b *testing.B) {
		beside(b, func() error {
			_, err := cwt.SignAccessToken(set, phone.Public(), s)
			return err
		}, bareSign(b))
	})
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cwt.ParseAccessToken(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Decode", func(b *testing.B) {
		d := cwt.Decoder{Keys: peers}
		beside(b, func() error {
			_, err := d.Decode(b.Context(), data)
			return err
		}, bareVerify(b))
	})
}

func BenchmarkCredential(b *testing.B) {
	vc, s := deviceVC(), signer(b, "k1", issuerP256)
	vc.Key = laptop.Public()
	data := issuedVC(b, vc, "k1", issuerP256)
	shown := presented(b, data, laptop)
	token, err := cwt.Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes, %d with a key binding", len(data), len(shown))
	b.Run("Sign", func(b *testing.B) {
		beside(b, func() error {
			_, err := vc.Sign(s)
			return err
		}, bareSign(b))
	})
	b.Run("Present", func(b *testing.B) {
		beside(b, func() error {
			_, err := token.Present(laptop, cwt.Binding{Audience: verifier, Nonce: nonce}, now)
			return err
		}, bareSign(b))
	})
	b.Run("Verify", func(b *testing.B) {
		floor := bareVerify(b)
		o := options()
		beside(b, func() error {
			_, err := cwt.Verify(b.Context(), shown, o)
			return err
		}, func() error { // two signatures
			if err := floor(); err != nil {
				return err
			}
			return floor()
		})
	})
	b.Run("Refuse", func(b *testing.B) { // what costs no signature
		o := options()
		o.Binding = &cwt.Binding{Audience: verifier, Nonce: []byte("another")}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cwt.Verify(b.Context(), shown, o); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
