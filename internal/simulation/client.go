package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// A device is a client with a key.
type device struct {
	world   *world
	user    string
	signer  *dpop.Signer
	nonce   string
	session *session // nil before the login
}

// live runs the client: it logs in and then does one thing after another.
func (d *device) live(ctx context.Context, things int) {
	w := d.world
	for range things {
		if w.sleep(ctx, w.between(0, 1500*time.Millisecond)) != nil {
			return
		}
		switch n := w.rng.IntN(25); {
		case d.session == nil:
			d.login(ctx)
		case w.rush.After(time.Now()) && n < 15:
			d.revoke(ctx)
		case n < 7:
			d.refresh(ctx, d.session)
			if t := d.newest(); t != nil && n < 3 { // the token is introspected at once
				d.ask(ctx, t)
			}
		case n < 9:
			d.race(ctx)
		case n < 15:
			d.introspect(ctx)
		case n < 17:
			d.revoke(ctx)
		case n < 18:
			d.revokeToken(ctx)
		case n < 19:
			d.remove(ctx)
		case n < 22:
			d.getCredential(ctx)
		case n < 23:
			d.endCredential(ctx)
		case n < 24:
			d.readLists(ctx)
		default:
			d.session = nil // the app was installed again
		}
	}
}

// proof makes a proof for an endpoint.
func (d *device) proof(path string) string {
	text, err := d.signer.Proof(dpop.ProofParams{
		Method: http.MethodPost, URL: issuerURL + path, Nonce: d.nonce, IssuedAt: time.Now(),
		JTI: fmt.Sprintf("proof-%x", d.world.rng.Uint64()),
	})
	if err != nil {
		panic(err) // our own mistake
	}
	return text
}

// send sends a request and keeps the nonce of the answer.
func (d *device) send(ctx context.Context, what string, serve func(ctx context.Context, i *instance) reply) reply {
	n := d.world.anyNode()
	for d.world.calm && !n.up {
		n = d.world.anyNode()
	}
	r := d.world.send(ctx, n, what, serve)
	if r.nonce != "" {
		d.nonce = r.nonce
	}
	d.world.log(ctx, "%s: %v", what, outcome(r.err))
	return r
}

// outcome returns an error as the trace has it: without random values.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case isNonce(err):
		return "needs a nonce"
	case isRefusal(err):
		return "refused"
	}
	return "not known"
}

// isRefusal reports whether a node decided that a request is refused. Of any other error the outcome is not known.
func isRefusal(err error) bool {
	var refused *oauth.Error
	var proof *dpop.ProofError
	return errors.As(err, &refused) && refused.Code != oauth.CodeTemporarilyUnavailable && refused.Code != oauth.CodeServerError ||
		errors.As(err, &proof)
}

// token sends a request to the token endpoint, again with a new proof while it needs a nonce.
func (d *device) token(ctx context.Context, what string, form url.Values, check func(i *instance) func(a oauth.TokenAnswer)) reply {
	form.Set("client_id", app)
	twice := false
	for try := 0; ; try++ {
		proof := d.proof("/token")
		in := oauth.TokenRequest{Header: http.Header{"Dpop": {proof}}, Form: form, Source: netip.MustParseAddr("192.0.2.1")}
		r := d.send(ctx, what, func(ctx context.Context, i *instance) reply {
			answered := check(i)
			a, err := i.node.provider.Token(ctx, in)
			if err != nil {
				return reply{err: err}
			}
			if !i.alive() {
				return reply{err: errDown}
			}
			d.world.accepted(proof)
			answered(a)
			return reply{value: a.AccessToken + " " + a.RefreshToken}
		})
		twice = twice || r.twice
		if !isNonce(r.err) || try == 2 {
			r.twice = twice
			return r
		}
	}
}

// alive reports whether the node still runs.
func (i *instance) alive() bool { return i.node.up && i.node.run == i.run }

// code has the user log in at a node, and returns the authorization code.
func (d *device) code(ctx context.Context) reply {
	return d.send(ctx, "authorize", func(ctx context.Context, i *instance) reply {
		n := i.node
		user, err := n.accounts.SignIn(ctx, account.SignIn{Domain: domain, Issuer: upstream, Subject: d.user, Handle: d.user})
		if err != nil {
			return reply{err: err}
		}
		a, err := n.provider.Authorize(ctx, url.Values{
			"client_id": {app}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"a state"},
			"code_challenge": {challenge}, "code_challenge_method": {"S256"},
		})
		if err != nil {
			return reply{err: err}
		}
		c, err := n.provider.PrepareCode(ctx, a.Request, oauth.Login{User: user, Issuer: upstream, AuthTime: n.now()})
		if err != nil {
			return reply{err: err}
		}
		if err := n.store.Update(ctx, c.Insert); err != nil {
			return reply{err: err}
		}
		to, err := url.Parse(c.Location())
		if err != nil {
			return reply{err: err}
		}
		return reply{value: to.Query().Get("code")}
	})
}

