package faults_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/devidp/devidptest"
)

const redirectURI = "http://127.0.0.1:7777/callback" // no program listens: the browser stops before it goes there

// A user is one of the clients that act at once, with one device at a time.
type user struct {
	cluster *cluster
	ledger  *ledger
	random  *rand.Rand
	person  string
	nonces  nonces
	over    <-chan struct{} // closed when users shall stop
	other   *user           // the other client of the person

	mu      sync.Mutex
	session *session // nil if the user is logged out

	past  []*session // that ended, the latest last
	ended []*access  // tokens that were revoked alone
	spent []spent    // requests whose proofs were accepted
	codes []redeemed
}

// A spent is a request that was accepted, with its proof.
type spent struct {
	request request
	proof   string
}

// A redeemed is the form with which a code was redeemed.
type redeemed struct {
	form   url.Values
	device *device
}

func newUser(c *cluster, l *ledger, i int, random *rand.Rand) *user {
	return &user{
		cluster: c, ledger: l, random: random, person: devidptest.Person(i / 2),
	}
}

// begin lets all users act while the plan happens, and returns when all have stopped.
func begin(t *testing.T, c *cluster, users []*user, p *plan) {
	over := make(chan struct{})
	var group sync.WaitGroup
	for i, u := range users {
		u.over, u.other = over, users[i^1]
		group.Go(u.act)
	}
	p.run(t)
	close(over)
	stopped := make(chan struct{})
	go func() {
		group.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(3 * time.Minute):
		c.ledger.broken("some users still wait for an answer 3 minutes after the last fault")
	}
}

// act does one thing after the other until the user shall stop.
func (u *user) act() {
	for !u.stopped() {
		u.step()
		time.Sleep(u.between(20, 200))
	}
}

func (u *user) stopped() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

// between returns a random time, in milliseconds.
func (u *user) between(from, to int) time.Duration {
	return time.Duration(from+u.random.IntN(to-from)) * time.Millisecond
}

// somewhere returns a random node, or nil for the balancer.
func (u *user) somewhere() *node {
	if n := u.random.IntN(2 * len(u.cluster.nodes)); n < len(u.cluster.nodes) {
		return u.cluster.nodes[n]
	}
	return nil
}

func (u *user) step() {
	s := u.session
	if s == nil {
		u.login()
		return
	}
	switch n := u.random.IntN(100); {
	case n < 25:
		u.refresh(s, nil)
	case n < 33:
		u.raceRefresh(s)
	case n < 41:
		u.raceProof(s)
	case n < 49:
		u.replayProof(s)
	case n < 55:
		u.repeatLate(s)
	case n < 59:
		u.replayCode()
	case n < 90:
		u.introspect()
	case n < 94:
		u.revoke(s)
	case n < 97:
		u.revokeAccess(s)
	default:
		u.removeDevice(s)
	}
}

// insist sends a request until a node decides about it, and reports how often the client did not get an answer before. It gives up if
// the users have stopped long ago.
func (u *user) insist(r request) (a answer, lost int) {
	for begun := time.Now(); ; lost++ {
		a = u.ask(u.somewhere(), r)
		if !a.lost() {
			return a, lost
		}
		if time.Since(begun) > 4*time.Minute {
			u.ledger.broken("%s: no answer for 4 minutes: %v", r.kind, &a)
			return a, lost
		}
		time.Sleep(u.between(50, 300))
		u.introspect() // also during an outage, "not active" is a wrong answer about a live token
	}
}

// everywhere sends requests to nodes at the same time.
func (u *user) everywhere(requests map[*node]request) map[*node]answer {
	var mu sync.Mutex
	var group sync.WaitGroup
	answers := make(map[*node]answer)
	for n, r := range requests {
		group.Go(func() {
			send := u.ask
			if r.proof != "" {
				send = u.send // another nonce would make another proof
			}
			a := send(n, r)
			mu.Lock()
			defer mu.Unlock()
			answers[n] = a
		})
	}
	group.Wait()
	return answers
}

// take reads the tokens of an answer to the refresh token number i of a session.
func (u *user) take(s *session, i int, a *answer) bool {
	var tokens client.Tokens
	if err := json.Unmarshal(a.body, &tokens); err != nil || tokens.AccessToken == "" || tokens.RefreshToken == "" {
		u.ledger.broken("an answer of the token endpoint has no tokens: %v", a)
		return false
	}
	set, err := readToken(tokens.AccessToken)
	if err != nil || set.JKT != s.device.signer.JKT() || s.sid != "" && set.SID != s.sid {
		u.ledger.broken("an access token is not one of the session of %s: %v", u.person, err)
		return false
	}
	if s.sid == "" {
		device, err := claims.Parse(set.Device)
		if err != nil || s.device.id != "" && s.device.id != device.Device() {
			u.ledger.broken("an access token of %s is of another device: %s, %v", u.person, set.Device, err)
			return false
		}
		s.sid, s.device.id = set.SID, device.Device()
	}
	if !s.took(i, tokens.RefreshToken, tokens.AccessToken) {
		u.ledger.broken("a refresh token of %s has two successors, session %s, generation %d", u.person, s.sid, i)
		return false
	}
	if s.isOver(a.began) {
		u.ledger.broken("session %s of %s was refreshed after its end was acknowledged: %v", s.sid, u.person, a)
	}
	return true
}

// leave notes that the session of a user is over, if it may be, and that a promise is broken if not.
func (u *user) leave(s *session, a *answer) {
	if !s.mayBeOver(a.ended) {
		u.ledger.broken("%s is logged out, session %s: %v, which began at %s", u.person, s.sid, a, u.ledger.at(a.began))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.session = nil
	u.past = append(u.past, s)
}
