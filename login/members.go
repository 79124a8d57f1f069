package login

import (
	"encoding/json"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// members are the claims of an ID token or a userinfo answer, or the members of the metadata, as raw JSON. A claim that is null or an
// empty string counts as absent: the provider should have omitted it (OpenID Connect Core §5.3.2).
type members map[string][]byte

// parseMembers reads a JSON object strictly. It refuses members whose names differ from one of known only in case.
func parseMembers(data []byte, known []string) (members, error) {
	m := members{}
	err := jose.Object(data, func(name string, value []byte) error {
		m.put(name, value)
		return jose.CheckCase(name, known)
	})
	return m, err
}

func (m members) put(name string, value []byte) {
	if s := string(value); s != "null" && s != `""` {
		m[name] = value
	}
}

// text returns a string, and "" if it is absent or of another type.
func (m members) text(name string) string {
	s, _ := jose.String(m[name])
	return s
}

// texts returns the strings of an array, or a single string, which some providers send instead. Values of other types are
// skipped.
func (m members) texts(name string) []string {
	if s := m.text(name); s != "" {
		return []string{s}
	}
	var list []any
	if m[name] == nil || json.Unmarshal(m[name], &list) != nil {
		return nil
	}
	var texts []string
	for _, v := range list {
		if s, ok := v.(string); ok && s != "" {
			texts = append(texts, s)
		}
	}
	return texts
}

// date returns a time in seconds since 1970, written as a number or as a string with a number. It returns the zero time if that is
// absent, zero or invalid.
func (m members) date(name string) time.Time {
	raw := m[name]
	if s := m.text(name); s != "" {
		raw = []byte(s)
	}
	at, err := jose.NumericDate(raw)
	if err != nil || at.Unix() == 0 {
		return time.Time{}
	}
	return at
}

// flag reports whether a member is true or "true".
func (m members) flag(name string) bool {
	return string(m[name]) == "true" || m.text(name) == "true"
}