// challenge is the S256 challenge of verifier.
var challenge = func() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}()

// login logs the device in. If an answer is lost, it tries again with the same code.
func (d *device) login(ctx context.Context) {
	w := d.world
	r := d.code(ctx)
	if r.err != nil {
		return
	}
	code, made, unsure := r.value, time.Now(), false
	for range 3 {
		r = d.token(ctx, "redeem a code", url.Values{
			"grant_type": {oauth.GrantCode}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
		}, func(i *instance) func(oauth.TokenAnswer) {
			return func(oauth.TokenAnswer) {
				if w.codes[code]++; w.codes[code] > 1 {
					w.violated("a code was redeemed twice")
				}
			}
		})
		if r.err == nil {
			w.did.Logins++
			d.begin(r.value)
			return
		}
		if isRefusal(r.err) {
			if !unsure && !r.twice && !isNonce(r.err) && time.Since(made)+w.skew() < codeLife {
				w.violated("a code that was not redeemed was refused: %w", r.err)
			}
			return
		}
		unsure = unsure || r.err != nil
	}
}

// isReplay reports whether a proof was refused because it was spent: the message came twice, and the other one was first.
func isReplay(err error) bool { return errors.Is(err, dpop.ErrReplayed) }

// skew returns by how much the clock of a node is off, at most.
func (w *world) skew() (most time.Duration) {
	for _, n := range w.nodes {
		most = max(most, time.Duration(n.offset.Load()).Abs())
	}
	return most
}

// begin takes the tokens of a login.
func (d *device) begin(tokens string) {
	d.session = &session{by: d, gens: make(map[string]int)}
	d.world.sessions = append(d.world.sessions, d.session)
	set := d.take(d.session, tokens)
	d.session.id = set.SID
	d.session.gens[d.session.refresh] = 1
	d.session.done = 1
	if id, err := set.Identity(); err == nil {
		d.session.device = id.Device.Device()
	}
}

// take takes the tokens of an answer.
func (d *device) take(s *session, tokens string) claims.Set {
	w := d.world
	var access string
	var refresh string
	if _, err := fmt.Sscan(tokens, &access, &refresh); err != nil {
		panic(err) // our own mistake
	}
	if s.gens[refresh] >= s.gens[s.refresh] { // the answer to an earlier refresh may come later
		s.refresh = refresh
	}
	set, kid, err := readToken(access)
	if err != nil {
		w.violated("the access token is none: %w", err)
		return set
	}
	w.tokens = append(w.tokens, &issued{text: access, kid: kid, session: s, expires: set.Expires})
	return set
}

// refresh refreshes the session. An answer that is lost is asked for again with the same token.
func (d *device) refresh(ctx context.Context, s *session) {
	w := d.world
	for range 3 {
		used := s.refresh
		gen := s.gens[used]
		r := d.token(ctx, "refresh", url.Values{"grant_type": {oauth.GrantRefresh}, "refresh_token": {used}},
			func(*instance) func(oauth.TokenAnswer) {
				done := s.done
				return func(a oauth.TokenAnswer) {
					if gen < done-1 {
						w.violated("a refresh token of generation %d was accepted after one of generation %d", gen, done)
					}
					if have, ok := s.gens[a.RefreshToken]; ok && have != gen+1 {
						w.violated("the successor of a refresh token of generation %d has generation %d", gen, have)
					}
					s.gens[a.RefreshToken] = gen + 1
					s.done = max(s.done, gen+1)
				}
			})
		if r.err == nil {
			w.did.Refreshes++
			d.take(s, r.value)
			return
		}
		if isRefusal(r.err) && !isNonce(r.err) && !isReplay(r.err) {
			if s.refresh != used {
				return // another refresh of the client was faster
			}
			if !s.end.asked {
				w.violated("a device with a live session was logged out: %w", r.err)
			}
			if d.session == s {
				d.session = nil
			}
			return
		}
		if s.end.asked && !s.end.at.IsZero() {
			return
		}
	}
}

// race refreshes twice at a time, or once while the user signs out.
func (d *device) race(ctx context.Context) {
	w, s := d.world, d.session
	w.later(0, "another refresh", func(ctx context.Context) { d.refresh(ctx, s) })
	if w.rng.IntN(2) == 0 {
		d.refresh(ctx, s)
	} else if w.sleep(ctx, w.between(0, 20*time.Millisecond)) == nil {
		d.revoke(ctx)
	}
}

