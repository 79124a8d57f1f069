package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
)

// walletClient is an app with which people manage their account.
const walletClient = `
  - id: wallet
    auth: none
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account]
    domains: [example.com]
`

// TestJourneys lets people live through what happens to people with devices, at one issuer.
func TestJourneys(t *testing.T) {
	t.Parallel()
	v := newVictim(t, walletClient, "replay: storage", "limits: {devices_per_user: 1000}")
	settings, err := os.ReadFile(v.config())
	if err != nil {
		t.Fatal(err)
	}
	renaming := strings.Replace(string(settings), "- name: example.com\n", "- name: example.com\n    rename: {by: user}\n", 1)
	if err := os.WriteFile(v.config(), []byte(renaming), 0o600); err != nil {
		t.Fatal(err)
	}
	v.start(t)
	t.Run("a reply to a refresh is lost", func(t *testing.T) { lostReply(t, v) })
	t.Run("the clock of a phone is 9 minutes off", func(t *testing.T) { wrongClock(t, v) })
	t.Run("a laptop is stolen", func(t *testing.T) { stolenLaptop(t, v) })
	t.Run("Alice becomes Alex", func(t *testing.T) { otherName(t, v) })
	t.Run("50 devices refresh while the issuer is killed", func(inner *testing.T) { refreshedThroughKills(inner, t, v) })
	v.stop(t)
}

// lossy loses the answers to the next requests, after the server has done what they ask.
type lossy struct {
	lose atomic.Int32
	http.RoundTripper
}

var errLost = errors.New("the answer was lost")

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusOK && l.lose.Add(-1) >= 0 {
		_ = answer.Body.Close()
		return nil, errLost
	}
	return answer, err
}

// lostReply: on a train, the answer to a refresh is lost, and so is that to the second try. The third gets the same tokens, and the
// session goes on.
func lostReply(t *testing.T, v *victim) {
	l := v.session(t, person(0))
	link := &lossy{RoundTripper: http.DefaultTransport}
	l.HTTP = &http.Client{Timeout: time.Minute, Transport: &dpop.Transport{Signer: l.signer, Base: link}}
	link.lose.Store(2)
	before := l.RefreshToken
	for range 2 {
		if err := l.tryRefresh(t); !errors.Is(err, errLost) || l.RefreshToken != before {
			t.Fatalf("refresh = %v, want that the answer is lost", err)
		}
	}
	l.refresh(t)
	if l.RefreshToken == before {
		t.Error("the third try brought no new refresh token")
	}
	l.refresh(t)
}

// wrongClock: a phone whose clock is wrong learns the difference from the first refusal, and logs in and refreshes.
func wrongClock(t *testing.T, v *victim) {
	for _, off := range []time.Duration{-9 * time.Minute, 9 * time.Minute} {
		a, err := newApp(v.issuer)
		if err != nil {
			t.Fatal(err)
		}
		seen := &refusals{RoundTripper: http.DefaultTransport}
		a.HTTP = &http.Client{Timeout: time.Minute, Transport: &dpop.Transport{
			Signer: a.signer, Base: seen, Now: func() time.Time { return time.Now().Add(off) },
		}}
		tokens, err := a.login(person(1))
		if err != nil {
			t.Fatalf("login with a clock %v off = %v, after the refusals %q", off, err, seen.codes)
		}
		l := &login{a, tokens}
		l.refresh(t)
		l.refresh(t)
		if n := len(seen.codes); n == 0 || n > 2 {
			t.Errorf("refusals with a clock %v off = %q, want one or two at the login and none later", off, seen.codes)
		}
	}
}

// refusals notes the answers of errors.
type refusals struct {
	codes []string
	http.RoundTripper
}

func (r *refusals) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := r.RoundTripper.RoundTrip(req)
	if err != nil || answer.StatusCode < 400 {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	r.codes = append(r.codes, string(body))
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, err
}

// A wallet is an app with which a person manages their account.
type wallet struct{ *login }

