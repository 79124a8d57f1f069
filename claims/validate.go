package claims

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// The faults of a set, wrapped in a [ClaimError].
var (
	ErrMissing      = errors.New("missing")
	ErrMalformed    = errors.New("malformed")
	ErrExpired      = errors.New("expired")
	ErrNotYetValid  = errors.New("not yet valid")
	ErrIssuer       = errors.New("another issuer")
	ErrAudience     = errors.New("for another audience")
	ErrDomain       = errors.New("the issuer does not speak for this domain")
	ErrMismatch     = errors.New("does not agree with the subject")
	ErrNotForClient = errors.New("a service has neither handle nor device")
	ErrHomeIssuer   = errors.New("made for a user of another domain: only verifiers of its issuer accept the token")
)

// A ClaimError names the claim of a set that was refused, without its value.
type ClaimError struct {
	Claim string // "exp", "device", ...
	Err   error  // one of the errors above, or an [*Error] of an identifier
}

// Error says for example "claims: exp: expired".
func (e *ClaimError) Error() string {
	return "claims: " + e.Claim + ": " + strings.TrimPrefix(e.Err.Error(), "claims: ")
}

// Unwrap returns the fault.
func (e *ClaimError) Unwrap() error { return e.Err }

// Expect holds the requirements of a verifier on a set.
type Expect struct {
	// Issuer is the only issuer to accept. Required.
	Issuer string
	// Audience is the verifier's own name, one of the token's audiences. Required unless AnyAudience is set.
	Audience string
	// AnyAudience is for an issuer that reads its own tokens. Another verifier would accept tokens made for others.
	AnyAudience bool
	// Domains are the domains that the issuer may speak for, in canonical form. If empty, no user's token is accepted.
	Domains []string
	// Own says that Issuer is the verifier's own. Only such a verifier accepts the tokens that the issuer made by identity chaining for
	// users of other domains: those with home_iss.
	Own bool
	// Now is the time of the check; zero means [time.Now].
	Now time.Time
	// Leeway is how far clocks may differ. Zero is none.
	Leeway time.Duration
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

// Validate checks a set whose signature has been verified: issuer, audience and times (RFC 9068 §4), and the identifiers. Handle, user
// and device are in one domain that the issuer may speak for, the device belongs to the user, and the token is bound to a key. In
// a service's token the subject is the client, and there is neither handle nor device.
//
// A token with home_iss is about a user of another domain. It is accepted if [Expect].Own is set, and only for resources of the issuer:
// not for the URI of a domain that the issuer does not speak for, and not for the issuer itself. It has no actor and
// encloses no token. The error is a [*ClaimError].
func (s *Set) Validate(e Expect) error {
	if err := s.validateEnvelope(e); err != nil {
		return err
	}
	if s.Service() {
		switch {
		case hasScheme(s.Subject): // a client must not pass for a user
			return &ClaimError{"sub", ErrMalformed}
		case s.Handle != "":
			return &ClaimError{"handle", ErrNotForClient}
		case s.Device != "":
			return &ClaimError{"device", ErrNotForClient}
		case s.HomeIss != "":
			return &ClaimError{"home_iss", ErrNotForClient}
		}
		return nil
	}
	if s.JKT == "" {
		return &ClaimError{"cnf", ErrMissing}
	}
	id, err := s.identity(Parser{AllowSingleLabel: e.Development})
	if err != nil {
		return err
	}
	domains := e.Domains
	if s.HomeIss != "" {
		domain := id.User.Domain()
		if err := s.validateChained(e, domain); err != nil {
			return err
		}
		domains = []string{domain}
	}
	return id.Check(domains, e.Development)
}

// validateChained checks a token that was made by identity chaining for a user of a domain.
func (s *Set) validateChained(e Expect, domain string) error {
	switch {
	case !e.Own:
		return &ClaimError{"home_iss", ErrHomeIssuer}
	case s.HomeIss == s.Issuer, slices.Contains(e.Domains, domain): // the issuer gives its own users tokens of another kind
		return &ClaimError{"home_iss", ErrMismatch}
	case s.Actor != nil, s.MayAct != nil, s.Tokens != nil:
		return &ClaimError{"home_iss", ErrMalformed}
	}
	for _, aud := range s.Audience {
		if of, ok := DomainOf(aud); aud == s.Issuer || ok && !slices.Contains(e.Domains, of) {
			return &ClaimError{"aud", ErrAudience}
		}
	}
	return nil
}

// Service reports whether the token is a client's own (client_credentials).
func (s *Set) Service() bool { return s.Subject == s.ClientID && s.ClientID != "" }

// validateEnvelope checks the claims that every access token has.
func (s *Set) validateEnvelope(e Expect) error {
	now := e.Now
	if now.IsZero() {
		now = time.Now()
	}
	for _, c := range []struct { // RFC 9068 §2.2
		name   string
		absent bool
	}{
		{"iss", s.Issuer == ""}, {"exp", s.Expires.IsZero()}, {"aud", len(s.Audience) == 0}, {"sub", s.Subject == ""},
		{"client_id", s.ClientID == ""}, {"iat", s.IssuedAt.IsZero()}, {"jti", s.JTI == ""},
	} {
		if c.absent {
			return &ClaimError{c.name, ErrMissing}
		}
	}
	switch {
	case s.Issuer != e.Issuer:
		return &ClaimError{"iss", ErrIssuer}
	case !e.AnyAudience && (e.Audience == "" || !slices.Contains(s.Audience, e.Audience)):
		return &ClaimError{"aud", ErrAudience}
	case !now.Before(s.Expires.Add(e.Leeway)):
		return &ClaimError{"exp", ErrExpired}
	case now.Add(e.Leeway).Before(s.IssuedAt):
		return &ClaimError{"iat", ErrNotYetValid}
	case now.Add(e.Leeway).Before(s.NotBefore):
		return &ClaimError{"nbf", ErrNotYetValid}
	case !s.IssuedAt.Before(s.Expires):
		return &ClaimError{"exp", ErrMalformed}
	case s.JKT != "" && !jose.IsThumbprint(s.JKT):
		return &ClaimError{"cnf", ErrMalformed}
	}
	return nil
}

// hasScheme reports whether s could be taken for the URI of an identifier.
func hasScheme(s string) bool {
	scheme, _, found := strings.Cut(s, ":")
	scheme = lowerASCII(scheme)
	return found && (scheme == "im" || scheme == "mimi")
}
