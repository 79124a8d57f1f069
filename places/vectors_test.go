package places_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/vectortest"
	"github.com/imidentity/issuer/places"
)

// vectors is testdata/vectors.json, for other implementations. testdata/README.md describes the members.
type vectors struct {
	Profiles []profileVector `json:"profiles"`
	Answers  []answerVector  `json:"answers"`
	Stories  []storyVector   `json:"stories"`
}

type profileVector struct {
	Name        string            `json:"name"`
	Text        string            `json:"text"`
	Code        places.Code       `json:"code,omitempty"`
	Part        string            `json:"part,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	User        string            `json:"user,omitempty"`
	Places      map[string]string `json:"places,omitempty"`
	Other       []string          `json:"other,omitempty"`
}

type answerVector struct {
	Name  string   `json:"name"`
	Place string   `json:"place"`
	Body  string   `json:"body"`
	Shows []string `json:"shows,omitempty"`
	Fault bool     `json:"refused,omitempty"`
}

// TestWriteVectors checks the file against the cases. Signatures are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	var all vectors
	for _, c := range profileCases {
		v := profileVector{Name: c.name, Text: c.make(), Code: c.code, Part: c.part}
		if c.code == "" {
			p, err := places.ParseProfile(v.Text)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			v.Fingerprint, v.User, v.Other, v.Places = p.Fingerprint(), p.User.String(), p.Other, map[string]string{}
			for _, place := range p.Places {
				v.Places[place.URI] = place.Kind() + " " + place.Domain
			}
		}
		all.Profiles = append(all.Profiles, v)
	}
	for _, c := range answerCases {
		all.Answers = append(all.Answers, answerVector{c.name, c.place, c.body, c.shows, c.fault})
	}
	all.Stories = stories()
	vectortest.WriteJSON(t, "testdata/vectors.json", all)
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var all vectors
	vectortest.ReadJSON(t, "testdata/vectors.json", &all)
	if len(all.Profiles) < 80 || len(all.Answers) < 40 || len(all.Stories) < 12 {
		t.Fatalf("%d profiles, %d answers and %d stories", len(all.Profiles), len(all.Answers), len(all.Stories))
	}
	return all
}

func wantCode(t *testing.T, err error, code places.Code, part string) {
	t.Helper()
	refused := (*places.Error)(nil)
	switch {
	case code == "" && err != nil:
		t.Errorf("refused: %v", err)
	case code != "" && (!errors.As(err, &refused) || refused.Code != code || refused.Part != part || !errors.Is(err, code)):
		t.Errorf("error %v, want %s of %q", err, code, part)
	}
}

func TestProfiles(t *testing.T) {
	names := map[string]bool{}
	for _, v := range readVectors(t).Profiles {
		if names[v.Name] {
			t.Errorf("two vectors have the name %s", v.Name)
		}
		names[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			p, err := places.ParseProfile(v.Text)
			wantCode(t, err, v.Code, v.Part)
			if err != nil {
				return
			}
			if p.Fingerprint() != v.Fingerprint || p.User.String() != v.User || !slices.Equal(p.Other, v.Other) || len(p.Places) != len(v.Places) {
				t.Errorf("profile %+v, want %+v", p, v)
			}
			for _, place := range p.Places {
				if got := place.Kind() + " " + place.Domain; got != v.Places[place.URI] {
					t.Errorf("%s is %s, want %s", place.URI, got, v.Places[place.URI])
				}
			}
		})
	}
}

// One record each, in the form of a resolver.
type records map[string][]string

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) { return r[name], nil }

// types are those of the answers, by the kind of the place.
var types = map[string]string{"activitypub": "application/activity+json; charset=utf-8"}

// TestAnswers serves each answer by a server of its own, which takes every host for its own.
func TestAnswers(t *testing.T) {
	for _, v := range readVectors(t).Answers {
		t.Run(v.Name, func(t *testing.T) {
			place := must(places.ParsePlace(v.Place))
			typ := types[place.Kind()]
			if typ == "" {
				typ = "application/json"
			}
			reader := newWorld(t, answer(typ, v.Body)).reader(t, places.ReaderConfig{Resolver: records{"alice.example.": strings.Split(v.Body, "\n")}})
			look := reader.Look(t.Context(), []places.Place{place})[0]
			if errors.Is(look.Err, places.CodeRefused) != v.Fault || !v.Fault && look.Err != nil || !slices.Equal(look.Shows, v.Shows) {
				t.Errorf("%q, %v, want %q, refused %t", look.Shows, look.Err, v.Shows, v.Fault)
			}
		})
	}
}

// Sign makes nothing that is refused.
func TestSignRefuses(t *testing.T) {
	twice := must(places.ParsePlace(record))
	for _, c := range []struct {
		profile places.Profile
		code    places.Code
		part    string
	}{
		{places.Profile{Name: "Alice"}, places.CodeUser, "claims"},
		{places.Profile{User: id}, places.CodeClaim, "name"},
		{places.Profile{Name: "Alice", User: id, Places: []places.Place{twice, twice}}, places.CodeRepeated, "claims[2]"},
		{places.Profile{Name: "Alice", User: id, Other: []string{user}}, places.CodeUser, "claims[1]"},
	} {
		_, err := c.profile.Sign(master)
		wantCode(t, err, c.code, c.part)
	}
}

// TestFingerprint has the fingerprint of the profile of doipjs, and one of a key of each kind.
func TestFingerprint(t *testing.T) {
	for _, v := range readVectors(t).Profiles {
		if v.Code != "" {
			continue
		}
		a, err := places.ParseAddress("ASPE:Id.Example.NET:" + strings.ToLower(v.Fingerprint))
		if err != nil || a.String() != "aspe:id.example.net:"+v.Fingerprint ||
			a.URL() != "https://id.example.net/.well-known/aspe/id/"+v.Fingerprint {
			t.Errorf("ParseAddress = %v, %v", a, err)
		}
	}
	for _, text := range []string{
		"", "aspe:", "aspe:id.example.net", own + ":", "aspe::" + fingerprint(master), "aspe:localhost:" + fingerprint(master), " " + own,
		"aspe:192.0.2.1:" + fingerprint(master), "aspe:id.example.net:443:" + fingerprint(master), own + "=", "openpgp4fpr:" + fingerprint(master),
		"aspe:id.example.net/x:" + fingerprint(master), "aspe:a@id.example.net:" + fingerprint(master), "aspe:id.example.net:" + thumbprint(master),
	} {
		if a, err := places.ParseAddress(text); err == nil {
			t.Errorf("ParseAddress(%q) = %v, want an error", text, a)
		}
	}
}
