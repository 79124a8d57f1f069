package places_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/places"
)

// FuzzProfile: a payload that is accepted has one user and its claims as encoding/json reads them; its places are at plain hosts, and no
// two are one; it is signed and read again as the same profile; with another key it is refused.
func FuzzProfile(f *testing.F) {
	for _, c := range profileCases {
		p := payload
		if c.payload != nil {
			p = c.payload(p)
		}
		if len(p) < 4000 {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, payload string) {
		text := must(jose.Sign(master, jose.EdDSA, []byte(header(master)), []byte(payload)))
		p, err := places.ParseProfile(text)
		if err != nil {
			if refused := (*places.Error)(nil); !errors.As(err, &refused) {
				t.Fatalf("error %v, which is no refusal", err)
			}
			return
		}
		var plain struct {
			Version int      `json:"http://ariadne.id/version"`
			Type    string   `json:"http://ariadne.id/type"`
			Name    string   `json:"http://ariadne.id/name"`
			Claims  []string `json:"http://ariadne.id/claims"`
		}
		if err := json.Unmarshal([]byte(payload), &plain); err != nil || plain.Version != 0 || plain.Type != "profile" || plain.Name != p.Name {
			t.Fatalf("encoding/json: %+v, %v, want %+v", plain, err, p)
		}
		if got := p.Claims(); len(got) != len(plain.Claims) {
			t.Fatalf("claims %q, want %q", got, plain.Claims)
		}
		for _, claim := range p.Claims() {
			if !slices.Contains(plain.Claims, claim) && claim != p.User.String() {
				t.Fatalf("claim %q, want one of %q", claim, plain.Claims)
			}
		}
		seen := map[string]bool{}
		for _, place := range p.Places {
			u, err := url.Parse(place.URI)
			if err != nil || u.User != nil || u.Port() != "" || u.Fragment != "" || len(p.Places) > places.MaxPlaces {
				t.Fatalf("place %q", place.URI)
			}
			key := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(place.URI, "?type=TXT"), "/"))
			if seen[key] || place.Domain == "" || !strings.HasSuffix(u.Host+u.Opaque, place.Domain) {
				t.Fatalf("place %q of %q", place.URI, place.Domain)
			}
			seen[key] = true
		}
		again, err := p.Sign(master)
		if err != nil {
			t.Fatalf("an accepted profile cannot be signed again: %v", err)
		}
		if second, err := places.ParseProfile(again); err != nil || !reflect.DeepEqual(second, p) {
			t.Fatalf("signed again: %v, %+v, want %+v", err, second, p)
		}
		foreign := must(jose.Sign(forged, jose.EdDSA, []byte(header(master)), []byte(payload)))
		if _, err := places.ParseProfile(foreign); !errors.Is(err, places.CodeSignature) {
			t.Fatalf("by another key: %v", err)
		}
	})
}

// FuzzAnswer: whatever a place answers, each fingerprint that it shows stands in the answer, after aspe: and a host.
func FuzzAnswer(f *testing.F) {
	kinds := []string{wellKnown, actor, forgejo, gist, gitlab}
	for _, c := range answerCases {
		for i, uri := range kinds {
			if uri == c.place {
				f.Add(uint8(i), c.body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, body string) {
		place := must(places.ParsePlace(kinds[int(n)%len(kinds)]))
		shown, err := places.ReadAnswer(place, []byte(body))
		if err != nil && shown != nil {
			t.Fatalf("%q with the error %v", shown, err)
		}
		var plain any
		if len(shown) > 0 {
			if err := json.Unmarshal([]byte(body), &plain); err != nil {
				t.Fatalf("%q in what encoding/json refuses: %v", shown, err)
			}
		}
		text := strings.ToLower(html.UnescapeString(strings.Join(leaves(plain), "\n")))
		for _, fingerprint := range shown {
			before, _, found := strings.Cut(text, ":"+strings.ToLower(fingerprint))
			if !found || !strings.Contains(before, "aspe:") {
				t.Fatalf("%s is not in %q", fingerprint, text)
			}
		}
	})
}

// leaves returns the strings of a JSON value.
func leaves(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			all = append(all, leaves(one)...)
		}
	case map[string]any:
		for _, one := range v {
			all = append(all, leaves(one)...)
		}
	}
	return all
}

// TestSpelling checks that a profile has one spelling of its parts.
func TestSpelling(t *testing.T) {
	parts := strings.Split(profile(master, placeA), ".")
	for i, part := range parts {
		padded := slices.Clone(parts)
		padded[i] = base64.URLEncoding.EncodeToString(must(base64.RawURLEncoding.DecodeString(part))) + "="
		if _, err := places.ParseProfile(strings.Join(padded, ".")); !errors.Is(err, places.CodeMalformed) {
			t.Errorf("padded part %d: %v", i, err)
		}
	}
}
