package jose

import (
	"encoding/base64"
	"errors"
	"strings"
)

var b64 = base64.RawURLEncoding.Strict()

var errBase64 = errors.New("not canonical base64url without padding")

// DecodeBase64 decodes base64url as in RFC 7515 §2: without padding, line breaks and nonzero bits after the last byte, so that no
// two strings decode to the same bytes.
func DecodeBase64(s string) ([]byte, error) {
	return appendBase64(nil, s)
}

// appendBase64 decodes s and appends the result to dst.
func appendBase64(dst []byte, s string) ([]byte, error) {
	// encoding/base64 skips line breaks even in strict mode.
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return dst, errBase64
	}
	out, err := b64.AppendDecode(dst, []byte(s))
	if err != nil {
		return dst, errBase64
	}
	return out, nil
}
