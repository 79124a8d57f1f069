package claims_test

import (
	"errors"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// No name is given away that a mimi: URI cannot hold. Such names from elsewhere are read all the same: RFC 7622 allows them.
func TestReviewC5DotSegments(t *testing.T) {
	for _, uri := range []string{
		"im:xmpp=.@example.com", "im:xmpp=..@example.com", "im:xmpp=./balcony@example.com", "im:xmpp=../balcony@example.com",
		"im:xmpp=juliet/.@example.com", "im:xmpp=juliet/..@example.com", "xmpp:..@example.com/balcony",
		"im:wire=%40..@example.com", "im:wxyz=#..@example.com", "im:wxyz=##.@example.com", "im:irc=example.com/%23..,ischannel",
		"im:irc=example.com/!.,isuser", "sip:.@example.com", "sip:juliet@example.com;gr=..",
	} {
		id := read(t, uri)
		if id.MIMI() != "" {
			t.Errorf("MIMI of %q = %q, want none", uri, id.MIMI())
		}
		err := (&claims.Policy{Development: true}).Check(id)
		var refused *claims.Error
		want := claims.PartLocal
		if id.Local() != "." && id.Local() != ".." && id.Device() != "" {
			want = claims.PartDevice
		}
		if !errors.As(err, &refused) || refused.Code != claims.CodeDotSegment || refused.Part != want {
			t.Errorf("Check(%q) = %v, want %v in %s", uri, err, claims.CodeDotSegment, want)
		}
	}
	for _, uri := range []string{"im:xmpp=...@example.com", "im:xmpp=.a/..b@example.com", "im:wire=%40.a@example.com",
		"im:xmpp=a/b%2F..@example.com"} {
		id := read(t, uri)
		if err := (&claims.Policy{Development: true}).Check(id); err != nil || id.MIMI() == "" {
			t.Errorf("Check(%q) = %v, with the mimi: form %q, want it to be allowed", uri, err, id.MIMI())
		}
	}
}
