package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A signed is a JWS, and the key that signed it.
type signed struct {
	key *ecdsa.PrivateKey
	jws *jose.JWS
}

func newSigned(t testing.TB) signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(text, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return signed{key, jws}
}

// show verifies s so many times.
func (s signed) show(t testing.TB, tables *jose.Tables, many int) {
	t.Helper()
	for range many {
		if err := tables.VerifyJWS(s.jws, jose.ES256, s.key.Public()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWycheproofTables holds tables to the vectors of ES256, each key with its table made before.
func TestWycheproofTables(t *testing.T) {
	for _, group := range readWycheproof(t, "ecdsa_secp256r1_sha256_p1363_test.json").Groups {
		key, err := jose.ParseJWK(group.JWK)
		if err != nil {
			t.Fatal(err)
		}
		tables := jose.NewTables(1, nil)
		if err := tables.Prepare(key.Public.(*ecdsa.PublicKey)); err != nil || tables.Len() != 1 {
			t.Fatal(tables.Len(), err)
		}
		for _, tt := range group.Tests {
			err := tables.Verify(group.Alg, key.Public, unhex(t, tt.Msg), unhex(t, tt.Sig))
			if want := tt.Result == "valid"; (err == nil) != want || !want && !errors.Is(err, jose.ErrSignature) {
				t.Errorf("test %d, %s: Verify = %v, want accepted: %v", tt.ID, tt.Comment, err, want)
			}
		}
	}
}

// TestTables holds when a key gets a table, and when it loses it.
func TestTables(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tables := jose.NewTables(2, func() time.Time { return now })
	want := func(n int) {
		t.Helper()
		if got := tables.Len(); got != n {
			t.Fatalf("%d tables, want %d", got, n)
		}
	}
	a, b, c := newSigned(t), newSigned(t), newSigned(t)
	a.show(t, tables, 15)
	want(0)
	now = now.Add(time.Minute) // the signatures before that do not count
	a.show(t, tables, 15)
	want(0)
	for range 100 { // and neither do those that do not verify
		if err := tables.VerifyJWS(a.jws, jose.ES256, b.key.Public()); !errors.Is(err, jose.ErrSignature) {
			t.Fatalf("a signature by another key: %v", err)
		}
	}
	want(0)
	a.show(t, tables, 1)
	want(1)
	b.show(t, tables, 16)
	want(2)
	for _, wrong := range []struct {
		name, alg string
		key       any
	}{
		{"another key", jose.ES256, b.key.Public()}, {"another algorithm", jose.ES384, a.key.Public()}, {"none", "none", a.key.Public()},
		{"no key", jose.ES256, (*ecdsa.PublicKey)(nil)}, {"a private key", jose.ES256, a.key}, {"an empty key", jose.ES256, &ecdsa.PublicKey{}},
	} {
		if err := tables.VerifyJWS(a.jws, wrong.alg, wrong.key); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", wrong.name, err)
		}
	}
	now = now.Add(30 * time.Second)
	a.show(t, tables, 1)
	wantKept(t, tables, a, b)
	c.show(t, tables, 16) // all tables were used within a minute
	wantNone(t, tables, c)
	now = now.Add(time.Minute)
	a.show(t, tables, 1)
	c.show(t, tables, 16) // b, the one that was not used for longest, goes
	want(2)
	wantKept(t, tables, a, c)
	wantNone(t, tables, b)
	for name, s := range map[string]signed{"with a table": a, "without": b} {
		text := s.jws.Encode()
		other := []byte(text)
		if at := len(other) - 10; other[at] == 'A' {
			other[at] = 'B'
		} else {
			other[at] = 'A'
		}
		jws, err := jose.ParseCompact(string(other), jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tables.VerifyJWS(jws, jose.ES256, s.key.Public()); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("%s: a changed signature: %v, want ErrSignature", name, err)
		}
	}
}

// wantKept wants keys to have a table, and wantNone wants them to have none.
func wantKept(t *testing.T, tables *jose.Tables, keys ...signed) {
	t.Helper()
	for i, s := range keys {
		if !tables.Has(&s.key.PublicKey) {
			t.Errorf("key %d has no table", i)
		}
	}
}

func wantNone(t *testing.T, tables *jose.Tables, keys ...signed) {
	t.Helper()
	for i, s := range keys {
		if tables.Has(&s.key.PublicKey) {
			t.Errorf("key %d has a table", i)
		}
	}
}

// TestTablesMemory holds that keys which anybody can send take no more than [jose.TableBytes] for each table that there may be.
func TestTablesMemory(t *testing.T) {
	const keys = 32
	tables := jose.NewTables(keys, nil)
	keep := make([]signed, 3*keys)
	for i := range keep {
		keep[i] = newSigned(t)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for _, s := range keep {
		s.show(t, tables, 16)
	}
	for range 20 * keys { // keys that are seen once
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jose.Sign(key, jose.ES256, []byte(accessToken.header), []byte(accessToken.payload))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseCompact(text, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		signed{key, jws}.show(t, tables, 1)
	}
	used := int64(heap()) - int64(before)
	runtime.KeepAlive(keep)
	if tables.Len() != keys || used > keys*jose.TableBytes {
		t.Errorf("%d tables take %d bytes, want %d, and at most %d", tables.Len(), used, keys, keys*jose.TableBytes)
	}
}

// TestTablesInFIPSMode runs itself in FIPS 140-3 mode, in which no key gets a table.
func TestTablesInFIPSMode(t *testing.T) {
	if !fips140.Enabled() {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTablesInFIPSMode$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestTablesInFIPSMode")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	tables := jose.NewTables(1, nil)
	newSigned(t).show(t, tables, 40)
	if tables.Len() != 0 {
		t.Errorf("%d tables, want none", tables.Len())
	}
}

// TestRaceTables verifies valid and other signatures, by one key after another, in several goroutines at once: tables come and go, and no
// answer is wrong.
func TestRaceTables(t *testing.T) {
	var ticks atomic.Int64 // of half a second, one for each look at the clock, so that tables lose their places
	tables := jose.NewTables(2, func() time.Time { return time.Unix(1_800_000_000, ticks.Add(1)*int64(time.Second/2)) })
	keys := []signed{newSigned(t), newSigned(t), newSigned(t)}
	var accepted, refused atomic.Int64
	for n, s := range keys {
		other := keys[(n+2)%3]
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for range 80 {
					if tables.VerifyJWS(s.jws, jose.ES256, s.key.Public()) == nil {
						accepted.Add(1)
					}
					if tables.VerifyJWS(s.jws, jose.ES256, other.key.Public()) != nil {
						refused.Add(1)
					}
				}
			})
		}
		wait.Wait()
	}
	if accepted.Load() != 960 || refused.Load() != 960 {
		t.Errorf("accepted %d, refused %d, want 960 of each", accepted.Load(), refused.Load())
	}
	wantKept(t, tables, keys[1], keys[2])
	wantNone(t, tables, keys[0])
}

// BenchmarkTables verifies an access token by a key that has a table and, in the same run, the bare signature by crypto/ecdsa.
func BenchmarkTables(b *testing.B) {
	s := newSigned(b)
	tables := jose.NewTables(1, nil)
	s.show(b, tables, 16)
	compare(b, "x-bare-verify", func() { s.show(b, tables, 1) }, func() {
		if err := s.jws.Verify(jose.ES256, s.key.Public()); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkTable makes a table and, in the same run, verifies a signature.
func BenchmarkTable(b *testing.B) {
	s := newSigned(b)
	compare(b, "x-bare-verify", func() {
		if err := jose.NewTables(1, nil).Prepare(&s.key.PublicKey); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if err := s.jws.Verify(jose.ES256, s.key.Public()); err != nil {
			b.Fatal(err)
		}
	})
}
