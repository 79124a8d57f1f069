package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A request is one to a node or to the balancer.
type request struct {
	kind   string // as the report has it
	method string // "" means POST
	path   string
	form   url.Values
	device *device // whose key signs the proof; nil for none
	token  string  // the access token of the request, if there is one
	basic  bool    // whether the service rooms asks
	proof  string  // is sent instead of a new one
}

// An answer is what came back, and when.
type answer struct {
	status       int
	header       http.Header
	body         []byte
	err          error
	node         string // that answered; "" if none did
	proof        string // of the request
	began, ended time.Time
}

// ok reports success.
func (a *answer) ok() bool { return a.err == nil && a.status/100 == 2 }

// lost reports that no node has decided, as far as the client knows.
func (a *answer) lost() bool {
	return a.err != nil || a.node == "" || a.status == http.StatusServiceUnavailable
}

// code returns the OAuth error of a refusal.
func (a *answer) code() string {
	for _, challenge := range a.header.Values("WWW-Authenticate") {
		for _, code := range []string{"use_dpop_nonce", "invalid_dpop_proof", "invalid_token"} {
			if strings.Contains(challenge, `error="`+code+`"`) {
				return code
			}
		}
	}
	var body struct{ Error string }
	if a.err != nil || json.Unmarshal(a.body, &body) != nil {
		return ""
	}
	return body.Error
}

func (a *answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d by node %q: %.300s", a.status, a.node, a.body)
}

// A nonces holds the newest nonce that a user got.
type nonces struct {
	mu  sync.Mutex
	own string
}

func (n *nonces) newest() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.own
}

func (n *nonces) learn(h http.Header) {
	if values := h.Values("DPoP-Nonce"); len(values) == 1 {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.own = values[0]
	}
}

// send sends a request once: to a node, or to the balancer if it is nil. It checks what holds for every answer.
func (u *user) send(at *node, r request) (a answer) {
	defer func() {
		u.cluster.check(&a, at, r)
	}()
	a.began = time.Now()
	req, err := http.NewRequest(r.method, u.cluster.issuer+r.path, strings.NewReader(r.form.Encode()))
	if r.method == "" {
		req.Method = http.MethodPost
	}
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r.basic {
		req.SetBasicAuth("rooms", "test")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "DPoP "+r.token)
	}
	if a.proof = r.proof; a.proof == "" && r.device != nil {
		a.proof = u.prove(r)
	}
	if a.proof != "" {
		req.Header.Set("DPoP", a.proof)
	}
	client, node := u.cluster.balanced, ""
	if at != nil {
		client, node = at.http, at.name
	}
	resp, err := client.Do(req)
	if err == nil {
		a.body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	a.ended = time.Now()
	if err != nil {
		a.err = err
		return a
	}
	a.status, a.header, a.node = resp.StatusCode, resp.Header, node
	if at == nil {
		a.node = resp.Header.Get("X-Node")
	}
	u.nonces.learn(resp.Header)
	return a
}

// prove makes a new proof for a request.
func (u *user) prove(r request) string {
	method := r.method
	if method == "" {
		method = http.MethodPost
	}
	proof, err := r.device.signer.Proof(dpop.ProofParams{Method: method, URL: u.cluster.issuer + r.path, Nonce: u.nonces.newest(),
		AccessToken: r.token, IssuedAt: time.Now()})
	if err != nil {
		panic(err)
	}
	return proof
}

// ask is send that repeats the request with a fresh nonce, as clients do. Refusals that the caller expects are not counted as such.
func (u *user) ask(at *node, r request) answer {
	for n := 0; ; n++ {
		a := u.send(at, r)
		if a.code() != "use_dpop_nonce" {
			return a
		}
		if n >= 1 {
			u.ledger.add("a nonce that was just given is refused, too", 1)
		}
		if n == maxNonces {
			u.ledger.broken("%s: the nonce of each answer is refused by the next one, %d times", r.kind, n)
			return a
		}
	}
}

// maxNonces is how often a client asks for another nonce: nodes may learn at different times that the epoch has changed.
const maxNonces = 10

// check counts an answer, and checks what holds for every answer, whatever was asked.
func (c *cluster) check(a *answer, at *node, r request) {
	outcome := done
	switch {
	case a.err != nil:
		outcome = cut
		if !c.excused(a, at) {
			c.ledger.broken("%s: the connection to a node that was not killed failed: %v", r.kind, a.err)
		}
	case a.header.Get("X-Balancer") != "":
		outcome = balancer
	case a.node == "":
		c.ledger.broken("%s: an answer by HAProxy without a node: %v", r.kind, a)
	case a.status == http.StatusServiceUnavailable:
		outcome = later
		if a.header.Get("Retry-After") == "" {
			c.ledger.broken("%s: 503 without Retry-After: %v", r.kind, a)
		}
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		c.ledger.broken("%s: %v", r.kind, a)
	case a.code() == "use_dpop_nonce":
		outcome = asked
	case a.status >= 400:
		outcome = refused
	}
	c.ledger.count(r.kind, outcome)
}

// excused reports whether a connection may have failed because a node was killed.
func (c *cluster) excused(a *answer, at *node) bool {
	if at != nil {
		return !at.ran(a.began, a.ended)
	}
	return slices.ContainsFunc(c.nodes, func(n *node) bool { return !n.ran(a.began, a.ended) })
}

// A recorder is the transport of a browser: it notes what a login met on its way.
type recorder struct {
	cluster *cluster
	failed  bool // whether a request was not answered, or by 503
}

var errStopped = errors.New("the login was given up: a request was not answered")

// RoundTrip sends requests to the issuer through the balancer, and those to the provider as they are.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if "http://"+req.URL.Host != r.cluster.issuer {
		return http.DefaultTransport.RoundTrip(req)
	}
	a := answer{began: time.Now()}
	resp, err := r.cluster.balanced.Transport.RoundTrip(req)
	if err == nil {
		a.body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	a.ended, a.err = time.Now(), err
	if err == nil {
		a.status, a.header, a.node = resp.StatusCode, resp.Header, resp.Header.Get("X-Node")
	}
	r.cluster.check(&a, nil, request{kind: "page of a login"})
	if a.lost() {
		r.failed = true
		return nil, errStopped
	}
	if a.status >= 400 {
		r.cluster.ledger.broken("page of a login: %s %s: %v", req.Method, req.URL.Path, &a)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(a.body)))
	return resp, nil
}
