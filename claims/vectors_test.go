package claims_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// network is the IRC network of the vectors.
const network = "irc.example.com"

// A vector is one entry of testdata/identifiers.json. Texts are written with \u{XXXX} for a code point, \x{FF} for an
// byte and {a×64} for a repetition.
type vector struct {
	ID, Group, Mode, Input string
	System                 claims.System
	Type                   claims.Type
	Native, IM, MIMI       string // empty: there is no such form
	Strict                 bool   // Input is canonical
	Error                  claims.Code
	Note                   string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/identifiers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("testdata/identifiers.json has no vectors")
	}
	for i := range all {
		v := &all[i]
		for _, s := range []*string{&v.Input, &v.Native, &v.IM, &v.MIMI} {
			*s = decodeNotation(*s)
		}
	}
	return all
}

var notation = regexp.MustCompile(`\\u\{[0-9A-F]+\}|\\x\{[0-9A-F]{2}\}|\{.×[0-9]+\}`)

func decodeNotation(s string) string {
	return notation.ReplaceAllStringFunc(s, func(m string) string {
		if char, times, ok := strings.Cut(strings.Trim(m, "{}"), "×"); ok {
			n, _ := strconv.Atoi(times)
			return strings.Repeat(char, n)
		}
		n, _ := strconv.ParseUint(m[3:len(m)-1], 16, 32)
		if m[1] == 'x' {
			return string([]byte{byte(n)})
		}
		return string(rune(n))
	})
}

// parse reads input as the vector's mode says.
func (v vector) parse(reading claims.Reading, input string) (claims.ID, error) {
	p := claims.Parser{Reading: reading, Network: network}
	if v.Mode == "uri" {
		return p.Parse(input)
	}
	return p.ParseNative(claims.System(v.Mode), input)
}

// TestVectors reads every vector in both readings and compares all forms.
//
// The vectors and the prose that they illustrate were written apart; where they differ:
//
//   - R08 encodes the '+' of an IRC channel, which the literal set of im: components leaves alone. The vector is right: the
//     set is that of mailboxes (RFC 3860 §3.1, RFC 2822 atext), an IRC target is no mailbox, '+' is reserved in RFC 3986
//     §2.2 like '#', '&' and '!', and the draft encodes those. The sigil is encoded, a later '+' is literal.
//   - W16 calls a handle that is too short disallowed_char; one that is too long is overlong_part as everywhere.
//   - N29 and the like: labels and domains beyond the limits of DNS are bad_domain, not overlong_part (RFC 5890 §2.3.1).
//   - X40 has a control of the Bidi algorithm, which PRECIS refuses by its class before any Bidi rule (RFC 8264 §9.13); the
//     code is bidi all the same, since that is what is wrong with it.
//   - X43 has a handle of 1023 bytes: RFC 7622 §3.3 sets the limit for XMPP, and Wire's own is 256; the general 64 holds
//     for the others.
//   - The reading of S11 as an address of record follows RFC 3261 §19.1.1, by which the port would make another URI.
//   - M13 and X05 show an encoded slash and a raw '@' in the last of two segments. In a device of one segment the slash is
//     refused, because encoding one character of a canonical URI must never make the name of something else; for the same
//     reason a SIP user has none, although RFC 3261 §25.1 allows it.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.ID, func(t *testing.T) {
			id, err := v.parse(claims.Lenient, v.Input)
			strict, strictErr := v.parse(claims.Strict, v.Input)
			if v.Error != "" {
				if !errors.Is(err, v.Error) || !errors.Is(strictErr, v.Error) {
					t.Errorf("parse = %v, lenient %v, strict %v, want %v", id, err, strictErr, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatalf("lenient parse = %v", err)
			}
			if id.System() != v.System || id.Type() != v.Type {
				t.Errorf("parse = %v %v, want %v %v", id.System(), id.Type(), v.System, v.Type)
			}
			if id.Native() != v.Native {
				t.Errorf("Native = %q, want %q", id.Native(), v.Native)
			}
			if id.IM() != v.IM {
				t.Errorf("IM = %q, want %q", id.IM(), v.IM)
			}
			if id.MIMI() != v.MIMI {
				t.Errorf("MIMI = %q, want %q", id.MIMI(), v.MIMI)
			}
			switch {
			case v.Strict && (strictErr != nil || strict != id):
				t.Errorf("strict parse = %v, %v, want %v", strict, strictErr, id)
			case !v.Strict && !errors.Is(strictErr, claims.CodeNotCanonical):
				t.Errorf("strict parse = %v, want %v", strictErr, claims.CodeNotCanonical)
			}
		})
	}
}
