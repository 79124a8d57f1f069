package places_test

import (
	"crypto"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/verdict"
)

// A storyVector is what a verifier sees over time.
type storyVector struct {
	Name   string      `json:"name"`
	Need   int         `json:"need"`
	MinAge int64       `json:"min_age_hours"`
	Steps  []storyStep `json:"steps"`
}

// A storyStep is one look. A place with null is unreachable, and one that is refused has an answer that does not count.
type storyStep struct {
	Hour    int64               `json:"hour"`
	Address string              `json:"address"`
	Profile string              `json:"profile,omitempty"`
	Master  string              `json:"master,omitempty"`
	Former  []string            `json:"former,omitempty"`
	Shows   map[string][]string `json:"shows"`
	Refused []string            `json:"refused,omitempty"`
	Down    bool                `json:"profile_unreachable,omitempty"`
	Result  verdict.Result      `json:"result"`
	Code    verdict.Code        `json:"code,omitempty"`
	Dropped []string            `json:"dropped,omitempty"`
}

// step is a look at the places of a profile by a key, of which each shows the address of one key.
func step(days float64, key crypto.Signer, result verdict.Result, code places.Code, shows map[string][]string) storyStep {
	return storyStep{
		Hour: int64(days * 24), Address: address(key).String(), Profile: profile(key, slices.Sorted(maps.Keys(shows))...),
		Shows: shows, Result: result, Code: verdict.Code(code),
	}
}

func (s storyStep) with(change func(*storyStep)) storyStep {
	change(&s)
	return s
}

// all has places that show the same.
func all(shows []string, uris ...string) map[string][]string {
	m := map[string][]string{}
	for _, uri := range uris {
		m[uri] = shows
	}
	return m
}

// and returns a map with the entries of both.
func and(m, n map[string][]string) map[string][]string {
	m = maps.Clone(m)
	maps.Copy(m, n)
	return m
}

const (
	placeA = "dns:alice.example"
	placeB = "https://social.example/@alice"
	placeC = "https://git.example.org/alice/forgejo_proof"
	placeD = "https://gist.github.com/alice/0123456789abcdef"
	newA   = "dns:mallory.example"
	newB   = "https://mallory.test/@alice"
)

