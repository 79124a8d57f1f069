package login

import (
	"encoding/json"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// members are the claims of an ID token or a userinfo answer, or the members of the metadata, each as raw JSON.
//
// A claim that is null or an empty string is absent: the provider should have left it out (OpenID Connect Core §5.3.2).
type members map[string][]byte

// parseMembers reads a JSON object strictly. No member's name differs from one of known in case only.
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

// text returns a string; one that is absent or of another type is empty.
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

// date returns a time in seconds since 1970, as a number or as a string that is one. A time that is absent, zero or
// written in another way is the zero time.
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

// flag reports whether a member is true, also as a string.
func (m members) flag(name string) bool {
	return string(m[name]) == "true" || m.text(name) == "true"
}
