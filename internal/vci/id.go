package vci

import (
	"encoding/base32"
	"encoding/binary"
	"io"
	"time"
)

// newID returns the id of a credential that is issued at a time: its seconds and 11 random bytes. So the byte order of ids is that of their
// times, and an index writes the pages of its end alone. It tells no more of the time than the credential does.
func newID(at time.Time, source io.Reader) (string, error) {
	id := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(at.Unix())<<24)[:16]
	if _, err := io.ReadFull(source, id[5:]); err != nil {
		return "", err
	}
	return idForm.EncodeToString(id), nil
}

// idForm keeps the order of what it encodes.
var idForm = base32.HexEncoding.WithPadding(base32.NoPadding)
