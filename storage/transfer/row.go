package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// The types of values in the encoded form of a row.
const (
	tagNull = iota
	tagInteger
	tagText
	tagBlob
)

// encode appends the canonical form of a row, or of a key: for each value its type and, except for NULL, 8 bytes that are an integer or
// the length of the bytes that follow. Different rows have different forms.
func encode(b []byte, row []any) ([]byte, error) {
	for i, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, tagNull)
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, tagInteger), uint64(v))
		case string:
			b = append(binary.BigEndian.AppendUint64(append(b, tagText), uint64(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint64(append(b, tagBlob), uint64(len(v))), v...)
		default:
			return nil, fmt.Errorf("value %d is a %T", i, v)
		}
	}
	return b, nil
}

var errForm = errors.New("the form of a key is damaged")

// EncodeKey returns the form of a key in which databases store it; nil stays nil.
func EncodeKey(key []any) ([]byte, error) {
	if key == nil {
		return nil, nil
	}
	return encode([]byte{}, key)
}

// DecodeKey returns the key that EncodeKey encoded.
func DecodeKey(b []byte) (key []any, err error) {
	for len(b) > 0 {
		tag := b[0]
		if b = b[1:]; tag == tagNull {
			key = append(key, nil)
			continue
		}
		if len(b) < 8 {
			return nil, errForm
		}
		n := binary.BigEndian.Uint64(b)
		b = b[8:]
		if tag == tagInteger {
			key = append(key, int64(n))
			continue
		}
		if n > uint64(len(b)) || tag != tagText && tag != tagBlob {
			return nil, errForm
		}
		if tag == tagText {
			key = append(key, string(b[:n]))
		} else {
			key = append(key, append([]byte{}, b[:n]...))
		}
		b = b[n:]
	}
	return key, nil
}

// A Sum is the sum of the SHA-256 hashes of rows, modulo 2^256. It does not depend on the order of the rows, which differs between
// databases where a text has bytes that PostgreSQL stores in an escaped form.
type Sum [sha256.Size]byte

// Add adds a row.
func (s *Sum) Add(row []any) error {
	form, err := encode(make([]byte, 0, 512), row)
	if err != nil {
		return err
	}
	h, carry := sha256.Sum256(form), 0
	for i := len(s) - 1; i >= 0; i-- {
		carry += int(s[i]) + int(h[i])
		s[i] = byte(carry)
		carry >>= 8
	}
	return nil
}

// String returns the sum in hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }
