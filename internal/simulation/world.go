package simulation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/keys"
)

// A world is everything that a seed decides about: nodes, their database, clients, and what goes wrong.
type world struct {
	*scheduler
	ctx      context.Context
	broken   Broken
	database *Database
	replays  *replays
	nodes    []*node
	operator *node // a program that serves no requests
	nextKey  int
	sealer   *keys.Sealer
	random   random

	down bool      // the database does not answer
	calm bool      // nothing goes wrong any more
	rush time.Time // until when most clients sign out

	seen     *state // by the last check
	sessions []*session
	tokens   []*issued
	cards    []*card
	removing map[string]bool // the devices whose removal was asked for
	codes    map[string]int  // how often each was redeemed
	proofs   map[string]int  // how often each was accepted
	keys     map[string]*end
	working  atomic.Int32 // tasks of clients and of the faults that have not ended
	failure  error        // the first promise that was broken
	did      Counts
}

// Counts are what happened in a simulation.
type Counts struct {
	Steps     int // events
	Logins    int // of devices
	Refreshes int
	// Active, Inactive and Unknown are the answers of introspection.
	Active, Inactive, Unknown int
	Revoked                   int // sessions and access tokens
	Removed                   int // devices
	Credentials, Lists        int // issued and published
	Lost                      int // requests without an answer
	Twice                     int // messages that came twice
	Crashes, Failovers        int
}

// List returns the counts in the order of the fields.
func (c *Counts) List() []int {
	return []int{
		c.Steps, c.Logins, c.Refreshes, c.Active, c.Inactive, c.Unknown, c.Revoked, c.Removed, c.Credentials, c.Lists, c.Lost,
		c.Twice, c.Crashes, c.Failovers,
	}
}

// Add adds what happened in another simulation.
func (c *Counts) Add(o Counts) {
	c.Steps += o.Steps
	c.Logins += o.Logins
	c.Refreshes += o.Refreshes
	c.Active += o.Active
	c.Inactive += o.Inactive
	c.Unknown += o.Unknown
	c.Revoked += o.Revoked
	c.Removed += o.Removed
	c.Credentials += o.Credentials
	c.Lists += o.Lists
	c.Lost += o.Lost
	c.Twice += o.Twice
	c.Crashes += o.Crashes
	c.Failovers += o.Failovers
}

// An end is what a client knows about the end of something.
type end struct {
	asked bool      // it was asked for, and may take effect
	at    time.Time // when it was acknowledged; zero if it was not
	by    *instance // that acknowledged it
}

// done acknowledges an end.
func (e *end) done(by *instance) {
	if e.at.IsZero() {
		e.at, e.by = time.Now(), by
	}
}

// A session is a login of a device, as its client knows it.
type session struct {
	id, device string
	by         *device
	refresh    string         // the newest refresh token
	gens       map[string]int // the generation of each refresh token
	done       int            // the highest generation that a refresh was answered for
	end        end
}

// An issued token is an access token that a client got.
type issued struct {
	text    string
	kid     string
	session *session
	expires time.Time
	end     end
}

// ends are the ends that concern the token.
func (t *issued) ends(w *world) []*end {
	list := []*end{&t.end, &t.session.end}
	if e := w.keys[t.kid]; e != nil {
		list = append(list, e)
	}
	return list
}

func (t *issued) asked(w *world) bool {
	for _, e := range t.ends(w) {
		if e.asked {
			return true
		}
	}
	return false
}

// violated reports a broken promise.
func (w *world) violated(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf(format, args...)
		w.note("", w.failure.Error())
	}
}

// chance is true once in n times, as long as something may go wrong.
func (w *world) chance(n int) bool { return !w.calm && w.scheduler.chance(n) }

