package claims_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/idna"
	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
)

// systems are those with a native form.
var systems = []claims.System{
	claims.SystemGeneric, claims.SystemEmail, claims.SystemXMPP, claims.SystemIRC,
	claims.SystemSIP, claims.SystemWire, claims.SystemWXYZ,
}

// checkID holds an identifier to what is promised of every one, whatever it was read from.
func checkID(t testing.TB, id claims.ID) {
	t.Helper()
	if id.IsZero() || id.System() == "" || id.Type() == "" {
		t.Errorf("read %#v, want a system and a type", id)
	}
	for _, uri := range []string{id.IM(), id.MIMI()} {
		if uri == "" {
			continue
		}
		// Canonical forms are fixed points, in both readings.
		strict, err := claims.Parse(uri)
		if err != nil {
			t.Errorf("Parse(%q) = %v, written by %#v", uri, err, id)
			continue
		}
		if strict.String() != uri {
			t.Errorf("Parse(%q) writes %q", uri, strict)
		}
		if lenient, err := claims.ParseLenient(uri); err != nil || !lenient.Equal(strict) {
			t.Errorf("ParseLenient(%q) = %#v, %v, want %#v", uri, lenient, err, strict)
		}
		checkEncoding(t, uri, strict)
		checkCase(t, uri, strict)
	}
	if uri := id.IM(); uri != "" && id.System() != claims.SystemMIMI {
		if again, _ := claims.Parse(uri); again != id {
			t.Errorf("Parse(%q) = %#v, want %#v", uri, again, id)
		}
	}
	checkNative(t, id)
	if a, b := claims.CollisionKey(id), claims.CollisionKey(id); a != b || a == "" && id.Local() != "" {
		t.Errorf("CollisionKey = %q, %q", a, b)
	}
}

// checkNative reads the native form back. The network of an IRC name is not in it, nor the system in a mimi: URI.
func checkNative(t testing.TB, id claims.ID) {
	t.Helper()
	native := id.Native()
	if native == "" {
		return
	}
	p := claims.Parser{Network: id.Domain()}
	if again, err := p.ParseNative(id.System(), native); err != nil || again != id {
		t.Errorf("ParseNative(%v, %q) = %#v, %v, want %#v", id.System(), native, again, err, id)
	}
}

// checkEncoding encodes one literal character after the other: that is another spelling or an error, never another
// identifier.
func checkEncoding(t testing.TB, uri string, id claims.ID) {
	t.Helper()
	for i := 0; i < min(len(uri), 200); i++ {
		s := fmt.Sprintf("%s%%%02X%s", uri[:i], uri[i], uri[i+1:])
		if got, err := claims.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %#v, want an error", s, got)
		}
		if got, err := claims.ParseLenient(s); err == nil && got != id {
			t.Errorf("ParseLenient(%q) = %#v, want %#v or an error", s, got, id)
		}
	}
}

// checkCase changes the case of scheme and domain.
func checkCase(t testing.TB, uri string, id claims.ID) {
	t.Helper()
	i := strings.LastIndex(uri, id.Domain())
	if id.System() == claims.SystemMIMI || id.System() == claims.SystemIRC {
		i = strings.Index(uri, id.Domain())
	}
	n := i + len(id.Domain())
	scheme, rest, _ := strings.Cut(uri[:i], ":")
	s := strings.ToUpper(scheme) + ":" + rest + strings.ToUpper(uri[i:n]) + uri[n:]
	if got, err := claims.ParseLenient(s); err != nil || got != id {
		t.Errorf("ParseLenient(%q) = %#v, %v, want %#v", s, got, err, id)
	}
}

// checkReadings holds the readings of one text against each other.
func checkReadings(t *testing.T, parse func(claims.Reading) (claims.ID, error)) {
	t.Helper()
	lenient, err := parse(claims.Lenient)
	strict, strictErr := parse(claims.Strict)
	registered, registeredErr := parse(claims.Registration)
	for _, err := range []error{err, strictErr, registeredErr} {
		var refused *claims.Error
		if err != nil && (!errors.As(err, &refused) || refused.Code == "" || refused.Part == "" || refused.Offset < 0) {
			t.Errorf("parse = %#v, want a code, a part and an offset", err)
		}
	}
	switch {
	case strictErr == nil && (err != nil || strict != lenient):
		t.Errorf("strict parse = %#v, lenient %#v, %v", strict, lenient, err)
	case registeredErr == nil && (err != nil || registered != lenient):
		t.Errorf("registration parse = %#v, lenient %#v, %v", registered, lenient, err)
	case err == nil:
		checkID(t, lenient)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Input)
		for _, uri := range []string{v.IM, v.MIMI} {
			if uri != "" {
				f.Add(uri)
			}
		}
	}
	f.Fuzz(func(t *testing.T, uri string) {
		checkReadings(t, func(r claims.Reading) (claims.ID, error) { return claims.Parser{Reading: r}.Parse(uri) })
	})
}

