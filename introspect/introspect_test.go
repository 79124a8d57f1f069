package introspect_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const issuer = "https://id.example.com"

var start = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// An issuing is an issuer as far as introspection sees it: its ring, its mirror and a clock.
type issuing struct {
	ring   *keys.Ring
	mirror *revocation.Mirror
	now    time.Time
	// withdrawn is a kid that the ring no longer knows.
	withdrawn string
	*introspect.Introspector
}

func (s *issuing) Public(kid string) (crypto.PublicKey, string, bool) {
	if kid == s.withdrawn {
		return nil, "", false
	}
	return s.ring.Public(kid)
}

func (s *issuing) Revoked(_ context.Context, t introspect.Token) (introspect.Reason, error) {
	_, revoked := s.mirror.Find(t)
	if err := s.mirror.Fresh(s.now); err != nil || !revoked {
		return "", err
	}
	return introspect.Revoked, nil
}

func (s *issuing) Session(context.Context, string) (introspect.Reason, error) { return "", nil }

func (s *issuing) Statement(context.Context, string) (introspect.Reason, error) { return "", nil }

func newIssuing(t testing.TB, cacheBytes int) *issuing {
	t.Helper()
	ctx := context.Background()
	store, err := sqlite.Open(ctx, sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s := &issuing{now: start}
	now := func() time.Time { return s.now }
	s.ring, err = keys.OpenRing(ctx, store, keys.NewSealer([32]byte{1}), keys.RingConfig{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s.mirror = revocation.NewMirror(revocation.Config{Source: store, Limit: 24 * time.Hour, Now: now})
	if err := s.mirror.Read(ctx); err != nil {
		t.Fatal(err)
	}
	s.Introspector, err = introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: s, Revocations: s, Records: s, CacheBytes: cacheBytes, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alice returns the claims of a token of hers that changes were made to.
func alice(changes ...func(*claims.Set)) claims.Set {
	set := claims.Set{
		Issuer:   issuer,
		Subject:  "im:u1@example.com;id-type=user",
		Handle:   "im:%40alice@example.com",
		Device:   "im:u1/1f@example.com",
		Audience: []string{"im:example.com"},
		ClientID: "im-app", Scope: "im:handle im:device", JTI: "token-1",
		IssuedAt: start, Expires: start.Add(10 * time.Minute), AuthTime: start.Add(-time.Minute), ACR: "urn:example:mfa",
		SID: "session-1", Gen: 3, JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
	}
	for _, change := range changes {
		change(&set)
	}
	return set
}

func audience(values ...string) func(*claims.Set) {
	return func(set *claims.Set) { set.Audience = values }
}

// service is a token that a client was given for itself, without a key.
func service(set *claims.Set) {
	*set = claims.Set{
		Issuer: issuer, Subject: "peer", Audience: []string{"im:example.com"}, ClientID: "peer", Scope: "introspect", JTI: "token-2",
		IssuedAt: start, Expires: start.Add(10 * time.Minute),
	}
}

func (s *issuing) issue(t testing.TB, typ string, set claims.Set) string {
	t.Helper()
	payload, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.ring.Sign(typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask returns the answer as it goes over the wire.
func (s *issuing) ask(t testing.TB, caller introspect.Caller, token string) string {
	t.Helper()
	verdict, err := s.Introspect(context.Background(), caller, introspect.Question{Token: token})
	if err != nil {
		t.Fatalf("Introspect = %v, want an answer", err)
	}
	text, err := json.Marshal(verdict.Answer())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const inactive = `{"active":false}`

var peer = introspect.Caller{ClientID: "peer", Domains: []string{"example.com"}, Scopes: []string{"introspect"}}

func TestActive(t *testing.T) {
	for name, test := range map[string]struct {
		set  claims.Set
		want string
	}{
		"user": {alice(), `{"active":true,"iss":"https://id.example.com","sub":"im:u1@example.com;id-type=user",` +
			`"username":"@alice@example.com","handle":"im:%40alice@example.com","device":"im:u1/1f@example.com",` +
			`"aud":"im:example.com","client_id":"im-app","scope":"im:handle im:device","exp":1777864321,"iat":1777863721,` +
			`"jti":"token-1","auth_time":1777863661,"acr":"urn:example:mfa","sid":"session-1",` +
			`"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"token_type":"DPoP",` +
			`"expires_in":600,"max_age":5,"holder":"unverified"}`},
		"user without scopes": {
			alice(func(set *claims.Set) {
				set.Handle, set.Device, set.Scope, set.ACR, set.AuthTime = "", "", "", "", time.Time{}
				set.Audience = []string{"https://api.example.com", "im:example.com"}
			}),
			`{"active":true,"iss":"https://id.example.com","sub":"im:u1@example.com;id-type=user",` +
				`"aud":["https://api.example.com","im:example.com"],"client_id":"im-app","exp":1777864321,"iat":1777863721,` +
				`"jti":"token-1","sid":"session-1",` +
				`"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"token_type":"DPoP",` +
				`"expires_in":600,"max_age":5,"holder":"unverified"}`,
		},
		"service": {alice(service), `{"active":true,"iss":"https://id.example.com","sub":"peer",` +
			`"aud":"im:example.com","client_id":"peer","scope":"introspect","exp":1777864321,"iat":1777863721,` +
			`"jti":"token-2","token_type":"Bearer","expires_in":600,"max_age":5,"holder":"unverified"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIssuing(t, 0)
			token := s.issue(t, jose.TypeAccessToken, test.set)
			for _, seen := range []string{"unseen", "seen before"} {
				if got := s.ask(t, peer, token); got != test.want {
					t.Errorf("Introspect %s =\n%s\nwant\n%s", seen, got, test.want)
				}
			}
		})
	}
}

func TestWhoSees(t *testing.T) {
	scopes := func(s ...string) []string { return s }
	for name, test := range map[string]struct {
		caller introspect.Caller
		set    claims.Set
		want   bool
	}{
		"its resource": {
			introspect.Caller{ClientID: "api", Resources: []string{"https://other.example", "https://api.example.com"}, Scopes: scopes("introspect")},
			alice(audience("https://else.example", "https://api.example.com")), true,
		},
		"another's resource": {
			introspect.Caller{ClientID: "api", Resources: []string{"https://api.example.com/v2"}, Domains: []string{"example.com"}, Scopes: scopes("introspect")},
			alice(audience("https://api.example.com")), false,
		},
		"its domain's URI":   {peer, alice(), true},
		"another domain's":   {peer, alice(audience("im:example.org")), false},
		"its own token":      {introspect.Caller{ClientID: "im-app", Scopes: scopes("introspect")}, alice(audience("https://api.example.com")), true},
		"no audience at all": {peer, alice(audience("https://api.example.com")), false},
		"domain by scope": {
			introspect.Caller{ClientID: "peer", Domains: []string{"example.com"}, Scopes: scopes("introspect", "introspect:domain")},
			alice(audience("https://api.example.com")), true,
		},
		"another domain by scope": {
			introspect.Caller{ClientID: "peer", Domains: []string{"example.org"}, Scopes: scopes("introspect", "introspect:domain")},
			alice(audience("https://api.example.com")), false,
		},
		"service token by scope": {
			introspect.Caller{ClientID: "other", Domains: []string{"example.com"}, Scopes: scopes("introspect", "introspect:domain")},
			alice(service, audience("https://api.example.com")), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIssuing(t, 0)
			got := s.ask(t, test.caller, s.issue(t, jose.TypeAccessToken, test.set))
			if active := got != inactive; active != test.want {
				t.Errorf("Introspect = %s, want active %v", got, test.want)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	s := newIssuing(t, 0)
	caller := introspect.Caller{ClientID: "im-app", Domains: []string{"example.com"}, Scopes: []string{"introspect:domain"}}
	for _, token := range []string{"", s.issue(t, jose.TypeAccessToken, alice())} {
		if _, err := s.Introspect(context.Background(), caller, introspect.Question{Token: token}); !errors.Is(err, introspect.ErrForbidden) {
			t.Errorf("Introspect = %v, want %v", err, introspect.ErrForbidden)
		}
	}
}

func TestInactive(t *testing.T) {
	s := newIssuing(t, 0)
	good := s.issue(t, jose.TypeAccessToken, alice())
	if got := s.ask(t, peer, good); got == inactive {
		t.Fatalf("Introspect = %s, want active", got)
	}
	kid, _, _ := s.ring.Signer()
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(alice())
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(kid string) string {
		token, err := jose.Sign(foreign, "ES256", fmt.Appendf(nil, `{"typ":"at+jwt","alg":"ES256","kid":%q}`, kid), payload)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	parts := strings.Split(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"at+jwt","alg":"none","kid":"`+kid+`"}`)) + "." + parts[1] + "."
	raw := func(claims string) string {
		token, err := s.ring.Sign(jose.TypeAccessToken, []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, token := range map[string]string{
		"nothing":           "",
		"garbage":           "never-issued",
		"a refresh token":   "rt_" + strings.Repeat("A", 64),
		"too long":          good + strings.Repeat("A", 1<<20),
		"white space":       good + " ",
		"padding":           good + "=",
		"another type":      s.issue(t, jose.TypePresentation, alice()),
		"a JWT of no type":  s.issue(t, "JWT", alice()),
		"an unknown key":    signedBy("unknown"),
		"a forged key id":   signedBy(kid),
		"unsigned":          unsigned,
		"another signature": parts[0] + "." + parts[1] + "." + strings.Split(signedBy(kid), ".")[2],
		"another issuer":    s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.Issuer += "/" })),
		"another domain": s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) {
			set.Subject, set.Handle, set.Device = "im:u1@example.org;id-type=user", "", ""
		})),
		"another user's device": s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.Device = "im:u2/1f@example.com" })),
		"a user without a key":  s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.JKT = "" })),
		"expired":               s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.Expires = start })),
		"claims that repeat":    raw(strings.Replace(string(payload), `{`, `{"jti":"other",`, 1)),
		"no object":             raw(`[]`),
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.ask(t, peer, token); got != inactive {
				t.Errorf("Introspect = %s, want %s", got, inactive)
			}
		})
	}
}

