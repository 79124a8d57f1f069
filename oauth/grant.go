package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Grant types of the token endpoint.
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantExchange          = "urn:ietf:params:oauth:grant-type:token-exchange"  // RFC 8693
	GrantEmbed             = "urn:ietf:params:oauth:grant-type:embedded-tokens" // draft-yusef-oauth-nested-jwt-08
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"      // RFC 7523 §2.1
	GrantDevice            = "urn:ietf:params:oauth:grant-type:device_code"     // RFC 8628 §3.4
)

// GrantTypes are all grant types of the token endpoint.
var GrantTypes = []string{GrantCode, GrantRefresh, GrantClientCredentials, GrantExchange, GrantEmbed, GrantJWTBearer, GrantDevice}

// newGrant makes the grant of each type for one request.
var newGrant = map[string]func(*Provider, *tokenRequest) grant{
	GrantCode:              func(p *Provider, r *tokenRequest) grant { return &codeGrant{Provider: p, r: r} },
	GrantRefresh:           func(p *Provider, r *tokenRequest) grant { return &refreshGrant{Provider: p, r: r} },
	GrantClientCredentials: func(p *Provider, r *tokenRequest) grant { return &clientCredentialsGrant{p, r} },
	GrantExchange: func(p *Provider, r *tokenRequest) grant {
		if r.Form.Get("subject_token_type") == typeIDToken {
			return &idTokenGrant{derivation: derivation{Provider: p, r: r}}
		}
		return &exchangeGrant{derivation{Provider: p, r: r}}
	},
	GrantEmbed: func(p *Provider, r *tokenRequest) grant {
		return &embedGrant{derivation: derivation{Provider: p, r: r}}
	},
	GrantJWTBearer: func(p *Provider, r *tokenRequest) grant { return &chainedGrant{Provider: p, r: r} },
	GrantDevice:    func(p *Provider, r *tokenRequest) grant { return &deviceGrant{Provider: p, r: r} },
}

// A grant is one request of a grant type. Its client is authenticated, and its proof, if there is one, is verified but not spent.
type grant interface {
	// check decides on the token, from rows that it reads from db. It writes nothing. An error that is a [*reuse] ends a session.
	check(ctx context.Context, db Reader) (*token, error)
	// commit writes the change that goes with the token, as a step of a transaction. Errors are those of check. It is called
	// if the token says that there is such a change.
	commit(ctx context.Context, tx storage.Tx) error
}

// prepare decides on the token of a request, counts it for its user and spends the proof. After this, only a lost race or an
// outage prevents the token.
func (p *Provider) prepare(ctx context.Context, r *tokenRequest) error {
	decide := func() error { return p.decide(ctx, r, p.store) }
	if g, ok := r.grant.(*refreshGrant); ok {
		if p.rechecks != nil {
			if err := g.recheck(ctx); err != nil {
				return err
			}
		}
		if p.spendInUpdate {
			decide = func() error { return p.rotate(ctx, r, g) }
		}
	}
	return p.endReused(ctx, r, p.withEntries(ctx, r, decide))
}

// rotate is prepare and commit in one transaction: it reads the session, checks it, spends the proof and moves the session on.
// The token is signed afterwards. If that fails, the client gets the same successor when it repeats the request.
func (p *Provider) rotate(ctx context.Context, r *tokenRequest, g *refreshGrant) error {
	if err := g.readToken(); err != nil { // refused without a turn of the writer
		return err
	}
	err := p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := r.client.Check(ctx, tx); err != nil {
			return err
		}
		if err := p.decide(ctx, r, tx); err != nil {
			return err
		}
		return p.write(ctx, tx, r)
	})
	r.committed = err == nil
	return err
}

// decide is prepare on the rows of db. A transaction may be run again: the request is counted and the proof spent once.
func (p *Provider) decide(ctx context.Context, r *tokenRequest, db Reader) (err error) {
	if r.token, err = r.grant.check(ctx, db); err != nil {
		return err
	}
	if err := p.countAndSpend(ctx, r, r.token); err != nil {
		return err
	}
	return p.refer(r.token)
}

// countAndSpend counts a request for the user of its token, and spends the proof, each once.
func (p *Provider) countAndSpend(ctx context.Context, r *tokenRequest, t *token) error {
	// An actor's request does not count for the user for whom it acts.
	if u := t.user; u.ID != "" && t.claims.Actor == nil && !r.counted {
		if err := p.limiter.User(u, r.client.ID); err != nil {
			return err
		}
		r.counted = true
	}
	return p.spendProof(ctx, r)
}

