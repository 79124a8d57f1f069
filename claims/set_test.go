package claims_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/imidentity/issuer/claims"
)

const thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" // RFC 9449 §6.1

var issuedAt = time.Unix(1_700_000_000, 0).UTC()

// userSet returns the claims of Alice's phone.
func userSet() claims.Set {
	return claims.Set{
		Issuer:   "https://id.example.com",
		Subject:  "im:BFuVxW5BfJc8R7Qw@example.com;id-type=user",
		Handle:   "im:%40alice@example.com",
		Device:   "im:BFuVxW5BfJc8R7Qw/72b@example.com",
		Audience: []string{"im:example.com"},
		ClientID: "app",
		Scope:    "im:handle im:device",
		JTI:      "t-1",
		IssuedAt: issuedAt,
		Expires:  issuedAt.Add(10 * time.Minute),
		AuthTime: issuedAt.Add(-time.Hour),
		ACR:      "phr",
		AMR:      []string{"pwd", "otp"},
		SID:      "g-1",
		Gen:      3,
		JKT:      thumbprint,
	}
}

// chained makes the set that of a user of another domain, for a verifier of the issuer, and then changes both.
func chained(change func(*claims.Set, *claims.Expect)) func(*claims.Set, *claims.Expect) {
	return func(s *claims.Set, e *claims.Expect) {
		s.HomeIss, s.SID, s.Gen = "https://id.home.example", "", 0
		s.Subject, s.Handle = "im:BFuVxW5BfJc8R7Qw@home.example;id-type=user", "im:%40alice@home.example"
		s.Device, e.Own = "im:BFuVxW5BfJc8R7Qw/72b@home.example", true
		if change != nil {
			change(s, e)
		}
	}
}

func serviceSet() claims.Set {
	return claims.Set{
		Issuer: "https://id.example.com", Subject: "gateway", ClientID: "gateway", Audience: []string{"https://id.example.com"},
		Scope: "introspect", JTI: "t-2", IssuedAt: issuedAt, Expires: issuedAt.Add(time.Minute),
	}
}

func expect() claims.Expect {
	return claims.Expect{
		Issuer: "https://id.example.com", Audience: "im:example.com", Domains: []string{"example.com"},
		Now: issuedAt.Add(time.Minute), Leeway: 5 * time.Second, Development: true,
	}
}

func TestSetJSON(t *testing.T) {
	s := userSet()
	s.Actor = &claims.Actor{Subject: "bridge", Issuer: "https://id.example.net", Actor: &claims.Actor{Subject: "im:bot@example.net"}}
	s.MayAct = &claims.Actor{ClientID: "helper"}
	s.HomeIss = "https://id.example.org"
	s.Tokens = json.RawMessage(`[{"rel":"acts_for"}]`)
	s.Status = &claims.Status{Index: 412, URI: "https://id.example.com/status/3"}
	const want = `{"iss":"https://id.example.com","sub":"im:BFuVxW5BfJc8R7Qw@example.com;id-type=user",` +
		`"handle":"im:%40alice@example.com","device":"im:BFuVxW5BfJc8R7Qw/72b@example.com","aud":"im:example.com",` +
		`"client_id":"app","scope":"im:handle im:device","jti":"t-1","iat":1700000000,"exp":1700000600,` +
		`"auth_time":1699996400,"acr":"phr","amr":["pwd","otp"],"sid":"g-1","gen":3,"cnf":{"jkt":"` + thumbprint + `"},` +
		`"act":{"sub":"bridge","iss":"https://id.example.net","act":{"sub":"im:bot@example.net"}},"may_act":{"client_id":"helper"},` +
		`"home_iss":"https://id.example.org","tokens":[{"rel":"acts_for"}],` +
		`"status":{"status_list":{"idx":412,"uri":"https://id.example.com/status/3"}}}`
	data, err := json.Marshal(s)
	if err != nil || string(data) != want {
		t.Errorf("Marshal = %s, %v, want %s", data, err, want)
	}
	got, err := claims.ParseSet(data)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("ParseSet = %+v, %v, want %+v", got, err, s)
	}
}

func TestSetJSONStrings(t *testing.T) {
	s := serviceSet()
	s.Scope = "a\"b\\c\x00\x1f\u00e9\u2028<&>" + "\xff"
	s.Audience = []string{"a", "b"}
	data := s.AppendJSON(nil)
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("AppendJSON wrote %q: %v", data, err)
	}
	if want := strings.ToValidUTF8(s.Scope, "\uFFFD"); got["scope"] != want {
		t.Errorf("scope = %q, want %q", got["scope"], want)
	}
	if want := []any{"a", "b"}; !reflect.DeepEqual(got["aud"], want) {
		t.Errorf("aud = %v, want %v", got["aud"], want)
	}
}

