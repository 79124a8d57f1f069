package introspect

import (
	"context"
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
	case errors.Is(err, errNoCredential), errors.Is(err, errSignature), errors.Is(err, claims.ErrIssuer), errors.Is(err, claims.ErrDomain):
		return claims.Set{}, false, nil
	}
	return claims.Set{}, false, err
}

func (i *Introspector) peer(ctx context.Context, text string) (claims.Set, error) {
	if i.cfg.Authority == nil {
		return claims.Set{}, errNoCredential
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
	domain, err := i.checkPeer(&set)
	if err != nil {
		return claims.Set{}, err
	}
	if domain != "" {
		if err := i.cfg.Authority.Speaks(ctx, set.Issuer, domain); err != nil {
			return claims.Set{}, err
		}
	}
	return set, verifyIssued(ctx, i.cfg.Authority, set.Issuer, jws)
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

// errSignature means that no key of the issuer made a signature.
var errSignature = errors.New("introspect: no key of the issuer made the signature")

// verifyIssued verifies a signature with the key of an issuer. If it fails, the issuer may have published another key under that kid.
// The error is [errSignature], wraps [claims.ErrIssuer], or means that the keys cannot be known now.
func verifyIssued(ctx context.Context, keys nested.KeySource, issuer string, jws *jose.JWS) error {
	key, alg, err := keys.Key(ctx, issuer, jws.Header.Kid)
	if err != nil {
		return err
	}
	if jws.Verify(alg, key) == nil {
		return nil
	}
	source, ok := keys.(nested.OtherKeySource)
	if !ok {
		return errSignature
	}
	other, alg, err := source.OtherKey(ctx, issuer, jws.Header.Kid, key)
	if err != nil {
		return err
	}
	if jws.Verify(alg, other) != nil {
		return errSignature
	}
	return nil
}
