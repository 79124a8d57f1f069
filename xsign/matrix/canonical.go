package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// maxInteger is the greatest integer of canonical JSON.
const maxInteger = 1<<53 - 1

// decode decodes a JSON object of which [jose.Object] has accepted the text.
func decode(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, errors.New("not a JSON object")
	}
	if members == nil {
		return nil, errors.New("null")
	}
	return members, nil
}

// appendCanonical appends a decoded value as canonical JSON (Matrix specification, appendix "Canonical JSON"): sorted names, no
// insignificant space, UTF-8, and integers within ±(2^53-1). It refuses fractions, exponents and -0.
func appendCanonical(to []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(to, "null"...), nil
	case bool:
		return strconv.AppendBool(to, v), nil
	case string:
		return appendString(to, v), nil
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil || n > maxInteger || n < -maxInteger || strconv.FormatInt(n, 10) != v.String() {
			return nil, errors.New("a number that is not an integer within ±(2^53-1)")
		}
		return append(to, v...), nil
	case []any:
		to = append(to, '[')
		for i, one := range v {
			if i > 0 {
				to = append(to, ',')
			}
			var err error
			if to, err = appendCanonical(to, one); err != nil {
				return nil, err
			}
		}
		return append(to, ']'), nil
	case map[string]any:
		to = append(to, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(appendString(to, name), ':')
			var err error
			if to, err = appendCanonical(to, v[name]); err != nil {
				return nil, err
			}
		}
		return append(to, '}'), nil
	}
	return nil, fmt.Errorf("a value of the type %T", value)
}

// appendString appends a JSON string in which only quotation marks, backslashes and control characters are escaped.
func appendString(to []byte, s string) []byte {
	to = append(to, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\b':
			to = append(to, `\b`...)
		case '\t':
			to = append(to, `\t`...)
		case '\n':
			to = append(to, `\n`...)
		case '\f':
			to = append(to, `\f`...)
		case '\r':
			to = append(to, `\r`...)
		default:
			if c < ' ' {
				to = fmt.Appendf(to, `\u%04x`, c)
			} else {
				to = append(to, c)
			}
		}
	}
	return append(to, '"')
}