// wallet logs a person in on a new device.
func (v *victim) wallet(t *testing.T, person string) *wallet {
	t.Helper()
	a, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	a.ID = "wallet"
	flow := a.Begin(redirectURI, url.Values{
		"dpop_jkt": {a.signer.JKT()}, "scope": {"im:handle im:device account"}, "max_age": {"300"}, "im_device_platform": {"ios"},
	})
	back, err := browser.New(nil).Login(t.Context(), flow.URL, browser.To(redirectURI), map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := a.Finish(t.Context(), flow, back)
	if err != nil {
		t.Fatal(err)
	}
	return &wallet{&login{a, tokens}}
}

// own sends a request about the account with a token for the issuer alone, and reads the answer into v unless that is nil.
func (w *wallet) own(t *testing.T, method, path string, body, v any) (status int, text string) {
	t.Helper()
	issuer := w.Server.Issuer
	own, err := w.Token(t.Context(), url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {w.RefreshToken}, "resource": {issuer}, "scope": {"account"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.RefreshToken = own.RefreshToken
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, issuer+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+own.AccessToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := w.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			t.Fatalf("%s %s = %d %s: %v", method, path, resp.StatusCode, answer, err)
		}
	}
	return resp.StatusCode, string(answer)
}

// active reports whether a service that asks about a token is told that it is active.
func (v *victim) active(t *testing.T, token string) bool {
	t.Helper()
	answer, err := v.introspected(token)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Active
}

// stolenLaptop: the owner removes the laptop from the phone. The next question about the laptop's token is answered "inactive", it cannot
// refresh or log in again, and the other devices notice nothing.
func stolenLaptop(t *testing.T, v *victim) {
	phone, laptop, tablet := v.wallet(t, person(2)), v.session(t, person(2)), v.session(t, person(2))
	var devices []struct{ ID, Device string }
	if status, text := phone.own(t, http.MethodGet, "/me/devices?limit=50", nil, &devices); status != http.StatusOK {
		t.Fatalf("GET /me/devices = %d %s", status, text)
	}
	stolen := ""
	for _, d := range devices {
		if d.Device == laptop.device(t) {
			stolen = d.ID
		}
	}
	if len(devices) != 3 || stolen == "" || !v.active(t, laptop.AccessToken) {
		t.Fatalf("devices = %+v, want the active laptop among three", devices)
	}
	if status, text := phone.own(t, http.MethodDelete, "/me/devices/"+stolen, nil, nil); status != http.StatusNoContent {
		t.Fatalf("DELETE /me/devices/%s = %d %s, want 204", stolen, status, text)
	}
	if v.active(t, laptop.AccessToken) {
		t.Error("the token of the stolen laptop is active")
	}
	wantCode(t, "refresh of the stolen laptop", laptop.tryRefresh(t), "invalid_grant")
	if _, err := laptop.login(person(2)); err == nil {
		t.Error("the key of the stolen laptop logged in again")
	}
	if !v.active(t, phone.AccessToken) || !v.active(t, tablet.AccessToken) {
		t.Error("the token of another device is inactive")
	}
	phone.refresh(t)
	tablet.refresh(t)
}

// otherName: Alice gives herself another handle. Nobody is logged out, the tokens with the old handle are inactive, and no answer shows it.
func otherName(t *testing.T, v *victim) {
	old := person(3)
	phone, tablet := v.wallet(t, old), v.wallet(t, old)
	before := []string{phone.AccessToken, tablet.AccessToken}
	var renamed struct{ Handle, Display string }
	status, text := phone.own(t, http.MethodPut, "/me/handle", map[string]string{"handle": "alex"}, &renamed)
	if status != http.StatusOK || renamed.Display != "@alex@example.com" {
		t.Fatalf("PUT /me/handle = %d %s, want alex", status, text)
	}
	for _, token := range before {
		answer, err := v.introspected(token)
		if err != nil || answer.Active || strings.Contains(fmt.Sprintf("%+v", answer), old) {
			t.Errorf("a token with the old handle = %+v, %v, want it inactive, without the handle", answer, err)
		}
	}
	for _, w := range []*wallet{phone, tablet} {
		w.refresh(t)
		set, err := readToken(w.AccessToken)
		if err != nil || set.Handle != renamed.Handle {
			t.Errorf("refreshed token = %+v, %v, want the handle %s", set, err, renamed.Handle)
		}
		if answer, err := v.introspected(w.AccessToken); err != nil || !answer.Active || strings.Contains(fmt.Sprintf("%+v", answer), old) {
			t.Errorf("the new token = %+v, %v, want it active, without the old handle", answer, err)
		}
	}
	for _, path := range []string{
		"/me", "/me/devices", "/me/sessions", "/me/events", "/me/provider-links", "/me/actors", "/me/delegations", "/me/links", "/me/privacy",
	} {
		if status, text := tablet.own(t, http.MethodGet, path, nil, nil); status != http.StatusOK || strings.Contains(text, old) {
			t.Errorf("GET %s = %d %s, want no old handle", path, status, text)
		}
	}
	bob := v.wallet(t, person(4))
	if status, text := bob.own(t, http.MethodPut, "/me/handle", map[string]string{"handle": old}, nil); status != http.StatusConflict {
		t.Errorf("somebody else takes the old handle = %d %s, want a refusal", status, text)
	}
}

// refreshedThroughKills: 50 devices refresh at once, again and again, while the issuer is killed. Each goes on with its session. The last
// issuer goes on after t, until all ends.
func refreshedThroughKills(t, all *testing.T, v *victim) {
	const devices, rounds, kills = 50, 4, 2
	r := &run{t: t, issuer: v.issuer}
	sessions := make([]*session, devices)
	var group sync.WaitGroup
	var failed atomic.Bool
	each := func(do func(i int) error) {
		for i := range devices {
			group.Go(func() {
				if err := do(i); err != nil {
					failed.Store(true)
					t.Error(err)
				}
			})
		}
	}
	each(func(i int) (err error) {
		sessions[i], err = r.login(person(5 + i%(people-5)))
		return err
	})
	group.Wait()
	if failed.Load() {
		return
	}
	each(func(i int) error {
		for range rounds {
			if err := r.refresh(sessions[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for k := range kills {
		for due := int64((k + 1) * devices * rounds / (kills + 2)); r.refreshes.Load() < due && !failed.Load(); {
			time.Sleep(time.Millisecond)
		}
		v.kill(t)
		v.start(all)
	}
	group.Wait()
	if n := r.refreshes.Load(); n != devices*rounds {
		t.Errorf("%d refreshes were answered, want %d", n, devices*rounds)
	}
	for _, s := range sessions {
		if err := r.refresh(s); err != nil {
			t.Error(err)
		}
		before := s.tokens[len(s.tokens)-3]
		_, err := s.app.Refresh(t.Context(), before)
		wantCode(t, "a refresh token that was replaced twice", err, "invalid_grant")
	}
	t.Logf("%d devices, %d refreshes answered, %d cut off by %d kills", devices, r.refreshes.Load(), r.cutRefreshes.Load(), kills)
}
