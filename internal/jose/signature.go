package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Verify verifies signature, in the form of JWS (RFC 7518 §3), over input. It returns [ErrSignature] if it does not verify, or if
// the type, curve or size of key does not fit alg.
func Verify(alg string, key crypto.PublicKey, input, signature []byte) error {
	a, ok := lookup(alg)
	if !ok || !a.fits(key) {
		return ErrSignature
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		digest := a.digest(make([]byte, 0, maxDigest+maxDER), input) // with room for the signature
		// RFC 7518 §3.4: R and S each have the length of the curve's order.
		ok = len(signature) == 2*a.size &&
			ecdsa.VerifyASN1(key, digest, appendDER(digest[len(digest):], signature[:a.size], signature[a.size:]))
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, input, signature)
	case *rsa.PublicKey:
		if a.pss {
			ok = rsa.VerifyPSS(key, a.hash, a.digest(nil, input), signature, a.options().(*rsa.PSSOptions)) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(key, a.hash, a.digest(nil, input), signature) == nil
		}
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// options returns the options for a crypto.Signer.
func (a algorithm) options() crypto.SignerOpts {
	if a.pss {
		// RFC 7518 §3.5: the salt is as long as the hash.
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash}
	}
	return a.hash
}

// maxDER is the largest size of an ECDSA signature in DER: two integers of 66 bytes for P-521.
const maxDER = 3 + 2*(2+66+1)

// maxDigest is the largest size of a digest.
const maxDigest = sha512.Size

// digest appends the hash of the input to buf. It returns the input itself if the algorithm does not hash it first.
func (a algorithm) digest(buf, input []byte) []byte {
	switch a.hash {
	case 0:
		return input
	case crypto.SHA256:
		sum := sha256.Sum256(input)
		return append(buf, sum[:]...)
	}
	h := a.hash.New()
	h.Write(input)
	return h.Sum(buf)
}

// maxSignature returns the largest size of a signature by the key of pub, in bytes.
func maxSignature(pub crypto.PublicKey) int {
	if pub, ok := pub.(*rsa.PublicKey); ok {
		return pub.Size()
	}
	return 2 * 66
}

// appendDER appends SEQUENCE { r INTEGER, s INTEGER } to dst, the form that crypto/ecdsa reads. Using big.Int would cost a dozen
// allocations per signature.
func appendDER(dst, r, s []byte) []byte {
	r, s = trimZeros(r), trimZeros(s)
	n := 4 + len(r) + int(r[0]>>7) + len(s) + int(s[0]>>7)
	dst = append(dst, 0x30)
	if n > 127 {
		dst = append(dst, 0x81)
	}
	dst = append(dst, byte(n))
	for _, x := range [...][]byte{r, s} {
		if x[0]>>7 == 1 {
			dst = append(dst, 0x02, byte(len(x)+1), 0)
		} else {
			dst = append(dst, 0x02, byte(len(x)))
		}
		dst = append(dst, x...)
	}
	return dst
}

// trimZeros removes leading zeros from x, but keeps the last byte.
func trimZeros(x []byte) []byte {
	for len(x) > 1 && x[0] == 0 {
		x = x[1:]
	}
	return x
}

// rawSignature returns R and S of a DER signature, each of size bytes (RFC 7518 §3.4).
func rawSignature(der []byte, size int) ([]byte, error) {
	var inner cryptobyte.String
	var r, s []byte
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() || len(r) > size || len(s) > size {
		return nil, errors.New("the signer did not return an ECDSA signature")
	}
	raw := make([]byte, 2*size)
	copy(raw[size-len(r):], r)
	copy(raw[2*size-len(s):], s)
	return raw, nil
}
