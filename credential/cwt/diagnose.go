package cwt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/imidentity/issuer/credential"
)

// Diagnose returns an access token, a credential or a key binding token in the diagnostic notation of CBOR (RFC 8949 §8), for people:
// indented, with the names of numbers as comments, and in ASCII. Nothing is verified. The error is a [*credential.Error] about a message
// that is not in the form that this package reads; claims may have any value.
func Diagnose(data []byte) (string, error) {
	var n notation
	if err := n.message(data, "", true); err != nil {
		return "", err
	}
	return n.String(), nil
}

// Words are the names of the keys of a map, and of those of the maps in it.
type words struct {
	names map[any]string
	inner map[any]*words
}

var (
	headerWords = &words{names: map[any]string{
		headerAlg: "alg", headerCrit: "crit", headerKid: "kid", headerKcwt: "kcwt", headerClaims: "CWT claims", headerTyp: "typ",
	}}
	keyWords   = &words{names: map[any]string{keyKty: "kty", keyAlg: "alg", keyOps: "key_ops", keyCrv: "crv", keyX: "x", keyY: "y"}}
	cnfWords   = &words{map[any]string{confirmKey: "COSE_Key", confirmThumbprint: "ckt"}, map[any]*words{confirmKey: keyWords}}
	claimWords = &words{names: map[any]string{
		labelIss: "iss", labelSub: "sub", labelAud: "aud", labelExp: "exp", labelNbf: "nbf", labelIat: "iat", labelCti: "cti",
		labelCnf: "cnf", labelScope: "scope", labelVct: "vct", labelCnonce: "cnonce", labelStatus: "status",
	}}
)

func init() {
	claimWords.inner = map[any]*words{labelCnf: cnfWords, nameActor: claimWords, nameMayAct: claimWords}
}

// in returns the words of the map under a key.
func (w *words) in(key any) *words {
	if w == nil || w.inner[key] == nil {
		return &words{}
	}
	return w.inner[key]
}

// A notation is written line by line.
type notation struct{ strings.Builder }

const indent = "  "

// message writes a message, and the credential in it if it may embed one.
func (n *notation) message(data []byte, margin string, embed bool) error {
	m, header, err := readAny(data)
	switch {
	case err != nil:
		return err
	case m.kcwt != nil && !embed: // a key binding token in another one, and so on
		return refuse("kcwt", credential.CodeMalformed, "only a key binding contains a credential")
	}
	o, err := readClaims(m.payload)
	if err != nil {
		return err
	}
	inner := margin + indent
	n.WriteString("18([\n" + inner + "/ protected / << ")
	if m.kcwt == nil {
		n.value(header.items, inner, headerWords)
	} else {
		n.WriteString("{\n")
		for _, key := range sortedKeys(header.items, headerKcwt) {
			n.key(key, inner+indent, headerWords)
			if key == any(headerKcwt) {
				if err := n.message(m.kcwt, inner+indent, false); err != nil {
					return err
				}
			} else {
				n.value(header.items[key], inner+indent, headerWords.in(key))
			}
			n.WriteString(",\n")
		}
		n.WriteString(inner + "}")
	}
	n.WriteString(" >>,\n" + inner + "/ unprotected / {},\n" + inner + "/ payload / << ")
	n.value(o.items, inner, claimWords)
	n.WriteString(" >>,\n" + inner + "/ signature / h'" + hex.EncodeToString(m.signature) + "',\n" + margin + "])")
	return nil
}

// sortedKeys returns the keys of a map, and others, in the order of the encoding (RFC 8949 §4.2.1).
func sortedKeys(m map[any]any, others ...any) []any {
	return slices.SortedFunc(func(yield func(any) bool) {
		for key := range maps.Keys(m) {
			if !yield(key) {
				return
			}
		}
		for _, key := range others {
			if !yield(key) {
				return
			}
		}
	}, func(a, b any) int {
		x, _ := encoding.Marshal(a) // a number or a text, as every key
		y, _ := encoding.Marshal(b)
		return bytes.Compare(x, y)
	})
}

// key begins the line of a member of a map.
func (n *notation) key(key any, margin string, w *words) {
	n.WriteString(margin)
	if name := w.names[key]; name != "" {
		n.WriteString("/ " + name + " / ")
	}
	n.value(key, margin, w)
	n.WriteString(": ")
}

func (n *notation) value(v any, margin string, w *words) {
	switch v := v.(type) {
	case nil:
		n.WriteString("null")
	case string:
		n.WriteString(quote(v, '"'))
	case []byte:
		if printable(v) {
			n.WriteString(quote(string(v), '\''))
		} else {
			n.WriteString("h'" + hex.EncodeToString(v) + "'")
		}
	case []any:
		n.WriteString("[")
		for i, e := range v {
			if i > 0 {
				n.WriteString(", ")
			}
			n.value(e, margin, w)
		}
		n.WriteString("]")
	case map[any]any:
		n.WriteString("{\n")
		for _, key := range sortedKeys(v) {
			n.key(key, margin+indent, w)
			n.value(v[key], margin+indent, w.in(key))
			n.WriteString(",\n")
		}
		n.WriteString(margin + "}")
	default: // a number, true, false or another simple value
		fmt.Fprint(n, v)
	}
}

// printable reports whether a byte string is better shown as text.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}

// quote returns a text as JSON writes it, in ASCII, so that no character changes how others are shown.
func quote(s string, mark byte) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text has no error
	quoted := strings.TrimSuffix(b.String(), "\n")
	inner := quoted[1 : len(quoted)-1]
	if mark == '\'' {
		inner = strings.ReplaceAll(strings.ReplaceAll(inner, `\"`, `"`), `'`, `\'`)
	}
	b.Reset()
	b.WriteByte(mark)
	for _, r := range inner {
		switch high, low := utf16.EncodeRune(r); {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte(mark)
	return b.String()
}
