package dpop

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrUnproven is why a [Binding] ends whose client did not prove itself again in time.
var ErrUnproven = errors.New("dpop: the connection was not proven again in time")

// A Binding ties a long-lived connection, such as a WebSocket or an XMPP stream, to the key that opened it. A proof
// covers one request, but such a connection is one request for hours. So the client proves itself when it opens the
// connection, and again before each interval is over, always with the same key; see docs/dpop.md.
//
// What proves it is checked elsewhere: by [Resource.Admit], or by [Verifier.CheckPresentation] where there is no URL.
// Both look at the access token anew, so that a connection outlives the end of its token by one interval at most.
type Binding struct {
	jkt   string
	every time.Duration

	ctx context.Context
	end context.CancelCauseFunc

	mu       sync.Mutex
	deadline time.Time
	timer    *time.Timer
}

// Bind returns the binding of a connection that the key with thumbprint jkt has just proven to open. It ends with
// parent, or when the key is not proven again within every.
func Bind(parent context.Context, jkt string, every time.Duration) *Binding {
	b := &Binding{jkt: jkt, every: every, deadline: time.Now().Add(every)}
	b.ctx, b.end = context.WithCancelCause(parent)
	b.timer = time.AfterFunc(every, b.expire)
	return b
}

// Context returns a context that ends with the binding: whoever serves the connection closes it then. [context.Cause]
// tells why.
func (b *Binding) Context() context.Context { return b.ctx }

// JKT returns the thumbprint of the key that the connection belongs to.
func (b *Binding) JKT() string { return b.jkt }

// Renew starts the interval anew after the key with thumbprint jkt was proven again. Another key than that of the
// connection ends the binding and is an [ErrInvalidProof]. If the binding has ended, Renew returns the cause.
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

// expire ends the binding, unless it was renewed in the moment when the timer rang.
func (b *Binding) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !time.Now().Before(b.deadline) {
		b.end(ErrUnproven)
	}
}

// WebSocketURL returns the form in which the URL of a WebSocket stands in `htu`: https for wss, http for ws, as the
// handshake is an HTTP request with the method GET (RFC 6455 §4.1). Browsers cannot add headers to it, so the proof
// travels in the first message.
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
