package server_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// rotating are settings with the shortest times.
var rotating = map[string]string{"more": "signing: {rotate_every: 2h, publish_ahead: 10m}"}

// keyList returns the signing keys as operators see them, oldest first.
func (s *site) keyList(t *testing.T) []object {
	t.Helper()
	a := s.get(t, s.admin+"/admin/keys")
	if a.status != http.StatusOK {
		t.Fatalf("keys = %v, want 200", a)
	}
	var list []object
	decode(t, []byte(a.body), &list)
	return list
}

// keyStates returns their states.
func (s *site) keyStates(t *testing.T) string {
	t.Helper()
	var states []string
	for _, k := range s.keyList(t) {
		states = append(states, k["state"].(string))
	}
	return strings.Join(states, " ")
}

// wantKeys waits for the states of the keys, oldest first: the schedule looks at the clock several times a second.
func (s *site) wantKeys(t *testing.T, want string) {
	t.Helper()
	for range 1000 {
		if s.keyStates(t) == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("keys = %s, want %s", s.keyStates(t), want)
}

// signingKey returns the kid of the key that signs.
func (s *site) signingKey(t *testing.T) string {
	t.Helper()
	list := s.keyList(t)
	i := slices.IndexFunc(list, func(k object) bool { return k["state"] == "signing" })
	if i < 0 {
		t.Fatalf("keys = %v, want one that signs", list)
	}
	return list[i]["kid"].(string)
}

// rotate asks for the next key, and wants a change.
func (s *site) rotate(t *testing.T, now string) object {
	t.Helper()
	a := s.operate(t, http.MethodPost, "/admin/keys", url.Values{"now": {now}})
	if a.status != http.StatusOK || a.json["changed"] != true {
		t.Fatalf("rotation = %v, want 200 and a change", a)
	}
	return a.json
}

func (s *site) revokeKey(t *testing.T, kid string) answer {
	t.Helper()
	return s.operate(t, http.MethodDelete, "/admin/keys/"+kid, url.Values{"reason": {"leaked"}})
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Header.Kid
}

// publishedKeys are what a verifier has read at /jwks, by kid.
type publishedKeys map[string]jose.Key

func (s *site) published(t *testing.T) publishedKeys {
	t.Helper()
	a := s.get(t, "/jwks")
	list, _ := a.json["keys"].([]any)
	if a.status != http.StatusOK || len(list) == 0 {
		t.Fatalf("/jwks = %v, want keys", a)
	}
	set := make(publishedKeys)
	for _, member := range list {
		key, err := jose.ParseJWK(encode(member)) // refuses private members
		if err != nil || key.Kid != key.JKT || key.Alg == "" {
			t.Fatalf("key %v, %v; want a public one by its thumbprint, with its algorithm", member, err)
		}
		set[key.Kid] = key
	}
	return set
}

// checks tells whether an access token is good by the set.
func (set publishedKeys) checks(t *testing.T, token string) bool {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	key, ok := set[jws.Header.Kid]
	return ok && jws.Header.Typ == jose.TypeAccessToken && jws.Verify(key.Alg, key.Public) == nil
}

// TestRotationUnderLoad rotates while devices refresh. Each holds a key set for as long as it may (RFC 9111 §4.2: five
// minutes), and every token that it gets is good by the set that it held before it asked.
func TestRotationUnderLoad(t *testing.T) {
	s := start(t, rotating)
	s.freeze(t)
	const devices = 4
	var refreshes [devices]atomic.Int64
	var working sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer func() { stop(); working.Wait() }()
	var mu sync.Mutex
	kids := make(map[string]int)
	for i := range devices {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		working.Go(func() {
			var set publishedKeys
			var fetched time.Time
			for ctx.Err() == nil {
				// The clock moves on by 100 s at most while one request is under way.
				if now := s.clock.now(); set == nil || now.Sub(fetched) > 200*time.Second {
					fetched, set = now, s.published(t)
				}
				a := s.token(t, app, d, refreshForm(held.refresh))
				if a.text("error") == "use_dpop_nonce" || a.status == http.StatusServiceUnavailable {
					continue // the clock has moved on since the proof was made, or since the keys were read
				}
				held = wantTokens(t, a)
				if kid := kidOf(t, held.access); !set.checks(t, held.access) {
					t.Errorf("a token by %s is not good by the key set of %v before", kid, s.clock.now().Sub(fetched))
					return
				} else {
					mu.Lock()
					kids[kid]++
					mu.Unlock()
				}
				refreshes[i].Add(1)
			}
		})
	}
	// pass lets time pass, during which everybody refreshes.
	pass := func() {
		t.Helper()
		var before [devices]int64
		for i := range before {
			before[i] = refreshes[i].Load()
		}
		for i := range before {
			for n := 0; refreshes[i].Load() < before[i]+2; n++ {
				if n > 10000 || t.Failed() {
					t.Fatal("a device does not refresh any more")
				}
				time.Sleep(time.Millisecond)
			}
		}
		s.advance(t, 100*time.Second)
	}
	first := s.signingKey(t)
	pass()
	s.rotate(t, "")
	for range 8 { // 800 s: the next key signs after 600
		pass()
	}
	pass()
	mu.Lock()
	defer mu.Unlock()
	if len(kids) != 2 || kids[first] == 0 {
		t.Errorf("tokens by %v, want some of the first key and of another one", kids)
	}
}

// TestRevokedKey holds that a revoked key is gone at once, with all that it signed, and that devices simply refresh.
func TestRevokedKey(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	service := s.token(t, mute, nil, url.Values{"grant_type": {"client_credentials"}}).text("access_token")
	s.wantActive(t, held.access)
	s.wantActive(t, service)
	kid := kidOf(t, held.access)

	a := s.revokeKey(t, kid)
	if a.status != http.StatusOK || a.text("state") != "revoked" || a.text("kid") != kid || a.text("reason") != "leaked" || a.json["changed"] != true {
		t.Errorf("revocation = %v, want 200 and a revoked key", a)
	}
	s.wantInactive(t, held.access)
	s.wantInactive(t, service)
	if set := s.published(t); len(set) != 1 || set.checks(t, held.access) {
		t.Errorf("key set = %v, want the new key alone", set)
	}
	if a := s.revoke(t, app, held.access); a.status != http.StatusOK { // of nothing: RFC 7009 §2.2
		t.Errorf("revocation of a void token = %v, want 200", a)
	}
	next := s.refreshed(t, d, held.refresh)
	if kidOf(t, next.access) == kid || !s.published(t).checks(t, next.access) || next.set.SID != held.set.SID {
		t.Error("the next token is not good by the key set, or of another session")
	}
	s.wantActive(t, next.access)

	again := s.revokeKey(t, kid)
	if again.status != http.StatusOK || again.json["changed"] != false || again.text("since") != a.text("since") {
		t.Errorf("second revocation = %v, want 200, no change and the time of the first", again)
	}
	for _, unknown := range []string{"nothing", strings.Repeat("A", 43), held.set.JKT} {
		wantError(t, s.revokeKey(t, unknown), http.StatusNotFound, "not_found")
	}
	s.restart(t, nil)
	s.wantInactive(t, held.access)
	s.wantActive(t, next.access)
	s.wantAlive(t, d, next)
}

// TestKeyLeavesWhenDue holds a key to its whole life by the clock, over a restart at each turn.
func TestKeyLeavesWhenDue(t *testing.T) {
	s := start(t, rotating)
	s.freeze(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	first := s.signingKey(t)
	if got := s.keyStates(t); got != "signing" {
		t.Fatalf("keys = %s, want one that signs", got)
	}
	born := s.keyList(t)[0]
	until := func(k object) time.Time {
		t.Helper()
		text, _ := k["until"].(string)
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatalf("key %v: %v", k, err)
		}
		return at
	}
	to := func(at time.Time) {
		t.Helper()
		s.clock.freeze(at)
		s.waitReady(t)
	}
	since, err := time.Parse(time.RFC3339, born["since"].(string))
	if err != nil || until(born).Sub(since) != 2*time.Hour {
		t.Errorf("key = %v, want it to sign for 2h", born)
	}

	to(until(born).Add(-10 * time.Minute))
	s.wantKeys(t, "signing published")
	s.restart(t, nil)
	s.wantKeys(t, "signing published")
	second := s.keyList(t)[1]
	if set := s.published(t); len(set) != 2 {
		t.Errorf("key set = %v, want two keys", set)
	}
	to(until(second).Add(-time.Millisecond))
	if held = s.refreshed(t, d, held.refresh); kidOf(t, held.access) != first {
		t.Error("the next key signs too early")
	}
	to(until(second))
	next := s.refreshed(t, d, held.refresh)
	if kidOf(t, next.access) != second["kid"] {
		t.Error("the next key does not sign when it is due")
	}
	s.restart(t, nil)
	s.wantKeys(t, "retired signing")
	s.wantActive(t, held.access) // by the retired key
	leaves := until(s.keyList(t)[0])
	if got, want := leaves.Sub(until(second)), 90*24*time.Hour+5*time.Minute; got != want { // lifetimes.statement
		t.Errorf("the key before stays for %v, want %v", got, want)
	}
	to(leaves.Add(-time.Millisecond))
	if _, there := s.published(t)[first]; !there {
		t.Error("the retired key has left too early")
	}
	to(leaves)
	if _, there := s.published(t)[first]; there {
		t.Error("the retired key is there for too long")
	}
	s.wantKeys(t, "retired signing published") // the next key is overdue
}

// TestAlgorithms changes signing.alg from start to start: each time a key of that algorithm signs, and verifiers who
// find the issuer by its metadata take the tokens, also those of before.
func TestAlgorithms(t *testing.T) {
	s := start(t, map[string]string{"more": "signing: {alg: ES256}"})
	d := newDevice(t)
	held := s.login(t, d, "alice")
	var tokens []string
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "ES256"} {
		s.restart(t, map[string]string{"more": "signing: {alg: " + alg + "}"})
		held = s.refreshed(t, d, held.refresh)
		tokens = append(tokens, held.access)
		verifier, err := trust.NewTable(trust.Config{
			Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: s.http, Development: true, Now: s.clock.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			jws, err := jose.ParseCompact(token, jose.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if i == len(tokens)-1 && jws.Header.Alg != alg {
				t.Errorf("with %s, tokens are signed by %s", alg, jws.Header.Alg)
			}
			key, named, err := verifier.Key(t.Context(), s.issuer, jws.Header.Kid)
			if err != nil || named != jws.Header.Alg || jws.Verify(named, key) != nil {
				t.Errorf("with %s, token %d by %s does not verify by key %T for %s, %v", alg, i, jws.Header.Alg, key, named, err)
			}
			s.wantActive(t, token)
		}
	}
	s.wantKeys(t, "retired retired retired signing")
	for _, k := range s.keyList(t) {
		if a := s.revokeKey(t, k["kid"].(string)); a.status != http.StatusOK {
			t.Errorf("revocation = %v, want 200", a)
		}
	}
	for _, token := range tokens {
		s.wantInactive(t, token)
	}
	s.wantAlive(t, d, s.refreshed(t, d, held.refresh))
}

// TestKeysUnread holds that an issuer which cannot read its keys goes on for two minutes, then is not ready and signs
// nothing, and serves the keys that it knows all the same.
func TestKeysUnread(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.faults.set("SigningKeys")
	service := url.Values{"grant_type": {"client_credentials"}}
	if a := s.token(t, peer, newDevice(t), service); a.status != http.StatusOK {
		t.Errorf("token = %v, want 200", a)
	}
	s.clock.advance(3 * time.Minute)
	for _, a := range []answer{
		s.get(t, "/readyz"), s.token(t, peer, newDevice(t), service), s.token(t, app, d, refreshForm(held.refresh)),
		s.operate(t, http.MethodPost, "/admin/keys", nil), s.revokeKey(t, kidOf(t, held.access)),
	} {
		wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	if !s.published(t).checks(t, held.access) {
		t.Error("the keys are not served any more")
	}
	s.faults.set("")
	s.waitReady(t)
	s.wantAlive(t, d, held)
}

// TestAdminKeys holds what operators may ask of the keys.
func TestAdminKeys(t *testing.T) {
	s := start(t, nil)
	first := s.signingKey(t)
	for _, now := range []string{"yes", "TRUE", "1"} {
		wantError(t, s.operate(t, http.MethodPost, "/admin/keys", url.Values{"now": {now}}), http.StatusBadRequest, "invalid_request")
	}
	next := s.rotate(t, "false")
	if next["state"] != "published" || next["alg"] != "ES256" || next["kid"] == first {
		t.Errorf("rotation = %v, want a published key", next)
	}
	again := s.operate(t, http.MethodPost, "/admin/keys", nil)
	if again.status != http.StatusOK || again.json["changed"] != false || again.text("kid") != next["kid"] {
		t.Errorf("second rotation = %v, want the same key and no change", again)
	}
	if a := s.get(t, "/jwks"); !strings.Contains(a.body, next["kid"].(string)) {
		t.Errorf("/jwks = %v, want the next key there", a)
	}
	if now := s.rotate(t, "true"); now["kid"] != next["kid"] || now["state"] != "signing" {
		t.Errorf("rotation at once = %v, want the key that was published to sign", now)
	}
	s.wantKeys(t, "retired signing")
	for _, path := range []string{"/admin/keys", "/admin/keys/" + first} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if a := s.send(t, s.http, s.request(t, method, path, "")); a.status != http.StatusNotFound {
				t.Errorf("%s %s in public = %v, want 404", method, path, a)
			}
		}
	}
	s.witness.mu.Lock()
	log := s.witness.log.String()
	s.witness.mu.Unlock()
	for _, want := range []string{" key=" + next["kid"].(string) + " reason=operator", "event=key.rotated actor=admin ", " reason=start"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log is without %s", want)
		}
	}
}

