// Package places reads, makes and verifies the profiles of users: the cross signing by well-known services of draft-mahy-mimi-identity-00.
//
// A profile is an Ariadne Signature Profile, version 0, as Keyoxide has them: a compact JWS by ES256 or EdDSA that names a person's places
// on the web. Here the user's master key of cross signing (package xsign) signs it, and its claims also name the user:
//
//	{"typ":"JWT","alg":"EdDSA","kid":"4WRGUE7FRHXIYENBP2AFE4ONEY","jwk":{…}}
//	{"http://ariadne.id/version":0,"http://ariadne.id/type":"profile","http://ariadne.id/name":"Alice",
//	 "http://ariadne.id/claims":["im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user","dns:alice.example?type=TXT",
//	 "https://social.example/@alice"]}
//
// Each place shows the address of the profile, aspe:HOST:FINGERPRINT, and so names the master key. A place is one of these, told apart by
// the form of its URI alone:
//
//	dns:DOMAIN, dns:DOMAIN?type=TXT           a TXT record of the domain
//	https://HOST/.well-known/im-places        a JSON array of addresses
//	https://HOST/@NAME, /users/NAME, …        an ActivityPub actor: its summary, or the value of an attachment
//	https://HOST/NAME/forgejo_proof           a repository at a Forgejo: its description
//	https://gist.github.com/NAME/ID           a gist of that user: its file proof.md
//	https://HOST/NAME/gitlab_proof            a project at a GitLab: its description
//
// [ParseProfile] parses a profile, a [Reader] looks at the places, and [Verify] judges what they show: it returns a [verdict.Verdict] for
// [verdict.Decide]. Places answer one question, "which master key?". They say nothing about devices and handles. The verifier keeps a
// [Memory]: which master key each place named, since when. So it notices when places turn to another key, or vanish at once.
//
// The package is for clients. An issuer serves the profiles of its users, and looks at no place.
package places

import (
	"errors"
	"fmt"
	"time"
)

// The limits.
const (
	MaxProfile  = 8 << 10  // bytes of a profile
	MaxPlaces   = 12       // places in a profile
	MaxClaims   = 32       // claims in a profile, of any kind
	MaxAnswer   = 16 << 10 // bytes that a place may show
	MaxMemory   = 48       // places of one user that are kept
	maxClaim    = 500      // bytes of a claim
	maxName     = 256      // bytes of a name
	maxShown    = 64       // addresses that are read from one place
	maxRecords  = 100      // TXT records that are read
	maxAtOnce   = 4        // places that are looked at in parallel
	maxLooking  = 10 * time.Second
	massLoss    = 48 * time.Hour
	skew        = time.Minute // how far ahead a clock may be
	defaultNeed = 2
)

// A Code says why a profile, a place or an address is refused, or does not count. Verdicts have it as their code.
type Code string

// The codes of profiles.
const (
	CodeMalformed   Code = "malformed"
	CodeTooLarge    Code = "too_large"
	CodeType        Code = "type"        // another typ, or no profile
	CodeAlgorithm   Code = "algorithm"   // neither ES256 nor EdDSA
	CodeKey         Code = "key"         // jwk is no key for signatures, or kid is not its fingerprint
	CodeSignature   Code = "signature"   // the signature does not verify
	CodeVersion     Code = "version"     // another version than 0
	CodeClaim       Code = "claim"       // a claim is missing or has no acceptable value
	CodeUser        Code = "user"        // no user, two users, or another user
	CodePlace       Code = "place"       // a place with user information, a port, a fragment or a query, or a host that is none
	CodeRepeated    Code = "repeated"    // a place twice
	CodeTooMany     Code = "too_many"    // too many places or claims
	CodeFingerprint Code = "fingerprint" // the profile of another key than its address says
	CodeExpired     Code = "expired"
)

// The codes of looks and verdicts.
const (
	CodeUnreachable Code = "unreachable" // the place did not answer, or not now
	CodeRefused     Code = "refused"     // its answer has another type or form, is too large, or comes from elsewhere
	CodeMissing     Code = "missing"     // there is no profile
	CodeTooFew      Code = "too_few"     // fewer places than needed name the master key
	CodeTooYoung    Code = "too_young"   // enough places do, but not for long enough
	CodeOtherBefore Code = "other_before"
	CodeOtherKey    Code = "other_key" // the profile is of another master key than cross signing shows
)

// Error returns the code's word, so that callers can branch with errors.Is(err, places.CodePlace).
func (c Code) Error() string { return string(c) }

// An Error says which part was refused, and why. It contains nothing of the profile but the position of a claim.
type Error struct {
	Part string // the header parameter or claim, "claims[2]", "place", "address", or "" for the whole
	Code Code
	Err  error
}

// Error says for example "places: claims[2]: has a port".
func (e *Error) Error() string {
	if e.Part == "" {
		return "places: " + e.Err.Error()
	}
	return "places: " + e.Part + ": " + e.Err.Error()
}

// Unwrap returns the code and the fault.
func (e *Error) Unwrap() []error { return []error{e.Code, e.Err} }

func refuse(part string, code Code, format string, args ...any) *Error {
	return &Error{part, code, fmt.Errorf(format, args...)}
}

// within returns the error of a part as one of an outer part.
func within(part string, err error) error {
	if at := (*Error)(nil); errors.As(err, &at) {
		return &Error{part, at.Code, at.Err}
	}
	return &Error{part, CodeClaim, err}
}

var errMissing = errors.New("missing")
