package clients

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/storage"
)

// A KeySource finds the keys of the clients that publish them.
type KeySource interface {
	// Keys returns the keys that c publishes at its jwks_uri, if has is true of them: has tells whether one of them made the
	// signature of a request. The error is [ErrNoKey] if none did. Any other error means that this cannot be known now. It
	// is returned only for a signature by a key that the client is known to have published, so that others do not learn from
	// an outage that there is such a client.
	Keys(ctx context.Context, c *Client, has func([]assertion.Key) bool) ([]assertion.Key, error)
}

// ErrNoKey is returned by a [KeySource] when a client publishes no such key.
var ErrNoKey = errors.New("clients: the client publishes no such key")

var errAssertion = oautherror.New(oautherror.InvalidClient,
	"The client is unknown, is not registered for private_key_jwt, or none of its registered keys made this "+
		"signature: check the client id, the key, alg and kid.")

// byAssertion returns the client that signed the assertion of a request (RFC 7523 §3). The checks before the client is looked
// up are the same for all; after that there is one answer, which takes the same time.
func (r *Registry) byAssertion(ctx context.Context, header http.Header, form url.Values) (*Client, *Assertion, error) {
	switch {
	case !form.Has("client_assertion"), !form.Has("client_assertion_type"):
		return nil, nil, oautherror.New(oautherror.InvalidRequest,
			"client_assertion and client_assertion_type go together: one of them is missing.")
	case len(header.Values("Authorization")) > 0, form.Has("client_secret"):
		return nil, nil, oautherror.New(oautherror.InvalidRequest,
			"The client authenticates twice: use either client_assertion or a secret.")
	case form.Get("client_assertion_type") != assertion.Type:
		return nil, nil, oautherror.New(oautherror.InvalidClient,
			"The client_assertion_type must be "+assertion.Type+oautherror.Found(form, "client_assertion_type")+".")
	}
	a, err := assertion.Parse(form.Get("client_assertion"))
	if err == nil {
		err = a.Check(r.issuer, r.now())
	}
	if e := (*assertion.Error)(nil); errors.As(err, &e) {
		return nil, nil, oautherror.New(oautherror.InvalidClient,
			"The client assertion is not valid: "+e.Part+": "+oautherror.Plain(e.Err)+".")
	}
	if id := form.Get("client_id"); id != "" && id != a.Client { // RFC 7521 §4.2
		return nil, nil, oautherror.New(oautherror.InvalidClient, "The client_id and the sub of the client assertion differ.")
	}
	client, known := r.Client(a.Client)
	if !known || !client.signs() {
		a.VerifyNone()
		return nil, nil, errAssertion
	}
	signed := a.VerifyAny(client.Keys)
	if client.JWKSURI != "" {
		_, err := r.keys.Keys(ctx, client, a.VerifyAny)
		if err != nil && !errors.Is(err, ErrNoKey) {
			return nil, nil, fmt.Errorf("clients: keys of client %s: %w", client.ID, err)
		}
		signed = err == nil
	}
	if !signed {
		a.VerifyNone()
		return nil, nil, errAssertion
	}
	// The id of a client and the bytes of its jti; no id holds a zero byte.
	return client, &Assertion{sha256.Sum256([]byte(client.ID + "\x00" + a.JTI)), a.SpentUntil()}, nil
}

// An Assertion is a client assertion that was found valid and is to be spent. It is spent after every other check, so that a
// client can repeat a refused request, above all one without a nonce, with the same assertion.
type Assertion struct {
	key   [32]byte // of its jti
	until time.Time
}

// Spend records that the assertion was used, as a step of a transaction. One that was used before is an [*oautherror.Error]. It
// does nothing for a nil assertion.
func (a *Assertion) Spend(ctx context.Context, tx storage.Tx) error {
	if a == nil {
		return nil
	}
	err := tx.SpendID(ctx, "client_assertion", a.key, a.until)
	if errors.Is(err, storage.ErrConflict) {
		return oautherror.New(oautherror.InvalidClient,
			"The client assertion was used before: make a new one, with a jti of its own, for each request.")
	}
	return err
}

// Spend is [Assertion.Spend] in a transaction of its own.
func (r *Registry) Spend(ctx context.Context, a *Assertion) error {
	if a == nil {
		return nil
	}
	return r.store.Update(ctx, a.Spend)
}
