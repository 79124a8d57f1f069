package dpop

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrUnproven is the cause with which a [Binding] ends if its client did not prove its key again in time.
var ErrUnproven = errors.New("dpop: the connection was not proven again in time")

// A Binding ties a long-lived connection, such as a WebSocket or an XMPP stream, to the key that opened it. A proof
// covers one request, but such a connection is one request for hours. So the client proves its key when it opens the
// connection, and again before each interval is over; see docs/dpop.md.
//
// The proofs are checked elsewhere: by [Resource.Admit], or by [Verifier.CheckPresentation] where there is no URL. Both
// check the access token each time, so a connection outlives its token by at most one interval.
type Binding struct {
	jkt   string
	every time.Duration

	ctx context.Context
	end context.CancelCauseFunc

	mu       sync.Mutex
	deadline time.Time
	timer    *time.Timer
}

// Bind returns the binding of a connection that was just opened with a proof by the key with thumbprint jkt. The binding
// ends with parent, or when the key is not proven again within every.
func Bind(parent context.Context, jkt string, every time.Duration) *Binding {
	b := &Binding{jkt: jkt, every: every, deadline: time.Now().Add(every)}
	b.ctx, b.end = context.WithCancelCause(parent)
	b.timer = time.AfterFunc(every, b.expire)
	return b
}

// Context returns a context that ends with the binding. The server of the connection must close it then. [context.Cause]
// returns the reason.
func (b *Binding) Context() context.Context { return b.ctx }

// JKT returns the thumbprint of the key that the connection belongs to.
func (b *Binding) JKT() string { return b.jkt }

// Renew restarts the interval after the key with thumbprint jkt was proven again. If that is not the key of the
// connection, the binding ends, and the error is an [ErrInvalidProof]. If the binding has ended, Renew returns the cause.
func (b *Binding) Renew(jkt string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := context.Cause(b.ctx); err != nil {
		return err
	}
	if jkt != b.jkt {
		err := refuse("jwk", "not the key that opened the connection")
		b.end(err)
		return err
	}
	b.deadline = time.Now().Add(b.every)
	b.timer.Reset(b.every)
	return nil
}

// End ends the binding for a cause, such as the revocation of its token, or nil when the connection was closed. The
// first cause stays.
func (b *Binding) End(cause error) {
	b.timer.Stop()
	b.end(cause)
}

// expire ends the binding, unless it was renewed while the timer fired.
func (b *Binding) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !time.Now().Before(b.deadline) {
		b.end(ErrUnproven)
	}
}

// WebSocketURL returns the URL of a WebSocket as it is written in `htu`: with https for wss and http for ws, because the
// handshake is an HTTP request with the method GET (RFC 6455 §4.1). Browsers cannot add headers to it, so the first
// message contains the proof.
func WebSocketURL(url string) (string, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	switch strings.ToLower(scheme) {
	case "wss":
		return NormalizeHTU("https://" + rest)
	case "ws":
		return NormalizeHTU("http://" + rest)
	}
	return "", errors.New("dpop: not a ws or wss URL")
}