// What has been seen before is still held to the time, to the revocations and to the keys of now.
func TestSeenBefore(t *testing.T) {
	cause := revocation.Cause{Reason: "test", At: start, TokenLife: time.Hour}
	revoke := func(r storage.Revocation) func(*issuing) {
		r.Seq = 1
		return func(s *issuing) { s.mirror.Apply(r) }
	}
	row := func(kind storage.RevocationKind, key string) storage.Revocation {
		return storage.Revocation{Kind: kind, Key: key, Reason: cause.Reason, At: start, ExpiresAt: start.Add(time.Hour)}
	}
	for name, test := range map[string]struct {
		change func(s *issuing)
		want   bool
	}{
		"a moment before it expires": {func(s *issuing) { s.now = start.Add(10*time.Minute - 1) }, true},
		"expired":                    {func(s *issuing) { s.now = start.Add(10 * time.Minute) }, false},
		"token revoked":              {revoke(revocation.RevokeToken("token-1", cause)), false},
		"session ended":              {revoke(revocation.RevokeGrant("session-1", cause)), false},
		"device removed":             {revoke(revocation.RevokeDevice("example.com", "1f", cause)), false},
		"another device removed":     {revoke(revocation.RevokeDevice("example.com", "2f", cause)), true},
		"user disabled":              {revoke(row(storage.RevokeUser, "example.com/u1")), false},
		"another domain's user":      {revoke(row(storage.RevokeUser, "example.org/u1")), true},
		"superseded":                 {revoke(revocation.RevokeBelow("example.com", "u1", 4, cause)), false},
		"of the least generation":    {revoke(revocation.RevokeBelow("example.com", "u1", 3, cause)), true},
		"client removed":             {revoke(revocation.RevokeClient("im-app", cause)), false},
		"key withdrawn":              {func(s *issuing) { s.withdrawn, _, _ = s.ring.Signer() }, false},
		"key revoked": {func(s *issuing) {
			kid, _, _ := s.ring.Signer()
			revoke(row(storage.RevokeKey, kid))(s)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIssuing(t, 0)
			token := s.issue(t, jose.TypeAccessToken, alice())
			if got := s.ask(t, peer, token); got == inactive {
				t.Fatalf("Introspect = %s, want active", got)
			}
			test.change(s)
			if got := s.ask(t, peer, token); (got != inactive) != test.want {
				t.Errorf("Introspect = %s, want active %v", got, test.want)
			}
		})
	}
}

