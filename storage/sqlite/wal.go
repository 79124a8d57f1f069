package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// The write-ahead log (sqlite.org/fileformat2.html, section 4): a head, then frames of one page each. Each has a
// checksum over itself and all before it; those that belong to the present log have the salt of its head.
const (
	logHead      = 32
	frameHead    = 24
	logMagic     = 0x377f0682 // its last bit tells the byte order of the checksums
	logVersion   = 3007000
	leastPage    = 512
	largestPage  = 65536
	commitOffset = 4 // in a frame's head; not 0 in the last frame of a transaction
)

var errLog = fmt.Errorf("%w: its write-ahead log does not hold together", errDamaged)

// checkLog looks through the write-ahead log at path and reports whether there is anything in it. SQLite reads a log as
// far as its checksums hold and takes what follows for a transaction that the machine died in. With an fsync after
// each commit there can be one of those, never two: then what was acknowledged is missing, and errLog says so.
func checkLog(path string, o Options) (logged bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	head := make([]byte, logHead)
	if _, err := io.ReadFull(r, head); err == io.EOF || err == io.ErrUnexpectedEOF {
		return false, nil // begun and never used
	} else if err != nil {
		return false, err
	}
	be := binary.BigEndian
	if be.Uint64(head) == 0 && be.Uint64(head[8:]) == 0 && be.Uint64(head[16:]) == 0 && be.Uint64(head[24:]) == 0 {
		return false, nil // what is not synced may come back as zeros
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if be.Uint32(head)&1 == 1 {
		order = be
	}
	page := be.Uint32(head[8:])
	sum := checksum{order: order}
	sum.add(head[:24])
	if be.Uint32(head)&^1 != logMagic || be.Uint32(head[4:]) != logVersion || page < leastPage || page > largestPage ||
		!sum.is(head[24:]) {
		return false, errLog
	}
	salt := be.Uint64(head[16:])
	frame := make([]byte, frameHead+page)
	holds, lost := true, 0
	for {
		_, err := io.ReadFull(r, frame)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		} else if err != nil {
			return false, err
		}
		if be.Uint64(frame[8:]) != salt {
			holds = false // of the log before this one, whose file this was
			continue
		}
		if holds {
			sum.add(frame[:8])
			sum.add(frame[frameHead:])
			holds = sum.is(frame[16:frameHead])
		}
		logged = logged || holds
		if !holds && be.Uint32(frame[commitOffset:]) != 0 {
			lost++
		}
	}
	if lost > 1 && !o.RelaxedDurability {
		return false, errLog
	}
	return logged, nil
}

// A checksum is that of the log: two sums, each of which feeds the other.
type checksum struct {
	order binary.ByteOrder
	a, b  uint32
}

// add goes on with a whole number of pairs of 32-bit words.
func (c *checksum) add(data []byte) {
	for ; len(data) >= 8; data = data[8:] {
		c.a += c.order.Uint32(data) + c.b
		c.b += c.order.Uint32(data[4:]) + c.a
	}
}

func (c *checksum) is(stored []byte) bool {
	return binary.BigEndian.Uint32(stored) == c.a && binary.BigEndian.Uint32(stored[4:]) == c.b
}
