package sasl

import (
	"strings"
	"unicode/utf8"
)

// maxMessage is how long the message of a client may be: an access token with all that may be nested in it, and a presentation.
const maxMessage = 32 << 10

// kvsep separates the parts of a message (RFC 7628 §3.1).
const kvsep = "\x01"

// A Message is what a client sends in answer to the challenge.
type Message struct {
	// Authzid is the account that the client asks for; empty for the account of the token.
	Authzid string
	// Scheme is the authentication scheme of the token, in lower case: dpop.
	Scheme string
	// Token is the access token, and Presentation the im-presentation+jwt. Either may be missing.
	Token        string
	Presentation string
}

// ParseMessage reads the message of a client, in the format of RFC 7628 §3.1:
//
//	n,a=alice@example.com,^Aauth=DPoP TOKEN^Apresentation=PRESENTATION^A^A
//
// where ^A is the byte 1. Keys that it does not know are ignored. The error is a [*Refusal] with the condition malformed-request.
func ParseMessage(data []byte) (Message, error) {
	if len(data) > maxMessage {
		return Message{}, malformed("The message has more than 32768 bytes.")
	}
	if !utf8.Valid(data) {
		return Message{}, malformed("The message is not valid UTF-8.")
	}
	header, rest, ok := strings.Cut(string(data), kvsep)
	if !ok {
		return Message{}, malformed("The message has no byte 1 after the GS2 header (RFC 7628, section 3.1).")
	}
	m, seen := Message{}, make(map[string]bool)
	var err error
	if m.Authzid, err = parseHeader(header); err != nil {
		return Message{}, err
	}
	for rest != kvsep {
		var pair string
		if pair, rest, ok = strings.Cut(rest, kvsep); !ok {
			return Message{}, malformed("The message does not end with two bytes 1 (RFC 7628, section 3.1).")
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !isKey(key) || !isValue(value) {
			return Message{}, malformed("A key or value of the message is not well-formed (RFC 7628, section 3.1).")
		}
		if seen[key] {
			return Message{}, malformed("The message has a key twice.")
		}
		seen[key] = true
		switch key {
		case "auth":
			scheme, token, ok := strings.Cut(value, " ")
			if !ok || !isToken(token) {
				return Message{}, malformed("The value of auth is not DPoP, a space and an access token.")
			}
			m.Scheme, m.Token = strings.ToLower(scheme), token
		case "presentation":
			if !isToken(value) {
				return Message{}, malformed("The value of presentation is not a JWT.")
			}
			m.Presentation = value
		}
	}
	return m, nil
}

// parseHeader reads the GS2 header (RFC 5801 §4) and returns the authorization identity. The mechanism has no channel binding.
func parseHeader(header string) (authzid string, err error) {
	parts := strings.Split(header, ",")
	switch {
	case len(parts) != 3 || parts[2] != "":
		return "", malformed("The message does not begin with a GS2 header, as in n,a=alice@example.com, (RFC 5801, section 4).")
	case strings.HasPrefix(parts[0], "p="):
		return "", malformed("This mechanism has no channel binding: the GS2 header must begin with n or y.")
	case parts[0] != "n" && parts[0] != "y":
		return "", malformed("The GS2 header must begin with n or y.")
	case parts[1] == "":
		return "", nil
	}
	name, ok := strings.CutPrefix(parts[1], "a=")
	if !ok || name == "" {
		return "", malformed("The second field of the GS2 header must be a= and an account, or empty.")
	}
	var b strings.Builder
	for {
		before, after, escaped := strings.Cut(name, "=")
		b.WriteString(before)
		switch {
		case !escaped:
			return b.String(), nil
		case strings.HasPrefix(after, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			b.WriteByte('=')
		default:
			return "", malformed("The account of the GS2 header has an equals sign that is not =2C or =3D.")
		}
		name = after[2:]
	}
}

// isKey reports whether s consists of letters (RFC 7628 §3.1).
func isKey(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return (c|0x20) < 'a' || (c|0x20) > 'z' }) < 0
}

// isValue reports whether s consists of printable ASCII and white space (RFC 7628 §3.1).
func isValue(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool {
		return (c < ' ' || c > '~') && c != '\t' && c != '\r' && c != '\n'
	}) < 0
}

// isToken reports whether s is a b64token (RFC 6750 §2.1), as every JWT is.
func isToken(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && strings.IndexFunc(body, func(c rune) bool {
		letter := (c|0x20) >= 'a' && (c|0x20) <= 'z'
		return !letter && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", c)
	}) < 0
}
