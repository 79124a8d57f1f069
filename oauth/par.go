package oauth

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/storage"
)

const (
	requestURIPrefix = "urn:ietf:params:oauth:request_uri:"
	// pushedLife is how long a pushed request is stored and can begin logins. It is spent only when the app gets an answer, so
	// that a page can be reloaded.
	pushedLife = 5 * time.Minute
	// PushedSpent is how long the id of a spent request is stored: a login that began in its last moment has up to four steps
	// of ten minutes each.
	PushedSpent = pushedLife + 45*time.Minute
	// spentPushed is the kind of the single-use ids of spent requests.
	spentPushed = "request_uri"
)

var errRequestURI = refuse(CodeInvalidRequestURI,
	"The request_uri is unknown, used or expired, or another client's: push the request again.")

// A PushedAnswer is the answer to a pushed authorization request (RFC 9126 §2.2).
type PushedAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// An Admit stores a pushed request by store, under a key and until a time, unless too many are stored. The client is
// authenticated if it can be. Its error is that of [Provider.Push].
type Admit func(c *clients.Client, key [32]byte, until time.Time, store func() error) error

// Push takes an authorization request ahead of the browser (RFC 9126 §2.1). A proof that comes with it names the key
// that the code will be bound to, as dpop_jkt does; where both are given they agree (RFC 9449 §10.1). Errors are those
// of [Provider.Token], and those of admit.
func (p *Provider) Push(ctx context.Context, r TokenRequest, admit Admit) (PushedAnswer, error) {
	claimed, err := p.readProof(ctx, r, "/par")
	if err != nil {
		return PushedAnswer{}, err
	}
	client, once, err := p.clients.Authenticate(ctx, r.Header, r.Form)
	if err != nil {
		return PushedAnswer{}, err
	}
	if err := p.limiter.Client(client, r.Source); err != nil {
		return PushedAnswer{}, err
	}
	request := maps.Clone(r.Form)
	request.Set("client_id", client.ID)
	if claimed != nil {
		if jkt := request.Get("dpop_jkt"); jkt != "" && jkt != claimed.JKT() {
			return PushedAnswer{}, refuse(CodeInvalidRequest, "dpop_jkt is not the thumbprint of the key of the proof.")
		}
		request.Set("dpop_jkt", claimed.JKT())
	}
	if request.Has("request_uri") { // RFC 9126 §2.1, step 2
		return PushedAnswer{}, refuse(CodeInvalidRequest, "A pushed request cannot name a request_uri.")
	}
	if fault := client.RedirectFault(request.Get("redirect_uri")); fault != "" {
		if uri := request.Get("redirect_uri"); uri != "" {
			fault += " The request has " + named(uri) + "."
		}
		return PushedAnswer{}, refuse(CodeInvalidRequest, fault)
	}
	proof, err := verifyProof(claimed) // before anything is said about its key
	if err != nil {
		return PushedAnswer{}, err
	}
	a, err := p.check(client, request)
	if err != nil {
		return PushedAnswer{}, err
	}
	if proof != nil {
		if err := p.keyUsable(ctx, a.Domain, proof.JKT); err != nil {
			return PushedAnswer{}, err
		}
	}
	reference, err := p.random()
	if err != nil {
		return PushedAnswer{}, err
	}
	uri := requestURIPrefix + reference
	pushed := storage.Pushed{
		URI: hash(uri), Client: client.ID, Request: a.Request, ExpiresAt: p.now().Add(pushedLife),
	}
	err = admit(client, pushed.URI, pushed.ExpiresAt, func() error {
		if proof != nil {
			if err := p.proofs.Spend(ctx, proof, r.Source); err != nil {
				return err
			}
		}
		return p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if err := once.Spend(ctx, tx); err != nil {
				return err
			}
			return tx.InsertPushed(ctx, pushed)
		})
	})
	return PushedAnswer{RequestURI: uri, ExpiresIn: int64(pushedLife / time.Second)}, err
}

// unfold returns the parameters of an authorization request: those in the query or, all of them, those that were pushed
// (RFC 9126 §4). The name of a pushed request stays among them, for Finish to spend.
func (p *Provider) unfold(ctx context.Context, client *clients.Client, params url.Values) (url.Values, error) {
	uri := params.Get("request_uri")
	if !strings.HasPrefix(uri, requestURIPrefix) {
		if client.RequirePAR {
			return nil, refuse(CodeInvalidRequest, "The client is registered to push its authorization requests (RFC 9126), and did not.")
		}
		return params, nil
	}
	pushed, err := p.store.Pushed(ctx, hash(uri))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errRequestURI
	} else if err != nil {
		return nil, err
	}
	if pushed.Client != client.ID || !p.now().Before(pushed.ExpiresAt) {
		return nil, errRequestURI
	}
	return pushed.Request, nil
}

// spendPushed is part of the transaction that makes the code: a pushed request leads to one code at most. It may have
// expired since the login began, so the record of spent requests decides.
func (p *Provider) spendPushed(ctx context.Context, tx storage.Tx, uri string) error {
	if uri == "" {
		return nil
	}
	err := tx.SpendID(ctx, spentPushed, hash(uri), p.now().Add(PushedSpent))
	if errors.Is(err, storage.ErrConflict) {
		return errRequestURI
	} else if err != nil {
		return err
	}
	if err := tx.TakePushed(ctx, hash(uri)); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

// Spend is part of the transaction that ends a login without a code: where it began with a pushed request, no other login
// does. One that is spent already is no error.
func (p *Provider) Spend(ctx context.Context, tx storage.Tx, request url.Values) error {
	if err := p.spendPushed(ctx, tx, request.Get("request_uri")); err != nil && !errors.Is(err, errRequestURI) {
		return err
	}
	return nil
}
