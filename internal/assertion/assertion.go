// Package assertion makes and checks the JWTs that a client authenticates with instead of a secret: private_key_jwt
// (RFC 7521 §4.2, RFC 7523 §2.2 and §3, OpenID Connect Core 1.0 §9).
//
// [Parse] reads an assertion and the client id in it, [Assertion.Check] checks its audience and times, and only
// [Assertion.Verify] shows that the client made it. The caller accepts each jti once: it must be stored until
// [Assertion.SpentUntil], and longer if the clock may be set back.
package assertion

import (
	"crypto"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// Type is the value of the parameter client_assertion_type (RFC 7523 §2.2).
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	// MaxLife is how far ahead exp may be, and how long after iat.
	MaxLife = 5 * time.Minute
	// Skew is by how much the clocks of client and server may differ.
	Skew = time.Minute

	maxSize = 8 << 10
	maxJTI  = 255
)

// types are the accepted values of typ, which may be absent: RFC 7523 requires no typ, its revision requires the last of these. A
// JWT of another type is not a client assertion (RFC 8725 §3.11).
var types = []string{"", "jwt", "client-authentication+jwt"}

// An Error names the part of an assertion that was refused. Its text contains nothing of the assertion.
type Error struct {
	Part string // "typ", "aud", "exp", ...
	Err  error
}

func (e *Error) Error() string { return "assertion: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the fault itself.
func (e *Error) Unwrap() error { return e.Err }

func refuse(part, words string) *Error { return &Error{part, errors.New(words)} }

// An Assertion is a parsed client assertion. Its author is unknown until [Assertion.Verify] has returned true.
type Assertion struct {
	Client  string // the client id: iss and sub
	JTI     string
	Expires time.Time

	audience            []string
	issuedAt, notBefore time.Time // zero if absent
	jws                 *jose.JWS
	tried               crypto.PublicKey // the key that VerifyAny tried last
	verified            bool             // whether the signature verified with it
}

// Parse reads token and makes the checks that need no key, time or server: token is one compact JWS of a type and algorithm for
// client assertions, its iss and sub are equal, and it has aud, exp and jti (RFC 7523 §3). The error is an *[Error].
func Parse(token string) (*Assertion, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxSize})
	if err != nil {
		parse := err.(*jose.ParseError)
		return nil, &Error{parse.Part, parse.Err}
	}
	// RFC 7515 §4.1.9: "application/" may stand before a type, and case means nothing.
	typ := strings.TrimPrefix(strings.ToLower(jws.Header.Typ), "application/")
	if !slices.Contains(types, typ) {
		return nil, refuse("typ", "not the type of a client assertion")
	}
	if !slices.Contains(Algorithms, jws.Header.Alg) {
		return nil, refuse("alg", "not an algorithm that this server lists for client assertions")
	}
	a := &Assertion{jws: jws}
	var iss string
	err = jose.ReadMembers(jws.Payload,
		jose.Member{Name: "sub", Text: &a.Client, Required: true},
		jose.Member{Name: "iss", Text: &iss},
		jose.Member{Name: "aud", List: &a.audience, Required: true},
		jose.Member{Name: "exp", Date: &a.Expires, Required: true},
		jose.Member{Name: "nbf", Date: &a.notBefore},
		jose.Member{Name: "iat", Date: &a.issuedAt},
		jose.Member{Name: "jti", Text: &a.JTI, Required: true, Max: maxJTI},
	)
	switch e := (*jose.ParseError)(nil); {
	case errors.As(err, &e):
		return nil, &Error{e.Part, e.Err}
	case err != nil:
		return nil, &Error{"payload", err}
	case iss != a.Client:
		return nil, refuse("iss", "differs from sub: both must be the client id")
	}
	return a, nil
}

// Check checks the audience and the times of the assertion, for a server with the URL issuer. aud must be that URL alone: if
// endpoint URLs were accepted, another server could publish our token endpoint as its own, and authenticate here with the
// assertions that it receives. The error is an *[Error].
func (a *Assertion) Check(issuer string, now time.Time) error {
	switch {
	case len(a.audience) != 1:
		return refuse("aud", "must be exactly one value: the issuer URL of this server, as in its metadata")
	case a.audience[0] != issuer:
		return refuse("aud", "not the issuer URL of this server, as in its metadata")
	case !now.Before(a.SpentUntil()):
		return refuse("exp", "in the past, by the clock of this server")
	case a.Expires.After(now.Add(MaxLife + Skew)):
		return refuse("exp", "more than 5 minutes ahead, by the clock of this server")
	case a.notBefore.After(now.Add(Skew)):
		return refuse("nbf", "in the future, by the clock of this server")
	case a.issuedAt.After(now.Add(Skew)):
		return refuse("iat", "in the future, by the clock of this server")
	case !a.issuedAt.IsZero() && a.Expires.Sub(a.issuedAt) > MaxLife:
		return refuse("exp", "more than 5 minutes after iat")
	}
	return nil
}

// SpentUntil returns the time until which the jti must be stored. From then on, the assertion is refused because of its exp.
func (a *Assertion) SpentUntil() time.Time { return a.Expires.Add(Skew) }
