package cert

import (
	"bytes"
	"encoding/pem"
	"errors"
)

// typePEM is the label of a certificate (RFC 7468 §5).
const typePEM = "CERTIFICATE"

// ErrPEM is returned by [ParsePEM] for a text that is not a list of certificates.
var ErrPEM = errors.New("cert: neither certificates in PEM nor one in DER")

// ParsePEM returns the certificates of a text in PEM, in their order, or the only one of a file in DER. It does not read the certificates
// themselves. Text between them is ignored, but not other objects such as a key.
func ParsePEM(text []byte) ([][]byte, error) {
	if len(text) > 0 && text[0] == 0x30 { // a SEQUENCE
		return [][]byte{text}, nil
	}
	var list [][]byte
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && len(list) == 0, block != nil && block.Type != typePEM:
			return nil, ErrPEM
		case block == nil:
			return list, nil
		}
		list, text = append(list, block.Bytes), rest
	}
}

// MarshalPEM returns certificates in PEM.
func MarshalPEM(chain ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: typePEM, Bytes: der}) // a buffer takes everything
	}
	return b.Bytes()
}
