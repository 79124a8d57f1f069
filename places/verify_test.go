package places_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/verdict"
)

// reread writes memories to JSON and reads them again.
func reread(t *testing.T, m places.Memories) places.Memories {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := places.ParseMemories(data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return again
}

// look looks at places that all show the fingerprint, after some days, and returns the report and the memory.
func look(t *testing.T, m places.Memory, days int, text string, shows []string, uris ...string) *places.Report {
	t.Helper()
	q := places.Query{
		About: verdict.About{User: id}, Address: address(master), Profile: text, Memory: m,
		Require: verdict.DefaultPolicy().Methods.Places,
	}
	for _, uri := range uris {
		q.Looks = append(q.Looks, places.Look{Place: must(places.ParsePlace(uri)), Shows: shows})
	}
	r, err := places.Verify(q, now.AddDate(0, 0, days))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDecide has the two cases of draft-mahy-mimi-identity-00, decided with a hierarchy that says yes.
func TestDecide(t *testing.T) {
	decide := func(r *places.Report, days int) verdict.Decision {
		at := now.AddDate(0, 0, days)
		yes := verdict.Verdict{Method: verdict.Hierarchy, About: r.Verdict.About, User: verdict.Finding{Result: verdict.Good, Checked: at}}
		return must(verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{yes, r.Verdict}, at))
	}
	want := func(d verdict.Decision, outcome verdict.Outcome, rule string) {
		t.Helper()
		if d.Outcome != outcome || d.Judgments[0].Rule != rule {
			t.Errorf("%s", d.Explain(now.AddDate(0, 0, 20)))
		}
	}
	uris := []string{placeA, placeB, placeC, placeD}
	text := profile(master, uris...)
	r := look(t, nil, 0, text, one, uris...)
	want(decide(r, 0), verdict.Accepted, "3")
	r = look(t, r.Memory, 8, text, one, uris...)
	want(decide(r, 8), verdict.Verified, "2")
	if f := r.Verdict.User; !f.Since.Equal(now.AddDate(0, 0, 7)) || !strings.Contains(f.Details, "alice.example, example.org, github.com and 1 more") {
		t.Errorf("since %s, %s", f.Since, f.Details)
	}
	// The proofs are deleted: the hierarchy alone is left.
	want(decide(look(t, r.Memory, 9, text, nil, uris...), 9), verdict.Accepted, "3")
	// They are forged: quarantine, with the places named.
	d := decide(look(t, r.Memory, 9, text, both[1:], uris...), 9)
	want(d, verdict.Quarantined, "F5")
	if said := d.Explain(now.AddDate(0, 0, 9)); !strings.Contains(said, "alice.example") {
		t.Errorf("Explain = %s", said)
	}
}

func TestErrSubject(t *testing.T) {
	if _, err := places.Verify(places.Query{About: verdict.About{Handle: must(claims.Parse("im:%40alice@example.com"))}}, now); !errors.Is(err, places.ErrSubject) {
		t.Errorf("Verify = %v, want %v", err, places.ErrSubject)
	}
}

// The im: and the mimi: URI of a user are one user.
func TestBothForms(t *testing.T) {
	mimi := must(claims.Parse("mimi://example.com/u/3h3aNq0mWk2o1c8vXfYJrg"))
	m := places.Memories{}.With(id, look(t, nil, 0, profile(master, placeA), one, placeA).Memory)
	if len(m.Of(mimi)) != 1 || len(m.Without(mimi)) != 0 || len(m.Of(id)) != 1 {
		t.Errorf("memory of %s: %v", mimi, m.Of(mimi))
	}
	q := places.Query{About: verdict.About{User: mimi}, Address: address(master), Profile: profile(master, placeA), Looks: []places.Look{{Place: must(places.ParsePlace(placeA)), Shows: one}}, Require: verdict.PlacesRequirements{Need: 1}}
	if r := must(places.Verify(q, now)); r.Verdict.User.Result != verdict.Good {
		t.Errorf("Verify = %+v", r.Verdict.User)
	}
}

// Strangers cannot push what the verifier remembers out of a full memory, and what has no room does not become good.
func TestMemoryIsBounded(t *testing.T) {
	old := []string{placeA, placeB}
	r := look(t, nil, 0, profile(master, old...), one, old...)
	for n := range 6 {
		key := newKey(fmt.Sprint("stranger ", n))
		var uris []string
		for i := range places.MaxPlaces {
			uris = append(uris, fmt.Sprintf("dns:place%d-%d.example", n, i))
		}
		q := places.Query{About: verdict.About{User: id}, Address: address(key), Profile: profile(key, uris...), Memory: r.Memory}
		for _, uri := range uris {
			q.Looks = append(q.Looks, places.Look{Place: must(places.ParsePlace(uri)), Shows: []string{fingerprint(key)}})
		}
		r = must(places.Verify(q, now))
		if len(r.Memory) > places.MaxMemory {
			t.Fatalf("%d places are kept", len(r.Memory))
		}
		if n == 5 && r.Verdict.User.Result == verdict.Good {
			t.Errorf("places without room are good: %+v", r.Verdict.User)
		}
	}
	reread(t, places.Memories{}.With(id, r.Memory))
	if r = look(t, r.Memory, 8, profile(master, old...), one, old...); r.Verdict.User.Result == verdict.None && r.Verdict.User.Code != verdict.Code(places.CodeOtherBefore) {
		t.Errorf("Verify = %+v", r.Verdict.User)
	}
	// A place that a profile has dropped makes room.
	more := []string{placeC, placeD}
	if r = look(t, r.Memory, 9, profile(master, more...), one, more...); r.Memory[placeC].First.IsZero() || len(r.Memory) != places.MaxMemory {
		t.Errorf("%d places, %+v", len(r.Memory), r.Memory[placeC])
	}
}

func TestParseMemoriesRefuses(t *testing.T) {
	good := fmt.Sprintf(`{"x":{"dns:alice.example":{"master":"%s","thumbprint":"%s","domain":"alice.example","first":"2026-12-01T12:00:00Z","last":"2026-12-02T12:00:00Z"}}}`,
		fingerprint(master), thumbprint(master))
	if _, err := places.ParseMemories([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(string) string{
		put("{", ""), put("dns:alice.example", "dns:alice.example?type=TXT"), put("dns:alice.example", "xmpp:alice"), put(`"domain":"alice.example"`, `"domain":"example"`),
		put(fingerprint(master), thumbprint(master)), put(thumbprint(master), ""), put("2026-12-02", "2026-11-02"), put("2026-12-01T12", "0001-01-01T00"),
		put(`"first"`, `"to":"x","first"`), put(`"first"`, `"turned":"2026-12-02T12:00:00Z","first"`), put(`"first"`, `"more":1,"first"`),
	} {
		text := change(good)
		if m, err := places.ParseMemories([]byte(text)); err == nil {
			t.Errorf("ParseMemories(%s) = %v, want an error", text, m)
		}
	}
}

// What was seen before the clock went back counts from then on.
func TestClockGoesBack(t *testing.T) {
	uris := []string{placeA, placeB}
	r := look(t, nil, 10, profile(master, uris...), one, uris...)
	r = look(t, r.Memory, 0, profile(master, uris...), one, uris...)
	if f := r.Verdict.User; f.Code != verdict.Code(places.CodeTooYoung) || f.Since.After(now) {
		t.Errorf("Verify = %+v", f)
	}
	if s := r.Memory[placeA]; s.Last.Before(s.First) || s.First.Before(now.Add(9*24*time.Hour)) {
		t.Errorf("memory %+v", s)
	}
}

// TestProviderIsSuffix: below the domain of some providers each user has a domain, which is registered as far as the public suffix list
// says. Those are places of the provider all the same.
func TestProviderIsSuffix(t *testing.T) {
	user := must(claims.Parse("im:3h3aNq0mWk2o1c8vXfYJrg@github.io;id-type=user"))
	q := places.Query{About: verdict.About{User: user}, Address: address(master), Require: verdict.PlacesRequirements{Need: 2}}
	p := &places.Profile{Name: "Alice", User: user}
	for _, host := range []string{"a.github.io", "b.github.io"} {
		place := must(places.ParsePlace("https://" + host + "/.well-known/im-places"))
		p.Places = append(p.Places, place)
		q.Looks = append(q.Looks, places.Look{Place: place, Shows: []string{q.Address.Fingerprint}})
	}
	q.Profile = must(p.Sign(master))
	r, err := places.Verify(q, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Places {
		if !s.Own || s.Counts {
			t.Errorf("%s: own is %t, counts is %t, want the provider's own", s.Place.URI, s.Own, s.Counts)
		}
	}
	if got := r.Verdict.User.Result; got == verdict.Good {
		t.Errorf("the places of the provider alone are %v", got)
	}
}

// TestLongestParts: the parts of a place's path have at most the lengths that the services allow.
func TestLongestParts(t *testing.T) {
	for pattern, lengths := range map[string][2]int{
		"https://gist.github.com/%s/0123456789abcdef": {1, 39},
		"https://gist.github.com/alice/%s":            {5, 64},
		"https://git.example.com/%s/gitlab_proof":     {1, 100},
		"https://git.example.com/%s/forgejo_proof":    {1, 100},
		"https://social.example.com/@%s":              {1, 100},
	} {
		for n := range 102 {
			_, err := places.ParsePlace(fmt.Sprintf(pattern, strings.Repeat("a", n)))
			if want := lengths[0] <= n && n <= lengths[1]; (err == nil) != want {
				t.Errorf("%s with %d characters: ParsePlace = %v, want it to be a place: %t", pattern, n, err, want)
			}
		}
	}
}
