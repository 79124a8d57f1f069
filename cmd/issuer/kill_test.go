package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// load returns how many logins and refreshes are acknowledged while the issuer is killed, and how often it is killed: fewer
// with -short.
func load() (operations, kills int) {
	if testing.Short() {
		return 200, 4
	}
	return 1000, 20
}

// TestKill kills the issuer at random moments of many logins and refreshes by people who all act at once. What was
// acknowledged is there at the next start: nobody is logged out, who gave a session up has it no more, and nothing can
// be spent twice, neither a code nor a refresh token nor a proof. TEST_SEED repeats the choices of a run, though not
// its timing.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if text := os.Getenv("TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("TEST_SEED=%d", seed)
	chance := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

	victim := newVictim(t, "replay: storage", "limits: {devices_per_user: 1000}")
	victim.start(t)
	operations, kills := load()
	r := &run{t: t, issuer: victim.issuer, operations: int64(operations)}
	var working sync.WaitGroup
	for i := range people {
		working.Go(func() {
			if err := r.work(person(i), chance(uint64(i+1))); err != nil {
				t.Error(err)
			}
		})
	}
	random := chance(0)
	for k := 0; k < kills && !t.Failed(); k++ {
		due := int64((k+1)*operations/(kills+1) + random.IntN(10))
		for r.acknowledged.Load() < due && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(random.Int64N(int64(20 * time.Millisecond)))) // any moment of the requests under way
		victim.kill(t)
		victim.start(t)
	}
	working.Wait()
	if t.Failed() {
		return
	}

	// One refresh each in the life that ends now, so that the nonces of all proofs are fresh.
	for _, s := range r.live() {
		if err := r.refresh(s); err != nil {
			t.Fatal(err)
		}
		_, err := s.app.repeat().Refresh(t.Context(), s.newest())
		wantCode(t, "a repeated proof", err, "invalid_dpop_proof")
	}
	victim.kill(t)
	victim.start(t)
	for _, s := range r.live() {
		s.outlived(t)
	}
	for _, s := range r.sessions {
		if s.givenUp {
			_, err := s.app.Refresh(t.Context(), s.newest())
			wantCode(t, "a refresh token that was given up", err, "invalid_grant")
		}
	}
	r.devices(victim)
	victim.stop(t)
	sqlitetest.Whole(t, victim.database)
	if got, want := sqlitetest.Count(t, victim.database, "SELECT count(*) FROM grants"), len(r.sessions)+int(r.spentCodes.Load()); got != want {
		t.Errorf("the database has %d sessions, want %d: one for each code that was redeemed, whether the answer arrived or not", got, want)
	}
	t.Logf("%d kills; acknowledged: %d logins, %d refreshes, %d sessions given up; cut off by a kill and done again: %d logins, %d codes (%d spent before), %d refreshes, %d revocations; %d proofs from before a kill refused",
		victim.kills, len(r.sessions), r.refreshes.Load(), len(r.sessions)-len(r.live()),
		r.cutLogins.Load(), r.cutCodes.Load(), r.spentCodes.Load(), r.cutRefreshes.Load(), r.cutRevocations.Load(), r.replays.Load())
}

// A run is what the people did, as far as they know.
type run struct {
	t          *testing.T
	issuer     string
	operations int64 // that are to be acknowledged

	taken, acknowledged, refreshes, replays       atomic.Int64
	cutLogins, cutCodes, spentCodes, cutRefreshes atomic.Int64
	cutRevocations                                atomic.Int64

	mu       sync.Mutex
	sessions []*session
}

// A session is a login of one device and the refresh tokens that it was given, oldest first.
type session struct {
	person string
	app    *app
	flow   *client.Flow
	answer *url.URL
	set    claims.Set
	tokens []string

	givenUp bool
}

func (s *session) newest() string { return s.tokens[len(s.tokens)-1] }

// live are the sessions that nobody gave up.
func (r *run) live() (live []*session) {
	for _, s := range r.sessions {
		if !s.givenUp {
			live = append(live, s)
		}
	}
	return live
}

// work logs a person in and refreshes, and now and then tries her last proof once more or gives her session up, until all
// have done enough.
func (r *run) work(person string, chance *rand.Rand) (err error) {
	var s *session
	for n := 0; r.taken.Add(1) <= r.operations && err == nil; n++ {
		switch {
		case n%4 == 0:
			if s, err = r.login(person); err == nil && chance.IntN(4) == 0 {
				err = r.giveUp(s)
			}
			if err == nil && s.givenUp {
				s, err = r.login(person)
			}
		default:
			if chance.IntN(3) == 0 {
				err = r.replay(s)
			}
			if err == nil {
				err = r.refresh(s)
			}
		}
		r.acknowledged.Add(1)
	}
	return err
}

