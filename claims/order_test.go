package claims_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// A text with several faults is refused for the one that the others follow from.
func TestReviewC7Cause(t *testing.T) {
	const uuid = "0fd3e0dc-a2ff-4965-8873-509f0af0a75c"
	for _, c := range []struct {
		mode, input string
		want        claims.Code
		at          int
	}{
		// Without a domain nothing is a domain with a port, a bad one, or one of a single label.
		{"wire", uuid + ":72b", claims.CodeMissingDomain, 40},
		{"wire", uuid + "/72b", claims.CodeMissingDomain, 40},
		{"wire", uuid, claims.CodeMissingDomain, 36},
		{"wire", "@alice", claims.CodeMissingDomain, 6},
		{"wire", "@wire.example", claims.CodeMissingDomain, 13},
		{"uri", "im:wire=" + uuid + ":72b", claims.CodeMissingDomain, 48},
		{"uri", "im:wire=" + uuid + "/72b", claims.CodeMissingDomain, 48},
		{"uri", "im:wire=%40alice", claims.CodeMissingDomain, 16},
		{"uri", "im:xmpp=juliet/balcony", claims.CodeMissingDomain, 22},
		{"uri", "im:wxyz=#projectX", claims.CodeMissingDomain, 17},
		{"uri", "im:u1/d1", claims.CodeMissingDomain, 8},
		{"uri", "im:u1/d1;id-type=user", claims.CodeMissingDomain, 8},
		{"generic", "u1/d1", claims.CodeMissingDomain, 5},
		{"uri", "mimi://:443/u/alice", claims.CodeMissingDomain, 7},
		{"uri", "wireapp://CzbfFjDOQrenCbDxVmgnFx!59@", claims.CodeMissingDomain, 36},
		{"wire", "example.com:443", claims.CodePortNotAllowed, 11}, // a domain, and no UUID
		{"uri", "im:example.com:443", claims.CodePortNotAllowed, 14},
		// What is an address is no port, and what is no number neither.
		{"xmpp", "juliet@2001:db8::1", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@192.0.2.1:5222", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@[2001:db8::1]:5222", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@example.com:", claims.CodePortNotAllowed, 18},
		{"xmpp", "juliet@example:com", claims.CodeBadDomain, 14},
		{"xmpp", "juliet@exa[mple.com", claims.CodeBadDomain, 7},
		// An empty part is an empty part, at the end too.
		{"uri", "im:u1/d1/@example.com", claims.CodeEmptyPart, 9},
		{"uri", "im:u1/@example.com", claims.CodeEmptyPart, 6},
		{"uri", "im:wire=" + uuid + "/72b/@example.com", claims.CodeEmptyPart, 49},
		{"generic", "u1/d1/@example.com", claims.CodeEmptyPart, 6},
		{"wxyz", "##team/channel/@example.com", claims.CodeEmptyPart, 15},
		{"uri", "im:alice@example.com;", claims.CodeEmptyPart, 21},
		{"uri", "im:alice@example.com;id-type=", claims.CodeEmptyPart, 29},
		{"uri", "im:irc=irc.example.com/alice,", claims.CodeEmptyPart, 29},
		{"irc", "nick!user@", claims.CodeEmptyPart, 10},
		{"uri", "im:@alice", claims.CodeEmptyPart, 3},
		{"uri", "wireapp://!59@wire.example", claims.CodeEmptyPart, 10},
		{"uri", "mimi://example.com/d/u/d/", claims.CodeEmptyPart, 25},
		// Each parameter has its own fault.
		{"uri", "im:alice@example.com;id-type=robot;x=1", claims.CodeUnknownType, 29},
		{"uri", "im:alice@example.com;id-type=handle;x=1", claims.CodeUnknownParam, 36},
		{"uri", "im:alice@example.com;x=1;id-type=robot", claims.CodeUnknownParam, 21},
		// What a part says comes before how its text runs.
		{"generic", "@א.@example.com", claims.CodeDisallowedChar, 3},
		{"generic", "@.א@example.com", claims.CodeDisallowedChar, 1},
		{"xmpp", "א\"a@example.com", claims.CodeDisallowedChar, 2},
		{"xmpp", "\u202e\"juliet@example.com", claims.CodeDisallowedChar, 3},
		{"xmpp", "\u202eju\u200bliet@example.com", claims.CodeDisallowedChar, 5},
		{"xmpp", "\u202ejuliet@example.com", claims.CodeBidi, 0},
		{"xmpp", "אa@example.com", claims.CodeBidi, 0},
		{"xmpp", "juliet@example.com/\u202e\u2028", claims.CodeDisallowedChar, 22},
		{"generic", "@" + strings.Repeat("א", 40) + "a@example.com", claims.CodeOverlongPart, 1},
		{"email", strings.Repeat("a", 65) + " @example.com", claims.CodeDisallowedChar, 65},
		{"email", strings.Repeat("á", 33) + " @example.com", claims.CodeDisallowedChar, 66},
		// Percent-encoding is undone before anything is made of its result.
		{"uri", "wireapp://%2540alice@wire.example", claims.CodeDoubleEncoding, 10},
		{"uri", "im:irc=irc.example.com/%2523channel", claims.CodeDoubleEncoding, 23},
		{"uri", "im:irc=irc.example.com/%2523channel,isuser", claims.CodeDoubleEncoding, 23},
		{"uri", "im:a%2540b@example.com;id-type=user", claims.CodeDoubleEncoding, 4},
		{"uri", "im:a%20%2540b@example.com", claims.CodeDoubleEncoding, 7},
		{"uri", "im:a%2540%00@example.com", claims.CodeControlChar, 9},
		{"uri", "im:a%2540%zz@example.com", claims.CodeBadPercent, 9},
		{"uri", "im:u1/d%2541@exa_mple.com", claims.CodeDoubleEncoding, 7},
		{"xmpp", "a b%40@example.com", claims.CodeDisallowedChar, 1}, // nothing is decoded here
		{"xmpp", "a%40 b@example.com", claims.CodeDoubleEncoding, 1},
		{"sip", "sip:a%zz@[fe80::1%25eth0]", claims.CodeBadPercent, 5},
		{"sip", "sip:@[fe80::1%25eth0]", claims.CodeEmptyPart, 4},
		{"sip", "sip:a%2541@192.0.2.1:0", claims.CodeDoubleEncoding, 5},
		{"sip", "sip:a\u202e@[fe80::1%25eth0]", claims.CodeDisallowedChar, 5},
		// What an identifier is said to be comes before what it holds.
		{"uri", "im:irc=irc.example.com/%23a%20b,isuser", claims.CodeTypeMismatch, 23},
		{"uri", "im:alice;id-type=user", claims.CodeTypeMismatch, 0},
		{"uri", "mimi://example.com/../u/alice", claims.CodeDotSegment, 19},
		{"uri", "mimi://example.com/%2E/u/alice", claims.CodeDotSegment, 19},
		{"uri", "mimi://example.com/u/%2e%2E/x", claims.CodeDotSegment, 21},
		{"uri", "mimi://exa_mple.com/u/%2e", claims.CodeDotSegment, 22},
	} {
		v := vector{Mode: c.mode}
		for _, reading := range []claims.Reading{claims.Strict, claims.Lenient, claims.Registration} {
			id, err := v.parse(reading, c.input)
			var got *claims.Error
			if !errors.As(err, &got) || got.Code != c.want || got.Offset != c.at {
				t.Errorf("%s %q = %v, %v, want %v at byte %d", c.mode, c.input, id, err, c.want, c.at)
				break
			}
		}
	}
}

// A fault is a value of one slot of a form. Those of a lower rank are named before those of a higher one.
type fault struct {
	slot, value string
	rank        int
	code        claims.Code
}

// The steps of reading, in their order.
const (
	rankText = iota
	rankScheme
	rankShape // of the URI as a whole
	rankSystem
	rankParam
	rankSplit
	rankMissing
	rankEmpty
	rankDecode
	rankType
	rankDomain
	rankLocal
	rankDevice
)

// Every two faults of different slots, put into one identifier, give the code of the one that is met first.
func TestReviewC7Combinations(t *testing.T) {
	long := strings.Repeat("a", 1024)
	domains := []fault{
		{"domain", "", rankMissing, claims.CodeMissingDomain},
		{"domain", "exa_mple.com", rankDomain, claims.CodeBadDomain},
		{"domain", "a..b", rankDomain, claims.CodeBadDomain},
		{"domain", "example", rankDomain, claims.CodeSingleLabel},
		{"domain", "192.0.2.1", rankDomain, claims.CodeIPNotAllowed},
		{"domain", "[2001:db8::1]", rankDomain, claims.CodeIPNotAllowed},
		{"domain", "example.com:443", rankDomain, claims.CodePortNotAllowed},
		{"domain", "\xff.com", rankText, claims.CodeNotUTF8},
		{"domain", "\x01.com", rankText, claims.CodeControlChar},
	}
	parts := func(slot string, rank int) []fault {
		return []fault{
			{slot, "", rankEmpty, claims.CodeEmptyPart},
			{slot, "a%zz", rankDecode, claims.CodeBadPercent},
			{slot, "a%00", rankDecode, claims.CodeControlChar},
			{slot, "a%FF", rankDecode, claims.CodeNotUTF8},
			{slot, "a%2540", rankDecode, claims.CodeDoubleEncoding},
			{slot, long, rank, claims.CodeOverlongPart},
		}
	}
	im := append(domains[:len(domains):len(domains)],
		fault{"scheme", "http:", rankScheme, claims.CodeSchemeNotAllowed},
		fault{"scheme", "im://", rankShape, claims.CodeAuthorityNotAllowed},
		fault{"system", "nope=", rankSystem, claims.CodeUnknownSystem},
		fault{"tail", "?x=1", rankShape, claims.CodeQueryNotAllowed},
		fault{"tail", ";", rankParam, claims.CodeEmptyPart},
		fault{"tail", ";x=1", rankParam, claims.CodeUnknownParam},
		fault{"tail", ";id-type=robot", rankParam, claims.CodeUnknownType},
		fault{"tail", ";id-type=handle", rankType, claims.CodeTypeMismatch},
		fault{"local", "a%20b", rankLocal, claims.CodeDisallowedChar},
		fault{"local", "%D7%90a", rankLocal, claims.CodeBidi},
		fault{"device", "a/b", rankSplit, claims.CodeExtraSegment},
		fault{"device", "a/", rankSplit, claims.CodeEmptyPart},
		fault{"device", "%E2%80%AE", rankDevice, claims.CodeBidi},
	)
	im = append(append(im, parts("local", rankLocal)...), parts("device", rankDevice)...)
	mimi := append(domains[:len(domains):len(domains)],
		fault{"scheme", "http://", rankScheme, claims.CodeSchemeNotAllowed},
		fault{"tail", "?x=1", rankShape, claims.CodeQueryNotAllowed},
		fault{"tail", "#x", rankShape, claims.CodeFragmentNotAllowed},
		fault{"tail", "\uFFFE", rankText, claims.CodeDisallowedChar},
		fault{"kind", "x", rankParam, claims.CodeUnknownType},
		fault{"kind", "..", rankParam, claims.CodeDotSegment},
		fault{"local", "..", rankSplit, claims.CodeDotSegment},
		fault{"device", "%2e", rankSplit, claims.CodeDotSegment},
	)
	mimi = append(append(mimi, parts("local", rankLocal)...), parts("device", rankDevice)...)
	var names []fault // without addresses, which SIP contacts have
	for _, f := range domains {
		if f.code != claims.CodeIPNotAllowed {
			names = append(names, f)
		}
	}
	sip := append(names[:len(names):len(names)],
		fault{"scheme", "sips:", rankScheme, claims.CodeSchemeNotAllowed},
		fault{"tail", "?x=1", rankShape, claims.CodeQueryNotAllowed},
		fault{"tail", ";gr=b", rankParam, claims.CodeUnknownParam},
		fault{"local", "a/b", rankLocal, claims.CodeDisallowedChar},
		fault{"local", "a:b", rankShape, claims.CodePasswordNotAllowed},
		fault{"device", "%E2%80%AE", rankDevice, claims.CodeBidi},
	)
	sip = append(append(sip, parts("local", rankLocal)...), parts("device", rankDevice)...)
	irc := append(domains[:len(domains):len(domains)],
		fault{"scheme", "http:", rankScheme, claims.CodeSchemeNotAllowed},
		fault{"tail", "?x=1", rankShape, claims.CodeQueryNotAllowed},
		fault{"tail", ";x=1", rankParam, claims.CodeUnknownParam},
		fault{"tail", ";id-type=channel", rankType, claims.CodeTypeMismatch},
		fault{"flag", ",", rankParam, claims.CodeEmptyPart},
		fault{"flag", ",x", rankParam, claims.CodeUnknownParam},
		fault{"flag", "", rankType, claims.CodeTypeAmbiguous},
		fault{"local", "a%20b", rankLocal, claims.CodeDisallowedChar},
		fault{"local", "1a", rankLocal, claims.CodeDisallowedChar},
	)
	irc = append(irc, parts("local", rankLocal)...)
	for name, form := range map[string]struct {
		faults []fault
		order  []string // of the slots
		values map[string]string
		empty  int // the step at which a mimi: URI meets an empty segment is that of splitting
	}{
		"im": {im, []string{"scheme", "system", "local", "/", "device", "@", "domain", "tail"}, map[string]string{
			"scheme": "im:", "system": "xmpp=", "local": "juliet", "/": "/", "device": "balcony", "@": "@", "domain": "example.com",
		}, rankEmpty},
		"sip": {sip, []string{"scheme", "local", "@", "domain", "gr", "device", "tail"}, map[string]string{
			"scheme": "sip:", "local": "juliet", "@": "@", "domain": "example.com", "gr": ";gr=", "device": "1",
		}, rankEmpty},
		"irc": {irc, []string{"scheme", "system", "domain", "/", "local", "flag", "tail"}, map[string]string{
			"scheme": "im:", "system": "irc=", "domain": "example.com", "/": "/", "local": "juliet", "flag": ",isuser",
		}, rankEmpty},
		"mimi": {mimi, []string{"scheme", "domain", "/", "kind", "/", "local", "/", "device", "tail"}, map[string]string{
			"scheme": "mimi://", "domain": "example.com", "/": "/", "kind": "d", "local": "juliet", "device": "balcony",
		}, rankSplit},
	} {
		build := func(faults ...fault) string {
			var b strings.Builder
			for _, slot := range form.order {
				value := form.values[slot]
				for _, f := range faults {
					if f.slot == slot {
						value = f.value
					}
				}
				b.WriteString(value)
			}
			return b.String()
		}
		if _, err := claims.ParseLenient(build()); err != nil {
			t.Fatalf("%s: ParseLenient(%q) = %v", name, build(), err)
		}
		for i, a := range form.faults {
			for _, b := range form.faults[i:] {
				if a.slot == b.slot && a != b {
					continue
				}
				for _, f := range []*fault{&a, &b} {
					if f.rank == rankEmpty {
						f.rank = form.empty
					}
				}
				uri := build(a, b)
				_, err := claims.ParseLenient(uri)
				var got *claims.Error
				if !errors.As(err, &got) {
					t.Errorf("%s: ParseLenient(%q) = %v", name, uri, err)
					continue
				}
				if !(got.Code == a.code && a.rank <= b.rank || got.Code == b.code && b.rank <= a.rank) {
					t.Errorf("%s: ParseLenient(%q) = %v, of %v and %v", name, uri, err, a.code, b.code)
				}
			}
		}
	}
}

// Every code has words of its own.
func TestReviewD9Descriptions(t *testing.T) {
	seen := map[string]claims.Code{}
	for _, v := range vectors(t) {
		if v.Error == "" {
			continue
		}
		text := v.Error.Description()
		if other, ok := seen[text]; ok && other != v.Error || text == claims.Code("nope").Description() {
			t.Errorf("Description of %s = %q, the same as of %s", v.Error, text, other)
		}
		seen[text] = v.Error
	}
}
