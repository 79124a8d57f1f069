package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// tvClient is an app of screens without a browser.
const tvClient = `
  - id: tv
    auth: none
    grants: ["urn:ietf:params:oauth:grant-type:device_code", refresh_token]
    domains: [example.com]
`

// A screen is a device without a browser, with the code that it waits with.
type screen struct {
	*app
	code, userCode string

	got     atomic.Int32 // how often it was given tokens
	tokens  client.Tokens
	refused atomic.Int32 // polls that were refused because the code is spent
}

// screen asks for a device code.
func (v *victim) screen(t *testing.T) *screen {
	t.Helper()
	a, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	a.ID = "tv"
	resp, err := a.HTTP.PostForm(v.issuer+"/device_authorization", url.Values{"client_id": {"tv"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var answer struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
	}
	if err := errors.Join(err, json.Unmarshal(body, &answer)); err != nil || answer.DeviceCode == "" {
		t.Fatalf("device authorization = %d %s, %v, want a code", resp.StatusCode, body, err)
	}
	return &screen{app: a, code: answer.DeviceCode, userCode: answer.UserCode}
}

// allow lets the person of a phone allow a screen.
func (w *wallet) allow(t *testing.T, s *screen) {
	t.Helper()
	status, text := w.own(t, http.MethodPost, "/me/device_codes", map[string]string{"user_code": s.userCode, "decision": "allow"}, nil)
	if status != http.StatusNoContent {
		t.Fatalf("POST /me/device_codes = %d %s, want 204", status, text)
	}
}

// poll asks once for the tokens of the code.
func (s *screen) poll(t *testing.T) error {
	tokens, err := s.Token(t.Context(), url.Values{"grant_type": {client.GrantDevice}, "device_code": {s.code}})
	switch {
	case err == nil:
		if s.got.Add(1) == 1 {
			s.tokens = tokens
		}
	case code(err) == "invalid_grant":
		s.refused.Add(1)
	}
	return err
}

// TestDeviceCodesThroughKills kills the issuer between the approval of a device code and the poll of its device, and while devices poll.
// An approval that was acknowledged is not lost, and each code gives one session, whether the answer arrived or not.
func TestDeviceCodesThroughKills(t *testing.T) {
	t.Parallel()
	const screens, kills = 24, 4
	v := newVictim(t, walletClient+tvClient, "replay: storage", "limits: {devices_per_user: 1000}")
	v.start(t)
	phone := v.wallet(t, person(0))
	count := func(query string) int {
		return sqlitetest.Count(t, v.database, "SELECT count(*) FROM "+query)
	}

	first := v.screen(t)
	wantCode(t, "a poll before the approval", first.poll(t), "authorization_pending")
	phone.allow(t, first)
	v.kill(t)
	v.start(t)
	if err := first.poll(t); err != nil {
		t.Fatalf("the poll after the approval and a kill = %v, want tokens", err)
	}
	v.kill(t)
	v.start(t)
	wantCode(t, "a second poll", first.poll(t), "invalid_grant")
	tokens, err := first.Refresh(t.Context(), first.tokens.RefreshToken)
	if err != nil || !v.active(t, tokens.AccessToken) {
		t.Errorf("refresh of the screen = %v, want active tokens", err)
	}
	if n := count("grants WHERE client = 'tv'"); n != 1 {
		t.Errorf("the code gave %d sessions, want 1", n)
	}

	// Each screen polls twice at a time, until both polls have an answer, and the issuer is killed meanwhile.
	list := make([]*screen, screens)
	for i := range list {
		list[i] = v.screen(t)
		phone.allow(t, list[i])
	}
	v.kill(t) // right after the last approval
	var (
		polls    sync.WaitGroup
		answered atomic.Int64
		cut      atomic.Int64
		failed   atomic.Bool
	)
	for i, s := range list {
		for range 2 {
			polls.Go(func() {
				time.Sleep(time.Duration(i) * 15 * time.Millisecond) // not all before the first kill
				for {
					err := s.poll(t)
					switch c := code(err); {
					case err == nil, c == "invalid_grant":
						answered.Add(1)
						return
					case c != "" && c != "use_dpop_nonce" && c != "temporarily_unavailable" || t.Context().Err() != nil || failed.Load():
						failed.Store(true)
						t.Errorf("poll = %v, want tokens or invalid_grant", err)
						return
					case c == "" && !errors.Is(err, syscall.ECONNREFUSED):
						cut.Add(1)
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
	}
	v.start(t)
	for k := range kills {
		for due := int64((k + 1) * 2 * screens / (kills + 1)); answered.Load() < due && !failed.Load(); {
			time.Sleep(time.Millisecond)
		}
		v.kill(t)
		v.start(t)
	}
	polls.Wait()
	given := 0
	for i, s := range list {
		switch s.got.Load() {
		case 0: // the issuer died after it had stored the session
		case 1:
			given++
			if _, err := s.Refresh(t.Context(), s.tokens.RefreshToken); err != nil {
				t.Errorf("refresh of screen %d = %v, want tokens", i, err)
			}
		default:
			t.Errorf("the code of screen %d gave tokens %d times", i, s.got.Load())
		}
		wantCode(t, fmt.Sprintf("a further poll of screen %d", i), s.poll(t), "invalid_grant")
	}
	if n := count("grants WHERE client = 'tv'"); n != screens+1 {
		t.Errorf("the codes of %d screens gave %d sessions, want one each", screens+1, n)
	}
	if n := count("devices d WHERE (SELECT count(*) FROM grants g WHERE g.device_id = d.id) <> 1"); n != 0 {
		t.Errorf("%d devices have not one session", n)
	}
	v.stop(t)
	sqlitetest.Whole(t, v.database)
	t.Logf("%d kills; of %d screens %d were given tokens; %d polls were cut off", v.kills, screens, given, cut.Load())
}
