package statuslist

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// A List holds one status for each index (§4.1). It is not safe for concurrent use while it is changed.
type List struct {
	bits int
	data []byte
}

// New returns a list of at least size entries of 1, 2, 4 or 8 bits, all [Valid]. The size is rounded up to whole bytes. The error is
// [ErrBits] for any other number of bits.
func New(bitsPerEntry, size int) (*List, error) {
	if err := checkBits(bitsPerEntry); err != nil {
		return nil, err
	}
	if size < 0 {
		return nil, errors.New("statuslist: a list cannot have a negative size")
	}
	perByte := 8 / bitsPerEntry
	return &List{bits: bitsPerEntry, data: make([]byte, (size+perByte-1)/perByte)}, nil
}

// checkBits returns [ErrBits] unless a list may have entries of so many bits.
func checkBits(n int) error {
	if n < 1 || n > 8 || bits.OnesCount(uint(n)) != 1 {
		return fault(ErrBits, fmt.Errorf("%d, not 1, 2, 4 or 8", n))
	}
	return nil
}

// Bits returns how many bits an entry has.
func (l *List) Bits() int { return l.bits }

// Len returns how many entries the list has.
func (l *List) Len() int { return len(l.data) * 8 / l.bits }

// At returns the status at an index. The error is [ErrIndex] if the list has no such index.
func (l *List) At(index uint64) (Status, error) {
	at, shift, err := l.place(index)
	if err != nil {
		return 0, err
	}
	return Status(l.data[at] >> shift & l.mask()), nil
}

// Set sets the status at an index. The error is [ErrIndex] if the list has no such index, and [ErrBits] if the status does not fit.
func (l *List) Set(index uint64, s Status) error {
	at, shift, err := l.place(index)
	if err != nil {
		return err
	}
	if byte(s) > l.mask() {
		return fault(ErrBits, fmt.Errorf("%v does not fit %d bits", s, l.bits))
	}
	l.data[at] = l.data[at]&^(l.mask()<<shift) | byte(s)<<shift
	return nil
}

// Fill sets the status at every index. The error is [ErrBits] if the status does not fit.
func (l *List) Fill(s Status) error {
	if byte(s) > l.mask() {
		return fault(ErrBits, fmt.Errorf("%v does not fit %d bits", s, l.bits))
	}
	all := byte(0)
	for shift := 0; shift < 8; shift += l.bits {
		all |= byte(s) << shift
	}
	for i := range l.data {
		l.data[i] = all
	}
	return nil
}

func (l *List) mask() byte { return byte(1<<l.bits - 1) }

// place returns the byte of an entry and the position of its lowest bit: entries fill a byte from the least significant bit (§4.1).
func (l *List) place(index uint64) (at int, shift uint, err error) {
	if index >= uint64(l.Len()) {
		return 0, 0, fault(ErrIndex, fmt.Errorf("%d in a list of %d entries", index, l.Len()))
	}
	perByte := uint64(8 / l.bits)
	return int(index / perByte), uint(index%perByte) * uint(l.bits), nil
}

// Compress returns the bytes of the list, compressed by DEFLATE in the ZLIB format (§4.1).
func (l *List) Compress() []byte { return l.compress(zlib.BestCompression) } // §4.1, step 4

// quickLevel is a level of compression that takes about a twentieth of the time of the highest, for lists of some 100,000 entries.
const quickLevel = 6

func (l *List) compress(level int) []byte {
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err == nil {
		_, err = w.Write(l.data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything, and the level exists
	}
	return out.Bytes()
}

// Decompress reads what [List.Compress] writes, of a list with entries of 1, 2, 4 or 8 bits. It never unpacks more than limit bytes.
// The error is [ErrBits], [ErrTooLarge] if there are more bytes, or [ErrMalformed].
func Decompress(bitsPerEntry int, compressed []byte, limit int) (*List, error) {
	if err := checkBits(bitsPerEntry); err != nil {
		return nil, err
	}
	in := bytes.NewReader(compressed)
	r, err := zlib.NewReader(in)
	if err != nil {
		return nil, fault(ErrMalformed, fmt.Errorf("lst: %w", err))
	}
	// One byte more than allowed tells a list that is too large from one that ends there. The end also checks the checksum.
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case len(data) > limit:
		return nil, fault(ErrTooLarge, fmt.Errorf("it unpacks to more than %d bytes", limit))
	case err != nil:
		return nil, fault(ErrMalformed, fmt.Errorf("lst: %w", err))
	case in.Len() > 0:
		return nil, fault(ErrMalformed, errors.New("lst: there are bytes after the compressed list"))
	}
	return &List{bits: bitsPerEntry, data: bytes.Clone(data)}, nil
}
