package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/jose"
)

// A Body is a JSON object in the body of a request. Each method reads one member, once. [Body.Done] returns the first fault.
type Body struct {
	members map[string]json.RawMessage
	err     error
}

// ReadBody reads a JSON object, without repeated members, from the body of a request.
func ReadBody(c echo.Context) (*Body, error) {
	if !IsJSON(c.Request()) {
		return nil, Invalid("The body must be of type application/json.")
	}
	text, err := ReadAll(c, MaxBody)
	if err != nil {
		return nil, err
	}
	b := &Body{members: make(map[string]json.RawMessage)}
	err = jose.Object(text, func(name string, value []byte) error {
		b.members[name] = append(json.RawMessage(nil), value...)
		return nil
	})
	if err != nil {
		return nil, Invalid("The body is not one JSON object, in UTF-8 and without repeated members.")
	}
	return b, nil
}

// IsJSON reports whether the one Content-Type of a request is application/json.
func IsJSON(r *http.Request) bool {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false
	}
	mediaType, _, _ := strings.Cut(types[0], ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
}

// Raw returns a member as it is, or nil if it is absent.
func (b *Body) Raw(name string) json.RawMessage {
	raw := b.members[name]
	delete(b.members, name)
	return raw
}

// String returns a member that is text, "" if it is absent.
func (b *Body) String(name string) string {
	raw := b.Raw(name)
	if raw == nil {
		return ""
	}
	s, err := jose.String(raw)
	if err != nil || s == "" {
		b.wrong(name, "text")
	}
	return s
}

// Words returns a member that is a text of words with spaces between, or an array of words.
func (b *Body) Words(name string) []string {
	raw := b.members[name]
	if len(raw) > 0 && raw[0] == '"' {
		return strings.Fields(b.String(name))
	}
	return b.Strings(name)
}

// Strings returns a member that is an array of texts, or one text.
func (b *Body) Strings(name string) []string {
	raw := b.members[name]
	if len(raw) > 0 && raw[0] == '"' {
		return []string{b.String(name)}
	}
	b.Raw(name)
	if raw == nil {
		return nil
	}
	list, err := jose.Strings(raw)
	if err != nil {
		b.wrong(name, "an array of text")
	}
	for _, s := range list {
		if s == "" {
			b.wrong(name, "an array of text")
		}
	}
	return list
}

// Count returns a member that is a whole number from 1 to 1000000000, 0 if it is absent.
func (b *Body) Count(name string) int {
	raw := b.Raw(name)
	if raw == nil {
		return 0
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < 1 || n > 1e9 {
		b.wrong(name, "a whole number from 1 to 1000000000")
		return 0
	}
	return n
}

// Err returns the first fault of the members that were read.
func (b *Body) Err() error { return b.err }

// Done returns the first fault. A member that was not read is a fault: the request would not do what it asks.
func (b *Body) Done() error {
	if b.err == nil && len(b.members) > 0 {
		return Invalid("The body has an unknown member.")
	}
	return b.err
}

func (b *Body) wrong(name, want string) {
	if b.err == nil {
		b.err = Invalid(fmt.Sprintf("The member %s must be %s.", name, want))
	}
}