func stories() []storyVector {
	var (
		hers   = []string{fingerprint(master)}
		theirs = []string{fingerprint(forged)}
		none   = []string{}
		four   = []string{placeA, placeB, placeC, placeD}
		young  = step(0, master, verdict.None, places.CodeTooYoung, all(hers, four...))
		good   = step(8, master, verdict.Good, "", all(hers, four...))
		// about changes the profile of a step and keeps what the places show.
		text          = func(p string) func(*storyStep) { return func(s *storyStep) { s.Profile = p } }
		down          = func(s *storyStep) { s.Profile, s.Down = "", true }
		servedAtPlace = func(s *storyStep) { s.Address = strings.Replace(s.Address, host, "social.example", 1) }
		known         = func(s *storyStep) { s.Master = thumbprint(master) }
	)
	second := newKey("second alice master")
	succeeds := func(s *storyStep) { s.Master, s.Former = thumbprint(second), []string{thumbprint(master)} }
	expiring := &places.Profile{Name: "Alice", User: id, Expires: now.Add(9 * day), Places: []places.Place{must(places.ParsePlace(placeA)), must(places.ParsePlace(placeB))}}
	expires := must(expiring.Sign(master))
	return []storyVector{
		{"good after a week", 2, 168, []storyStep{
			young,
			step(6.5, master, verdict.None, places.CodeTooYoung, all(hers, four...)),
			step(7, master, verdict.Good, "", all(hers, four...)),
		}},
		{"one of two is old enough", 2, 168, []storyStep{
			step(0, master, verdict.None, places.CodeTooFew, and(all(hers, placeA), all(none, placeB))),
			step(8, master, verdict.None, places.CodeTooYoung, all(hers, placeA, placeB)),
		}},
		{"two places of one domain", 2, 0, []storyStep{
			step(0, master, verdict.None, places.CodeTooFew, all(hers, "dns:alice.social.example", "https://www.social.example/@alice", placeB)),
		}},
		{"two domains below a public suffix", 2, 0, []storyStep{
			step(0, master, verdict.Good, "", all(hers, "dns:alice.co.uk", "dns:bob.co.uk")),
		}},
		{"the domains of the provider", 1, 0, []storyStep{
			step(0, master, verdict.None, places.CodeTooFew, all(hers, "https://social.example.com/@alice", "dns:example.com", "dns:www.example.net")),
		}},
		{"an address of another server", 2, 0, []storyStep{
			step(0, master, verdict.Good, "", all(hers, placeA, placeB)).with(func(s *storyStep) { s.Address = strings.Replace(s.Address, host, "keyoxide.example", 1) }),
		}},

		{"unreachable", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Unknown, places.CodeUnreachable, and(all(hers, placeA), all(nil, placeB, placeC, placeD))),
			step(10, master, verdict.Unknown, places.CodeUnreachable, all(nil, four...)),
			step(11, master, verdict.Good, "", and(all(hers, placeA, placeC), all(nil, placeB, placeD))),
		}},
		{"the profile is unreachable", 2, 168, []storyStep{
			step(0, master, verdict.Unknown, places.CodeUnreachable, nil).with(down),
			young, good,
			step(9, master, verdict.Unknown, places.CodeUnreachable, nil).with(down),
		}},
		{"unreachable at first", 2, 0, []storyStep{
			step(0, master, verdict.Unknown, places.CodeUnreachable, all(nil, placeA, placeB)),
			step(0, master, verdict.None, places.CodeTooFew, all(nil, placeA)),
		}},
		{"answers that do not count", 2, 0, []storyStep{
			step(0, master, verdict.None, places.CodeTooFew, all(hers, placeA, placeB)).with(func(s *storyStep) { s.Refused = []string{placeB} }),
		}},

		{"deletion: one place", 2, 168, []storyStep{
			young, good, step(9, master, verdict.Good, "", and(all(hers, placeA, placeB, placeC), all(none, placeD))),
		}},
		{"deletion: one after the other", 4, 168, []storyStep{
			young, good,
			step(10, master, verdict.None, places.CodeTooFew, and(all(hers, placeA, placeB, placeC), all(none, placeD))),
			step(13, master, verdict.None, places.CodeTooFew, and(all(hers, placeA, placeB), all(none, placeC, placeD))),
			step(16, master, verdict.None, places.CodeTooFew, and(all(hers, placeA), all(none, placeB, placeC, placeD))),
		}},
		{"deletion: the only place", 1, 0, []storyStep{
			step(0, master, verdict.Good, "", all(hers, placeA)),
			step(1, master, verdict.None, places.CodeTooFew, all(none, placeA)),
		}},
		{"deletion: most places at once", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Good, "", and(all(hers, placeA, placeB), all(none, placeC, placeD))),
			step(10, master, verdict.Bad, places.Code(verdict.CodeMassLoss), and(all(hers, placeA), all(none, placeB, placeC, placeD))),
			step(11.5, master, verdict.None, places.CodeTooFew, and(all(hers, placeA), all(none, placeB, placeC, placeD))),
			step(13, master, verdict.Good, "", all(hers, four...)),
		}},
		{"deletion: half at once, and then another", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Good, "", and(all(hers, placeA, placeB), all(none, placeC, placeD))),
			step(11.5, master, verdict.None, places.CodeTooFew, and(all(hers, placeA), all(none, placeB, placeC, placeD))),
		}},

		{"forging: the profile of another key at the old places", 2, 168, []storyStep{
			young, good,
			step(9, forged, verdict.None, places.CodeOtherBefore, and(all(theirs, placeA), all(hers, placeB, placeC, placeD))),
			step(10, forged, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(11, forged, verdict.Bad, places.Code(verdict.CodeMaster), all(theirs, newA, newB)),
			step(30, forged, verdict.Bad, places.Code(verdict.CodeMaster), all(theirs, four...)).with(func(s *storyStep) { s.Dropped = []string{newA, newB} }),
		}},
		{"forging: the old profile", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(10, master, verdict.Good, "", and(all(theirs, placeA), all(hers, placeB, placeC, placeD))),
		}},
		{"forging: then all traces are removed", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(10, master, verdict.Bad, places.Code(verdict.CodeMaster), and(all(none, placeA, placeB), all(nil, placeC, placeD))),
		}},
		{"forging: the places are taken out of the profile", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(10, master, verdict.Good, "", all(hers, placeC, placeD)).with(func(s *storyStep) { s.Dropped = []string{placeA, placeB} }),
		}},
		{"forging: then the profile is withheld", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(10, master, verdict.Bad, places.Code(verdict.CodeMaster), nil).with(text("")),
			step(11, master, verdict.Bad, places.Code(verdict.CodeMaster), nil).with(text(profile(forged, placeA, placeB))),
			step(12, master, verdict.Bad, places.Code(verdict.CodeMaster), nil).with(down),
			step(13, master, verdict.Good, "", all(hers, four...)),
			step(14, master, verdict.Unknown, places.CodeMissing, nil).with(text("")),
		}},
		{"forging: then a third key at new places", 2, 168, []storyStep{
			young, good,
			step(9, forged, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB), all(hers, placeC, placeD))),
			step(10, second, verdict.Bad, places.Code(verdict.CodeMaster), all([]string{fingerprint(second)}, newA, newB)),
		}},
		{"forging: the profile of another key, served at a place", 2, 168, []storyStep{
			step(0, master, verdict.None, places.CodeTooYoung, all(hers, placeA, placeB)),
			step(8, master, verdict.Good, "", all(hers, placeA, placeB)),
			step(9, forged, verdict.None, places.CodeOtherBefore, all(theirs, newA, newB)).with(servedAtPlace),
			step(20, forged, verdict.None, places.CodeOtherBefore, all(theirs, newA, newB)).with(servedAtPlace),
			step(21, forged, verdict.Bad, places.Code(verdict.CodeMaster), all(theirs, placeA, placeB, newA, newB)).with(servedAtPlace),
			step(22, master, verdict.Bad, places.Code(verdict.CodeMaster), nil).with(text("")).with(servedAtPlace),
		}},
		{"forging: another key than cross signing", 2, 168, []storyStep{
			young.with(known), good.with(known),
			step(9, forged, verdict.None, places.CodeOtherKey, and(all(theirs, placeA, newA), all(hers, placeB, placeC))).with(known),
			step(10, forged, verdict.Bad, places.Code(verdict.CodeMaster), and(all(theirs, placeA, placeB, newA), all(hers, placeC))).with(known),
			step(11, master, verdict.Good, "", all(hers, four...)).with(known),
		}},
		{"forging: new places only", 2, 168, []storyStep{
			young, good,
			step(9, forged, verdict.None, places.CodeOtherBefore, all(theirs, newA, newB)),
			step(40, forged, verdict.None, places.CodeOtherBefore, all(theirs, newA, newB)),
			step(41, master, verdict.None, places.CodeOtherBefore, all(hers, four...)), // both have had places for a week
		}},
		{"forging: before the user was known", 2, 168, []storyStep{
			step(0, forged, verdict.None, places.CodeTooYoung, all(theirs, newA, newB)),
			step(1, master, verdict.None, places.CodeTooYoung, all(hers, four...)),
			step(9, master, verdict.Good, "", all(hers, four...)),
		}},
		{"a place that names both keys", 2, 0, []storyStep{
			step(0, master, verdict.Good, "", all(hers, placeA, placeB)),
			step(1, forged, verdict.None, places.CodeOtherBefore, all(both, placeA, placeB)),
			step(2, master, verdict.Good, "", all(both, placeA, placeB)),
		}},
		{"succession", 2, 168, []storyStep{
			young, good,
			step(9, second, verdict.Good, "", all([]string{fingerprint(second)}, four...)).with(succeeds),
		}},
		{"succession that nothing confirms", 2, 168, []storyStep{
			young, good,
			step(9, second, verdict.Bad, places.Code(verdict.CodeMaster), all([]string{fingerprint(second)}, four...)),
			step(10, second, verdict.Good, "", all([]string{fingerprint(second)}, four...)).with(succeeds),
		}},
		{"succession, and the profile of the former key", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.None, places.CodeOtherKey, all([]string{fingerprint(second)}, four...)).with(succeeds),
			step(10, second, verdict.Good, "", all([]string{fingerprint(second)}, four...)).with(succeeds),
		}},
		{"another key than cross signing", 2, 0, []storyStep{
			step(0, master, verdict.None, places.CodeOtherKey, all(hers, four...)).with(func(s *storyStep) { s.Master = thumbprint(forged) }),
			step(0, master, verdict.Good, "", all(hers, four...)).with(func(s *storyStep) { s.Master = thumbprint(master) }),
		}},
		{"fewer places", 2, 168, []storyStep{
			young, good,
			step(9, master, verdict.Good, "", all(hers, placeA, placeB)).with(func(s *storyStep) { s.Dropped = []string{placeD, placeC} }),
			step(10, master, verdict.Good, "", all(hers, placeA, placeB)),
			step(11, master, verdict.Good, "", all(hers, placeC, placeD)).with(func(s *storyStep) { s.Dropped = []string{placeA, placeB} }),
		}},
		{"no profile", 2, 0, []storyStep{
			step(0, master, verdict.None, places.CodeMissing, all(hers, placeA, placeB)).with(text("")),
			step(0, master, verdict.Good, "", all(hers, placeA, placeB)),
			step(1, master, verdict.Unknown, places.CodeMissing, all(hers, placeA, placeB)).with(text("")),
			step(1, master, verdict.Unknown, places.CodeFingerprint, all(hers, placeA, placeB)).with(text(profile(forged, placeA, placeB))),
			step(1, master, verdict.Unknown, places.CodeVersion, nil).with(text((&profileCase{payload: put(`version":0`, `version":1`)}).make())),
			step(1, master, verdict.Unknown, places.CodeUser, nil).with(text((&profileCase{payload: put(user, "im:b0bb0bb0bb0bb0bb0bb0bg@example.com;id-type=user")}).make())),
		}},
		{"end of the profile", 2, 168, []storyStep{
			step(0, master, verdict.None, places.CodeTooYoung, all(hers, placeA, placeB)).with(text(expires)),
			step(8, master, verdict.Good, "", all(hers, placeA, placeB)).with(text(expires)),
			step(9, master, verdict.Unknown, places.CodeExpired, all(hers, placeA, placeB)).with(text(expires)),
		}},
	}
}

