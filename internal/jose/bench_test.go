package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// accessToken is as long as a usual one.
var accessToken = struct{ header, payload string }{
	`{"typ":"at+jwt","alg":"ES256","kid":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`,
	`{"iss":"https://issuer.example","sub":"im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user",` +
		`"handle":"im:%40alice@example.com","device":"im:3h3aNq0mWk2o1c8vXfYJrg/5f2c9a1b3d4e6f70@example.com",` +
		`"aud":"im:example.com","client_id":"im-app","scope":"im:handle im:device",` +
		`"jti":"Zb2m7cYc3m0oYd1h8s2gHA","iat":1767323045,"exp":1767323645,"auth_time":1767323000,` +
		`"sid":"Q0mWk2o1c8vXfYJrg3h3aN","gen":1,` +
		`"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`,
}

// verifyToken reads and verifies an access token as a resource would.
func verifyToken(tb testing.TB, token string, key crypto.PublicKey) {
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := jws.Verify(jose.ES256, key); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkVerify verifies ES256 access tokens and, in the same run, bare P-256 signatures.
func BenchmarkVerify(b *testing.B) {
	key := keys()["P-256"].(*ecdsa.PrivateKey)
	token, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload))
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("payload"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	compare(b, "x-bare-verify", func() { verifyToken(b, token, key.Public()) }, func() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("the bare signature does not verify")
		}
	})
}

// BenchmarkSign signs ES256 access tokens and, in the same run, bare digests.
func BenchmarkSign(b *testing.B) {
	key := keys()["P-256"].(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte("payload"))
	compare(b, "x-bare-sign", func() {
		if _, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload)); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	})
}

// compare measures work, and reports how many times as long as bare it takes.
func compare(b *testing.B, unit string, work, bare func()) {
	b.Helper()
	var worked, bared time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		work()
		worked += time.Since(start)

		b.StopTimer()
		start = time.Now()
		bare()
		bared += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(worked)/float64(bared), unit)
}

// What runs for every request has a ceiling of allocations; 19 of a verification and 63 of a signature are
// crypto/ecdsa's.
func TestAllocations(t *testing.T) {
	key := keys()["P-256"]
	token, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload))
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(100, func() { verifyToken(t, token, key.Public()) }); allocs > 30 {
		t.Errorf("verifying an ES256 token makes %v allocations, want at most 30", allocs)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 75 {
		t.Errorf("signing an ES256 token makes %v allocations, want at most 75", allocs)
	}
}