// issue signs the token of a request that was prepared, and commits the grant unless that is done. The signed token is not
// handed out if the transaction fails.
func (p *Provider) issue(ctx context.Context, r *tokenRequest) (TokenAnswer, error) {
	typ := cmp.Or(r.token.typ, jose.TypeAccessToken)
	signed, err := p.sign(typ, r.token)
	if err != nil {
		return TokenAnswer{}, err
	}
	if !r.committed {
		if err := p.commit(ctx, r); err != nil {
			return TokenAnswer{}, p.endReused(ctx, r, err)
		}
	}
	if r.event != nil && !r.token.writes {
		p.audit.Record(ctx, *r.event) // nothing is committed with it
	}
	answer := TokenAnswer{
		AccessToken:     signed,
		TokenType:       "DPoP", // RFC 9449 §5
		ExpiresIn:       int64(r.token.claims.Expires.Sub(r.at) / time.Second),
		RefreshToken:    r.token.refresh,
		Scope:           r.token.claims.Scope,
		IssuedTokenType: r.token.issuedType,
	}
	switch {
	case typ != jose.TypeAccessToken:
		answer.TokenType = "N_A" // RFC 8693 §2.2.1
	case r.proof == nil:
		answer.TokenType = "Bearer" // RFC 6750
	}
	return answer, nil
}

// sign signs a token.
func (p *Provider) sign(typ string, t *token) (signed string, err error) {
	if t.sign != nil {
		signed, err = t.sign(t.claims)
	} else {
		signed, err = p.keys.Sign(typ, t.claims.AppendJSON(make([]byte, 0, 768)))
	}
	if err != nil {
		return "", fmt.Errorf("oauth: sign %s: %w", cmp.Or(t.issuedType, typ), err)
	}
	return signed, nil
}

// commit writes everything that goes with a token in one transaction, if there is anything to write. The client and the user
// must be as they were when the token was decided on.
func (p *Provider) commit(ctx context.Context, r *tokenRequest) error {
	if !r.token.writes && r.assertion == nil {
		return nil
	}
	return p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := r.client.Check(ctx, tx); err != nil {
			return err
		}
		if r.token.user.ID != "" {
			if err := statements.SameUser(ctx, tx, r.token.user); err != nil {
				return err
			}
		}
		return p.write(ctx, tx, r)
	})
}

// write spends the client's assertion and commits the grant.
func (p *Provider) write(ctx context.Context, tx storage.Tx, r *tokenRequest) error {
	if err := r.assertion.Spend(ctx, tx); err != nil {
		return err
	}
	if !r.token.writes {
		return nil
	}
	if err := r.grant.commit(ctx, tx); err != nil {
		return err
	}
	if r.event == nil {
		return nil
	}
	return audit.Append(ctx, tx, *r.event)
}

// A reuse is returned by a grant for a code or a refresh token that was used before and must have been copied. The session ends.
type reuse struct {
	session storage.Grant
	kind    audit.Kind
	reason  string // of the end of the session
	answer  *Error
}

func (e *reuse) Error() string { return e.answer.Error() }

// endReused ends the session if err is a [*reuse], and returns the answer to the client. The proof is spent before that, so
// that a repeated proof ends nothing. Any other error is returned as it is.
func (p *Provider) endReused(ctx context.Context, r *tokenRequest, err error) error {
	if err == nil {
		return nil
	}
	var e *reuse
	if !errors.As(err, &e) {
		return err
	}
	if err := p.spendProof(ctx, r); err != nil {
		return err
	}
	if err := p.endGrant(ctx, e.session, e.reason, r.assertion, sessionEvent(e.kind, e.session, r.Source)); err != nil {
		return err
	}
	return e.answer
}

// sessionEvent is an event about a session, caused by a request of its client from an address.
func sessionEvent(kind audit.Kind, g storage.Grant, from netip.Addr) audit.Event {
	return audit.Event{
		Kind: kind, Actor: audit.ActorClient, Domain: g.Domain, User: g.User, Device: g.Device, Client: g.Client, Session: g.ID,
		Address: from,
	}
}

// addedDevice is the event of a device that a token request added.
func (r *tokenRequest) addedDevice(d storage.Device, session string) *audit.Event {
	return &audit.Event{
		Kind: audit.DeviceAdded, Actor: audit.ActorUser, Domain: d.Domain, User: d.User, Device: d.ID, Client: r.client.ID,
		Session: session, Statement: d.Delegation, Address: r.Source,
	}
}
