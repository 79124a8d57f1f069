package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// The faults of a vector.
var (
	errTruncated = errors.New("ends before its length")
	errPrefix    = errors.New("its length begins with the bits 11")
	errMinimal   = errors.New("its length is not in the shortest form")
)

// readVector reads the variable-size vector at the beginning of s, and moves s behind it (RFC 9420 §2.1.2).
func readVector(s *cryptobyte.String) ([]byte, error) {
	var first uint8
	if !s.ReadUint8(&first) {
		return nil, errTruncated
	}
	prefix := first >> 6
	if prefix == 3 {
		return nil, errPrefix
	}
	size := 1 << prefix // of the length
	length := int(first & 0x3f)
	for range size - 1 {
		var next uint8
		if !s.ReadUint8(&next) {
			return nil, errTruncated
		}
		length = length<<8 | int(next)
	}
	if prefix > 0 && length < 1<<(8*size/2-2) {
		return nil, errMinimal
	}
	var v []byte
	if !s.ReadBytes(&v, length) {
		return nil, errTruncated
	}
	return v, nil
}

// addVector appends v with its length in the shortest form.
func addVector(b *cryptobyte.Builder, v []byte) {
	switch n := uint32(len(v)); {
	case n < 1<<6:
		b.AddUint8(uint8(n))
	case n < 1<<14:
		b.AddUint16(uint16(n) | 1<<14)
	default:
		b.AddUint32(n | 1<<31)
	}
	b.AddBytes(v)
}