// An ECDSA signature (r, s) is as good as (r, n-s): the text differs, and a revocation must hold for both.
func TestRevokedUnderAnotherText(t *testing.T) {
	s := newIssuing(t, 0)
	token := s.issue(t, jose.TypeAccessToken, alice())
	cut := strings.LastIndex(token, ".") + 1
	sig, err := base64.RawURLEncoding.DecodeString(token[cut:])
	if err != nil {
		t.Fatal(err)
	}
	half := new(big.Int).SetBytes(sig[32:])
	half.Sub(elliptic.P256().Params().N, half).FillBytes(sig[32:])
	other := token[:cut] + base64.RawURLEncoding.EncodeToString(sig)
	if a, b := s.ask(t, peer, token), s.ask(t, peer, other); a != b || a == inactive {
		t.Fatalf("Introspect = %s and %s, want both active", a, b)
	}
	s.mirror.Apply(revocation.RevokeToken("token-1", revocation.Cause{At: start, TokenLife: time.Hour}))
	for _, text := range []string{token, other} {
		if got := s.ask(t, peer, text); got != inactive {
			t.Errorf("Introspect = %s, want %s", got, inactive)
		}
	}
}

// Who cannot know says so whatever was asked, or the difference would tell the caller something.
func TestCannotKnow(t *testing.T) {
	s := newIssuing(t, 0)
	tokens := []string{"", "never-issued", s.issue(t, jose.TypeAccessToken, alice()), s.issue(t, jose.TypeAccessToken, alice(audience("https://else.example")))}
	s.now = start.Add(25 * time.Hour)
	for _, token := range tokens {
		answer, err := s.Introspect(context.Background(), peer, introspect.Question{Token: token})
		if !errors.Is(err, revocation.ErrStale) || answer.Active {
			t.Errorf("Introspect = %+v, %v, want %v", answer, err, revocation.ErrStale)
		}
	}
}

