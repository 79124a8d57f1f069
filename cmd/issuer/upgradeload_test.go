package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

// An upgradeLoad is what clients do, as far as they know, while the nodes of an issuer are replaced. They get no error but 503 with
// Retry-After, and ask again then.
type upgradeLoad struct {
	t      *testing.T
	issuer string

	working sync.WaitGroup
	over    atomic.Bool
	done    atomic.Int64 // rounds of any client

	logins, refreshes, introspections, revocations, replays, busy atomic.Int64

	mu    sync.Mutex
	live  []*upgraded
	ended []*upgraded
}

// An upgraded is a session that lives through an upgrade, or was ended during it.
type upgraded struct {
	app    *client.Client
	front  *strictFront
	person string
	tokens client.Tokens
	access []string // all its access tokens
}

// A strictFront sends requests for the issuer, to one of its nodes if that is set, and reports each error that no client may see.
type strictFront struct {
	load *upgradeLoad
	host string // of the issuer
	node string // an address; empty for the balancer
	busy int    // answers with 503

	proof string // of the last request
}

func (f *strictFront) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.node != "" && r.URL.Host == f.host {
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = r.URL.Host, f.node
	}
	if proof := r.Header.Get("DPoP"); proof != "" {
		f.proof = proof
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		f.load.fail("%s %s: %v", r.Method, r.URL.Path, err)
		return nil, err
	}
	if after := resp.Header.Get("Retry-After"); resp.StatusCode == http.StatusServiceUnavailable && after != "" {
		f.busy++
		f.load.busy.Add(1)
	} else if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		f.load.fail("%s %s = %s with Retry-After %q", r.Method, r.URL.Path, resp.Status, after)
	}
	return resp, nil
}

// A sameProof sends one proof with every request.
type sameProof struct {
	proof string
	front *strictFront
}

func (p sameProof) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("DPoP", p.proof)
	return p.front.RoundTrip(r)
}

func (l *upgradeLoad) fail(format string, args ...any) {
	l.over.Store(true)
	l.t.Errorf(format, args...)
}

// insist repeats a request that was answered 503.
func (s *upgraded) insist(do func() error) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		before := s.front.busy
		if err := do(); err == nil || s.front.busy == before || time.Now().After(end) {
			return err
		}
	}
}

// login logs a person in on a new device.
func (l *upgradeLoad) login(person string) (*upgraded, error) {
	issuer, err := url.Parse(l.issuer)
	if err != nil {
		return nil, err
	}
	s := &upgraded{person: person, front: &strictFront{load: l, host: issuer.Host}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return nil, err
	}
	var meta client.Metadata
	err = s.insist(func() error {
		meta, err = client.Discover(l.t.Context(), &http.Client{Timeout: time.Minute, Transport: s.front}, l.issuer)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("discovery by %s: %w", person, err)
	}
	s.app = &client.Client{Server: meta, ID: "im-app",
		HTTP: &http.Client{Timeout: time.Minute, Transport: &dpop.Transport{Signer: signer, Base: s.front}}}
	err = s.insist(func() error { // from the beginning: a 503 leaves open whether a code was spent
		flow := s.app.Begin(redirectURI, url.Values{"dpop_jkt": {signer.JKT()}, "im_device_name": {person + "'s laptop"}})
		back, err := browser.New(s.front).Login(l.t.Context(), flow.URL, browser.To(redirectURI),
			map[string]string{"text": person, "password": person})
		if err != nil {
			return err
		}
		tokens, err := s.app.Finish(l.t.Context(), flow, back)
		if err == nil {
			s.take(tokens)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("login of %s: %w", person, err)
	}
	l.logins.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = append(l.live, s)
	return s, nil
}

func (s *upgraded) take(tokens client.Tokens) {
	s.tokens = tokens
	s.access = append(s.access, tokens.AccessToken)
}

// refresh gets new tokens, with the same refresh token again if the answer was 503.
func (l *upgradeLoad) refresh(s *upgraded) error {
	err := s.insist(func() error {
		tokens, err := s.app.Refresh(l.t.Context(), s.tokens.RefreshToken)
		if err == nil {
			s.take(tokens)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("refresh of %s: %w", s.person, err)
	}
	l.refreshes.Add(1)
	return nil
}

// introspect reports whether a token is active.
func (l *upgradeLoad) introspect(s *upgraded, token string) (active bool, err error) {
	err = s.insist(func() error {
		req, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, l.issuer+"/introspect", strings.NewReader("token="+token))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("rooms", "test")
		resp, err := s.front.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer struct {
			Active *bool `json:"active"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Active == nil {
			return fmt.Errorf("introspection = %s without an answer: %v", resp.Status, err)
		}
		active = *answer.Active
		return nil
	})
	l.introspections.Add(1)
	return active, err
}

// end ends a session.
func (l *upgradeLoad) end(s *upgraded) error {
	if err := s.insist(func() error { return s.app.Revoke(l.t.Context(), s.tokens.RefreshToken) }); err != nil {
		return fmt.Errorf("revocation of %s: %w", s.person, err)
	}
	l.revocations.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, one := range l.live {
		if one == s {
			l.live = append(l.live[:i], l.live[i+1:]...)
			break
		}
	}
	l.ended = append(l.ended, s)
	return nil
}

// replay sends the last proof of a session once more.
func (l *upgradeLoad) replay(s *upgraded) error {
	again := *s.app
	again.HTTP = &http.Client{Timeout: time.Minute, Transport: sameProof{s.front.proof, s.front}}
	err := s.insist(func() error {
		_, err := again.Refresh(l.t.Context(), s.tokens.RefreshToken)
		return err
	})
	if code(err) != "invalid_dpop_proof" {
		return fmt.Errorf("a proof of %s that was spent = %v, want invalid_dpop_proof", s.person, err)
	}
	l.replays.Add(1)
	return nil
}

// beginLoad begins it: each person refreshes, asks about the new token, repeats a proof, and ends the session now and then.
func (l *upgradeLoad) beginLoad() {
	for i := range people {
		l.working.Go(func() {
			if err := l.work(person(i)); err != nil {
				l.fail("%v", err)
			}
		})
	}
}

func (l *upgradeLoad) work(person string) error {
	s, err := l.login(person)
	for n := 1; err == nil && !l.over.Load(); n++ {
		if err = l.refresh(s); err != nil {
			return err
		}
		if active, err := l.introspect(s, s.tokens.AccessToken); err != nil || !active {
			return fmt.Errorf("introspection of a new token of %s = %t, %w", person, active, err)
		}
		if n%3 == 0 {
			if err = l.replay(s); err != nil {
				return err
			}
		}
		if n%4 == 0 {
			if err = l.end(s); err != nil {
				return err
			}
			s, err = l.login(person)
		}
		l.done.Add(1)
	}
	return err
}

// wait waits until the clients have done more rounds.
func (l *upgradeLoad) wait(rounds int64) {
	for due := l.done.Load() + rounds; l.done.Load() < due && !l.over.Load(); {
		time.Sleep(time.Millisecond)
	}
}

// crossed does at one node after another, directly, what must be in force at both.
func (l *upgradeLoad) crossed(one, two *victim) {
	l.t.Helper()
	for _, order := range [][2]*victim{{one, two}, {two, one}} {
		a, b := order[0].listen, order[1].listen
		s, err := l.login(person(0))
		if err != nil {
			l.t.Fatal(err)
		}
		at := func(node, what string, want string, do func() error) {
			l.t.Helper()
			s.front.node = node
			if err := do(); code(err) != want || want == "" && err != nil {
				l.t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		refresh := func() error { return l.refresh(s) }
		at(a, "a refresh at the first node", "", refresh)
		at(b, "the proof at the second node", "", func() error { return l.replay(s) })
		before := s.tokens
		at(b, "a refresh at the second node", "", refresh)
		at(a, "the refresh token from before at the first node", "", func() error {
			repeated, err := s.app.Refresh(l.t.Context(), before.RefreshToken)
			if err == nil && repeated.RefreshToken != s.tokens.RefreshToken {
				err = errors.New("it is another successor")
			}
			return err
		})
		for _, node := range []string{a, b} {
			at(node, "a live token", "", func() error { return l.hasBecome(s, true) })
		}
		at(b, "a revocation at the second node", "", func() error { return l.end(s) })
		at(b, "the revoked token at the second node", "", func() error { return l.hasBecome(s, false) })
		at(a, "the revoked token at the first node", "", func() error { return l.becomesRevoked(s) })
		at(a, "a refresh at the first node", "invalid_grant", refresh)
	}
}

// hasBecome returns an error unless the newest access token of a session is active, or is not.
func (l *upgradeLoad) hasBecome(s *upgraded, want bool) error {
	active, err := l.introspect(s, s.tokens.AccessToken)
	if err == nil && active != want {
		err = fmt.Errorf("active: %t, want %t", active, want)
	}
	return err
}

// becomesRevoked waits for a node that has read the revocations some time ago.
func (l *upgradeLoad) becomesRevoked(s *upgraded) error {
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = l.hasBecome(s, false); err == nil {
			return nil
		}
	}
	return err
}

// kept holds nodes to everything that was acknowledged: live sessions are live, those that ended have ended, at each of them.
func (l *upgradeLoad) kept(nodes ...*victim) {
	l.t.Helper()
	if len(l.live) != people || len(l.ended) == 0 {
		l.t.Errorf("%d live sessions, want %d, and %d that ended", len(l.live), people, len(l.ended))
	}
	for _, node := range nodes {
		for _, s := range l.live {
			s.front.node = node.listen
			for _, token := range s.access {
				if active, err := l.introspect(s, token); err != nil || !active {
					l.t.Errorf("a token of a live session is active: %t, %v", active, err)
				}
			}
			if err := l.refresh(s); err != nil {
				l.t.Error(err)
			}
		}
		for _, s := range l.ended {
			s.front.node = node.listen
			for _, token := range s.access {
				if active, err := l.introspect(s, token); err != nil || active {
					l.t.Errorf("a token of a session that ended is active: %t, %v", active, err)
				}
			}
			if err := l.refresh(s); code(err) != "invalid_grant" {
				l.t.Errorf("refresh of a session that ended = %v, want invalid_grant", err)
			}
		}
	}
}

// stop ends the load and says what was done.
func (l *upgradeLoad) stop() {
	l.t.Helper()
	l.over.Store(true)
	l.working.Wait()
	l.t.Logf("%d logins, %d refreshes, %d introspections, %d sessions ended, %d proofs repeated; %d answers were 503",
		l.logins.Load(), l.refreshes.Load(), l.introspections.Load(), l.revocations.Load(), l.replays.Load(), l.busy.Load())
}
