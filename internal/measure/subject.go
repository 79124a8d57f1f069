package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// callers is how many connections send at the same time, unless a work says otherwise, and most how many do in any work.
const (
	callers = 16
	most    = 32
)

// A subject is a running issuer under measurement, with what the requests need.
type subject struct {
	*issuer
	conns    pool
	service  *dpop.Signer // the key of the client "peer"
	sessions []*session   // of different users, one for each caller
}

// A session is a user who is signed in on a device.
type session struct {
	signer          *dpop.Signer
	refresh, access string
}

// An exchange is the size of a request and of its answer. The floor repeats it.
type exchange struct {
	request []byte
	answer  int
}

func newSigner() (*dpop.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return dpop.NewSigner(key, "")
}

// newSubject starts an issuer and signs the first users in.
func newSubject(ctx context.Context, s *issuer) (_ *subject, err error) {
	if _, err := s.start(ctx); err != nil {
		return nil, err
	}
	u := &subject{issuer: s, conns: pool{addr: s.addr}}
	if u.service, err = newSigner(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	u.sessions = make([]*session, most)
	for i := range people { // so that later logins are those of known users
		signedIn, err := u.login(ctx, i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sign in: %w", err), s.stop())
		}
		if i < most {
			u.sessions[i] = signedIn
		}
	}
	return u, nil
}

func (u *subject) close() error {
	u.conns.close()
	return u.stop()
}

// request writes a request. A form makes it a POST; without one it is a GET.
func (u *subject) request(path string, form url.Values, headers ...string) []byte {
	var b bytes.Buffer
	method, body := "GET", ""
	if form != nil {
		method, body = "POST", form.Encode()
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: measure\r\n", method, path, u.addr)
	for i := 0; i+1 < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	if form != nil {
		fmt.Fprintf(&b, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// basic returns the Authorization header of the client "peer".
func (u *subject) basic() string { return "Basic " + base64Of(peerID+":"+u.secret) }

// proofs makes n proofs for one endpoint.
func (u *subject) proofs(ctx context.Context, signer *dpop.Signer, n int, method, path, access string) ([]string, error) {
	nonce, err := u.nonce(ctx)
	if err != nil {
		return nil, err
	}
	proofs := make([]string, n)
	for i := range proofs {
		proofs[i], err = signer.Proof(dpop.ProofParams{Method: method, URL: u.url + path, Nonce: nonce, AccessToken: access})
		if err != nil {
			return nil, err
		}
	}
	return proofs, nil
}

// tokenRequests prepares requests for service tokens.
func (u *subject) tokenRequests(ctx context.Context, n int) ([][]byte, error) {
	proofs, err := u.proofs(ctx, u.service, n, "POST", "/token", "")
	if err != nil {
		return nil, err
	}
	requests := make([][]byte, n)
	form := url.Values{"grant_type": {"client_credentials"}}
	for i, proof := range proofs {
		requests[i] = u.request("/token", form, "Authorization", u.basic(), "DPoP", proof)
	}
	return requests, nil
}

// serviceTokens has n tokens issued to the client "peer".
func (u *subject) serviceTokens(ctx context.Context, n int) ([]string, error) {
	requests, err := u.tokenRequests(ctx, n)
	if err != nil {
		return nil, err
	}
	conns, err := u.conns.take(ctx, callers)
	if err != nil {
		return nil, err
	}
	tokens := make([]string, n)
	return tokens, share(conns, n, func(c *conn, i int) error {
		answer, err := c.tokens(requests[i])
		tokens[i] = answer.AccessToken
		return err
	})
}

// tokens sends a request to the token endpoint and reads the answer.
func (c *conn) tokens(request []byte) (client.Tokens, error) {
	var answer client.Tokens
	body, err := c.do(request)
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err == nil && answer.AccessToken == "" {
		err = errors.New("an answer without an access token")
	}
	return answer, err
}

// all returns an action that sends each request once, over all the connections, and checks each answer.
func (u *subject) all(ctx context.Context, requests [][]byte, sample *exchange, check func(body []byte) error) (action, error) {
	conns, err := u.conns.take(ctx, callers)
	if err != nil {
		return nil, err
	}
	return func(context.Context) ([]float64, error) {
		return nil, share(conns, len(requests), func(c *conn, i int) error {
			body, err := c.do(requests[i])
			if err != nil {
				return err
			}
			if i == 0 {
				*sample = exchange{requests[i], len(body)}
			}
			return check(body)
		})
	}, nil
}

// contains returns a check that looks for a part of the answer.
func contains(part string) func([]byte) error {
	want := []byte(part)
	return func(body []byte) error {
		if !bytes.Contains(body, want) {
			return fmt.Errorf("the answer is without %s: %s", part, strings.TrimSpace(string(body)))
		}
		return nil
	}
}

// clientCredentials is a service token for each proof.
func (u *subject) clientCredentials(sample *exchange) *series {
	return &series{pid: u.pid(), least: 10 * callers, prepare: func(ctx context.Context, n int) (action, error) {
		requests, err := u.tokenRequests(ctx, n)
		if err != nil {
			return nil, err
		}
		return u.all(ctx, requests, sample, contains(`"token_type":"DPoP"`))
	}}
}

// introspect asks about service tokens: about a hundred that were asked about before, or about a new one each time.
func (u *subject) introspect(sample *exchange, unseen bool) *series {
	const known = 100
	var seen []string
	return &series{pid: u.pid(), least: known, prepare: func(ctx context.Context, n int) (action, error) {
		tokens := seen
		if unseen || seen == nil {
			count := known
			if unseen {
				count = n
			}
			var err error
			if tokens, err = u.serviceTokens(ctx, count); err != nil {
				return nil, err
			}
		}
		requests := make([][]byte, n)
		for i := range requests {
			requests[i] = u.request("/introspect", url.Values{"token": {tokens[i%len(tokens)]}}, "Authorization", u.basic())
		}
		seen = tokens
		return u.all(ctx, requests, sample, contains(`"active":true`))
	}}
}

// introspectSessions asks about the access tokens of users, which were asked about before.
func (u *subject) introspectSessions(sample *exchange) *series {
	return &series{pid: u.pid(), least: len(u.sessions), prepare: func(ctx context.Context, n int) (action, error) {
		requests := make([][]byte, n)
		for i := range requests {
			token := u.sessions[i%len(u.sessions)].access
			requests[i] = u.request("/introspect", url.Values{"token": {token}}, "Authorization", u.basic())
		}
		return u.all(ctx, requests, sample, contains(`"active":true`))
	}}
}

// links is GET /me/links with a proof for each request and a token that was seen before.
func (u *subject) links(sample *exchange) *series {
	return &series{pid: u.pid(), least: 10 * callers, prepare: func(ctx context.Context, n int) (action, error) {
		s := u.sessions[0]
		proofs, err := u.proofs(ctx, s.signer, n, "GET", "/me/links", s.access)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, n)
		for i, proof := range proofs {
			requests[i] = u.request("/me/links", nil, "Authorization", "DPoP "+s.access, "DPoP", proof)
		}
		return u.all(ctx, requests, sample, contains(""))
	}}
}

// refresh refreshes by several callers at once. Each has sessions of its own, which take turns, and uses the refresh tokens of their
// last answers.
func (u *subject) refresh(sample *exchange, owned [][]*session) *series {
	callers := len(owned)
	return &series{pid: u.pid(), least: 10 * callers, prepare: func(ctx context.Context, n int) (action, error) {
		conns, err := u.conns.take(ctx, callers)
		if err != nil {
			return nil, err
		}
		proofs := make([][]string, callers)
		for i := range proofs {
			count := (n + callers - 1 - i) / callers // n in all
			if proofs[i], err = u.proofsOf(ctx, owned[i], count); err != nil {
				return nil, err
			}
		}
		return func(context.Context) ([]float64, error) {
			latencies := make([][]float64, callers)
			err := together(callers, func(i int) error {
				for turn, proof := range proofs[i] {
					s := owned[i][turn%len(owned[i])]
					begin := time.Now()
					request := u.request("/token", url.Values{
						"grant_type": {"refresh_token"}, "client_id": {appID}, "refresh_token": {s.refresh},
					}, "DPoP", proof)
					answer, err := conns[i].tokens(request)
					if err != nil {
						return err
					}
					latencies[i] = append(latencies[i], float64(time.Since(begin).Nanoseconds())/1e3)
					s.refresh, s.access = answer.RefreshToken, answer.AccessToken
					if i == 0 {
						*sample = exchange{request, len(conns[i].body)}
					}
				}
				return nil
			})
			return flatten(latencies), err
		}, nil
	}}
}

// proofsOf makes n proofs for the token endpoint, by the keys of the sessions in turn.
func (u *subject) proofsOf(ctx context.Context, sessions []*session, n int) ([]string, error) {
	proofs := make([]string, n)
	for first := range sessions[:min(n, len(sessions))] {
		count := (n + len(sessions) - 1 - first) / len(sessions) // n in all
		list, err := u.proofs(ctx, sessions[first].signer, count, "POST", "/token", "")
		if err != nil {
			return nil, err
		}
		for i, proof := range list {
			proofs[first+i*len(sessions)] = proof
		}
	}
	return proofs, nil
}

// divide gives each of n callers its part of the sessions.
func divide(sessions []*session, n int) [][]*session {
	owned := make([][]*session, n)
	for i, s := range sessions {
		owned[i%n] = append(owned[i%n], s)
	}
	return owned
}
