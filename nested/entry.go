package nested

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// The token types of RFC 8693 §3 that an entry may name, and the suffix that the draft adds for a token by digest.
const (
	tokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeJWT    = "urn:ietf:params:oauth:token-type:jwt"
	byReference     = ":reference"
)

// digestAlg is the only algorithm of digests, the draft's default.
const digestAlg = "sha-256"

// An entry is one element of `tokens`.
type entry struct {
	typ   string // the token type, without byReference
	rel   Relation
	token string // by value
	// By digest, hash is the SHA-256 of the compact serialization.
	byDigest bool
	hash     digest
	jti      string
}

// A faultError is an error with a code.
type faultError struct {
	code Code
	text string
}

func (e *faultError) Error() string { return e.text }

func fault(code Code, text string) error { return &faultError{code, text} }

// codeOf returns the code of a [faultError], and malformed for other errors.
func codeOf(err error) Code {
	var f *faultError
	if errors.As(err, &f) {
		return f.code
	}
	return CodeMalformed
}

var entryNames = []string{"type", "rel", "token", "digest", "jti"}

// parseEntry reads one element. Unlike in the draft, a relation is required. A digest has only the draft's form: SHA-256 in 64
// lower-case hexadecimal digits, with the jti of the token.
func parseEntry(raw []byte) (entry, error) {
	var e entry
	var typ, rel string
	var value, reference bool
	err := jose.Object(raw, func(name string, member []byte) (err error) {
		switch name {
		case "type":
			typ, err = jose.String(member)
		case "rel":
			rel, err = jose.String(member)
		case "token":
			value = true
			e.token, err = jose.String(member)
		case "digest":
			e.byDigest = true
			e.hash, err = parseDigest(member)
		case "jti":
			e.jti, err = jose.String(member)
		default:
			err = jose.CheckCase(name, entryNames)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	e.rel = Relation(rel)
	e.typ, reference = strings.CutSuffix(typ, byReference)
	switch {
	case value == e.byDigest:
		return e, errors.New("needs either token or digest")
	case e.byDigest && e.jti == "":
		return e, fault(CodeDigest, "digest needs jti beside it")
	case e.typ != tokenTypeAccess && e.typ != tokenTypeJWT, reference && value:
		return e, fault(CodeType, "type is not a known token type")
	case e.rel.lookup() == nil:
		return e, fault(CodeRelation, "rel is missing or unknown")
	}
	return e, nil
}

func parseDigest(raw []byte) (sum digest, err error) {
	var alg, hash string
	err = jose.Object(raw, func(name string, value []byte) (err error) {
		switch name {
		case "alg":
			alg, err = jose.String(value)
		case "hash":
			hash, err = jose.String(value)
		default:
			err = jose.CheckCase(name, []string{"alg", "hash"})
		}
		return err
	})
	switch {
	case err != nil:
		return sum, err
	case alg != digestAlg:
		return sum, fault(CodeDigest, "alg is not sha-256")
	case len(hash) != hex.EncodedLen(len(sum)) || strings.ToLower(hash) != hash:
		return sum, fault(CodeDigest, "hash is not 64 lower-case hexadecimal digits")
	}
	if _, err := hex.Decode(sum[:], []byte(hash)); err != nil {
		return sum, fault(CodeDigest, "hash is not 64 lower-case hexadecimal digits")
	}
	return sum, nil
}

// An Entry is a token to embed, with the relation of the outer subject to its own.
type Entry struct {
	Relation Relation
	Token    string
	// ByDigest embeds the token's digest and jti. The token itself is then sent beside the outer one.
	ByDigest bool

	typ, jti string // from ReadEntries; Build checks the token against them
}

// Build returns the array that embeds the entries: the claim `tokens`, for [claims.Set] or [Statement]. It checks form, types, sizes,
// depth and repeated jti, and returns an [*Error] about the first entry that no token can have. The relations to the outer token
// are checked by [Check].
func Build(entries ...Entry) (json.RawMessage, error) {
	r := reader{partial: true}
	root := &Layer{depth: 1}
	r.layers = append(r.layers, root)
	list := make([]wireEntry, len(entries))
	for i, e := range entries {
		if e.Relation.lookup() == nil {
			return nil, &Error{Path: path(root, i), Code: CodeRelation}
		}
		l := &Layer{Path: path(root, i), Relation: e.Relation, outer: root, depth: 2}
		if err := r.token(l, e.Token); err != nil {
			return nil, err
		}
		switch {
		case e.typ != "" && e.typ != tokenType(l.Type):
			return nil, l.refuse(CodeType, "type does not match the typ of the token")
		case e.jti != "" && e.jti != l.JTI():
			return nil, l.refuse(CodeDigest, "the token has another jti")
		}
		w := wireEntry{Type: tokenType(l.Type), Relation: e.Relation, Token: e.Token}
		if e.ByDigest {
			sum := sha256.Sum256([]byte(e.Token))
			w.Type += byReference
			w.Token, w.Digest, w.JTI = "", &wireDigest{digestAlg, hex.EncodeToString(sum[:])}, l.JTI()
		}
		list[i] = w
	}
	if len(list) == 0 {
		return nil, errors.New("nested: no tokens to embed")
	}
	return json.Marshal(list)
}

// ReadEntries reads such an array from a request. A token that an entry names by its digest is looked up in along. [Build] drops
// unknown members of entries. The error is an [*Error].
func ReadEntries(raw json.RawMessage, along []string) ([]Entry, error) {
	r := reader{}
	if err := r.index(along); err != nil {
		return nil, err
	}
	root := &Layer{depth: 1}
	if len(raw) > 2*MaxTotal {
		return nil, root.refuse(CodeTooLarge, "the tokens together")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return nil, root.refuse(CodeMalformed, "tokens is empty or not an array")
	}
	if len(list) >= MaxTokens {
		return nil, root.refuse(CodeTooMany, "")
	}
	entries := make([]Entry, len(list))
	for i, raw := range list {
		l := &Layer{Path: path(root, i)}
		e, err := parseEntry(raw)
		if err != nil {
			return nil, l.refuse(codeOf(err), "%w", err)
		}
		if e.byDigest {
			var found bool
			if e.token, found = r.along[e.hash]; !found {
				return nil, l.refuse(CodeAbsent, "")
			}
		}
		entries[i] = Entry{Relation: e.rel, Token: e.token, ByDigest: e.byDigest, typ: e.typ, jti: e.jti}
	}
	return entries, nil
}

type wireEntry struct {
	Type     string      `json:"type"`
	Relation Relation    `json:"rel"`
	Token    string      `json:"token,omitempty"`
	Digest   *wireDigest `json:"digest,omitempty"`
	JTI      string      `json:"jti,omitempty"`
}

type wireDigest struct {
	Alg  string `json:"alg"`
	Hash string `json:"hash"`
}

// tokenType returns the token type of an entry for a `typ`.
func tokenType(typ string) string {
	if typ == TypeAccessToken {
		return tokenTypeAccess
	}
	return tokenTypeJWT
}