// check holds the database to what was acknowledged, after each step.
func (w *world) check() {
	now := w.database.current.Load()
	if now == w.seen {
		return
	}
	before := w.seen
	w.seen = now
	for id, old := range before.grants.rows {
		g, ok := now.grants.rows[id]
		switch {
		case !ok:
			w.violated("session %s is lost", id)
		case !old.EndedAt.IsZero() && (g.Gen != old.Gen || g.EndedAt != old.EndedAt):
			w.violated("session %s changed after its end", id)
		case g.Gen != old.Gen && g.Gen != old.Gen+1:
			w.violated("session %s went from generation %d to %d", id, old.Gen, g.Gen)
		}
	}
	for id, old := range before.codes.rows {
		if c, ok := now.codes.rows[id]; !ok || !old.SpentAt.IsZero() && c.Grant != old.Grant {
			w.violated("a code of session %s is lost or was spent again", old.Grant)
		}
	}
	for id := range before.revocations.rows {
		if _, ok := now.revocations.rows[id]; !ok {
			w.violated("the revocation of %s %s is lost", id.kind, id.key)
		}
	}
	for id := range before.signingKeys.rows {
		if _, ok := now.signingKeys.rows[id]; !ok {
			w.violated("a signing key is lost")
		}
	}
	w.checkCredentials(before, now)
	for _, s := range w.sessions {
		if s.end.at.IsZero() {
			continue
		}
		if g := now.grants.rows[s.id]; g.EndedAt.IsZero() {
			w.violated("the end of session %s was acknowledged, and is lost", s.id)
		}
	}
}

// read returns the claims and the key of an access token, as a client reads them.
func readToken(text string) (set claims.Set, kid string, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return set, "", errors.New("not a token")
	}
	head, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	body, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	var header struct {
		KID string `json:"kid"`
	}
	if err := errors.Join(err1, err2, json.Unmarshal(head, &header)); err != nil {
		return set, "", err
	}
	set, err = claims.ParseSet(body)
	return set, header.KID, err
}

// A reply is what a request came to.
type reply struct {
	err   error
	nonce string // for the next proof
	value string
	twice bool // the message came twice: the answer may be that to the second one
}

// Errors of the network, which tell the client nothing about what the node did.
var (
	errLost    = errors.New("simulation: no answer")
	errRefused = errors.New("simulation: the node does not accept connections")
)

// send sends a request to a node and waits for the answer. The message or the answer may be lost, come late, or come twice: then another
// node gets it, too.
func (w *world) send(ctx context.Context, n *node, what string, serve func(ctx context.Context, i *instance) reply) reply {
	answer := make(chan reply, 2)
	deliver := func(to *node, slow bool) {
		w.working.Add(1)
		w.spawn(w.ctx, what+" at "+to.name, to, func(ctx context.Context) {
			defer func() { w.working.Add(-1) }()
			if slow && w.sleep(ctx, w.between(0, 5*time.Second)) != nil {
				return
			}
			if !to.up || to.provider == nil {
				answer <- reply{err: errRefused}
				return
			}
			i := &instance{to, to.run}
			r := serve(ctx, i)
			if !to.up || to.run != i.run || w.chance(12) {
				return // the answer is lost
			}
			if r.nonce == "" {
				r.nonce, _ = to.proofs.Nonce(ctx)
			}
			answer <- r
		})
	}
	if !w.chance(15) {
		deliver(n, w.chance(6))
	}
	twice := w.chance(12)
	if twice {
		w.did.Twice++
		deliver(w.anyNode(), w.rng.IntN(2) == 0)
	}
	timer := time.NewTimer(w.between(time.Second, 3*time.Second))
	defer timer.Stop()
	r := reply{err: errLost}
	select {
	case r = <-answer:
	case <-timer.C:
	case <-w.over:
		runtime.Goexit()
	}
	r.twice = twice
	if w.gate(ctx, "continues") != nil {
		return reply{err: errLost}
	}
	if r.err == errLost {
		w.did.Lost++
	}
	return r
}

// anyNode returns a node by chance.
func (w *world) anyNode() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

// accepted counts a proof that a node accepted.
func (w *world) accepted(proof string) {
	if w.proofs[proof]++; w.proofs[proof] > 1 {
		w.violated("a proof was accepted twice")
	}
}

// isNonce reports whether a client needs a new nonce.
func isNonce(err error) bool { return errors.Is(err, dpop.ErrUseNonce) }
