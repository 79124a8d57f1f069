package statuses

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// An order is a permutation of the entries of a list. Without its seed it cannot be told from a random one: it is a Feistel network of
// four rounds over SHA-256. It follows from the seed and the size alone, so no list of free entries is stored. It must never change:
// entries would be given twice.
type order struct {
	seed [32]byte
	size uint32
	half int // how many bits half of a number has
}

func newOrder(seed [32]byte, size int) order {
	return order{seed: seed, size: uint32(size), half: (bits.Len32(uint32(size-1)) + 1) / 2}
}

// at returns the index of the entry that is given as number n, below the size.
func (o order) at(n int) int {
	x := uint32(n)
	for {
		// The network permutes more numbers than there are entries. Walking on from one that is too large keeps it a permutation.
		if x = o.permute(x); x < o.size {
			return int(x)
		}
	}
}

func (o order) permute(x uint32) uint32 {
	mask := uint32(1)<<o.half - 1
	left, right := x>>o.half, x&mask
	for round := range byte(4) {
		left, right = right, left^o.round(round, right)&mask
	}
	return left<<o.half | right
}

func (o order) round(round byte, half uint32) uint32 {
	text := append(append(make([]byte, 0, 64), o.seed[:]...), "order"...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(append(text, round), half))
	return binary.BigEndian.Uint32(sum[:])
}