// fuzzNative fuzzes the native form of one system.
func fuzzNative(f *testing.F, system claims.System) {
	for _, v := range vectors(f) {
		if v.Mode == string(system) {
			f.Add(v.Input)
		}
		if v.System == system && v.Native != "" {
			f.Add(v.Native)
		}
	}
	f.Fuzz(func(t *testing.T, name string) {
		checkReadings(t, func(r claims.Reading) (claims.ID, error) {
			return claims.Parser{Reading: r, Network: network}.ParseNative(system, name)
		})
	})
}

func FuzzGeneric(f *testing.F) { fuzzNative(f, claims.SystemGeneric) }
func FuzzEmail(f *testing.F)   { fuzzNative(f, claims.SystemEmail) }
func FuzzXMPP(f *testing.F)    { fuzzNative(f, claims.SystemXMPP) }
func FuzzIRC(f *testing.F)     { fuzzNative(f, claims.SystemIRC) }
func FuzzSIP(f *testing.F)     { fuzzNative(f, claims.SystemSIP) }
func FuzzWire(f *testing.F)    { fuzzNative(f, claims.SystemWire) }
func FuzzWXYZ(f *testing.F)    { fuzzNative(f, claims.SystemWXYZ) }

// FuzzDomain reads domains: the canonical form is a fixed point, and case means nothing.
func FuzzDomain(f *testing.F) {
	for _, s := range []string{"example.com", "Bücher.example.", "xn--bcher-kva.de", "a\u3002b", "☃.com", "日本.jp", "l·l.cat", "localhost"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, err := claims.CheckDomain(s, true)
		if err != nil {
			return
		}
		for _, again := range []string{domain, domain + ".", strings.ToUpper(domain)} {
			if got, err := claims.CheckDomain(again, true); err != nil || got != domain {
				t.Errorf("CheckDomain(%q) = %q, %v, want %q", again, got, err, domain)
			}
		}
	})
}

// pieces are what names are drawn from: characters that work, that map, that separate and that are refused.
var pieces = []string{
	"a", "B", "z", "0", "9", ".", "-", "_", "~", "+", "$", "é", "e\u0301", "ß", "Σ", "ς", "日", "か", "а", "р", "א", "ع", "ａ", "．", "＠", "／",
	"@", "/", "#", "!", ":", ";", "=", ",", "%", "%40", "%2F", "%C3%A9", "%25", "%", " ", "\u00AD", "\u200D", "\u202E", "♚", "İ", "ǆ", "ﬃ",
	"xn--", "\u0327", "\u0301", "𐐀", "𝒶", "٣", "[", "]", "{", "|", "\\", "^", "`", "'", "\"", "&", "<", "?",
	"\u212A", "\u037E", "\u1FEF", "T", "\u0308", strings.Repeat("\u0301", 40), "urn:uuid:",
}

func drawText(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, label), "")
}

