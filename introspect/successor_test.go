package introspect_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// A remembering is an issuer with a past. It counts what it is asked.
type remembering struct {
	*issuing
	past    introspect.Past
	unknown error // in place of the past
	// retired is when the key that signs is said to have stopped, zero for not yet.
	retired time.Time
	counts  [4]int // of calls of Public, Revoked, Known and Past
	*introspect.Introspector
}

func (r *remembering) Public(kid string) (crypto.PublicKey, string, bool) {
	r.counts[0]++
	return r.issuing.Public(kid)
}

func (r *remembering) Revoked(ctx context.Context, t introspect.Token) (introspect.Reason, error) {
	r.counts[1]++
	return r.issuing.Revoked(ctx, t)
}

func (r *remembering) Known(kid string) (crypto.PublicKey, string, time.Time, bool) {
	r.counts[2]++
	key, alg, _, ok := r.ring.Known(kid)
	return key, alg, r.retired, ok
}

func (r *remembering) Past(context.Context, introspect.Token) (introspect.Past, error) {
	r.counts[3]++
	return r.past, r.unknown
}

func newRemembering(t testing.TB) *remembering {
	t.Helper()
	r := &remembering{issuing: newIssuing(t, 0)}
	r.past = introspect.Past{Gen: 3, Handles: []string{"@alice", "@al"}}
	var err error
	r.Introspector, err = introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: r, Revocations: r, Records: r.issuing, History: r,
		Now: func() time.Time { return r.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var inDomain = introspect.Caller{
	ClientID: "peer", Domains: []string{"example.com"},
	Scopes: []string{introspect.ScopeIntrospect, introspect.ScopeDomain, introspect.ScopeReason},
}

func (r *remembering) succession(t testing.TB, first, second string) introspect.SuccessorAnswer {
	t.Helper()
	a, err := r.Successor(t.Context(), inDomain, introspect.Succession{Token: first, Successor: second})
	if err != nil {
		t.Fatalf("Successor = %v", err)
	}
	return a
}

// named gives a token an id of its own.
func named(jti string) func(*claims.Set) { return func(set *claims.Set) { set.JTI = jti } }

// TestSuccessorOfRetiredKey holds that a key which retired signs no more: a token that it is said to have made later is none.
func TestSuccessorOfRetiredKey(t *testing.T) {
	r := newRemembering(t)
	second := r.issue(t, jose.TypeAccessToken, alice(named("second")))
	for after, want := range map[time.Duration]bool{0: true, -time.Hour: true, 5 * time.Minute: true, 5*time.Minute + time.Second: false} {
		r.retired = start.Add(-after) // the token is made as much later
		first := r.issue(t, jose.TypeAccessToken, alice(named("first")))
		if a := r.succession(t, first, second); a.Successor != want {
			t.Errorf("of a token made %v after the key retired = %+v, want %t", after, a, want)
		}
	}
}

// TestSuccessorTypes holds that only access tokens have successors, whatever else the issuer signs.
func TestSuccessorTypes(t *testing.T) {
	r := newRemembering(t)
	good := r.issue(t, jose.TypeAccessToken, alice())
	for _, typ := range []string{jose.TypeStaple, jose.TypeIntrospection, jose.TypeSuccessor, jose.TypeActor, "JWT", ""} {
		other := r.issue(t, typ, alice())
		for _, a := range []introspect.SuccessorAnswer{r.succession(t, other, good), r.succession(t, good, other)} {
			if a != (introspect.SuccessorAnswer{}) {
				t.Errorf("an object of type %q: %+v, want the zero answer", typ, a)
			}
		}
	}
	if a := r.succession(t, good, good); !a.Successor {
		t.Errorf("the token itself = %+v, want a successor", a)
	}
	r.withdrawn, _, _ = r.ring.Signer() // from the published keys, as one that retired long ago
	if a := r.succession(t, good, good); a.Successor {
		t.Errorf("a successor by a key that is not published = %+v, want none", a)
	}
}

// TestSuccessorChain holds which keys are connected by recorded replacements.
func TestSuccessorChain(t *testing.T) {
	r := newRemembering(t)
	key := func(n string) string { // a thumbprint
		return alice().JKT[:42] + n
	}
	withKey := func(n string) string {
		return r.issue(t, jose.TypeAccessToken, alice(named("key "+n), func(set *claims.Set) { set.JKT = key(n) }))
	}
	chain := func(pairs ...string) (list []introspect.KeyChange) {
		for _, p := range pairs {
			list = append(list, introspect.KeyChange{Old: key(p[:1]), New: key(p[1:])})
		}
		return list
	}
	for name, test := range map[string]struct {
		from, to string
		changes  []introspect.KeyChange
		want     bool
	}{
		"the same key":             {"A", "A", nil, true},
		"one step":                 {"A", "E", chain("AE"), true},
		"three steps":              {"A", "Q", chain("AE", "EI", "IM", "MQ"), true},
		"from the middle":          {"I", "Q", chain("AE", "EI", "IM", "MQ"), true},
		"in any order":             {"A", "M", chain("IM", "AE", "EI"), true},
		"back":                     {"E", "A", chain("AE"), false},
		"no record":                {"A", "E", nil, false},
		"a gap":                    {"A", "M", chain("AE", "IM"), false},
		"another chain":            {"A", "I", chain("EI"), false},
		"a cycle that never meets": {"A", "I", chain("AE", "EA"), false}, // no store holds one
	} {
		r.past.Keys = test.changes
		a := r.succession(t, withKey(test.from), withKey(test.to))
		if a.Successor != test.want || !a.SameClient || !test.want && a.Reason != introspect.KeyUnrecorded {
			t.Errorf("%s = %+v, want %t", name, a, test.want)
		}
	}
}

// TestSuccessorReasons holds who is told why: a caller with the scope, unless its policy says otherwise.
func TestSuccessorReasons(t *testing.T) {
	r := newRemembering(t)
	first := r.issue(t, jose.TypeAccessToken, alice(named("1")))
	other := r.issue(t, jose.TypeAccessToken, alice(named("2"), func(set *claims.Set) { set.Device = "im:u1/2f@example.com" }))
	quiet, err := introspect.NewRelease(introspect.Policy{Claims: []string{"iss", "aud"}})
	if err != nil {
		t.Fatal(err)
	}
	talks, err := introspect.NewRelease(introspect.Policy{Claims: []string{"iss"}, Reasons: true, Pairwise: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(c *introspect.Caller)
		want   string
	}{
		"with the scope":          {func(*introspect.Caller) {}, `{"successor":false,"same_client":false,"state":"active","reason":"other_client"}`},
		"without it":              {func(c *introspect.Caller) { c.Scopes = c.Scopes[:2] }, `{"successor":false,"same_client":false}`},
		"by a policy without":     {func(c *introspect.Caller) { c.Release = quiet }, `{"successor":false,"same_client":false}`},
		"by one with pairwise":    {func(c *introspect.Caller) { c.Release = talks }, `{"successor":false,"same_client":false,"state":"active","reason":"other_client"}`},
		"with the tokens' own id": {func(c *introspect.Caller) { c.JTI = "2" }, `{"successor":false}`},
		"of another domain":       {func(c *introspect.Caller) { c.Domains = []string{"example.org"} }, `{"successor":false}`},
	} {
		c := inDomain
		test.change(&c)
		a, err := r.Successor(t.Context(), c, introspect.Succession{Token: first, Successor: other})
		if got := string(a.AppendJSON(nil)); err != nil || got != test.want {
			t.Errorf("%s = %s, %v, want %s", name, got, err, test.want)
		}
	}
}

// TestSuccessorCannotKnow holds that an outage is no answer, and that every question costs the same.
func TestSuccessorCannotKnow(t *testing.T) {
	r := newRemembering(t)
	first, second := r.issue(t, jose.TypeAccessToken, alice(named("1"))), r.issue(t, jose.TypeAccessToken, alice(named("2")))
	foreign := r.issue(t, jose.TypeAccessToken, alice(audience("im:example.org"), func(set *claims.Set) { set.Issuer = "https://id.example.org" }))
	questions := map[string]introspect.Succession{
		"a successor":    {Token: first, Successor: second},
		"foreign tokens": {Token: foreign, Successor: foreign},
		"no tokens":      {Token: "a", Successor: "b"},
		"empty texts":    {},
		"one foreign":    {Token: first, Successor: foreign},
		"another one":    {Token: foreign, Successor: second},
	}
	for name, q := range questions {
		r.counts = [4]int{}
		if _, err := r.Successor(t.Context(), inDomain, q); err != nil {
			t.Errorf("%s = %v", name, err)
		}
		if want := [4]int{1, 2, 1, 1}; r.counts != want {
			t.Errorf("%s asked %v times, want %v", name, r.counts, want)
		}
	}
	r.unknown = errors.New("disk on fire")
	for name, q := range questions {
		if a, err := r.Successor(t.Context(), inDomain, q); !errors.Is(err, r.unknown) {
			t.Errorf("%s = %+v, %v, want an error", name, a, err)
		}
	}
	r.unknown = nil
	r.now = r.now.Add(25 * time.Hour) // the mirror is behind
	for name, q := range questions {
		if a, err := r.Successor(t.Context(), inDomain, q); err == nil {
			t.Errorf("%s, with a mirror that is behind = %+v, want an error", name, a)
		}
	}
	if _, err := r.Successor(t.Context(), introspect.Caller{}, introspect.Succession{}); !errors.Is(err, introspect.ErrForbidden) {
		t.Errorf("without the scope = %v, want %v", err, introspect.ErrForbidden)
	}
	if a, err := r.issuing.Successor(t.Context(), inDomain, introspect.Succession{}); err == nil {
		t.Errorf("without a history = %+v, want an error", a)
	}
}

// FuzzSuccessor asks about any two texts beside a good token. None of them is a token of the issuer, so that the answer is the zero
// answer, and it costs what every other one does.
func FuzzSuccessor(f *testing.F) {
	r := newRemembering(f)
	good := r.issue(f, jose.TypeAccessToken, alice())
	f.Add("", "")
	f.Add("nonsense", "a.b.c")
	f.Add(good[:len(good)-1], good+"=")
	f.Add(r.issue(f, jose.TypeStaple, alice()), "{}")
	signed := good[:strings.LastIndexByte(good, '.')]
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.HasPrefix(first, signed) || strings.HasPrefix(second, signed) {
			return // the token itself, or the other signature of the same
		}
		for _, q := range []introspect.Succession{{Token: first, Successor: second}, {Token: first, Successor: good}, {Token: good, Successor: second}} {
			r.counts = [4]int{}
			a, err := r.Successor(context.Background(), inDomain, q)
			if err != nil || a != (introspect.SuccessorAnswer{}) {
				t.Errorf("Successor of %q, %q = %+v, %v, want the zero answer", q.Token, q.Successor, a, err)
			}
			if got := string(a.AppendJSON(nil)); got != `{"successor":false}` {
				t.Errorf("AppendJSON = %s", got)
			}
			if len(first) <= 16<<10 && len(second) <= 16<<10 && r.counts != [4]int{r.counts[0], 2, 1, 1} {
				t.Errorf("the question asked %v times", r.counts)
			}
		}
	})
}
