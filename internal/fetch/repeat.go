package fetch

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// noKey is a header that net/http, if it has no value, takes as a promise that the request may be sent again. The header itself
// is not sent.
const noKey = "X-Idempotency-Key"

// Repeatable marks a request whose method is not idempotent, such as a POST, but which may be sent again if it was not processed,
// or because processing it twice has the same effect as once (RFC 9110 §9.2.2). It is sent again at most once, if the server
// closed a kept-open connection before the first byte of the answer. A body needs GetBody, which [http.NewRequest] sets.
func Repeatable(req *http.Request) { req.Header[noKey] = nil }

// send sends a request, and sends it once more if its connection was stale. net/http does the same for HTTP/1.1 connections that
// the server has closed, but not for HTTP/2, nor for a connection that a device on the way dropped silently.
func (t *transport) send(req *http.Request) (*http.Response, error) {
	var seen attempt
	resp, err := t.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), seen.trace())))
	if err == nil || !seen.stale() || req.Context().Err() != nil || !mayRepeat(req, err) {
		return resp, err
	}
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	// The other idle connections may be stale too.
	t.base.CloseIdleConnections()
	return t.base.RoundTrip(again)
}

// mayRepeat reports whether a request may be sent again after err, even if the server has received it.
func mayRepeat(req *http.Request, err error) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	_, marked := req.Header[noKey]
	// A slow server may still be processing it.
	slow := net.Error(nil)
	return marked && !(errors.As(err, &slow) && slow.Timeout())
}

// An attempt records what happened to one request.
type attempt struct {
	mu       sync.Mutex
	reused   bool // its connection had been used before
	answered bool // a byte of the answer came
}

// stale reports whether the request had a connection that was kept open, and no answer.
func (a *attempt) stale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reused && !a.answered
}

func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.reused, a.answered = info.Reused, false
		},
		GotFirstResponseByte: func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.answered = true
		},
	}
}
