// Package nested makes and opens tokens with several subjects: a token that carries other tokens in the claim `tokens`
// (draft-yusef-oauth-nested-jwt-08), each with the relation between its subject and the outer one. A bot shows the grant
// of the user that it acts for, a device the statement by which the user's own key took it in, a person the statement of
// her old domain about where she moved.
//
// [Open] checks a token with all that it encloses and returns a [Tree]: who says what about whom, by which key, from when
// until when, and what that comes to. Enclosing proves nothing. Whoever saw a token can wrap it, so each [Relation]
// demands a binding between the two tokens, and what no relation of this closed list explains is refused. Rights never
// add up: the scope of the whole is the intersection, its end the earliest.
//
// The inner tokens are access tokens and statements. A [Statement] says one thing, has a type of its own, and is signed by
// an issuer, for the domain that the issuer speaks for, or by a user's own key, under a delegation of her issuer. Issuers
// put inner tokens into a claim with [Build] and hold what they are about to sign to every rule with [Check].
//
// Sizes and depth are checked before any signature is ([MaxDepth], [MaxTokens], [MaxToken], [MaxTotal]), signatures from
// the outside in, and relations from the inside out. Keys, time and revocation come from the caller; the package knows
// neither HTTP nor storage. Who holds a token is for a proof or presentation to say (package dpop), never for the token.
package nested

import (
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// Bounds of what is opened. A token by value counts by itself and as part of those around it.
const (
	MaxDepth  = 3        // tokens one inside the other, the outermost included
	MaxTokens = 8        // tokens in all
	MaxToken  = 8 << 10  // bytes of one token
	MaxTotal  = 16 << 10 // bytes of all tokens together
)

// MaxJTI is how many bytes a jti may have: it is kept with a revocation for as long as the token could be shown.
const MaxJTI = 255

// Bounds of the audience of a statement that is signed.
const (
	MaxAudience     = 16   // names
	MaxAudienceName = 1024 // bytes of one name
)

// MaxLife is the longest time from iat to exp of a token that is opened: no issuer can be asked whether it revoked what
// another embedded, so nothing may last for years.
const MaxLife = 366 * 24 * time.Hour

// The types of token, as they stand in the `typ` header.
const (
	TypeAccessToken = jose.TypeAccessToken // at+jwt
	TypeActor       = jose.TypeActor       // im-actor+jwt: a user lets somebody act for her
	TypeDelegation  = jose.TypeDelegation  // im-delegation+jwt: a user has a key that may sign statements
	TypeDevice      = jose.TypeDevice      // im-device+jwt: a device belongs to a user, by her key
	TypeLink        = jose.TypeLink        // im-link+jwt: two users are one person, one half
	TypeRename      = jose.TypeRename      // im-rename+jwt: a user has a new handle
	TypeMove        = jose.TypeMove        // im-move+jwt: a user has gone to another domain
	TypeMember      = jose.TypeMember      // im-member+jwt: a user belongs to an organisation, a team or a role
	TypeGuardian    = jose.TypeGuardian    // im-guardian+jwt: a user is guardian of another
)
