package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/storage"
)

// ClientKeys finds the keys of the clients that publish them.
type ClientKeys interface {
	// Keys returns the keys that c publishes at its jwks_uri, if has is true of them: has tells whether one of them made the
	// signature of a request. The error is [ErrNoClientKey] if none did. Any other error means that this cannot be known now,
	// and is only for a signature by a key that the client is known to have published: who has none is not to learn from an
	// outage that there is such a client.
	Keys(ctx context.Context, c *Client, has func([]assertion.Key) bool) ([]assertion.Key, error)
}

// ErrNoClientKey is returned by [ClientKeys] when a client publishes no such key.
var ErrNoClientKey = errors.New("oauth: the client publishes no such key")

var errAssertion = refuse(CodeInvalidClient, "The client is unknown, is not registered for private_key_jwt, or none of its registered keys made this signature: check the client id, the key, alg and kid.")

// identifyByAssertion says which client made the assertion of a request (RFC 7523 §3). What is refused before the client
// is looked up is refused for all alike; after that there is one answer, and no shorter way to it.
func (p *Provider) identifyByAssertion(ctx context.Context, header http.Header, form url.Values) (*Client, *once, error) {
	switch {
	case !form.Has("client_assertion"), !form.Has("client_assertion_type"):
		return nil, nil, refuse(CodeInvalidRequest, "client_assertion and client_assertion_type go together: one of them is missing.")
	case len(header.Values("Authorization")) > 0, form.Has("client_secret"):
		return nil, nil, refuse(CodeInvalidRequest, "The client authenticates twice: use either client_assertion or a secret.")
	case form.Get("client_assertion_type") != assertion.Type:
		return nil, nil, refuse(CodeInvalidClient, "The client_assertion_type must be "+assertion.Type+found(form, "client_assertion_type")+".")
	}
	a, err := assertion.Parse(form.Get("client_assertion"))
	if err == nil {
		err = a.Check(p.issuer, p.now())
	}
	if e := (*assertion.Error)(nil); errors.As(err, &e) {
		return nil, nil, refuse(CodeInvalidClient, "The client assertion is not valid: "+e.Part+": "+plain(e.Err)+".")
	}
	if id := form.Get("client_id"); id != "" && id != a.Client { // RFC 7521 §4.2
		return nil, nil, refuse(CodeInvalidClient, "The client_id and the sub of the client assertion differ.")
	}
	client, known := p.Client(a.Client)
	if !known || !client.signs() {
		a.VerifyNone()
		return nil, nil, errAssertion
	}
	signed := a.VerifyAny(client.Keys)
	if client.JWKSURI != "" {
		_, err := p.published.Keys(ctx, client, a.VerifyAny)
		if err != nil && !errors.Is(err, ErrNoClientKey) {
			return nil, nil, fmt.Errorf("oauth: keys of client %s: %w", client.ID, err)
		}
		signed = err == nil
	}
	if !signed {
		a.VerifyNone()
		return nil, nil, errAssertion
	}
	// The id of a client and the bytes of its jti; no id holds a zero byte.
	return client, &once{sha256.Sum256([]byte(client.ID + "\x00" + a.JTI)), a.SpentUntil()}, nil
}

// once is the jti of an assertion that was found good and is to be spent; nil for a client that authenticated in another
// way. It is spent last, when proof, nonce and all else are good: a request that is refused, above all for want of a
// nonce, may come again with the same assertion, as clients send it.
type once struct {
	key   [32]byte
	until time.Time
}

// spend is a step of a transaction.
func (o *once) spend(ctx context.Context, tx storage.Tx) error {
	if o == nil {
		return nil
	}
	err := tx.SpendID(ctx, "client_assertion", o.key, o.until)
	if errors.Is(err, storage.ErrConflict) {
		return refuse(CodeInvalidClient, "The client assertion was used before: make a new one, with a jti of its own, for each request.")
	}
	return err
}

// spendOnce is spend in a transaction of its own.
func (p *Provider) spendOnce(ctx context.Context, o *once) error {
	if o == nil {
		return nil
	}
	return p.store.Update(ctx, o.spend)
}
