package feed_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/imidentity/issuer/feed"
)

var key = feed.Key{1, 2, 3}

// TestHash holds the hashes to what docs/feed.md says, computed by hand.
func TestHash(t *testing.T) {
	for kind, text := range map[feed.Kind]string{
		feed.Token: "jti:value", feed.Session: "sid:value", feed.Device: "device:value", feed.User: "sub:value",
		feed.Generation: "sub:value", feed.Client: "client_id:value", feed.SigningKey: "kid:value",
	} {
		mac := hmac.New(sha256.New, key[:])
		mac.Write([]byte(text))
		if got, want := key.Hash(kind, "value"), base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("Hash(%s) = %s, want %s", kind, got, want)
		}
	}
	if got := key.Hash("unknown", "value"); got != "" {
		t.Errorf("Hash of an unknown kind = %q, want none", got)
	}
}

func TestMatches(t *testing.T) {
	token := feed.Subject{JTI: "t", SID: "s", Device: "im:u/1f@example.com", Sub: "im:u@example.com", ClientID: "app", KID: "k", Gen: 3}
	event := func(kind feed.Kind, value string, gen int64) feed.Event {
		return feed.Event{Kind: kind, Hash: key.Hash(kind, value), Gen: gen}
	}
	for _, test := range []struct {
		name  string
		event feed.Event
		want  bool
	}{
		{"token", event(feed.Token, "t", 0), true},
		{"another token", event(feed.Token, "u", 0), false},
		{"session", event(feed.Session, "s", 0), true},
		{"a session of the token's id", event(feed.Session, "t", 0), false},
		{"device", event(feed.Device, "im:u/1f@example.com", 0), true},
		{"another device", event(feed.Device, "im:u/1e@example.com", 0), false},
		{"user", event(feed.User, "im:u@example.com", 0), true},
		{"below a later generation", event(feed.Generation, "im:u@example.com", 4), true},
		{"below its own", event(feed.Generation, "im:u@example.com", 3), false},
		{"another user's", event(feed.Generation, "im:v@example.com", 9), false},
		{"client", event(feed.Client, "app", 0), true},
		{"key", event(feed.SigningKey, "k", 0), true},
		{"another key for the hash", feed.Event{Kind: feed.Token, Hash: feed.Key{}.Hash(feed.Token, "t")}, false},
		{"no hash", feed.Event{Kind: feed.Token}, false},
		{"a kind of the future", feed.Event{Kind: "domain", Hash: "?"}, true},
	} {
		if got := key.Matches(test.event, token); got != test.want {
			t.Errorf("%s: Matches = %t, want %t", test.name, got, test.want)
		}
	}
	if unknown := (feed.Subject{Sub: token.Sub}); !key.Matches(event(feed.Generation, token.Sub, 1), unknown) {
		t.Error("a token whose generation is not known does not match")
	}
	for _, kind := range []feed.Kind{feed.Token, feed.Session, feed.Device, feed.User, feed.Generation, feed.Client, feed.SigningKey} {
		if key.Matches(event(kind, "", 9), feed.Subject{}) {
			t.Errorf("an event of kind %s about nothing matches a token that has nothing", kind)
		}
	}
}

func TestKeyText(t *testing.T) {
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var again feed.Key
	if err := json.Unmarshal(text, &again); err != nil || again != key {
		t.Errorf("key = %v, %v after a round trip, want %v", again, err, key)
	}
	good := string(text[1 : len(text)-1])
	for _, bad := range []string{"", good[1:], good + "A", good + "=", good[:len(good)-1] + "B", "+" + good[1:], good[:4] + "\n" + good[4:]} {
		if err := again.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("UnmarshalText(%q) = nil, want an error", bad)
		}
	}
}
