package nested

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// A reader reads a token and all tokens inside it, before any signature is checked. It reads the tokens in the order of the text, so
// that every implementation reports the same first fault.
type reader struct {
	njwt     Relation          // the relation of a token in `njwt`; "": refused
	accepted []Relation        // the accepted relations; nil: all
	along    map[digest]string // the tokens that entries may name by digest
	partial  bool              // a digest without its token is accepted
	layers   []*Layer          // the tokens that were read, outer before inner
	names    map[string]*Layer // by jti, including those of digests
	size     int               // bytes so far
	missing  int               // how many digests had no token
}

func path(outer *Layer, i int) string {
	p := "tokens[" + strconv.Itoa(i) + "]"
	if outer.Path != "" {
		p = outer.Path + "." + p
	}
	return p
}

// index computes the digests of the tokens that entries may name by digest. More tokens than can be enclosed are refused.
func (r *reader) index(tokens []string) error {
	if len(tokens) >= MaxTokens {
		return &Error{Code: CodeTooMany}
	}
	size := 0
	for _, token := range tokens {
		if size += len(token); size > MaxTotal {
			return &Error{Code: CodeTooLarge}
		}
		if r.along == nil {
			r.along = make(map[digest]string, len(tokens))
		}
		r.along[sha256.Sum256([]byte(token))] = token
	}
	return nil
}

// token reads a compact serialization into l, and the tokens inside it.
func (r *reader) token(l *Layer, text string) error {
	if err := r.admit(l, len(text)); err != nil {
		return err
	}
	jws, err := jose.ParseCompact(text, jose.Limits{Total: MaxToken, Header: MaxToken})
	if err != nil {
		return l.refuse(CodeMalformed, "%w", err)
	}
	// RFC 7515 §4.1.9, RFC 9068 §4: a type may have the prefix "application/", which has no meaning.
	l.jws, l.Type = jws, strings.TrimPrefix(jws.Header.Typ, "application/")
	return r.payload(l, jws.Payload, jws.Header.Cty)
}

// admit counts a token and its bytes, and checks the limits.
func (r *reader) admit(l *Layer, size int) error {
	switch {
	case l.depth > MaxDepth:
		return l.refuse(CodeTooDeep, "")
	case len(r.layers)+r.missing >= MaxTokens:
		return l.refuse(CodeTooMany, "")
	case size > MaxToken:
		return l.refuse(CodeTooLarge, "")
	}
	if r.size += size; r.size > MaxTotal {
		return l.refuse(CodeTooLarge, "the tokens together")
	}
	r.layers = append(r.layers, l)
	return nil
}

// payload reads the claims of l and the tokens inside it.
func (r *reader) payload(l *Layer, payload []byte, cty string) error {
	if rule := l.Relation.lookup(); rule != nil && !slices.Contains(rule.inner, l.Type) {
		return l.refuse(CodeType, "typ is not one that can be embedded as %s", l.Relation)
	}
	if err := l.read(payload); err != nil {
		return err
	}
	// Anyone who sees a bearer token can use it, and the outer token is made to be shown.
	if l.Access != nil && l.outer != nil && l.Access.JKT == "" {
		return l.refuse(CodeBearer, "")
	}
	if err := r.name(l, l.JTI()); err != nil {
		return err
	}
	switch cty {
	case "":
		return r.entries(l)
	case "NJWT":
		return r.enclosed(l, payload)
	}
	// RFC 7519 §5.2: "JWT" is for a payload that is itself a token, without claims of its own.
	return l.refuse(CodeMalformed, "cty is not NJWT")
}

