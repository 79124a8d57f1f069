package nested

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// A reader takes a token apart, with all that it encloses, before any signature is checked. It goes through the tokens in
// the order of the text, and so its first complaint is the same for everybody.
type reader struct {
	njwt    Relation          // what an enclosed token in `njwt` is, "": refused
	take    []Relation        // the relations to take, nil: all
	along   map[digest]string // the tokens that came along
	partial bool              // a digest whose token did not come along is left alone
	layers  []*Layer          // what was read, outer before inner
	names   map[string]*Layer // by jti, also of digests
	size    int               // bytes so far
	missing int               // digests left alone
}

func path(outer *Layer, i int) string {
	p := "tokens[" + strconv.Itoa(i) + "]"
	if outer.Path != "" {
		p = outer.Path + "." + p
	}
	return p
}

// comeAlong takes the tokens that came along by their digests. More than can be enclosed are refused unseen.
func (r *reader) comeAlong(tokens []string) error {
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

// token reads a compact serialization into l, and what it encloses.
func (r *reader) token(l *Layer, text string) error {
	if err := r.admit(l, len(text)); err != nil {
		return err
	}
	jws, err := jose.ParseCompact(text, jose.Limits{Total: MaxToken, Header: MaxToken})
	if err != nil {
		return l.refuse(CodeMalformed, "%w", err)
	}
	// RFC 7515 §4.1.9, RFC 9068 §4: "application/" may stand before a type, and means nothing.
	l.jws, l.Type = jws, strings.TrimPrefix(jws.Header.Typ, "application/")
	return r.payload(l, jws.Payload, jws.Header.Cty)
}

// admit counts a token and its bytes.
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

// payload reads the claims of l and what they enclose.
func (r *reader) payload(l *Layer, payload []byte, cty string) error {
	if line := l.Relation.lookup(); line != nil && !slices.Contains(line.inner, l.Type) {
		return l.refuse(CodeType, "typ is not one that can be embedded as %s", l.Relation)
	}
	if err := l.read(payload); err != nil {
		return err
	}
	// A bearer token works for whoever sees it, and the outer token is there to be shown.
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
	// RFC 7519 §5.2 has "JWT" for a payload that is itself a token, without claims of its own.
	return l.refuse(CodeMalformed, "cty is not NJWT")
}

// name takes a jti, which only one token may have.
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

// entry reads the token that e stands for, into l.
func (r *reader) entry(l *Layer, e entry) error {
	if err := r.fits(l); err != nil {
		return err
	}
	token := e.token
	if e.byDigest {
		var found bool
		if token, found = r.along[e.hash]; !found {
			return r.leave(l, e.jti)
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

// fits checks that this verifier takes the relation, and that the outer token is of a type for it.
func (r *reader) fits(l *Layer) error {
	line := l.Relation.lookup()
	switch {
	case line == nil, r.take != nil && !slices.Contains(r.take, l.Relation):
		return l.refuse(CodeRelation, "rel is not accepted here")
	case !slices.Contains(line.outer, l.outer.Type):
		return l.refuse(CodeType, "%s cannot be embedded in a token of this type", l.Relation)
	}
	return nil
}

// leave is about a digest whose token did not come along.
func (r *reader) leave(l *Layer, jti string) error {
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

// enclosed reads the one token of `njwt`, as draft-yusef-oauth-nested-jwt had it up to -03. It does not tell the relation;
// the verifier's policy does.
func (r *reader) enclosed(l *Layer, payload []byte) error {
	inner := &Layer{Path: "njwt", Relation: r.njwt, outer: l, depth: l.depth + 1}
	if l.Path != "" {
		inner.Path = l.Path + ".njwt"
	}
	var token string
	err := jose.Object(payload, func(name string, value []byte) (err error) {
		if name == "njwt" {
			token, err = jose.String(value)
			return err
		}
		return jose.CheckCase(name, []string{"njwt"})
	})
	switch {
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
