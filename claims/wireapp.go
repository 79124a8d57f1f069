package claims

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// WireApp returns the wireapp: URI of a handle or device of Wire, byte by byte as the software of Wire writes it, and "" for any other
// identifier. [ParseLenient] reads it.
func (id ID) WireApp() string {
	if id.system != SystemWire {
		return ""
	}
	switch id.typ {
	case TypeHandle:
		return "wireapp://%40" + id.local + "@" + id.domain
	case TypeDevice:
		uuid, err := hex.DecodeString(strings.ReplaceAll(id.local, "-", ""))
		if err != nil {
			return ""
		}
		return "wireapp://" + base64.RawURLEncoding.EncodeToString(uuid) + "!" + id.device + "@" + id.domain
	}
	return ""
}
