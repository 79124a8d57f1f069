package dpop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Transport is an [http.RoundTripper] that adds a proof to every request. It remembers the newest nonce of each origin
// (RFC 9449 §8.2). If a server asks for a fresh nonce (§8, §9), or refuses a proof and its Date header shows that the
// clocks differ, the Transport repeats the request once with that nonce or time. A request with a body is repeated only
// if it has [http.Request.GetBody]. If a request has an Authorization header of the scheme DPoP, its proof has the `ath`
// of that token. A Transport may be used by several goroutines.
type Transport struct {
	// Signer makes the proofs. Required.
	Signer *Signer
	// Base sends the requests. Nil means [http.DefaultTransport].
	Base http.RoundTripper
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time

	mu      sync.Mutex
	servers map[string]server
}

// A server holds what a Transport knows about an origin.
type server struct {
	nonce  string        // the newest one
	offset time.Duration // how far the server's clock is ahead of ours
}

const (
	maxErrorBody = 16 << 10        // how many bytes of an error answer are read to find its code
	minOffset    = 5 * time.Second // a smaller difference of the clocks is not the reason of a refusal
)

// RoundTrip sends a copy of r with a proof, see [Transport].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	origin, err := NormalizeHTU(r.URL.Scheme + "://" + r.URL.Host)
	if err != nil {
		closeBody(r)
		return nil, fmt.Errorf("dpop: %w", err)
	}
	var askedNonce, askedClock bool // each request is repeated once for each, also if the server asks again
	for {
		known := t.server(origin)
		answer, err := t.send(r, known)
		if err != nil {
			return nil, err
		}
		code := errorCode(answer)
		fresh := t.learn(origin, answer, code)
		// The request is repeated only if the refusal brought a new nonce or time.
		switch {
		case code == "use_dpop_nonce" && fresh.nonce != known.nonce && !askedNonce:
			askedNonce = true
		case code == "invalid_dpop_proof" && fresh.offset != known.offset && !askedClock:
			askedClock = true
		default:
			return answer, nil
		}
		again := r.Clone(r.Context())
		if r.Body != nil && r.Body != http.NoBody {
			if r.GetBody == nil {
				return answer, nil
			}
			if again.Body, err = r.GetBody(); err != nil {
				return answer, nil // the refusal is the answer
			}
		}
		answer.Body.Close()
		r = again
	}
}

// send sends a copy of r with a new proof.
func (t *Transport) send(r *http.Request, to server) (*http.Response, error) {
	params := ProofParams{
		Method:   cmp.Or(r.Method, http.MethodGet),
		URL:      r.URL.Scheme + "://" + r.URL.Host + escapedPath(r.URL),
		Nonce:    to.nonce,
		IssuedAt: t.now().Add(to.offset),
	}
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "DPoP") {
		params.AccessToken = strings.TrimLeft(token, " ")
	}
	proof, err := t.Signer.Proof(params)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("DPoP", proof)
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r)
}

func (t *Transport) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

func (t *Transport) server(origin string) server {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[origin]
}

// learn stores the nonce and the clock of an answer, and returns what is known about the origin now.
func (t *Transport) learn(origin string, answer *http.Response, code string) server {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.servers[origin]
	// RFC 9449 §8: an answer has at most one nonce.
	if values := answer.Header.Values("DPoP-Nonce"); len(values) == 1 && values[0] != "" && len(values[0]) <= maxName {
		s.nonce = values[0]
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil && code == "invalid_dpop_proof" {
		if offset := date.Sub(t.now()); (offset - s.offset).Abs() >= minOffset {
			s.offset = offset
		}
	}
	if t.servers == nil {
		t.servers = make(map[string]server)
	}
	t.servers[origin] = s
	return s
}

// errorCode returns the DPoP error of an answer. A resource sends it in its challenge (401, RFC 9449 §7.1), an
// authorization server in its body (400 or 401, §5, §8). The body can still be read from its beginning.
func errorCode(answer *http.Response) string {
	if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusUnauthorized {
		return ""
	}
	for _, challenge := range answer.Header.Values("WWW-Authenticate") {
		for _, code := range []string{"use_dpop_nonce", "invalid_dpop_proof"} {
			if strings.Contains(challenge, `error="`+code+`"`) {
				return code
			}
		}
	}
	head, err := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody))
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), answer.Body), answer.Body}
	var body struct {
		Error string `json:"error"`
	}
	if err != nil || json.Unmarshal(head, &body) != nil {
		return ""
	}
	return body.Error
}

// closeBody closes the body of a request that is not sent, as every RoundTripper does.
func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}
