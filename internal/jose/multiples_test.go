package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	"filippo.io/nistec"

	"github.com/imidentity/issuer/internal/jose"
)

var (
	n   = elliptic.P256().Params().N
	one = big.NewInt(1)
)

// scalarOf returns the bytes as a number from 1 to n-1.
func scalarOf(b []byte) *big.Int {
	x := new(big.Int).SetBytes(b)
	return x.Mod(x, new(big.Int).Sub(n, one)).Add(x, one)
}

func fixed(x *big.Int) []byte { return x.FillBytes(make([]byte, 32)) }

// times returns k times the generator.
func times(t testing.TB, k *big.Int) *nistec.P256Point {
	t.Helper()
	p, err := nistec.NewP256Point().ScalarBaseMult(fixed(k))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// keyOf returns the public key of the private key d.
func keyOf(t testing.TB, d *big.Int) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), times(t, d).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// craft returns a digest and a signature by d whose verification computes u1 G + u2 Q. If that sum is the point at infinity, R is 1,
// and the signature is not valid.
func craft(t testing.TB, d, u1, u2 *big.Int) (digest, signature []byte) {
	t.Helper()
	k := new(big.Int).Mul(u2, d)
	k.Mod(k.Add(k, u1), n)
	r := big.NewInt(1)
	if k.Sign() != 0 {
		x, err := times(t, k).BytesX()
		if err != nil {
			t.Fatal(err)
		}
		r.Mod(r.SetBytes(x), n)
	}
	s := new(big.Int).ModInverse(u2, n)
	s.Mod(s.Mul(s, r), n)
	e := new(big.Int).Mul(u1, s)
	return fixed(e.Mod(e, n)), append(fixed(r), fixed(s)...)
}

// trusted is how crypto/ecdsa verifies the same.
func trusted(t testing.TB, key *ecdsa.PublicKey, digest, signature []byte) bool {
	t.Helper()
	if len(signature) != 64 {
		return false
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
	if err != nil {
		t.Fatal(err)
	}
	return ecdsa.VerifyASN1(key, digest, der)
}

// agree fails the test if both differ, and returns their result.
func agree(t testing.TB, key *ecdsa.PublicKey, digest, signature []byte) bool {
	t.Helper()
	want := trusted(t, key, digest, signature)
	got, err := jose.VerifyMultiples(key, digest, signature)
	if err != nil || got != want {
		t.Errorf("key %x, digest %x, signature %x: accepted = %v (%v), by crypto/ecdsa %v", must(key.Bytes()), digest, signature, got, err, want)
	}
	return got
}

func must(b []byte, _ error) []byte { return b }

// TestMultiplesEdges holds that multiples of a key accept and refuse what crypto/ecdsa does where additions are special: a point that
// meets itself, its opposite or infinity; and digits at their ends.
func TestMultiplesEdges(t *testing.T) {
	last := new(big.Int).Sub(n, one)
	inverse := func(x *big.Int) *big.Int { return new(big.Int).ModInverse(x, n) }
	scalars := []*big.Int{
		one, big.NewInt(2), big.NewInt(15), big.NewInt(16), big.NewInt(17), big.NewInt(31), big.NewInt(32), big.NewInt(33), big.NewInt(1 << 20),
		last, new(big.Int).Rsh(n, 1), new(big.Int).Lsh(one, 255), new(big.Int).Lsh(big.NewInt(16), 250), new(big.Int).Lsh(big.NewInt(17), 245),
		scalarOf(bytes.Repeat([]byte{0x55}, 32)), scalarOf(bytes.Repeat([]byte{0x84}, 32)), scalarOf(bytes.Repeat([]byte{0xff}, 32)),
	}
	accepted, refused := 0, 0
	for _, d := range scalars {
		key := keyOf(t, d)
		for _, u2 := range scalars {
			product := new(big.Int).Mul(u2, d)
			product.Mod(product, n)
			for _, u1 := range append(slices.Clone(scalars), new(big.Int), product, new(big.Int).Sub(n, product), inverse(d)) {
				digest, signature := craft(t, d, u1, u2)
				infinite := new(big.Int).Add(u1, product)
				if got, want := agree(t, key, digest, signature), infinite.Mod(infinite, n).Sign() != 0; got != want {
					t.Errorf("d %x, u1 %x, u2 %x: accepted = %v, want %v", d, u1, u2, got, want)
				} else if got {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if accepted < 1000 || refused < 100 {
		t.Errorf("%d accepted and %d refused are too few to tell", accepted, refused)
	}
}

// TestMultiplesRange holds that R and S from 1 to n-1 alone are read, in 32 bytes each.
func TestMultiplesRange(t *testing.T) {
	d := big.NewInt(7)
	key := keyOf(t, d)
	digest, valid := craft(t, d, big.NewInt(3), big.NewInt(5))
	if !agree(t, key, digest, valid) {
		t.Fatal("a valid signature is refused")
	}
	r, s := new(big.Int).SetBytes(valid[:32]), new(big.Int).SetBytes(valid[32:])
	all := new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)
	numbers := []*big.Int{new(big.Int), one, new(big.Int).Sub(n, one), n, new(big.Int).Add(n, one), all, elliptic.P256().Params().P}
	for _, x := range []*big.Int{r, s} {
		if more := new(big.Int).Add(x, n); more.BitLen() <= 256 {
			numbers = append(numbers, more)
		}
	}
	for _, x := range numbers {
		for _, signature := range [][]byte{append(fixed(x), valid[32:]...), append(slices.Clone(valid[:32]), fixed(x)...), append(fixed(x), fixed(x)...)} {
			if agree(t, key, digest, signature) {
				t.Errorf("signature %x is accepted", signature)
			}
		}
	}
	if !agree(t, key, digest, append(slices.Clone(valid[:32]), fixed(s.Sub(n, s))...)) {
		t.Error("the signature with the opposite S is refused: crypto/ecdsa accepts it")
	}
	for _, signature := range [][]byte{nil, valid[:63], append(slices.Clone(valid), 0), append([]byte{0}, valid...), valid[:32]} {
		if got, err := jose.VerifyMultiples(key, digest, signature); got || err != nil {
			t.Errorf("a signature of %d bytes: accepted = %v (%v)", len(signature), got, err)
		}
	}
}

// FuzzMultiples: for every key, digest and signature, multiples accept exactly what crypto/ecdsa accepts. Half of the signatures are
// made so that they are valid and use any two factors.
func FuzzMultiples(f *testing.F) {
	f.Add([]byte{7}, []byte{3}, []byte{5}, byte(0), byte(0))
	f.Add(bytes.Repeat([]byte{0xff}, 32), []byte{}, bytes.Repeat([]byte{0x84}, 32), byte(63), byte(1))
	f.Add([]byte{1}, []byte{1}, []byte{16}, byte(96), byte(0x80))
	f.Fuzz(func(t *testing.T, private, first, second []byte, at, change byte) {
		if len(private) > 64 || len(first) > 64 || len(second) > 64 {
			return // longer than any number here
		}
		d, u1, u2 := scalarOf(private), scalarOf(first), scalarOf(second)
		key := keyOf(t, d)
		digest, signature := craft(t, d, u1, u2)
		sum := new(big.Int).Mul(u2, d)
		finite := sum.Mod(sum.Add(sum, u1), n).Sign() != 0
		if agree(t, key, digest, signature) != finite {
			t.Errorf("a signature that was made valid is refused, or another one accepted")
		}
		whole := append(signature, digest...)
		whole[int(at)%len(whole)] ^= change
		agree(t, key, whole[64:], whole[:64])
	})
}
