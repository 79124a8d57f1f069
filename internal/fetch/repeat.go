package fetch

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// noKey is a header of which net/http takes the name, without a value, for a promise that a request may be sent again; it
// is not sent itself.
const noKey = "X-Idempotency-Key"

// Repeatable marks a request that is not idempotent by its method, as a POST, but may be sent again where it was not
// processed or where doing so twice is as doing it once (RFC 9110 §9.2.2). It is sent again once, if the server closed a
// connection that was kept open, before any byte of the answer. A body needs GetBody, which [http.NewRequest] sets.
func Repeatable(req *http.Request) { req.Header[noKey] = nil }

// send sends a request, and once more if the connection that it took was a stale one. net/http does so by itself for
// HTTP/1.1, where the server has closed the connection; not for HTTP/2, nor for a connection that something on the
// way has dropped without a word.
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
	// What else is open may be as stale.
	t.base.CloseIdleConnections()
	return t.base.RoundTrip(again)
}

// mayRepeat reports whether a request may be sent again after err, though the server may have seen it.
func mayRepeat(req *http.Request, err error) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	_, marked := req.Header[noKey]
	// A server that is slow may be at work on it.
	slow := net.Error(nil)
	return marked && !(errors.As(err, &slow) && slow.Timeout())
}

// An attempt is what became of one request.
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
