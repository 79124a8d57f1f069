// Package jose reads and writes the signed objects of this service: compact JWS (RFC 7515), the keys they
// carry (RFC 7517, 7518, 8037, 7638) and the JSON inside, all of them strictly.
//
// Strict means that an object has one spelling. [ParseCompact] takes nothing but three parts of canonical
// base64url, [Object] no member name twice and no invalid UTF-8, [ParseJWK] only public, complete keys on
// their curve. What is accepted can therefore be hashed, cached and compared without a second opinion from
// another parser (RFC 8725 §2.6, §3.7). Only the standard library's cryptography is used: these are the
// paths that run for every request.
//
// A caller pins the type and the algorithm, in that order, before it verifies:
//
//	jws, err := jose.ParseCompact(token, jose.Limits{})
//	if err != nil || jws.Header.Typ != jose.TypeAccessToken { … }
//	err = jws.Verify(jose.ES256, key)
//
// Claims, times and trust are not here: see the packages claims, dpop and trust.
package jose

// The types of this service's signed objects, as they stand in the `typ` header. No two objects share one,
// and whoever verifies an object pins its type (RFC 8725 §3.11).
const (
	TypeProof              = "dpop+jwt"                   // request proof (RFC 9449 §4.2)
	TypeAccessToken        = "at+jwt"                     // access token (RFC 9068 §2.1)
	TypePresentation       = "im-presentation+jwt"        // who holds a token, shown to a peer outside HTTP
	TypeIntrospection      = "token-introspection+jwt"    // introspection answer (RFC 9701 §5)
	TypeIntrospectionBatch = "im-introspection-batch+jwt" // introspection answer for several tokens
	TypeStaple             = "im-staple+jwt"              // "still good at T"
	TypeStatusList         = "statuslist+jwt"             // token status list
	TypeActor              = "im-actor+jwt"               // statement: grant to an actor
	TypeDelegation         = "im-delegation+jwt"          // statement: delegation to a device
	TypeDevice             = "im-device+jwt"              // statement: a device belongs to a user
	TypeLink               = "im-link+jwt"                // statement: two handles of one person
	TypeRename             = "im-rename+jwt"              // statement: a new handle
	TypeMove               = "im-move+jwt"                // statement: a new domain
	TypeMember             = "im-member+jwt"              // statement: membership of an organisation
	TypeGuardian           = "im-guardian+jwt"            // statement: guardianship
	TypeAuthorizationGrant = "im-authz-grant+jwt"         // chaining grant for another domain's issuer
	TypeIdentity           = "im-identity+jwt"            // a gateway's internal identity
	TypeRekey              = "im-rekey+jwt"               // a device's new key at re-key
)