func TestParseSet(t *testing.T) {
	s := serviceSet()
	good := string(s.AppendJSON(nil))
	for name, c := range map[string]struct{ old, new string }{
		"repeated":          {`"iss":`, `"iss":"x","iss":`},
		"case":              {`"scope":`, `"Scope":`},
		"case beside":       {`"sub":`, `"SUB":"x","sub":`},
		"escaped repeat":    {`"iss":`, `"\u0069ss":"x","iss":`},
		"milliseconds":      {`1700000000`, `1653455836315`},
		"time text":         {`1700000000`, `"1700000000"`},
		"time negative":     {`1700000000`, `-1`},
		"sub number":        {`"sub":"gateway"`, `"sub":1`},
		"sub null":          {`"sub":"gateway"`, `"sub":null`},
		"sub empty":         {`"sub":"gateway"`, `"sub":""`},
		"aud none":          {`"aud":"https://id.example.com"`, `"aud":[]`},
		"aud empty":         {`"aud":"https://id.example.com"`, `"aud":[""]`},
		"aud object":        {`"aud":"https://id.example.com"`, `"aud":{}`},
		"handle list":       {`"scope":`, `"handle":["a"],"scope":`},
		"gen fraction":      {`"scope":`, `"gen":1.5,"scope":`},
		"cnf text":          {`"scope":`, `"cnf":"x","scope":`},
		"cnf case":          {`"scope":`, `"cnf":{"JKT":"x"},"scope":`},
		"cnf repeated":      {`"scope":`, `"cnf":{"jkt":"x","jkt":"y"},"scope":`},
		"act list":          {`"scope":`, `"act":[],"scope":`},
		"tokens object":     {`"scope":`, `"tokens":{},"scope":`},
		"status idx":        {`"scope":`, `"status":{"status_list":{"idx":-1}},"scope":`},
		"status no idx":     {`"scope":`, `"status":{"status_list":{"uri":"https://x/"}},"scope":`},
		"status no uri":     {`"scope":`, `"status":{"status_list":{"idx":7}},"scope":`},
		"status idx power":  {`"scope":`, `"status":{"status_list":{"idx":1e1,"uri":"https://x/"}},"scope":`},
		"status list":       {`"scope":`, `"status":{"status_list":[7]},"scope":`},
		"unknown case":      {`"scope":`, `"home_Iss":"x","scope":`},
		"trailing":          {`}`, `}{}`},
		"repeated unknown":  {`"scope":`, `"x":1,"x":2,"scope":`},
		"kelvin sign folds": {`"scope":`, `"to\u212Aens":[],"scope":`},
	} {
		t.Run(name, func(t *testing.T) {
			data := strings.Replace(good, c.old, c.new, 1)
			if data == good {
				t.Fatal("nothing replaced")
			}
			if got, err := claims.ParseSet([]byte(data)); err == nil {
				t.Errorf("ParseSet(%s) = %+v, want an error", data, got)
			}
		})
	}
	for name, c := range map[string]struct{ old, new string }{
		"exponent": {`1700000000`, `1.7e9`},
		"unknown":  {`"scope":`, `"roles":["x"],"scope":`},
		"aud list": {`"aud":"https://id.example.com"`, `"aud":["https://id.example.com"]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := claims.ParseSet([]byte(strings.Replace(good, c.old, c.new, 1)))
			if err != nil || !reflect.DeepEqual(got, s) {
				t.Errorf("ParseSet = %+v, %v, want %+v", got, err, s)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*claims.Set, *claims.Expect)
		claim  string // refused, "" for none
		want   error
	}{
		"good":            {func(*claims.Set, *claims.Expect) {}, "", nil},
		"user alone":      {func(s *claims.Set, _ *claims.Expect) { s.Handle, s.Device = "", "" }, "", nil},
		"another issuer":  {func(s *claims.Set, _ *claims.Expect) { s.Issuer = "https://id.example.net" }, "iss", claims.ErrIssuer},
		"issuer slash":    {func(s *claims.Set, _ *claims.Expect) { s.Issuer += "/" }, "iss", claims.ErrIssuer},
		"no jti":          {func(s *claims.Set, _ *claims.Expect) { s.JTI = "" }, "jti", claims.ErrMissing},
		"no key":          {func(s *claims.Set, _ *claims.Expect) { s.JKT = "" }, "cnf", claims.ErrMissing},
		"short key":       {func(s *claims.Set, _ *claims.Expect) { s.JKT = s.JKT[1:] }, "cnf", claims.ErrMalformed},
		"other audience":  {func(_ *claims.Set, e *claims.Expect) { e.Audience = "im:example.net" }, "aud", claims.ErrAudience},
		"no audience":     {func(_ *claims.Set, e *claims.Expect) { e.Audience = "" }, "aud", claims.ErrAudience},
		"any audience":    {func(_ *claims.Set, e *claims.Expect) { e.Audience, e.AnyAudience = "", true }, "", nil},
		"last second":     {func(s *claims.Set, e *claims.Expect) { e.Now = s.Expires.Add(4 * time.Second) }, "", nil},
		"expired":         {func(s *claims.Set, e *claims.Expect) { e.Now = s.Expires.Add(5 * time.Second) }, "exp", claims.ErrExpired},
		"too early":       {func(s *claims.Set, e *claims.Expect) { e.Now = issuedAt.Add(-6 * time.Second) }, "iat", claims.ErrNotYetValid},
		"not before":      {func(s *claims.Set, _ *claims.Expect) { s.NotBefore = issuedAt.Add(time.Hour) }, "nbf", claims.ErrNotYetValid},
		"foreign domain":  {func(_ *claims.Set, e *claims.Expect) { e.Domains = []string{"example.net"} }, "sub", claims.ErrDomain},
		"no domains":      {func(_ *claims.Set, e *claims.Expect) { e.Domains = nil }, "sub", claims.ErrDomain},
		"reserved domain": {func(_ *claims.Set, e *claims.Expect) { e.Development = false }, "sub", claims.CodeReservedDomain},
		"unscoped": {func(s *claims.Set, e *claims.Expect) {
			s.Subject = "im:BFuVxW5BfJc8R7Qw@local.invalid;id-type=user"
			e.Domains = append(e.Domains, "local.invalid")
		}, "sub", claims.CodeReservedDomain},
		"handle elsewhere": {func(s *claims.Set, _ *claims.Expect) { s.Handle = "im:%40alice@example.net" }, "handle", claims.ErrMismatch},
		"device elsewhere": {func(s *claims.Set, _ *claims.Expect) { s.Device = "im:BFuVxW5BfJc8R7Qw/72b@example.net" }, "device",
			claims.ErrMismatch},
		"another's device": {func(s *claims.Set, _ *claims.Expect) { s.Device = "im:other/72b@example.com" }, "device", claims.ErrMismatch},
		"device case": {func(s *claims.Set, _ *claims.Expect) { s.Device = "im:bfuvxw5bfjc8r7qw/72b@example.com" }, "device",
			claims.ErrMismatch},
		"other system": {func(s *claims.Set, _ *claims.Expect) { s.Device = "im:wxyz=BFuVxW5BfJc8R7Qw/72b@example.com" }, "device",
			claims.ErrMismatch},
		"device as mimi":      {func(s *claims.Set, _ *claims.Expect) { s.Device = "mimi://example.com/d/BFuVxW5BfJc8R7Qw/72b" }, "", nil},
		"device without user": {func(s *claims.Set, _ *claims.Expect) { s.Device = "mimi://example.com/d/72b" }, "", nil},
		"handle as mimi":      {func(s *claims.Set, _ *claims.Expect) { s.Handle = "mimi://example.com/u/alice" }, "", nil},
		"device as handle":    {func(s *claims.Set, _ *claims.Expect) { s.Handle = s.Device }, "handle", claims.CodeTypeMismatch},
		"user as handle":      {func(s *claims.Set, _ *claims.Expect) { s.Handle = s.Subject }, "handle", claims.CodeTypeMismatch},
		"handle as subject":   {func(s *claims.Set, _ *claims.Expect) { s.Subject = s.Handle }, "sub", claims.CodeTypeMismatch},
		"spelling": {func(s *claims.Set, _ *claims.Expect) { s.Handle = "im:%40Alice@example.com" }, "handle",
			claims.CodeNotCanonical},
		"client as subject":   {func(s *claims.Set, _ *claims.Expect) { s.Subject = "other" }, "sub", claims.CodeSchemeNotAllowed},
		"client named a user": {func(s *claims.Set, _ *claims.Expect) { s.ClientID = s.Subject }, "sub", claims.ErrMalformed},
		"xmpp": {func(s *claims.Set, _ *claims.Expect) {
			s.Subject, s.Handle, s.Device = "im:xmpp=alice@example.com", "im:xmpp=alice@example.com", "im:xmpp=alice/72b@example.com"
		}, "", nil},
		"xmpp, two names": {func(s *claims.Set, _ *claims.Expect) {
			s.Subject, s.Handle, s.Device = "im:xmpp=alice@example.com", "im:xmpp=bob@example.com", ""
		}, "handle", claims.ErrMismatch},
		"one label": {func(s *claims.Set, e *claims.Expect) {
			s.Subject, s.Handle, s.Device = "im:u@localhost;id-type=user", "im:%40alice@localhost", "im:u/1@localhost"
			e.Domains = []string{"localhost"}
		}, "", nil},
		"service": {func(s *claims.Set, e *claims.Expect) { *s, e.Audience = serviceSet(), e.Issuer }, "", nil},
		"service with handle": {func(s *claims.Set, _ *claims.Expect) { s.Subject, s.Device = s.ClientID, "" }, "handle",
			claims.ErrNotForClient},
		"service with device": {func(s *claims.Set, _ *claims.Expect) { s.Subject, s.Handle = s.ClientID, "" }, "device",
			claims.ErrNotForClient},
		"chained":            {chained(nil), "", nil},
		"chained, elsewhere": {chained(func(_ *claims.Set, e *claims.Expect) { e.Own = false }), "home_iss", claims.ErrHomeIssuer},
		"chained, trusted elsewhere": {chained(func(_ *claims.Set, e *claims.Expect) {
			e.Own, e.Domains = false, append(e.Domains, "home.example")
		}), "home_iss", claims.ErrHomeIssuer},
		"chained by itself": {chained(func(s *claims.Set, _ *claims.Expect) { s.HomeIss = s.Issuer }), "home_iss", claims.ErrMismatch},
		"chained for its own": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Subject, s.Handle, s.Device = userSet().Subject, userSet().Handle, userSet().Device
		}), "home_iss", claims.ErrMismatch},
		"foreign without home": {chained(func(s *claims.Set, _ *claims.Expect) { s.HomeIss = "" }), "sub", claims.ErrDomain},
		"chained, for another too": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Audience = append(s.Audience, "im:home.example")
		}), "aud", claims.ErrAudience},
		"chained, as mimi too": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Audience = append(s.Audience, "mimi://home.example")
		}), "aud", claims.ErrAudience},
		"chained, for the issuer": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Audience = append(s.Audience, s.Issuer)
		}), "aud", claims.ErrAudience},
		"chained, for a URL too": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Audience = append(s.Audience, "https://rooms.example.com")
		}), "", nil},
		"chained, with an actor": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Actor = &claims.Actor{Subject: "bridge"}
		}), "home_iss", claims.ErrMalformed},
		"chained, to an actor": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.MayAct = &claims.Actor{Subject: "bridge"}
		}), "home_iss", claims.ErrMalformed},
		"chained, with tokens": {chained(func(s *claims.Set, _ *claims.Expect) {
			s.Tokens = json.RawMessage("[]")
		}), "home_iss", claims.ErrMalformed},
		"chained, handle elsewhere": {chained(func(s *claims.Set, _ *claims.Expect) { s.Handle = "im:%40alice@example.com" }), "handle",
			claims.ErrMismatch},
		"chained, no key": {chained(func(s *claims.Set, _ *claims.Expect) { s.JKT = "" }), "cnf", claims.ErrMissing},
		"chained service": {func(s *claims.Set, e *claims.Expect) {
			*s, e.Audience, e.Own = serviceSet(), e.Issuer, true
			s.HomeIss = "https://id.home.example"
		}, "home_iss", claims.ErrNotForClient},
		"service, broken bind": {func(s *claims.Set, e *claims.Expect) { *s, e.Audience = serviceSet(), e.Issuer; s.JKT = "x" }, "cnf",
			claims.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := userSet(), expect()
			c.change(&s, &e)
			err := s.Validate(e)
			if !errors.Is(err, c.want) {
				t.Errorf("Validate = %v, want %v", err, c.want)
			}
			var refused *claims.ClaimError
			if errors.As(err, &refused) && refused.Claim != c.claim {
				t.Errorf("Validate refused %q, want %q", refused.Claim, c.claim)
			}
		})
	}
}

func TestNamespace(t *testing.T) {
	const user, device = "0b36df16-30ce-42b7-a709-b0f156682717", "72b"
	for _, c := range []struct {
		system               claims.System
		handle, user, device string
	}{
		{claims.SystemGeneric, "im:%40alice@example.com", "im:" + user + "@example.com;id-type=user", "im:" + user + "/72b@example.com"},
		{claims.SystemWXYZ, "im:wxyz=%40alice@example.com", "im:wxyz=" + user + "@example.com", "im:wxyz=" + user + "/72b@example.com"},
		{claims.SystemWire, "im:wire=%40alice@example.com", "im:wire=" + user + "@example.com", "im:wire=" + user + "/72b@example.com"},
		{claims.SystemXMPP, "im:xmpp=alice@example.com", "im:xmpp=" + user + "@example.com", "im:xmpp=" + user + "/72b@example.com"},
	} {
		t.Run(string(c.system), func(t *testing.T) {
			ns, err := claims.NewNamespace(c.system, "Example.com.", true)
			if err != nil {
				t.Fatalf("NewNamespace = %v", err)
			}
			for _, m := range []struct {
				make func() (claims.ID, error)
				want string
			}{
				{func() (claims.ID, error) { return ns.Handle("Alice") }, c.handle},
				{func() (claims.ID, error) { return ns.User(user) }, c.user},
				{func() (claims.ID, error) { return ns.Device(user, device) }, c.device},
			} {
				id, err := m.make()
				if err != nil || id.IM() != m.want {
					t.Errorf("made %v, %v, want %s", id, err, m.want)
					continue
				}
				if parsed, err := claims.Parse(id.IM()); err != nil || parsed != id {
					t.Errorf("Parse(%s) = %v, %v", id, parsed, err)
				}
			}
		})
	}
	for _, system := range []claims.System{claims.SystemEmail, claims.SystemIRC, claims.SystemSIP, claims.SystemMIMI, "", "nope"} {
		if _, err := claims.NewNamespace(system, "example.com", true); !errors.Is(err, claims.CodeUnknownSystem) {
			t.Errorf("NewNamespace(%q) = %v, want %v", system, err, claims.CodeUnknownSystem)
		}
	}
}

// TestParts holds the constructors to their parts: what is put in cannot become another type or another part.
func TestParts(t *testing.T) {
	wxyz, err := claims.NewNamespace(claims.SystemWXYZ, "example.com", true)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func() (claims.ID, error)
		want claims.Code
		at   int
	}{
		"sigil twice":     {func() (claims.ID, error) { return claims.Handle("example.com", "@alice") }, claims.CodeDisallowedChar, 0},
		"domain inside":   {func() (claims.ID, error) { return claims.Handle("example.com", "alice@example.net") }, claims.CodeDisallowedChar, 5},
		"handle as user":  {func() (claims.ID, error) { return wxyz.User("@alice") }, claims.CodeTypeMismatch, 0},
		"channel as user": {func() (claims.ID, error) { return wxyz.User("#alice") }, claims.CodeTypeMismatch, 0},
		"team channel":    {func() (claims.ID, error) { return wxyz.Device("##a", "b") }, claims.CodeTypeMismatch, 0},
		"slash":           {func() (claims.ID, error) { return claims.Device("example.com", "u", "a/b") }, claims.CodeDisallowedChar, 1},
		"no user":         {func() (claims.ID, error) { return claims.Device("example.com", "", "a") }, claims.CodeEmptyPart, 0},
		"no device":       {func() (claims.ID, error) { return claims.Device("example.com", "u", "") }, claims.CodeEmptyPart, 0},
		"not decoded":     {func() (claims.ID, error) { return claims.User("example.com", "%41") }, claims.CodeDoubleEncoding, 0},
		"control":         {func() (claims.ID, error) { return claims.Handle("example.com", "al\nice") }, claims.CodeControlChar, 2},
		"no domain":       {func() (claims.ID, error) { return claims.Handle("", "alice") }, claims.CodeMissingDomain, 0},
		"zero namespace":  {func() (claims.ID, error) { return claims.Namespace{}.Handle("alice") }, claims.CodeUnknownSystem, 0},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := c.make()
			var refused *claims.Error
			if !errors.As(err, &refused) || refused.Code != c.want || refused.Offset != c.at {
				t.Errorf("made %v, %v, want %v at byte %d", id, err, c.want, c.at)
			}
		})
	}
}

func TestCheckDomain(t *testing.T) {
	for _, c := range []struct {
		domain      string
		want        string
		live, devel claims.Code
	}{
		{"Provider.COM.", "provider.com", "", ""},
		{"bücher.de", "xn--bcher-kva.de", "", ""},
		{"example.com", "example.com", claims.CodeReservedDomain, ""},
		{"im.example.org", "im.example.org", claims.CodeReservedDomain, ""},
		{"notexample.com", "notexample.com", "", ""},
		{"a.test", "a.test", claims.CodeReservedDomain, ""},
		{"localhost", "localhost", claims.CodeSingleLabel, ""},
		{"local.invalid", "", claims.CodeReservedDomain, claims.CodeReservedDomain},
		{"im.local", "", claims.CodeReservedDomain, claims.CodeReservedDomain},
		{"a.onion", "", claims.CodeReservedDomain, claims.CodeReservedDomain},
		{"a.localhost", "", claims.CodeReservedDomain, claims.CodeReservedDomain},
		{"127.0.0.1", "", claims.CodeIPNotAllowed, claims.CodeIPNotAllowed},
		{"localhost:8080", "", claims.CodePortNotAllowed, claims.CodePortNotAllowed},
	} {
		for development, code := range map[bool]claims.Code{false: c.live, true: c.devel} {
			got, err := claims.CheckDomain(c.domain, development)
			if code != "" && !errors.Is(err, code) || code == "" && (err != nil || got != c.want) {
				t.Errorf("CheckDomain(%q, %v) = %q, %v, want %q, %q", c.domain, development, got, err, c.want, code)
			}
		}
	}
}

func FuzzParseSet(f *testing.F) {
	s := userSet()
	f.Add(s.AppendJSON(nil))
	f.Add([]byte(`{"iat":1.6534558e9,"aud":["a","b"],"act":{"sub":"x","act":{}},"status":{"status_list":{"idx":1,"uri":"x"}}}`))
	// A set that is read is written back unchanged, and jwx reads the same in its registered claims.
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := claims.ParseSet(data)
		if err != nil {
			return
		}
		compareSet(t, s, data)
		once := s.AppendJSON(nil)
		again, err := claims.ParseSet(once)
		if err != nil {
			t.Fatalf("ParseSet(%q) = %v after %q", once, err, data)
		}
		if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
			t.Errorf("AppendJSON = %q, want %q", twice, once)
		}
	})
}

// compareSet checks that jwx reads the registered claims (RFC 7519 §4.1) in data as they are in s.
func compareSet(t *testing.T, s claims.Set, data []byte) {
	t.Helper()
	if json.Unmarshal(data, new(any)) != nil {
		return // a number in an unknown member is beyond float64, which jwx reads it as
	}
	token := jwt.New()
	if err := json.Unmarshal(data, token); err != nil {
		t.Fatalf("ParseSet accepts %q, and jwx says %v", data, err)
	}
	ours := []any{s.Issuer, s.Subject, s.JTI, s.Audience, s.IssuedAt, s.NotBefore, s.Expires}
	theirs := []any{
		token.Issuer(), token.Subject(), token.JwtID(), token.Audience(), token.IssuedAt(), token.NotBefore(), token.Expiration(),
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("ParseSet(%q) = %v, and jwx reads %v", data, ours, theirs)
	}
}

// TestIdentity reads identifiers without judging their domain.
func TestIdentity(t *testing.T) {
	s := userSet()
	s.Device = ""
	id, err := s.Identity()
	if err != nil || id.User.String() != s.Subject || id.Handle.String() != s.Handle || !id.Device.IsZero() {
		t.Errorf("Identity = %+v, %v", id, err)
	}
	s.Handle = "im:example.com"
	if id, err := s.Identity(); !errors.Is(err, claims.CodeTypeMismatch) {
		t.Errorf("Identity = %+v, %v, want %v", id, err, claims.CodeTypeMismatch)
	}
}

// TestSetUnmarshal reads a set inside another document as ParseSet does.
func TestSetUnmarshal(t *testing.T) {
	s := userSet()
	data, err := json.Marshal(map[string]claims.Set{"claims": s})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Claims claims.Set }
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got.Claims, s) {
		t.Errorf("Unmarshal = %+v, %v, want %+v", got.Claims, err, s)
	}
	if err := json.Unmarshal([]byte(`{"claims":{"sub":"a","SUB":"b"}}`), &got); err == nil || !reflect.DeepEqual(got.Claims, s) {
		t.Errorf("Unmarshal = %+v, %v, want an error and no change", got.Claims, err)
	}
}
