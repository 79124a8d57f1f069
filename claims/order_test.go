package claims_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// TestReviewC7Cause checks which of several faults a text is refused for: the one that the others follow from.
func TestReviewC7Cause(t *testing.T) {
	const uuid = "0fd3e0dc-a2ff-4965-8873-509f0af0a75c"
	for _, c := range []struct {
		mode, input string
		want        claims.Code
		at          int
	}{
		// A missing domain is not reported as a domain with a port, a bad domain, or one of a single label.
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
		// An address, or text that is not a number, is not reported as a port.
		{"xmpp", "juliet@2001:db8::1", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@192.0.2.1:5222", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@[2001:db8::1]:5222", claims.CodeIPNotAllowed, 7},
		{"xmpp", "juliet@example.com:", claims.CodePortNotAllowed, 18},
		{"xmpp", "juliet@example:com", claims.CodeBadDomain, 14},
		{"xmpp", "juliet@exa[mple.com", claims.CodeBadDomain, 7},
		// An empty part is reported as such, even at the end.
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
		// Wrong characters are reported before the direction of the text.
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
		// Percent-encoding is decoded before its result is read.
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
		// The type of an identifier is checked before its content.
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

// A fault is a value of one slot of a form, and the code that it is refused with. A fault of a lower rank is reported before one of a
// higher rank.
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

// The faults that several forms have.
var (
	httpScheme = fault{"scheme", "http:", rankScheme, claims.CodeSchemeNotAllowed}
	query      = fault{"tail", "?x=1", rankShape, claims.CodeQueryNotAllowed}
	parameter  = fault{"tail", ";x=1", rankParam, claims.CodeUnknownParam}
	space      = fault{"local", "a%20b", rankLocal, claims.CodeDisallowedChar}
	override   = fault{"device", "%E2%80%AE", rankDevice, claims.CodeBidi}
	addresses  = []fault{ // SIP contacts may have them
		{"domain", "192.0.2.1", rankDomain, claims.CodeIPNotAllowed},
		{"domain", "[2001:db8::1]", rankDomain, claims.CodeIPNotAllowed},
	}
	hosts = []fault{
		{"domain", "", rankMissing, claims.CodeMissingDomain},
		{"domain", "exa_mple.com", rankDomain, claims.CodeBadDomain},
		{"domain", "a..b", rankDomain, claims.CodeBadDomain},
		{"domain", "example", rankDomain, claims.CodeSingleLabel},
		{"domain", "example.com:443", rankDomain, claims.CodePortNotAllowed},
		{"domain", "\xff.com", rankText, claims.CodeNotUTF8},
		{"domain", "\x01.com", rankText, claims.CodeControlChar},
	}
)

// partFaults returns the faults of a local or device part. An empty part is found at the step empty.
func partFaults(slot string, rank, empty int) []fault {
	return []fault{
		{slot, "", empty, claims.CodeEmptyPart},
		{slot, "a%zz", rankDecode, claims.CodeBadPercent},
		{slot, "a%00", rankDecode, claims.CodeControlChar},
		{slot, "a%FF", rankDecode, claims.CodeNotUTF8},
		{slot, "a%2540", rankDecode, claims.CodeDoubleEncoding},
		{slot, strings.Repeat("a", 1024), rank, claims.CodeOverlongPart},
	}
}

// A form is a kind of URI: its slots in their order, the values that make a good one, and the faults that it can have.
type form struct {
	order  []string
	values map[string]string
	faults []fault
}

// build returns the URI with these faults.
func (f form) build(faults ...fault) string {
	var b strings.Builder
	for _, slot := range f.order {
		value := f.values[slot]
		for _, fault := range faults {
			if fault.slot == slot {
				value = fault.value
			}
		}
		b.WriteString(value)
	}
	return b.String()
}

var forms = map[string]form{
	"im": {
		order: []string{"scheme", "system", "local", "/", "device", "@", "domain", "tail"},
		values: map[string]string{
			"scheme": "im:", "system": "xmpp=", "local": "juliet", "/": "/", "device": "balcony", "@": "@", "domain": "example.com",
		},
		faults: slices.Concat(hosts, addresses, partFaults("local", rankLocal, rankEmpty), partFaults("device", rankDevice, rankEmpty), []fault{
			httpScheme, query, parameter, space, override,
			{"scheme", "im://", rankShape, claims.CodeAuthorityNotAllowed},
			{"system", "nope=", rankSystem, claims.CodeUnknownSystem},
			{"tail", ";", rankParam, claims.CodeEmptyPart},
			{"tail", ";id-type=robot", rankParam, claims.CodeUnknownType},
			{"tail", ";id-type=handle", rankType, claims.CodeTypeMismatch},
			{"local", "%D7%90a", rankLocal, claims.CodeBidi},
			{"device", "a/b", rankSplit, claims.CodeExtraSegment},
			{"device", "a/", rankSplit, claims.CodeEmptyPart},
		}),
	},
	"sip": {
		order: []string{"scheme", "local", "@", "domain", "gr", "device", "tail"},
		values: map[string]string{
			"scheme": "sip:", "local": "juliet", "@": "@", "domain": "example.com", "gr": ";gr=", "device": "1",
		},
		faults: slices.Concat(hosts, partFaults("local", rankLocal, rankEmpty), partFaults("device", rankDevice, rankEmpty), []fault{
			query, override,
			{"scheme", "sips:", rankScheme, claims.CodeSchemeNotAllowed},
			{"tail", ";gr=b", rankParam, claims.CodeUnknownParam},
			{"local", "a/b", rankLocal, claims.CodeDisallowedChar},
			{"local", "a:b", rankShape, claims.CodePasswordNotAllowed},
		}),
	},
	"irc": {
		order: []string{"scheme", "system", "domain", "/", "local", "flag", "tail"},
		values: map[string]string{
			"scheme": "im:", "system": "irc=", "domain": "example.com", "/": "/", "local": "juliet", "flag": ",isuser",
		},
		faults: slices.Concat(hosts, addresses, partFaults("local", rankLocal, rankEmpty), []fault{
			httpScheme, query, parameter, space,
			{"tail", ";id-type=channel", rankType, claims.CodeTypeMismatch},
			{"flag", ",", rankParam, claims.CodeEmptyPart},
			{"flag", ",x", rankParam, claims.CodeUnknownParam},
			{"flag", "", rankType, claims.CodeTypeAmbiguous},
			{"local", "1a", rankLocal, claims.CodeDisallowedChar},
		}),
	},
	"mimi": { // an empty segment is found when the path is split
		order: []string{"scheme", "domain", "/", "kind", "/", "local", "/", "device", "tail"},
		values: map[string]string{
			"scheme": "mimi://", "domain": "example.com", "/": "/", "kind": "d", "local": "juliet", "device": "balcony",
		},
		faults: slices.Concat(hosts, addresses, partFaults("local", rankLocal, rankSplit), partFaults("device", rankDevice, rankSplit), []fault{
			query,
			{"scheme", "http://", rankScheme, claims.CodeSchemeNotAllowed},
			{"tail", "#x", rankShape, claims.CodeFragmentNotAllowed},
			{"tail", "\uFFFE", rankText, claims.CodeDisallowedChar},
			{"kind", "x", rankParam, claims.CodeUnknownType},
			{"kind", "..", rankParam, claims.CodeDotSegment},
			{"local", "..", rankSplit, claims.CodeDotSegment},
			{"device", "%2e", rankSplit, claims.CodeDotSegment},
		}),
	},
}

// TestReviewC7Combinations puts every two faults of different slots into one identifier: the code is that of the fault which is met
// first.
func TestReviewC7Combinations(t *testing.T) {
	for name, form := range forms {
		if _, err := claims.ParseLenient(form.build()); err != nil {
			t.Fatalf("%s: ParseLenient(%q) = %v", name, form.build(), err)
		}
		for i, a := range form.faults {
			for _, b := range form.faults[i:] {
				if a.slot == b.slot && a != b {
					continue
				}
				uri := form.build(a, b)
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

// TestReviewD9Descriptions checks that every code has a description of its own.
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
