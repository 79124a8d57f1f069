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

// The write-ahead log (sqlite.org/fileformat2.html, section 4) is a head, followed by frames of one page each. The checksum of a
// frame covers all frames before it, too. A frame belongs to the present log if it has the salt of the head.
const (
	logHead      = 32
	frameHead    = 24
	logMagic     = 0x377f0682 // its last bit tells the byte order of the checksums
	logVersion   = 3007000
	leastPage    = 512
	largestPage  = 65536
	commitOffset = 4 // in a frame's head; not 0 in the last frame of a transaction
)

var errLog = fmt.Errorf("%w: its write-ahead log is damaged", errDamaged)

// checkLog reads the write-ahead log at path and reports whether it holds a valid frame. SQLite reads a log as far as its checksums
// are valid, and takes the rest for a transaction that a crash interrupted. With an fsync after each commit there can be one
// such transaction. If there are two, acknowledged data is missing, and checkLog returns errLog.
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
		return false, nil // created and never used
	} else if err != nil {
		return false, err
	}
	be := binary.BigEndian
	if be.Uint64(head) == 0 && be.Uint64(head[8:]) == 0 && be.Uint64(head[16:]) == 0 && be.Uint64(head[24:]) == 0 {
		return false, nil // after a loss of power, data that was not synced may read as zeros
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
			holds = false // of an earlier log in the same file
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

// A checksum is that of the log: two sums, each of which is added to the other.
type checksum struct {
	order binary.ByteOrder
	a, b  uint32
}

// add continues the checksum with data, a whole number of pairs of 32-bit words.
func (c *checksum) add(data []byte) {
	for ; len(data) >= 8; data = data[8:] {
		c.a += c.order.Uint32(data) + c.b
		c.b += c.order.Uint32(data[4:]) + c.a
	}
}

func (c *checksum) is(stored []byte) bool {
	return binary.BigEndian.Uint32(stored) == c.a && binary.BigEndian.Uint32(stored[4:]) == c.b
}
