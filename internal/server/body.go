package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/jose"
)

// A body is a JSON object that a request sent. Each member is read once, by its name; [body.done] tells what was wrong with
// any of them, or was not asked for.
type body struct {
	members map[string]json.RawMessage
	err     error
}

// readBody reads a JSON object from the body of a request, without repeated members.
func readBody(c echo.Context) (*body, error) {
	r := c.Request()
	types := r.Header.Values("Content-Type")
	if len(types) != 1 || !isJSON(types[0]) {
		return nil, invalid("The body must be of type application/json.")
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, &tooLarge{}
	} else if err != nil {
		return nil, invalid("The body is incomplete.")
	}
	b := &body{members: make(map[string]json.RawMessage)}
	err = jose.Object(text, func(name string, value []byte) error {
		b.members[name] = append(json.RawMessage(nil), value...)
		return nil
	})
	if err != nil {
		return nil, invalid("The body is not one JSON object, in UTF-8 and without repeated members.")
	}
	return b, nil
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
}

// take returns a member and forgets it; nil if it is absent.
func (b *body) take(name string) json.RawMessage {
	raw := b.members[name]
	delete(b.members, name)
	return raw
}

func (b *body) wrong(name, want string) {
	if b.err == nil {
		b.err = invalid(fmt.Sprintf("The member %s must be %s.", name, want))
	}
}

// string returns a member that is text, "" if it is absent.
func (b *body) string(name string) string {
	raw := b.take(name)
	if raw == nil {
		return ""
	}
	s, err := jose.String(raw)
	if err != nil || s == "" {
		b.wrong(name, "text")
	}
	return s
}

// words returns a member that is text of words with spaces between, or an array of them.
func (b *body) words(name string) []string {
	raw := b.members[name]
	if len(raw) > 0 && raw[0] == '"' {
		return strings.Fields(b.string(name))
	}
	return b.strings(name)
}

// strings returns a member that is an array of text, or one text.
func (b *body) strings(name string) []string {
	raw := b.members[name]
	if len(raw) > 0 && raw[0] == '"' {
		return []string{b.string(name)}
	}
	b.take(name)
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

// count returns a member that is a whole number from 1 to a thousand million, 0 if it is absent.
func (b *body) count(name string) int {
	raw := b.take(name)
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

// done returns the first fault. A member that nobody asked for is one: what it was to change would not change.
func (b *body) done() error {
	if b.err == nil && len(b.members) > 0 {
		return invalid("The body has an unknown member.")
	}
	return b.err
}
