package fetch

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"sync"
)

// A Purpose says what a request is for, in one of a few words. It is for measurements, and changes nothing.
type Purpose string

// The purposes of requests.
const (
	ProviderMetadata Purpose = "provider_metadata" // of an OpenID provider
	ProviderKeys     Purpose = "provider_keys"
	ProviderToken    Purpose = "provider_token"
	ProviderUserinfo Purpose = "provider_userinfo"
	DomainDocument   Purpose = "domain_document" // which issuers speak for a domain
	IssuerMetadata   Purpose = "issuer_metadata"
	IssuerKeys       Purpose = "issuer_keys"
	ClientKeys       Purpose = "client_keys"
	StatusList       Purpose = "status_list"
	CRL              Purpose = "crl" // of a CA
	Introspection    Purpose = "introspection"
	Feed             Purpose = "feed"
	Token            Purpose = "token" // of the program itself, at another issuer
)

type purposeKey struct{}

// For returns a context whose requests are for a purpose.
func For(ctx context.Context, p Purpose) context.Context {
	return context.WithValue(ctx, purposeKey{}, p)
}

// An Exchange is a request that a client sends, as [Policy.Observe] is told of it.
type Exchange struct {
	// Purpose is that of the context of the request, and empty if none was named.
	Purpose Purpose
	Method  string
	// Host is the name of the host, without a port. It is empty for URLs that come from other parties, who choose the name.
	Host string
}

// An Observer is called with each request, when it begins. The function that it returns, unless it is nil, is called once when the
// request is over: when its answer was read or closed, or has failed. A stream of events is over when it begins. The status is zero
// without an answer.
type Observer func(ctx context.Context, x Exchange) (over func(status int, err error))

// observed sends a request and tells the observer.
func (t *transport) observed(req *http.Request) (*http.Response, error) {
	x := Exchange{Method: req.Method}
	x.Purpose, _ = req.Context().Value(purposeKey{}).(Purpose)
	if !t.foreign {
		x.Host = req.URL.Hostname()
	}
	over := t.policy.Observe(req.Context(), x)
	if over == nil {
		return t.exchange(req)
	}
	resp, err := t.exchange(req)
	if err != nil {
		over(0, err)
		return nil, err
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "text/event-stream" {
		over(resp.StatusCode, nil)
		return resp, nil
	}
	resp.Body = &observedBody{ReadCloser: resp.Body, over: func(err error) { over(resp.StatusCode, err) }}
	return resp, nil
}

// An observedBody tells when it was read to its end, has failed, or was closed.
type observedBody struct {
	io.ReadCloser
	once sync.Once
	over func(error)
}

// Read reads from the body.
func (b *observedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.once.Do(func() { b.over(nil) })
	case err != nil:
		b.once.Do(func() { b.over(err) })
	}
	return n, err
}

// Close closes the body.
func (b *observedBody) Close() error {
	b.once.Do(func() { b.over(nil) })
	return b.ReadCloser.Close()
}

// Fault says in a word why a request failed, for measurements: the part that the policy refused, as in [RefusedError], or "canceled",
// "timeout" or "unreachable".
func Fault(err error) string {
	var (
		refused *RefusedError
		network net.Error
	)
	switch {
	case errors.As(err, &refused):
		return "refused_" + refused.Part
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return "unreachable"
}
