package introspect

import (
	"context"
	"errors"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A token is an access token of the issuer whose signature and claims were valid. Time and revocation are checked for each
// question.
type token struct {
	claims.Set
	username string
	ids      Token
	actors   []string // the sessions of those who act for the subject
	tree     *nested.Tree
	inner    []inner // the enclosed tokens, in the order of the text
	shown    []Inner // the same, for verdicts
}

// maxToken bounds an access token in bytes. The issuer's own are much shorter, except for the tokens that they enclose.
const maxToken = 16 << 10

// token returns the token that q is about, from the cache if it was seen before. For a text that is no token of the
// issuer it returns an empty token and false. If an enclosed token is not valid, it returns the token and an error of
// package nested. Any other error means that this cannot be known.
func (i *Introspector) token(ctx context.Context, q Question) (t *token, genuine bool, err error) {
	if len(q.Token) > maxToken {
		return &token{}, false, nil
	}
	key := cacheKey(q.Token)
	t, seen := i.cache.get(key)
	if seen {
		// The key may have been revoked since.
		_, _, ok := i.cfg.Keys.Public(t.ids.KID)
		return t, ok, nil
	}
	var unknown *unknownKey
	if t, err = i.verify(q.Token); errors.As(err, &unknown) {
		if err := i.await(ctx, unknown.kid); err != nil {
			return &token{}, false, err
		}
		t, err = i.verify(q.Token)
	}
	if err != nil {
		return &token{}, false, nil
	}
	if t.Tokens != nil {
		if err := i.open(ctx, t, q.Along); err != nil || len(q.Along) > 0 {
			return t, true, err // the tokens sent along are not part of the text that is the key in the cache
		}
	}
	i.cache.add(key, t, len(q.Token))
	return t, true, nil
}

var errNotOurs = errors.New("introspect: not an access token of this issuer")

// An unknownKey is the error of a text that names this issuer, and a key that it does not know.
type unknownKey struct{ kid string }

func (*unknownKey) Error() string { return errNotOurs.Error() }

// await waits until the keys are those of the present. Another node may have made one just before.
func (i *Introspector) await(ctx context.Context, kid string) error {
	if k, ok := i.cfg.Keys.(Awaited); ok {
		return k.Await(ctx, kid)
	}
	return nil
}

// leeway is how far the clock of the node that issued a token may be ahead of this one's. Expired tokens get none: judge
// checks their expiry again.
const leeway = 5 * time.Minute

func (i *Introspector) verify(text string) (*token, error) {
	s, err := i.read(text)
	// A key is looked up for a text that is no token, too: it costs as much as the token of another issuer.
	key, alg, ok := i.cfg.Keys.Public(s.kid)
	if err != nil {
		return nil, err
	}
	if !ok {
		if set, err := s.set(); err != nil || set.Issuer != i.cfg.Issuer {
			return nil, errNotOurs
		}
		return nil, &unknownKey{s.kid}
	}
	if err := s.verify(i.tables, alg, key); err != nil {
		return nil, err
	}
	set, err := s.set()
	if err != nil {
		return nil, err
	}
	err = set.Validate(claims.Expect{
		Issuer: i.cfg.Issuer, AnyAudience: true, Domains: i.cfg.Domains, Own: true, Development: i.cfg.Development,
		Now: i.cfg.Now(), Leeway: leeway,
	})
	if err != nil {
		return nil, err
	}
	return newToken(set, s.kid)
}

func newToken(set claims.Set, kid string) (*token, error) {
	t := &token{Set: set, ids: Token{JTI: set.JTI, SID: set.SID, ClientID: set.ClientID, KID: kid, Gen: set.Gen}}
	for act := set.Actor; act != nil; act = act.Actor {
		if act.SID != "" {
			t.actors = append(t.actors, act.SID)
		}
	}
	if set.Service() {
		return t, nil
	}
	id, err := set.Identity()
	if err != nil {
		return nil, err
	}
	t.ids.Domain, t.ids.User, t.ids.Device = id.User.Domain(), id.User.Local(), id.Device.Device()
	t.username = id.Username()
	return t, nil
}

// whole returns the claims of the token, with the least scope, expiry and login of all tokens that it encloses.
func (t *token) whole() claims.Set {
	set := t.Set
	if t.tree == nil {
		return set
	}
	least := t.tree.Assurance
	set.Scope, set.Expires = t.tree.Scope, t.tree.Until
	set.ACR, set.AMR, set.AuthTime = least.ACR, least.AMR, time.Time{}
	if least.AuthTime != nil {
		set.AuthTime = *least.AuthTime
	}
	return set
}
