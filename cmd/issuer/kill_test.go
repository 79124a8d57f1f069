package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
)

const (
	people     = 8   // who log in and refresh at the same time
	operations = 240 // logins and refreshes that are acknowledged while the issuer is killed again and again
	kills      = 10
)

// TestKill kills the issuer at random moments of many logins and refreshes. What was acknowledged is there at the next
// start, nobody is logged out, and nothing can be spent twice.
func TestKill(t *testing.T) {
	victim := newVictim(t)
	victim.start(t)
	r := &run{t: t, issuer: victim.issuer}
	var working sync.WaitGroup
	for i := range people {
		working.Go(func() {
			if err := r.work(person(i)); err != nil {
				t.Error(err)
			}
		})
	}
	for k := 0; k < kills && !t.Failed(); k++ {
		due := int64((k+1)*operations/(kills+1) + rand.IntN(3))
		for r.acknowledged.Load() < due && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(rand.N(20 * time.Millisecond)) // any moment of the requests under way
		victim.kill(t)
		victim.start(t)
	}
	working.Wait()
	if t.Failed() {
		return
	}

	// One refresh each in the life that ends now, so that the proofs of all are of its epoch.
	for _, s := range r.sessions {
		if err := r.refresh(s); err != nil {
			t.Fatal(err)
		}
		_, err := s.app.repeat().Refresh(t.Context(), s.newest())
		wantCode(t, "a repeated proof", err, "invalid_dpop_proof")
	}
	victim.kill(t)
	victim.start(t)
	for _, s := range r.sessions {
		s.outlived(t)
	}
	r.devices(victim)
	victim.stop(t)
	r.grants(victim)
	t.Logf("%d kills; acknowledged: %d logins, %d refreshes; cut off by a kill and done again: %d logins, %d codes (%d spent before), %d refreshes",
		victim.kills, len(r.sessions), r.refreshes.Load(), r.cutLogins.Load(), r.cutCodes.Load(), r.spentCodes.Load(), r.cutRefreshes.Load())
}

func person(i int) string { return fmt.Sprintf("person%d", i) }

// A run is what the people did, as far as they know.
type run struct {
	t      *testing.T
	issuer string

	taken, acknowledged, refreshes                atomic.Int64
	cutLogins, cutCodes, spentCodes, cutRefreshes atomic.Int64

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
}

func (s *session) newest() string { return s.tokens[len(s.tokens)-1] }

// work logs a person in and refreshes, in turns, until all have done enough.
func (r *run) work(person string) (err error) {
	var s *session
	for n := 0; r.taken.Add(1) <= operations && err == nil; n++ {
		if n%4 == 0 {
			s, err = r.login(person)
		} else {
			err = r.refresh(s)
		}
		r.acknowledged.Add(1)
	}
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
	wantCode(t, "a proof from before the death", err, "use_dpop_nonce")
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
		if err := client.Admin(v.admin).Do(r.t.Context(), http.MethodGet, "/admin/devices", query, &list); err != nil {
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

// grants holds the database to one session for each code that was redeemed, whether the answer arrived or not.
func (r *run) grants(v *victim) {
	db, err := sql.Open("sqlite", "file:"+v.database+"?mode=ro")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	var got int64
	if err := db.QueryRowContext(context.Background(), "SELECT count(*) FROM grants").Scan(&got); err != nil {
		r.t.Fatal(err)
	}
	if want := int64(len(r.sessions)) + r.spentCodes.Load(); got != want {
		r.t.Errorf("the database has %d sessions, want %d", got, want)
	}
}

// code is the OAuth error of an answer, or "" if there was none.
func code(err error) string {
	var refusal *client.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}

func wantCode(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("%s = %v, want %s", what, err, want)
	}
}
