package jose

import (
	"crypto/elliptic"
	"math/big"

	"filippo.io/nistec"
)

// A scalar of P-256 is read in digits of digitBits bits, from -16 to 16. 52 of them hold 256 bits and the carry.
const (
	digitBits = 5
	digits    = 52
	maxDigit  = 1 << (digitBits - 1)
)

// multiples holds multiples of a public key Q: row i has Q, 2 Q, … 16 Q times 32^i. With them a product with Q takes 51 additions and
// no doubling. All of it is public, so nothing here runs in constant time.
type multiples struct {
	rows [digits][maxDigit]nistec.P256Point
}

// multiplesBytes is how many bytes a multiples has.
const multiplesBytes = digits * maxDigit * 96

// newMultiples returns the multiples of the key with an uncompressed encoding (SEC 1, §2.3.3). The error is about a point that is not
// on the curve.
func newMultiples(key []byte) (*multiples, error) {
	q, err := nistec.NewP256Point().SetBytes(key)
	if err != nil {
		return nil, err
	}
	m := new(multiples)
	for i := range m.rows {
		row := &m.rows[i]
		row[0].Set(q)
		for n := 1; n < maxDigit; n++ {
			row[n].Add(&row[n-1], q)
		}
		q.Double(&row[maxDigit-1])
	}
	return m, nil
}

// product returns k times the key. k has 32 bytes, big-endian.
func (m *multiples) product(k []byte) *nistec.P256Point {
	sum := nistec.NewP256Point()
	negative := nistec.NewP256Point()
	carry := 0
	for i := range digits {
		digit := bitsAt(k, i*digitBits) + carry
		carry = 0
		if digit > maxDigit {
			digit, carry = digit-2*maxDigit, 1
		}
		switch {
		case digit > 0:
			sum.Add(sum, &m.rows[i][digit-1])
		case digit < 0:
			sum.Add(sum, negative.Negate(&m.rows[i][-digit-1]))
		}
	}
	return sum
}

// bitsAt returns the digitBits bits of k from bit n on, the lowest bit first. k is big-endian and has zeros before its first byte.
func bitsAt(k []byte, n int) int {
	last := len(k) - 1 - n/8
	window := 0
	if last >= 0 {
		window = int(k[last])
	}
	if last >= 1 {
		window |= int(k[last-1]) << 8
	}
	return window >> (n % 8) & (1<<digitBits - 1)
}

// order is the order of P-256.
var order = elliptic.P256().Params().N

// verify verifies an ECDSA signature, R and S of 32 bytes each (FIPS 186-5 §6.4.2), over a digest of 32 bytes.
func (m *multiples) verify(digest, signature []byte) bool {
	if len(signature) != 64 || len(digest) != 32 {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if r.Sign() == 0 || r.Cmp(order) >= 0 || s.Sign() == 0 || s.Cmp(order) >= 0 {
		return false
	}
	inverse := new(big.Int).ModInverse(s, order) // exists: the order is prime
	u := new(big.Int).SetBytes(digest)
	u.Mod(u.Mul(u, inverse), order)
	var scalar [32]byte
	sum, err := nistec.NewP256Point().ScalarBaseMult(u.FillBytes(scalar[:]))
	if err != nil {
		return false
	}
	u.Mod(u.Mul(r, inverse), order)
	sum.Add(sum, m.product(u.FillBytes(scalar[:])))
	x, err := sum.BytesX()
	if err != nil { // the point at infinity
		return false
	}
	return u.Mod(u.SetBytes(x), order).Cmp(r) == 0
}