// replay tries the last proof of a session once more, also if the issuer has died since: it was spent with a request
// that was acknowledged.
func (r *run) replay(s *session) error {
	again := s.app.repeat()
	for {
		_, err := again.Refresh(r.t.Context(), s.newest())
		switch code(err) {
		case "invalid_dpop_proof":
			r.replays.Add(1)
			return nil
		case "use_dpop_nonce":
			return nil // too old by now, spent or not
		}
		if code(err) != "" || err == nil || r.t.Failed() {
			return fmt.Errorf("a proof of %s that was spent = %v, want invalid_dpop_proof", s.person, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// giveUp ends a session.
func (r *run) giveUp(s *session) error {
	err := r.insist(&r.cutRevocations, func() error { return s.app.Revoke(r.t.Context(), s.newest()) })
	s.givenUp = err == nil
	return err
}

// login makes a new device and has it logged in, however often that takes.
func (r *run) login(person string) (*session, error) {
	s := &session{person: person}
	var tokens client.Tokens
	for done := false; !done; {
		err := r.insist(&r.cutLogins, func() (err error) {
			if s.app == nil {
				if s.app, err = newApp(r.issuer); err != nil {
					return err
				}
			}
			s.flow, s.answer, err = s.app.begin(person)
			return err
		})
		if err != nil {
			return nil, err
		}
		sent := 0
		err = r.insist(&r.cutCodes, func() (err error) {
			sent++
			tokens, err = s.app.Finish(r.t.Context(), s.flow, s.answer)
			return err
		})
		if code(err) == "invalid_grant" && sent > 1 { // it spent the code, and died before it could say so
			r.spentCodes.Add(1)
		} else if err != nil {
			return nil, err
		} else {
			done = true
		}
	}
	var err error
	if s.set, err = readToken(tokens.AccessToken); err != nil || s.set.JKT != s.app.signer.JKT() {
		return nil, fmt.Errorf("login of %s = a token of %+v, %v, want the key %s", person, s.set, err, s.app.signer.JKT())
	}
	s.tokens = []string{tokens.RefreshToken}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, s)
	return s, nil
}

// refresh has a session refreshed, however often that takes: whoever got no answer asks again with the same token.
func (r *run) refresh(s *session) error {
	var tokens client.Tokens
	err := r.insist(&r.cutRefreshes, func() (err error) {
		tokens, err = s.app.Refresh(r.t.Context(), s.newest())
		return err
	})
	if err != nil {
		return fmt.Errorf("refresh of %s: %w", s.person, err)
	}
	if err := s.owns(tokens); err != nil {
		return err
	}
	if slices.Contains(s.tokens, tokens.RefreshToken) {
		return fmt.Errorf("refresh of %s = a refresh token that it had before", s.person)
	}
	s.tokens = append(s.tokens, tokens.RefreshToken)
	r.refreshes.Add(1)
	return nil
}

// owns reports tokens that are not this session's.
func (s *session) owns(tokens client.Tokens) error {
	set, err := readToken(tokens.AccessToken)
	if err != nil || set.SID != s.set.SID || set.Device != s.set.Device || set.JKT != s.set.JKT {
		return fmt.Errorf("refresh of %s = a token of %+v, %v, want the session of %+v", s.person, set, err, s.set)
	}
	return nil
}

// insist does what may find the issuer dead, until there is an answer. It counts a request that was cut off. A refusal
// is an answer, and an error: only a nonce of an earlier life is worth another try.
func (r *run) insist(cut *atomic.Int64, do func() error) error {
	for {
		err := do()
		if c := code(err); err == nil || c != "" && c != "use_dpop_nonce" || r.t.Failed() || r.t.Context().Err() != nil {
			return err
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			cut.Add(1)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// outlived holds a session to its promises after the issuer's death: all of it there, nothing of it to be spent again.
func (s *session) outlived(t *testing.T) {
	newest, before := s.newest(), s.tokens[len(s.tokens)-2]
	_, err := s.app.repeat().Refresh(t.Context(), newest)
	if code(err) != "use_dpop_nonce" { // of who has waited for long, the nonce has grown too old
		wantCode(t, "a proof from before the death", err, "invalid_dpop_proof")
	}
	_, err = s.app.Finish(t.Context(), s.flow, s.answer)
	wantCode(t, "a code from before the death", err, "invalid_grant")

	repeated, err := s.app.Refresh(t.Context(), before)
	if err != nil || repeated.RefreshToken != newest {
		t.Errorf("repeated refresh of %s = %v, want the successor that it had", s.person, err)
	}
	var got [2]client.Tokens
	var errs [2]error
	var both sync.WaitGroup
	for i := range got {
		both.Go(func() { got[i], errs[i] = s.app.Refresh(t.Context(), newest) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil || got[0].RefreshToken != got[1].RefreshToken {
		t.Errorf("two refreshes of %s at once = %v, want one successor", s.person, err)
		return
	}
	for _, tokens := range append(got[:], repeated) {
		if err := s.owns(tokens); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.app.Refresh(t.Context(), got[0].RefreshToken); err != nil {
		t.Errorf("refresh of %s = %v, want tokens", s.person, err)
	}
	_, err = s.app.Refresh(t.Context(), before)
	wantCode(t, "a refresh token that was replaced twice", err, "invalid_grant")
}

// devices holds the issuer to one device for each key that a person logged in with.
func (r *run) devices(v *victim) {
	for i := range people {
		var want, got []string
		user := ""
		for _, s := range r.sessions {
			if s.person == person(i) {
				want = append(want, s.app.signer.JKT())
				id, err := claims.Parse(s.set.Device)
				if err != nil {
					r.t.Fatal(err)
				}
				user = id.Local()
			}
		}
		var list []struct{ JKT string }
		query := url.Values{"user": {user}}
		if err := client.Socket(v.admin).Do(r.t.Context(), http.MethodGet, "/admin/devices", query, &list); err != nil {
			r.t.Fatal(err)
		}
		for _, d := range list {
			got = append(got, d.JKT)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			r.t.Errorf("devices of %s = %v, want %v", person(i), got, want)
		}
	}
}

// code is the OAuth error of an answer, or "" if there was none.
func code(err error) string {
	var refusal *client.Error
	var caller *introspect.CallerError
	switch {
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.As(err, &caller):
		return caller.Code
	}
	return ""
}

func wantCode(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("%s = %v, want %s", what, err, want)
	}
}
