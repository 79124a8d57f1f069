// Package nested makes and opens tokens with several subjects: a token that carries other tokens in the claim `tokens`
// (draft-yusef-oauth-nested-jwt-08), each with the relation between its subject and the outer one. A bot shows the grant
// of the user that it acts for, a device the statement by which the user's own key admitted it, a user the statement of the
// old domain that the user moved to a new one.
//
// [Open] checks a token and all tokens inside it, and returns a [Tree]: the subjects, who says so, with which key, for how long,
// and the rights of the whole. Enclosing a token proves nothing, because anyone who has seen a token can embed it. So each
// [Relation] requires a binding between the two tokens, and there are no other relations. Rights never add up: the scope of
// the whole is the intersection of all scopes, and the whole expires with the first token.
//
// The inner tokens are access tokens and statements. A [Statement] says one thing and has a type of its own. It is signed by the
// issuer that speaks for the domain, or by a user's own key under a delegation of the user's issuer. Issuers put inner tokens
// into a claim with [Build], and apply every rule to the claims that they are about to sign with [Check].
//
// Sizes and depth are checked before any signature ([MaxDepth], [MaxTokens], [MaxToken], [MaxTotal]), signatures from
// the outside in, and relations from the inside out. Keys, time and revocations come from the caller; the package knows
// neither HTTP nor storage. A token never proves who holds it: that takes a proof or a presentation (package dpop).
package nested

import (
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// Limits on opened tokens. A token by value counts by itself and as part of the tokens around it.
const (
	MaxDepth  = 3        // levels, including the outermost token
	MaxTokens = 8        // tokens
	MaxToken  = 8 << 10  // bytes of one token
	MaxTotal  = 16 << 10 // bytes of all tokens together
)

// MaxJTI is how many bytes a jti may have: a revocation stores it for as long as the token could be valid.
const MaxJTI = 255

// Limits on the audience of a statement that is signed.
const (
	MaxAudience     = 16   // names
	MaxAudienceName = 1024 // bytes of one name
)

// MaxLife is the longest time from iat to exp of an opened token. Its revocation by another issuer cannot be looked up, so it must
// not be valid for years.
const MaxLife = 366 * 24 * time.Hour

// The types of tokens, in the header `typ`.
const (
	TypeAccessToken = jose.TypeAccessToken // at+jwt
	TypeActor       = jose.TypeActor       // im-actor+jwt: an actor may act for a user
	TypeDelegation  = jose.TypeDelegation  // im-delegation+jwt: a user's own key may sign statements
	TypeDevice      = jose.TypeDevice      // im-device+jwt: a device belongs to a user, signed by the user's own key
	TypeLink        = jose.TypeLink        // im-link+jwt: two users are the same person; one half
	TypeRename      = jose.TypeRename      // im-rename+jwt: a user has a new handle
	TypeMove        = jose.TypeMove        // im-move+jwt: a user has moved to another domain
	TypeMember      = jose.TypeMember      // im-member+jwt: a user belongs to an organisation, a team or a role
	TypeGuardian    = jose.TypeGuardian    // im-guardian+jwt: a user is the guardian of another
)