func TestReadings(t *testing.T) {
	domains := []string{"example.com", "Example.COM.", "bücher.example", "xn--bcher-kva.example", "local.invalid", "a.b", "192.0.2.1", "[2001:db8::1]:5060"}
	rapid.Check(t, func(rt *rapid.T) {
		system := rapid.SampledFrom(systems).Draw(rt, "system")
		local, device := drawText(rt, "local"), drawText(rt, "device")
		domain := rapid.SampledFrom(domains).Draw(rt, "domain")
		sigil := rapid.SampledFrom([]string{"", "@", "#", "##", "$", "!", "&", "sip:"}).Draw(rt, "sigil")
		for _, name := range []string{
			sigil + local, sigil + local + "@" + domain, sigil + local + "/" + device + "@" + domain,
			local + "@" + domain + "/" + device, sigil + local + "@" + domain + ";gr=" + device,
		} {
			checkReadings(t, func(r claims.Reading) (claims.ID, error) {
				return claims.Parser{Reading: r, Network: network}.ParseNative(system, name)
			})
			for _, uri := range []string{"im:" + name, "im:" + string(system) + "=" + name, "im:irc=" + domain + "/" + sigil + local + ",isuser"} {
				checkReadings(t, func(r claims.Reading) (claims.ID, error) { return claims.Parser{Reading: r}.Parse(uri) })
			}
		}
		for _, kind := range "updrgt" {
			for _, tail := range []string{local, local + "/" + device} {
				uri := "mimi://" + domain + "/" + string(kind) + "/" + tail
				checkReadings(t, func(r claims.Reading) (claims.ID, error) { return claims.Parser{Reading: r}.Parse(uri) })
			}
		}
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// TestEqual holds Equal to an equivalence that forms and keys respect, over the identifiers of the vectors.
func TestEqual(t *testing.T) {
	var ids []claims.ID
	for _, v := range vectors(t) {
		if id, err := v.parse(claims.Lenient, v.Input); err == nil {
			ids = append(ids, id)
		}
	}
	for _, a := range ids {
		if !a.Equal(a) {
			t.Errorf("%v is not equal to itself", a)
		}
		for _, b := range ids {
			if a.Equal(b) != b.Equal(a) {
				t.Errorf("Equal(%v, %v) is not symmetric", a, b)
			}
			if a.Equal(b) != (a.System() == b.System() && a.Type() == b.Type() && a.String() == b.String()) {
				t.Errorf("Equal(%v, %v) = %v against their text", a, b, a.Equal(b))
			}
			if a.Equal(b) && (a.MIMI() != b.MIMI() || claims.CollisionKey(a) != claims.CollisionKey(b)) {
				t.Errorf("%v and %v are equal, but not their forms or keys", a, b)
			}
			for _, c := range ids {
				if a.Equal(b) && b.Equal(c) && !a.Equal(c) {
					t.Errorf("Equal is not transitive over %v, %v, %v", a, b, c)
				}
			}
		}
	}
}

// TestFastPath holds the ASCII paths to the tables that they go around: a text means the same between two ASCII letters,
// where no table is asked, and between two others.
func TestFastPath(t *testing.T) {
	p := claims.Parser{Reading: claims.Lenient}
	readers := map[string]func(string) (claims.ID, error){
		"handle":    func(s string) (claims.ID, error) { return claims.Handle("example.com", s) },
		"mailbox":   func(s string) (claims.ID, error) { return p.ParseNative(claims.SystemEmail, s+"@example.com") },
		"localpart": func(s string) (claims.ID, error) { return p.ParseNative(claims.SystemXMPP, s+"@example.com") },
		"resource":  func(s string) (claims.ID, error) { return p.ParseNative(claims.SystemXMPP, "example.com/"+s) },
		"room":      func(s string) (claims.ID, error) { return p.ParseNative(claims.SystemWXYZ, "#"+s+"@example.com") },
	}
	text := rapid.StringOfN(rapid.RuneFrom(nil, asciiTable), 0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		for name, read := range readers {
			fast, err := read("x" + s + "x")
			slow, slowErr := read("é" + s + "é")
			if (err == nil) != (slowErr == nil) {
				t.Errorf("%s %q: fast %v, slow %v", name, s, err, slowErr)
				continue
			}
			if got := strings.ReplaceAll(slow.Local()+slow.Device(), "é", "x"); got != fast.Local()+fast.Device() {
				t.Errorf("%s %q: fast %q, slow %q", name, s, fast.Local()+fast.Device(), got)
			}
		}
	})
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true),
		idna.CheckHyphens(true), idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true))
	label := rapid.StringOfN(rapid.SampledFrom([]rune("abcxn--zAZ09_")), 1, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(label, 2, 4).Draw(t, "labels"), ".") + ".com"
		got, err := claims.CheckDomain(s, true)
		want, slow := profile.ToASCII(s)
		if strings.Contains(want, "xn--") {
			return // where more is asked for than this profile does
		}
		if (err == nil) != (slow == nil) || err == nil && got != want {
			t.Errorf("CheckDomain(%q) = %q, %v, want %q, %v", s, got, err, want, slow)
		}
	})
}

var asciiTable = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7E, Stride: 1}}, LatinOffset: 1}