// A cache too small for the tokens that are asked for changes no answer.
func TestSmallCache(t *testing.T) {
	s := newIssuing(t, 8<<10)
	var tokens, want []string
	for n := range 20 {
		tokens = append(tokens, s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.JTI = fmt.Sprint(n) })))
		want = append(want, s.ask(t, peer, tokens[n]))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 200 {
				n = n * 7 % len(tokens)
				answer, err := s.Introspect(context.Background(), peer, introspect.Question{Token: tokens[n]})
				if text, _ := json.Marshal(answer.Answer()); err != nil || string(text) != want[n] {
					t.Errorf("Introspect = %s, %v, want %s", text, err, want[n])
				}
			}
		})
	}
	wg.Wait()
}

func TestMaxAgeEndsWithTheToken(t *testing.T) {
	s := newIssuing(t, 0)
	token := s.issue(t, jose.TypeAccessToken, alice())
	s.now = start.Add(10*time.Minute - 2500*time.Millisecond)
	verdict, err := s.Introspect(context.Background(), peer, introspect.Question{Token: token})
	answer := verdict.Answer()
	if err != nil || answer.ExpiresIn != 2 || answer.MaxAge != 2 {
		t.Errorf("Introspect = %+v, %v, want expires_in and max_age 2", answer, err)
	}
	s.now = start.Add(10*time.Minute - 1)
	if got := s.ask(t, peer, token); !strings.Contains(got, `"expires_in":0,"max_age":0`) {
		t.Errorf("Introspect = %s, want expires_in and max_age 0", got)
	}
}

func TestNewRefuses(t *testing.T) {
	domains, s := []string{"example.com"}, &issuing{}
	for name, cfg := range map[string]introspect.Config{
		"no Keys":        {Issuer: issuer, Domains: domains, Revocations: s, Records: s},
		"no Revocations": {Issuer: issuer, Domains: domains, Keys: s, Records: s},
		"no Records":     {Issuer: issuer, Domains: domains, Keys: s, Revocations: s},
		"no Issuer":      {Keys: s, Revocations: s, Records: s, Domains: domains},
		"no Domains":     {Keys: s, Revocations: s, Records: s, Issuer: issuer},
	} {
		if _, err := introspect.New(cfg); err == nil {
			t.Errorf("New with %s = nil, want an error", name)
		}
	}
}

// Whatever is asked for and is not a token that was issued is inactive.
func FuzzIntrospect(f *testing.F) {
	s := newIssuing(f, 0)
	token := s.issue(f, jose.TypeAccessToken, alice())
	f.Add(token[:len(token)-1])
	f.Add(strings.ToLower(token))
	f.Add(token + "." + token)
	signed := token[:strings.LastIndex(token, ".")]
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, signed) {
			return // the token itself, or the other signature of the same
		}
		if got := s.ask(t, peer, text); got != inactive {
			t.Errorf("Introspect(%q) = %s, want %s", text, got, inactive)
		}
	})
}

func BenchmarkSeenBefore(b *testing.B) {
	s := newIssuing(b, 0)
	token := s.issue(b, jose.TypeAccessToken, alice())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Introspect(b.Context(), peer, introspect.Question{Token: token}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnseen(b *testing.B) {
	s := newIssuing(b, 1) // holds nothing beyond the newest
	tokens := []string{
		s.issue(b, jose.TypeAccessToken, alice()),
		s.issue(b, jose.TypeAccessToken, alice()),
		s.issue(b, jose.TypeAccessToken, alice()),
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := s.Introspect(b.Context(), peer, introspect.Question{Token: tokens[n%len(tokens)]}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerification is the bare verification within [BenchmarkUnseen].
func BenchmarkVerification(b *testing.B) {
	_, _, signer := newIssuing(b, 0).ring.Signer()
	digest := make([]byte, 32)
	sig, err := signer.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	public := signer.Public().(*ecdsa.PublicKey)
	for b.Loop() {
		if !ecdsa.VerifyASN1(public, digest, sig) {
			b.Fatal("VerifyASN1 = false, want true")
		}
	}
}

// BenchmarkAnswerJSON is the writing of an active answer.
func BenchmarkAnswerJSON(b *testing.B) {
	s := newIssuing(b, 0)
	verdict, err := s.Introspect(b.Context(), peer, introspect.Question{Token: s.issue(b, jose.TypeAccessToken, alice())})
	if err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		answer := verdict.Answer()
		if text = answer.AppendJSON(text[:0]); len(text) == 0 {
			b.Fatal("AppendJSON appends nothing")
		}
	}
}
