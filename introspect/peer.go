package introspect

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// maxPeerLife is the longest life of a peer's access token that is accepted as a credential: only the peer knows whether it was
// revoked meanwhile.
const maxPeerLife = time.Hour

// errNoCredential refuses a text that is not an access token with which a caller from another issuer may ask.
var errNoCredential = errors.New("introspect: not a credential of a caller from a trusted peer")

// Peer returns the claims of an access token with which a client or a user from a trusted peer issuer asks, and false for any other
// text. The token is valid now, for this issuer alone, and bound to a key: the caller of Peer checks a proof by that key, and the
// scope. The peer speaks for the domain of a user. Whether it has revoked the token is not known, so the token lives for at most an
// hour.
//
// An error means that this cannot be known now, as when the keys of the peer cannot be fetched.
func (i *Introspector) Peer(ctx context.Context, accessToken string) (claims.Set, bool, error) {
	set, err := i.peer(ctx, accessToken)
	switch {
	case err == nil:
		return set, true, nil
	case errors.Is(err, errNoCredential), errors.Is(err, nested.ErrSignature), errors.Is(err, claims.ErrIssuer),
		errors.Is(err, claims.ErrDomain):
		return claims.Set{}, false, nil
	}
	return claims.Set{}, false, err
}

// A credential is a token of a peer whose signature was valid, and the key that made it. Everything else about it is checked for each
// request, and the signature again once the peer publishes another key under that kid.
type credential struct {
	claims.Set
	kid string
	key signingKey
}

// A signingKey is a public key and its algorithm.
type signingKey struct {
	public crypto.PublicKey
	alg    string
}

func (k signingKey) equal(other signingKey) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.alg == other.alg && public.Equal(other.public)
}

func (i *Introspector) peer(ctx context.Context, text string) (claims.Set, error) {
	if i.cfg.Authority == nil || len(text) > maxToken {
		return claims.Set{}, errNoCredential
	}
	seen := cacheKey(text)
	if c, ok := i.peers.get(seen); ok {
		if err := i.trustPeer(ctx, &c.Set); err != nil {
			return claims.Set{}, err
		}
		var now signingKey
		var err error
		if now.public, now.alg, err = i.cfg.Authority.Key(ctx, c.Issuer, c.kid); err != nil {
			return claims.Set{}, err
		}
		if c.key.equal(now) {
			return c.Set, nil
		}
	}
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxToken})
	// RFC 8725 §3.11: the type is pinned. RFC 8725 §3.10: a token cannot say by itself which key to trust.
	if err != nil || jws.Header.Typ != jose.TypeAccessToken || jws.Header.Kid == "" || jws.Header.JWK != nil {
		return claims.Set{}, errNoCredential
	}
	set, err := claims.ParseSet(jws.Payload)
	if err != nil {
		return claims.Set{}, errNoCredential
	}
	// Everything that costs no request is checked before the keys of the peer are looked up.
	if err := i.trustPeer(ctx, &set); err != nil {
		return claims.Set{}, err
	}
	var key signingKey
	key.public, key.alg, err = nested.VerifyIssued(ctx, i.cfg.Authority, set.Issuer, jws.Header.Kid, jws.Verify)
	if err != nil {
		return claims.Set{}, err
	}
	i.peers.add(seen, &credential{set, jws.Header.Kid, key}, len(text))
	return set, nil
}

// trustPeer checks the claims of a peer's token, and that the peer speaks for the domain of its user.
func (i *Introspector) trustPeer(ctx context.Context, set *claims.Set) error {
	domain, err := i.checkPeer(set)
	if err != nil || domain == "" {
		return err
	}
	return i.cfg.Authority.Speaks(ctx, set.Issuer, domain)
}

// checkPeer checks the claims of a peer's token, and returns the domain of the user, or "" for a service, which has none.
func (i *Introspector) checkPeer(set *claims.Set) (domain string, err error) {
	// A token for another audience, too, has been shown there. One that encloses others, or that an actor holds, is for
	// those who judge all of that. This issuer knows its own tokens better.
	if set.Issuer == i.cfg.Issuer || !slices.Equal(set.Audience, []string{i.cfg.Issuer}) || set.JKT == "" || set.Tokens != nil ||
		set.Actor != nil || set.HomeIss != "" {
		return "", errNoCredential
	}
	if !set.Service() {
		id, err := set.Identity()
		if err != nil {
			return "", errNoCredential
		}
		domain = id.User.Domain()
	}
	now := i.cfg.Now()
	err = set.Validate(claims.Expect{
		Issuer: set.Issuer, Audience: i.cfg.Issuer, Domains: []string{domain}, Now: now, Leeway: leeway, Development: i.cfg.Development,
	})
	if err != nil || !now.Before(set.Expires) || set.Expires.Sub(set.IssuedAt) > maxPeerLife {
		return "", errNoCredential
	}
	return domain, nil
}