// query is the query of a step, with the time.
func (s *storyStep) query(v *storyVector) (places.Query, time.Time) {
	q := places.Query{
		About: verdict.About{User: id}, Address: must(places.ParseAddress(s.Address)), Profile: s.Profile, Master: s.Master, Former: s.Former,
		Require: verdict.PlacesRequirements{Need: v.Need, MinAge: time.Duration(v.MinAge) * time.Hour},
	}
	if s.Down {
		q.ProfileErr = &places.Error{Code: places.CodeUnreachable, Err: errors.New("timeout")}
	}
	for uri, shows := range s.Shows {
		look := places.Look{Place: must(places.ParsePlace(uri)), Shows: shows}
		switch {
		case slices.Contains(s.Refused, uri):
			look.Shows, look.Err = nil, &places.Error{Code: places.CodeRefused, Err: errors.New("redirect")}
		case shows == nil:
			look.Err = &places.Error{Code: places.CodeUnreachable, Err: errors.New("timeout")}
		}
		q.Looks = append(q.Looks, look)
	}
	return q, now.Add(time.Duration(s.Hour) * time.Hour)
}

// TestStories tells each story to a verifier, whose memory goes through JSON after each look.
func TestStories(t *testing.T) {
	for _, v := range readVectors(t).Stories {
		t.Run(v.Name, func(t *testing.T) {
			memories := places.Memories{}
			for i, s := range v.Steps {
				q, at := s.query(&v)
				q.Memory = memories.Of(id)
				before := maps.Clone(q.Memory)
				r, err := places.Verify(q, at)
				if err != nil {
					t.Fatal(err)
				}
				if f := r.Verdict.User; f.Result != s.Result || f.Code != s.Code || !slices.Equal(r.Dropped, s.Dropped) {
					t.Errorf("look %d: %s (%s), %s, dropped %q, want %s (%s), dropped %q", i+1, f.Result, f.Code, f.Details, r.Dropped, s.Result, s.Code, s.Dropped)
				}
				if !maps.Equal(before, q.Memory) {
					t.Error("the memory of the query has changed")
				}
				if _, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{r.Verdict}, at); err != nil {
					t.Errorf("Decide: %v", err)
				}
				memories = reread(t, memories.With(id, r.Memory))
			}
		})
	}
}
