package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

// A peer that withdraws its only key is not believed after the next fetch, while an answer that is no key set changes nothing.
func TestReviewB6WithdrawnOnlyKey(t *testing.T) {
	for name, v := range map[string]struct {
		set  string
		want error
	}{
		"no keys":             {`{"keys":[]}`, trust.ErrUnknownKey},
		"a key of other use":  {`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`, trust.ErrUnknownKey},
		"a key of a new type": {`{"keys":[{"kty":"new","kid":"a"}]}`, trust.ErrUnknownKey},
		"without the member":  {`{}`, nil},
		"not an object":       {`[]`, nil},
		"not an array":        {`{"keys":{}}`, nil},
		"cut off":             {`{"keys":[`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, "a")
			clock, key := i.asks(t)
			key("a", nil, 1)
			i.set(func() { i.jwks = []byte(v.set) })
			key("a", nil, 1) // still fresh
			clock.add(trust.DefaultFresh)
			key("a", v.want, 2)
			if v.want != nil { // and it is believed again when it has a key
				i.set(func() { i.jwks = nil })
				clock.add(time.Minute)
				key("a", nil, 3)
			}
		})
	}
}

// A key that an issuer has put under an old kid is found when a signature fails, for one question a minute.
func TestReviewE6OtherKeyUnderOneKid(t *testing.T) {
	i := newIssuer(t, "a")
	clock := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	table := newTable(t, trust.Config{Peers: []trust.Peer{{Domain: "one.example", Issuer: i.URL}}, Client: i.Client(), Now: clock.Now})
	other := func(failed, want ed25519.PublicKey, wantErr error, asked int32) {
		t.Helper()
		key, _, err := table.OtherKey(t.Context(), i.URL, "a", failed)
		if !errors.Is(err, wantErr) || want != nil && !want.Equal(key) {
			t.Errorf("OtherKey = %v, %v, want %v, %v", key, err, want, wantErr)
		}
		if got := i.asked.Load(); got != asked {
			t.Errorf("asked %d times, want %d", got, asked)
		}
	}
	before, after := publicKey('a'), publicKey('z')
	if _, _, err := table.Key(t.Context(), i.URL, "a"); err != nil {
		t.Fatal(err)
	}
	other(before, nil, trust.ErrUnknownKey, 2)  // it has just said so
	other(before, nil, trust.ErrUnavailable, 2) // it is asked again in a minute
	i.set(func() { i.jwks = bytes.Replace(jwks("z"), []byte(`"kid":"z"`), []byte(`"kid":"a"`), 1) })
	other(before, nil, trust.ErrUnavailable, 2)
	clock.add(time.Minute)
	other(before, after, nil, 3)
	other(before, after, nil, 3) // the cached key is not the one that failed: no fetch
	other(after, nil, trust.ErrUnavailable, 3)
	i.set(func() { i.down = true })
	clock.add(time.Minute)
	other(after, nil, trust.ErrUnavailable, 3)
	if _, _, err := table.Key(t.Context(), i.URL, "a"); err != nil { // what is fresh stays
		t.Error(err)
	}
	clock.add(10 * time.Second)
	i.set(func() { i.down = false })
	clock.add(time.Minute)
	other(after, nil, trust.ErrUnknownKey, 4)
	clock.add(time.Minute)
	i.set(func() { i.jwks = []byte(`{"keys":[]}`) })
	other(after, nil, trust.ErrUnknownKey, 5)

	// Keys that are written down are what they are.
	fixed := newTable(t, trust.Config{Peers: []trust.Peer{{Domain: "one.example", Issuer: "https://a.example", JWKS: jwks("a")}}})
	if _, _, err := fixed.OtherKey(t.Context(), "https://a.example", "a", before); err != trust.ErrUnknownKey {
		t.Errorf("OtherKey = %v, want %v", err, trust.ErrUnknownKey)
	}
	if key, _, err := fixed.OtherKey(t.Context(), "https://a.example", "a", after); err != nil || !before.Equal(key) {
		t.Errorf("OtherKey = %v, %v, want the key that is written down", key, err)
	}
}
