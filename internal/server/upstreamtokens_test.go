package server_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// rechecked are the settings of sites whose provider is asked every day whether logins stand.
func rechecked(more string) map[string]string {
	return map[string]string{"recheck": ", recheck: 24h" + more, "devices": "100"}
}

// upstreamTokens are the refresh tokens of a provider, which the development provider does not have. They stand in front of its token
// endpoint, and are replaced at each use; a replaced one is refused.
type upstreamTokens struct {
	site *site

	mu      sync.Mutex
	subject map[string]string // of each token that is valid
	nonce   map[string]any    // of the login
	newest  string
	asked   int
	refuse  map[string]bool                              // subjects that are disabled
	answer  func(w http.ResponseWriter, r *http.Request) // instead of an answer
	change  func(answer, claims object)                  // of an answer, which replaces no token then
	wait    func()                                       // before the answer
	none    bool                                         // logins give no refresh token
	sign    func(header, claims object) string           // instead of the key of the provider
}

// givesTokens lets the provider of a site give refresh tokens from now on.
func (s *site) givesTokens(t *testing.T) *upstreamTokens {
	u := &upstreamTokens{site: s, subject: make(map[string]string), nonce: make(map[string]any), refuse: make(map[string]bool)}
	s.provider.tamper(t, tampering{token: u.login, answer: u.refresh})
	return u
}

// with changes how the provider behaves.
func (u *upstreamTokens) with(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
}

// wantAsked wants the provider to have been asked so often, and begins to count anew.
func (u *upstreamTokens) wantAsked(t *testing.T, n int) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asked != n {
		t.Errorf("the provider was asked %d times, want %d", u.asked, n)
	}
	u.asked = 0
}

// give makes a token of a subject. The lock is held.
func (u *upstreamTokens) give(subject string, nonce any) string {
	u.newest = "upstream-" + rand.Text()
	u.subject[u.newest], u.nonce[u.newest] = subject, nonce
	u.site.witness.keep("upstream refresh token", u.newest)
	return u.newest
}

// login adds a token to the answer of a login.
func (u *upstreamTokens) login(answer object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.none {
		return
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(answer["id_token"].(string), ".")[1])
	claims := object{}
	_ = json.Unmarshal(payload, &claims)
	answer["refresh_token"] = u.give(claims["sub"].(string), claims["nonce"])
}

// refresh answers a refresh at the token endpoint (RFC 6749 §6).
func (u *upstreamTokens) refresh(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/oauth/token" {
		return false
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("grant_type") != "refresh_token" {
		return false
	}
	u.mu.Lock()
	wait := u.wait
	u.asked++
	u.mu.Unlock()
	if wait != nil {
		wait()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answer != nil {
		u.answer(w, r)
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	token := form.Get("refresh_token")
	subject, known := u.subject[token]
	if !known || u.refuse[subject] || form.Get("client_id") != "issuer" {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(object{"error": "invalid_grant"})
		return true
	}
	now := u.site.clock.now().Unix()
	claims := object{"iss": u.site.provider.url, "sub": subject, "aud": "issuer", "iat": now, "exp": now + 300}
	answer := object{"access_token": "upstream-access-" + rand.Text(), "token_type": "Bearer", "expires_in": 300}
	if u.change == nil {
		delete(u.subject, token)
		answer["refresh_token"] = u.give(subject, u.nonce[token])
	} else {
		u.change(answer, claims)
	}
	header, write := object{"alg": "ES256", "kid": "proxy"}, u.sign
	if write == nil {
		write = func(header, claims object) string { return sign(u.site.provider.key, header, claims) }
	}
	if answer["id_token"] == nil {
		answer["id_token"] = write(header, claims)
	}
	_ = json.NewEncoder(w).Encode(maps.Clone(answer))
	return true
}

// day is a bit more than a check is good for.
const day = 24*time.Hour + time.Minute
