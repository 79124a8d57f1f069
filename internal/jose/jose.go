// Package jose reads and writes the signed objects of this service: compact JWS (RFC 7515), the keys in them (RFC 7517, 7518,
// 8037, 7638) and the JSON inside.
//
// It is strict: an object has only one accepted spelling. [ParseCompact] accepts only three parts of canonical base64url,
// [Object] refuses repeated member names and invalid UTF-8, and [ParseJWK] accepts only complete public keys on their curve. So
// accepted objects can be hashed, cached and compared, and no other parser reads them differently (RFC 8725 §2.6, §3.7).
// Because this code runs for every request, it uses only the standard library's cryptography, and for keys that sign often ([Tables])
// filippo.io/nistec: the same curve code, with the operations on points that the standard library keeps for itself.
//
// A caller checks the type and the algorithm, in that order, before it verifies:
//
//	jws, err := jose.ParseCompact(token, jose.Limits{})
//	if err != nil || jws.Header.Typ != jose.TypeAccessToken { … }
//	err = jws.Verify(jose.ES256, key)
//
// For claims, times and trust see the packages claims, dpop and trust.
package jose

// The `typ` values of this service's signed objects. Each kind of object has its own, and every verifier checks it (RFC 8725
// §3.11).
const (
	TypeProof              = "dpop+jwt"                   // request proof (RFC 9449 §4.2)
	TypeAccessToken        = "at+jwt"                     // access token (RFC 9068 §2.1)
	TypePresentation       = "im-presentation+jwt"        // shows a peer outside HTTP who holds a token
	TypeIntrospection      = "token-introspection+jwt"    // introspection answer (RFC 9701 §5)
	TypeIntrospectionBatch = "im-introspection-batch+jwt" // introspection answer for several tokens
	TypeSuccessor          = "im-successor+jwt"           // answer about two tokens
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
	TypeExport             = "im-export+jwt"              // everything that is stored about a user
	TypeRekey              = "im-rekey+jwt"               // a device's new key at re-key
	TypeAuditHead          = "im-audit-head+jwt"          // the last record of an audit log
	TypeKeyProof           = "openid4vci-proof+jwt"       // shows who holds the key of a credential (OpenID4VCI 1.0 appendix F.1)
	TypeXSignKeys          = "im-keys+jwt"                // cross signing: a user's master key and the two keys below it
	TypeSuccession         = "im-succession+jwt"          // cross signing: a master key names the next one
	TypeXSignDevices       = "im-devices+jwt"             // cross signing: all devices of a user
	TypeVouch              = "im-vouch+jwt"               // cross signing: a user vouches for another one's master key
	TypeDistrust           = "im-distrust+jwt"            // cross signing: a user distrusts another one's master key
	TypeProfile            = "JWT"                        // profile of a user's places; the payload says so, too (package places)
	TypeCredential         = "dc+sd-jwt"                  // credential of a device (draft-ietf-oauth-sd-jwt-vc §2.2.1)
	TypeWireToken          = "im-wire+jwt"                // tells Wire's certificate authority which account key is that of a device
	TypeKeyBinding         = "kb+jwt"                     // key binding of such a credential (RFC 9901 §4.3)
)
