package cert

import (
	"bytes"
	"crypto"
	"crypto/x509"
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

// ErrKeyPEM is returned by [ParseKeyPEM] for a text that is not a private key.
var ErrKeyPEM = errors.New("cert: not a private key in PEM (PKCS #8 or EC)")

// ParseKeyPEM returns the private key of a text in PEM, in PKCS #8 or as an EC key (RFC 5915). The error has nothing of the text.
func ParseKeyPEM(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, ErrKeyPEM
	case block.Type == "EC PARAMETERS": // openssl ecparam writes it before the key
		_, rest := pem.Decode(text)
		return ParseKeyPEM(rest)
	case block.Type == "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: its content is not an EC key", ErrKeyPEM)
		}
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: its content is not PKCS #8", ErrKeyPEM)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the key cannot sign", ErrKeyPEM)
	}
	return signer, nil
}
