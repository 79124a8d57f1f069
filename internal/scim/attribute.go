package scim

import (
	"regexp"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// coreName returns the name of an attribute of the core schema in lower case, without the URN of the schema. Names of attributes, and the
// URN before them, have no case (RFC 7643 §2.1, RFC 7644 §3.10). Any other name is returned in lower case, too.
func coreName(name string) string {
	name = strings.ToLower(name)
	if core, ok := strings.CutPrefix(name, strings.ToLower(SchemaUser)+":"); ok {
		return core
	}
	return name
}

// attributePath is the form of a path without a filter in it: an attribute, which may have the URN of a schema before it, and may have a
// sub-attribute (RFC 7644 §3.10). Providers also write the URN of an extension and, after a colon, a sub-attribute of its attribute.
var attributePath = regexp.MustCompile(`^(?:[uU][rR][nN]:[0-9A-Za-z:._-]+:)?\$?[A-Za-z][0-9A-Za-z_$-]*(?:\.\$?[A-Za-z][0-9A-Za-z_$-]*)?$`)

// validPath reports whether a path of a PATCH is well-formed (RFC 7644 §3.5.2, figure 1). A filter in it is not read: there is no
// attribute here with several values.
func validPath(path string) bool {
	if open := strings.IndexByte(path, '['); open >= 0 {
		end := closing(path[open:])
		if end < 0 {
			return false
		}
		path = path[:open] + path[open+end+1:]
	}
	return len(path) <= 512 && attributePath.MatchString(path)
}

// closing returns where the bracket that a text begins with is closed, and -1 if it is not. Brackets in quotes do not count.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case ']':
			return i
		case '[':
			return -1
		case '"':
			q := quoted(text[i:])
			if q == "" {
				return -1
			}
			i += len(q) - 1
		}
	}
	return -1
}

// boolean reads a boolean. Entra ID writes it as a string, "True" or "False".
func boolean(raw []byte) (value, ok bool) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		s, err := jose.String(text)
		if err != nil {
			return false, false
		}
		text = strings.ToLower(s)
	}
	return text == "true", text == "true" || text == "false"
}