// revoke ends the session.
func (d *device) revoke(ctx context.Context) {
	w, s := d.world, d.session
	if s == nil {
		return
	}
	s.end.asked = true
	in := oauth.TokenRequest{Header: http.Header{}, Form: url.Values{"client_id": {app}, "token": {s.refresh}}}
	for range 2 {
		r := d.send(ctx, "revoke", func(ctx context.Context, i *instance) reply {
			err := i.node.provider.Revoke(ctx, in)
			if err == nil && i.alive() {
				s.end.done(i)
			}
			return reply{err: err}
		})
		if r.err == nil {
			w.did.Revoked++
			break
		}
	}
	if w.rng.IntN(2) == 0 {
		d.session = nil // otherwise the client goes on, and is refused
	}
}

// revokeToken ends one access token.
func (d *device) revokeToken(ctx context.Context) {
	w := d.world
	t := d.newest()
	if t == nil {
		return
	}
	t.end.asked = true
	for range 3 {
		proof := d.proof("/revoke")
		in := oauth.TokenRequest{Header: http.Header{"Dpop": {proof}}, Form: url.Values{"client_id": {app}, "token": {t.text}}}
		r := d.send(ctx, "revoke a token", func(ctx context.Context, i *instance) reply {
			err := i.node.provider.Revoke(ctx, in)
			if err == nil && i.alive() && w.keys[t.kid] == nil { // a token of a revoked key needs no revocation
				w.accepted(proof)
				t.end.done(i)
			}
			return reply{err: err}
		})
		if r.err == nil {
			w.did.Revoked++
			return
		}
	}
}

// remove removes the device, which gets a new key.
func (d *device) remove(ctx context.Context) {
	w := d.world
	if d.session == nil {
		return
	}
	var ended []*session
	for _, s := range w.sessions {
		if s.device == d.session.device {
			ended = append(ended, s)
			s.end.asked = true
		}
	}
	id := d.session.device
	w.removing[id] = true
	for range 2 {
		r := d.send(ctx, "remove the device", func(ctx context.Context, i *instance) reply {
			_, err := i.node.accounts.RemoveDevice(audit.WithOrigin(ctx, audit.Origin{Actor: audit.ActorAdmin}), domain, id, "lost")
			if err == nil && i.alive() {
				for _, s := range ended {
					s.end.done(i)
				}
				for _, c := range w.cards {
					if c.device == id {
						c.end.done(i)
					}
				}
			}
			return reply{err: err}
		})
		if r.err == nil {
			w.did.Removed++
			break
		}
	}
	d.session = nil
	d.newKey()
}

// newest returns the newest access token of the session; nil if there is none.
func (d *device) newest() *issued {
	for i := len(d.world.tokens) - 1; i >= 0; i-- {
		if t := d.world.tokens[i]; t.session == d.session {
			return t
		}
	}
	return nil
}

// introspect asks a node about a token that some client got.
func (d *device) introspect(ctx context.Context) {
	w := d.world
	if len(w.tokens) == 0 {
		return
	}
	t := w.tokens[w.rng.IntN(len(w.tokens))]
	if w.rng.IntN(2) == 0 {
		t = w.tokens[len(w.tokens)-1]
	}
	d.ask(ctx, t)
}

// ask asks a node about a token.
func (d *device) ask(ctx context.Context, t *issued) {
	d.send(ctx, "introspect", func(ctx context.Context, i *instance) reply { return reply{err: d.world.ask(ctx, i, t)} })
}

// ask asks a node about a token, and holds the answer to what is known about the token.
func (w *world) ask(ctx context.Context, i *instance, t *issued) error {
	at, asked := time.Now(), t.asked(w)
	v, err := i.node.introspector.Introspect(ctx, caller, introspect.Question{Token: t.text})
	expiring := i.node.now().Add(2 * time.Second).After(t.expires)
	switch {
	case err != nil:
		w.did.Unknown++
	case v.Active:
		w.did.Active++
		for _, e := range t.ends(w) {
			if e.at.IsZero() {
				continue
			}
			if e.by != nil && e.by.node == i.node && e.by.run == i.run {
				w.violated("%s says active to a token whose end it acknowledged itself", i.node.name)
			}
			if late := at.Sub(e.at); late > mirrorLimit+i.node.setBack(e.at) {
				w.violated("%s calls itself fresh and says active to a token that was revoked %v before", i.node.name, late)
			}
		}
	default:
		w.did.Inactive++
		if !asked && !t.asked(w) && !expiring {
			w.violated("%s says inactive to a live token", i.node.name)
		}
	}
	return err
}

// mirrorLimit is how old the last read of a node that calls itself fresh may be.
const mirrorLimit = 2 * time.Second
