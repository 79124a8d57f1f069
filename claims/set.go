package claims

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Set holds the claims of an access token: those of RFC 9068 §2.2, and the three URIs that the token binds to a key. Claims with
// zero values are absent. Identifiers are text here; [Set.Identity] reads them.
type Set struct {
	Issuer   string   // iss: the URL of the issuer
	Subject  string   // sub: the URI of the user, for a service its client id
	Handle   string   // handle: a URI
	Device   string   // device: a URI
	Audience []string // aud: never empty
	ClientID string   // client_id
	Scope    string   // scope: words separated by spaces
	JTI      string   // jti
	IssuedAt time.Time
	// NotBefore is nbf. Tokens of this issuer have none.
	NotBefore time.Time
	Expires   time.Time
	AuthTime  time.Time // auth_time: when the person logged in
	ACR       string    // acr
	AMR       []string  // amr
	SID       string    // sid: the grant that the token belongs to
	Gen       int64     // gen: the user's generation when the token was made
	JKT       string    // cnf.jkt: the SHA-256 thumbprint of the key in base64url (RFC 9449 §6.1)
	Actor     *Actor    // act (RFC 8693 §4.1)
	MayAct    *Actor    // may_act (RFC 8693 §4.4)
	HomeIss   string    // home_iss: the home issuer of the user, if the token was made by identity chaining
	// Tokens is the raw JSON array of nested tokens.
	Tokens json.RawMessage
	Status *Status // status: the token's place in a Token Status List
}

// An Actor is a party that acts, or may act, for a subject.
type Actor struct {
	Subject  string // sub
	Issuer   string // iss
	ClientID string // client_id
	SID      string // sid: the grant that the actor's own token belonged to
	Actor    *Actor // act: the prior actor
}

// A Status is a place in a Token Status List (draft-ietf-oauth-status-list §6.1).
type Status struct {
	Index uint64 // idx
	URI   string // uri
}

// MarshalJSON returns the set as AppendJSON writes it.
func (s Set) MarshalJSON() ([]byte, error) { return s.AppendJSON(make([]byte, 0, 768)), nil }

// AppendJSON appends the set to b as one JSON object. The members are always in the same order. Times are whole seconds, without
// their fractions. One audience is a string, several are an array.
func (s Set) AppendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.string("iss", s.Issuer)
	o.string("sub", s.Subject)
	o.string("handle", s.Handle)
	o.string("device", s.Device)
	if len(s.Audience) == 1 {
		o.string("aud", s.Audience[0])
	} else {
		o.strings("aud", s.Audience)
	}
	o.string("client_id", s.ClientID)
	o.string("scope", s.Scope)
	o.string("jti", s.JTI)
	o.time("iat", s.IssuedAt)
	o.time("nbf", s.NotBefore)
	o.time("exp", s.Expires)
	o.time("auth_time", s.AuthTime)
	o.string("acr", s.ACR)
	o.strings("amr", s.AMR)
	o.string("sid", s.SID)
	if s.Gen != 0 {
		o.b = strconv.AppendInt(o.name("gen"), s.Gen, 10)
	}
	if s.JKT != "" {
		cnf := object{b: append(o.name("cnf"), '{')}
		cnf.string("jkt", s.JKT)
		o.b = append(cnf.b, '}')
	}
	o.actor("act", s.Actor)
	o.actor("may_act", s.MayAct)
	o.string("home_iss", s.HomeIss)
	if len(s.Tokens) > 0 {
		o.b = append(o.name("tokens"), s.Tokens...)
	}
	if s.Status != nil {
		list := object{b: append(o.name("status"), `{"status_list":{`...)}
		list.b = strconv.AppendUint(list.name("idx"), s.Status.Index, 10)
		list.string("uri", s.Status.URI)
		o.b = append(list.b, "}}"...)
	}
	return append(o.b, '}')
}

// An object writes a JSON object. It omits members with zero values.
type object struct {
	b    []byte
	some bool // a member has been written
}

// name starts a member and returns the buffer for its value.
func (o *object) name(name string) []byte {
	if o.some {
		o.b = append(o.b, ',')
	}
	o.some = true
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
	return o.b
}

func (o *object) string(name, value string) {
	if value != "" {
		o.b = appendString(o.name(name), value)
	}
}

func (o *object) strings(name string, values []string) {
	if len(values) == 0 {
		return
	}
	b := append(o.name(name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	o.b = append(b, ']')
}

func (o *object) time(name string, t time.Time) {
	if !t.IsZero() {
		o.b = strconv.AppendInt(o.name(name), t.Unix(), 10)
	}
}

func (o *object) actor(name string, a *Actor) {
	if a == nil {
		return
	}
	act := object{b: append(o.name(name), '{')}
	act.string("sub", a.Subject)
	act.string("iss", a.Issuer)
	act.string("client_id", a.ClientID)
	act.string("sid", a.SID)
	act.actor("act", a.Actor)
	o.b = append(act.b, '}')
}

// appendString appends s as a JSON string (RFC 8259 §7) with the fewest possible escapes.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // ill-formed text becomes U+FFFD
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