// TestKeyAges holds that the age of each key in the key set is among the metrics, and that of no other key.
func TestKeyAges(t *testing.T) {
	s := start(t, nil)
	first := s.signingKey(t)
	revoked := s.rotate(t, "")["kid"].(string)
	if a := s.revokeKey(t, revoked); a.status != http.StatusOK {
		t.Fatalf("revocation = %v, want 200", a)
	}
	s.advance(t, time.Hour)
	next := s.rotate(t, "")["kid"].(string)
	ages := func() map[string]float64 {
		t.Helper()
		found := make(map[string]float64)
		for line := range strings.Lines(s.get(t, s.admin+"/metrics").body) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "issuer_signing_key_age_seconds{") {
				age, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				found[strings.TrimPrefix(name, "issuer_signing_key_age_seconds")] = age
			}
		}
		return found
	}
	label := func(kid, state string) string { return `{alg="ES256",kid="` + kid + `",state="` + state + `"}` }
	got := ages()
	old, there := got[label(first, "signing")]
	young, waits := got[label(next, "published")]
	if len(got) != 2 || !there || old < 3600 || !waits || young > 600 {
		t.Errorf("ages = %v, want an hour of %s, which signs, and less of %s, which is published", got, first, next)
	}
	s.rotate(t, "true")
	if got := ages(); len(got) != 2 || got[label(first, "retired")] < 3600 || got[label(next, "signing")] > 600 {
		t.Errorf("ages = %v, want %s retired and %s signing", got, first, next)
	}
}