// name records a jti, which only one token may have.
func (r *reader) name(l *Layer, jti string) error {
	switch {
	case jti == "":
		return l.refuse(CodeMalformed, "jti is missing")
	case len(jti) > MaxJTI:
		return l.refuse(CodeMalformed, "jti is longer than %d bytes", MaxJTI)
	}
	other := r.names[jti]
	if other == nil {
		if r.names == nil {
			r.names = make(map[string]*Layer, MaxTokens)
		}
		r.names[jti] = l
		return nil
	}
	for around := l.outer; around != nil; around = around.outer {
		if around == other && l.ByDigest {
			return l.refuse(CodeCycle, "")
		}
	}
	return l.refuse(CodeRepeated, "")
}

// entries reads the elements of `tokens`.
func (r *reader) entries(l *Layer) error {
	raw := l.tokens()
	if raw == nil {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return l.refuse(CodeMalformed, "tokens is empty")
	}
	for i, raw := range list {
		inner := &Layer{Path: path(l, i), outer: l, depth: l.depth + 1}
		e, err := parseEntry(raw)
		if err != nil {
			return inner.refuse(codeOf(err), "%w", err)
		}
		inner.Relation, inner.ByDigest = e.rel, e.byDigest
		if err := r.entry(inner, e); err != nil {
			return err
		}
	}
	return nil
}

// entry reads the token of e into l.
func (r *reader) entry(l *Layer, e entry) error {
	if err := r.fits(l); err != nil {
		return err
	}
	token := e.token
	if e.byDigest {
		var found bool
		if token, found = r.along[e.hash]; !found {
			return r.absent(l, e.jti)
		}
	}
	if err := r.token(l, token); err != nil {
		return err
	}
	switch {
	case tokenType(l.Type) != e.typ:
		return l.refuse(CodeType, "type does not match the typ of the token")
	case e.jti != "" && e.jti != l.JTI():
		return l.refuse(CodeDigest, "the token has another jti")
	}
	l.outer.Inner = append(l.outer.Inner, l)
	return nil
}

// fits checks that this verifier accepts the relation, and that the outer token has a type for it.
func (r *reader) fits(l *Layer) error {
	rule := l.Relation.lookup()
	switch {
	case rule == nil, r.accepted != nil && !slices.Contains(r.accepted, l.Relation):
		return l.refuse(CodeRelation, "rel is not accepted here")
	case !slices.Contains(rule.outer, l.outer.Type):
		return l.refuse(CodeType, "%s cannot be embedded in a token of this type", l.Relation)
	}
	return nil
}

// absent handles a digest whose token was not sent.
func (r *reader) absent(l *Layer, jti string) error {
	if l.depth > MaxDepth {
		return l.refuse(CodeTooDeep, "")
	}
	if err := r.name(l, jti); err != nil {
		return err
	}
	if !r.partial {
		return l.refuse(CodeAbsent, "")
	}
	if r.missing++; len(r.layers)+r.missing > MaxTokens {
		return l.refuse(CodeTooMany, "")
	}
	return nil
}

// enclosed reads the token in `njwt`, the form of draft-yusef-oauth-nested-jwt up to -03. The form has no relation; the verifier's
// policy names it.
func (r *reader) enclosed(l *Layer, payload []byte) error {
	inner := &Layer{Path: "njwt", Relation: r.njwt, outer: l, depth: l.depth + 1}
	if l.Path != "" {
		inner.Path = l.Path + ".njwt"
	}
	var token string
	switch err := jose.ReadMembers(payload, jose.Member{Name: "njwt", Text: &token}); {
	case err != nil:
		return inner.refuse(CodeMalformed, "%w", err)
	case token == "":
		return l.refuse(CodeMalformed, "njwt is missing")
	case l.tokens() != nil:
		return l.refuse(CodeMalformed, "has both tokens and njwt")
	}
	if err := r.fits(inner); err != nil {
		return err
	}
	if err := r.token(inner, token); err != nil {
		return err
	}
	l.Inner = append(l.Inner, inner)
	return nil
}

// tokens returns the raw claim, nil if it is absent.
func (l *Layer) tokens() json.RawMessage {
	if l.Access != nil {
		return l.Access.Tokens
	}
	return l.Statement.Tokens
}
