package introspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// clientSkew is how far the clocks of the client and the issuer may differ.
const clientSkew = time.Minute

// signedClaims are the claims of a signed answer that are about tokens, as they are.
type signedClaims struct{ introspection, detail, answers []byte }

// open verifies a signed answer of one type (RFC 9701 §5): typ, alg, kid and signature by a key that the issuer publishes, iss, aud and
// iat. An answer that does not verify says nothing, so the error is an [ErrUnknown].
func (c *Client) open(ctx context.Context, r reply, typ string) (signedClaims, error) {
	jws, err := jose.ParseCompact(string(r.text), jose.Limits{Total: len(r.text)})
	switch {
	case err != nil:
		return signedClaims{}, malformed("%w", err)
	case jws.Header.Typ != typ: // RFC 8725 §3.11
		return signedClaims{}, malformed("typ is not %s", typ)
	case jws.Header.Kid == "" || jws.Header.JWK != nil: // RFC 8725 §3.10
		return signedClaims{}, malformed("kid is missing, or a key is sent along")
	case len(c.cfg.Audience) == 0:
		return signedClaims{}, malformed("it is signed, and ClientConfig.Audience is not set")
	}
	key, err := c.key(ctx, jws.Header.Kid)
	if errors.Is(err, published.ErrAbsent) {
		return signedClaims{}, malformed("the issuer publishes no key with its kid")
	} else if err != nil {
		return signedClaims{}, unknown(err)
	}
	if err := jws.Verify(key.Alg, key.Public); err != nil {
		return signedClaims{}, malformed("%w", err)
	}
	var (
		claims   signedClaims
		iss      string
		aud      []string
		issuedAt time.Time
	)
	members := []jose.Member{
		{Name: "iss", Text: &iss, Required: true},
		{Name: "aud", List: &aud, Required: true},
		{Name: "iat", Date: &issuedAt, Required: true},
	}
	if typ == jose.TypeIntrospectionBatch {
		members = append(members, keepRaw("answers", &claims.answers))
	} else {
		members = append(members, keepRaw("token_introspection", &claims.introspection), keepRaw("im_detail", &claims.detail))
	}
	now := c.cfg.Now()
	switch err := jose.ReadMembers(jws.Payload, members...); {
	case err != nil:
		return signedClaims{}, malformed("%w", err)
	case iss != c.cfg.Issuer:
		return signedClaims{}, malformed("iss is another issuer")
	case !slices.Equal(aud, c.cfg.Audience):
		return signedClaims{}, malformed("aud is not the caller")
	case issuedAt.Before(r.asked.Add(-clientSkew)) || issuedAt.After(now.Add(clientSkew)):
		return signedClaims{}, malformed("iat is not the time of the request")
	}
	return claims, nil
}
