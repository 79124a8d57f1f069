package cert

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// typePEM is the label of a certificate (RFC 7468 §5).
const typePEM = "CERTIFICATE"

// ErrPEM is returned by [ParsePEM] for a text that is not a list of certificates.
var ErrPEM = errors.New("cert: neither certificates in PEM nor one in DER")

// ParsePEM returns the certificates of a text in PEM, in their order, or the only one of a file in DER. It does not read the certificates
// themselves. Text between them is ignored. Other objects, such as a key, and a certificate that is cut off or damaged are refused.
func ParsePEM(text []byte) ([][]byte, error) {
	if len(text) > 0 && text[0] == 0x30 { // a SEQUENCE
		return [][]byte{text}, nil
	}
	var list [][]byte
	for {
		block, rest := pem.Decode(text)
		read, want := text[:len(text)-len(rest)], 1
		if block == nil {
			read, want = text, 0
		}
		switch {
		case boundaries(read, "BEGIN") != want, boundaries(read, "END") != want: // pem.Decode skips what it cannot read
			return nil, fmt.Errorf("%w: certificate %d is cut off or damaged: copy its whole text from BEGIN to END", ErrPEM, len(list)+1)
		case block == nil && len(list) == 0, block != nil && block.Type != typePEM:
			return nil, ErrPEM
		case block == nil:
			return list, nil
		}
		list, text = append(list, block.Bytes), rest
	}
}

// boundaries counts the lines of a text that begin or end an object.
func boundaries(text []byte, which string) int {
	line := []byte("-----" + which + " ")
	n := bytes.Count(text, append([]byte("\n"), line...))
	if bytes.HasPrefix(text, line) {
		n++
	}
	return n
}

// MarshalPEM returns certificates in PEM.
func MarshalPEM(chain ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: typePEM, Bytes: der}) // a buffer takes everything
	}
	return b.Bytes()
}
