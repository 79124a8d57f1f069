package introspect

import (
	"encoding/json"
	"strconv"
)

// MarshalJSON returns the answer as AppendJSON writes it.
func (a Answer) MarshalJSON() ([]byte, error) { return a.AppendJSON(make([]byte, 0, 768)), nil }

// AppendJSON appends the answer to b: byte for byte what encoding/json makes of the members, but without reflection. For a
// token that is not active that is {"active":false}, with the reason and the path if there are any.
func (a *Answer) AppendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.bool("active", a.Active)
	if !a.Active {
		o.string("reason", string(a.Reason))
		o.string("path", a.Path)
		return append(o.b, '}')
	}
	o.string("iss", a.Issuer)
	o.string("sub", a.Subject)
	o.string("username", a.Username)
	o.string("handle", a.Handle)
	o.string("device", a.Device)
	if len(a.Audience) > 0 {
		o.b = a.Audience.append(o.name("aud"))
	}
	o.string("client_id", a.ClientID)
	o.string("scope", a.Scope)
	o.int("exp", a.ExpiresAt)
	o.int("iat", a.IssuedAt)
	o.string("jti", a.JTI)
	o.int("auth_time", a.AuthTime)
	o.string("acr", a.ACR)
	o.string("sid", a.SID)
	if a.Confirmation != nil {
		cnf := object{b: append(o.name("cnf"), '{')}
		cnf.required("jkt", a.Confirmation.JKT)
		o.b = append(cnf.b, '}')
	}
	o.string("token_type", a.TokenType)
	o.b = strconv.AppendInt(o.name("expires_in"), a.ExpiresIn, 10)
	o.b = strconv.AppendInt(o.name("max_age"), a.MaxAge, 10)
	o.string("holder", string(a.Holder))
	o.string("home_iss", a.HomeIssuer)
	o.actor("act", a.Actor)
	if len(a.Tokens) > 0 {
		b := append(o.name("tokens"), '[')
		for i := range a.Tokens {
			if i > 0 {
				b = append(b, ',')
			}
			b = a.Tokens[i].append(b)
		}
		o.b = append(b, ']')
	}
	o.xsign("xsign", a.XSign)
	return append(o.b, '}')
}

// MarshalJSON writes the audience.
func (a Audience) MarshalJSON() ([]byte, error) { return a.append(nil), nil }

func (a Audience) append(b []byte) []byte {
	if len(a) == 1 {
		return appendString(b, a[0])
	}
	b = append(b, '[')
	for i, v := range a {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}

func (l *Layer) append(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.required("path", l.Path)
	o.required("rel", string(l.Relation))
	o.required("typ", l.Type)
	if l.Active {
		o.bool("active", true)
	}
	o.required("revocation", l.Revocation)
	o.required("iss", l.Issuer)
	o.required("sub", l.Subject)
	o.string("handle", l.Handle)
	o.string("device", l.Device)
	o.string("old_handle", l.OldHandle)
	o.string("role", l.Role)
	o.actor("may_act", l.MayAct)
	o.string("same_as", l.SameAs)
	o.string("moved_to", l.MovedTo)
	o.string("member", l.Member)
	o.string("guardian", l.Guardian)
	o.required("jti", l.JTI)
	o.b = strconv.AppendInt(o.name("exp"), l.ExpiresAt, 10)
	return append(o.b, '}')
}

// An object is a JSON object that is being written.
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

// required writes a member, also if it is empty.
func (o *object) required(name, value string) { o.b = appendString(o.name(name), value) }

// string writes a member unless it is empty.
func (o *object) string(name, value string) {
	if value != "" {
		o.required(name, value)
	}
}

// int writes a member unless it is zero.
func (o *object) int(name string, value int64) {
	if value != 0 {
		o.b = strconv.AppendInt(o.name(name), value, 10)
	}
}

func (o *object) bool(name string, value bool) { o.b = strconv.AppendBool(o.name(name), value) }

// actor writes a member unless a is nil.
func (o *object) actor(name string, a *Actor) {
	if a == nil {
		return
	}
	act := object{b: append(o.name(name), '{')}
	act.required("sub", a.Subject)
	act.string("iss", a.Issuer)
	act.string("client_id", a.ClientID)
	act.actor("act", a.Actor)
	o.b = append(act.b, '}')
}

// appendString appends s as encoding/json writes it. Nearly all strings of tokens are printable ASCII and need no escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string has an encoding
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
