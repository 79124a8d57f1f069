package gateway

import "net/http"

// An Outcome is the kind of a decision.
type Outcome int

// The outcomes. The zero Outcome is [Unknown]: a decision that nobody made lets nothing through.
const (
	Unknown         Outcome = iota // it cannot be known now: 503
	Allowed                        // 200
	Unauthenticated                // no token, or a token or proof that is not valid: 401
	Forbidden                      // the token is valid, and the policy refuses it: 403
)

// Status returns the HTTP status of an outcome: 200, 401, 403 or 503.
func (o Outcome) Status() int {
	switch o {
	case Allowed:
		return http.StatusOK
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	}
	return http.StatusServiceUnavailable
}

// String returns a word for logs and metrics.
func (o Outcome) String() string {
	switch o {
	case Allowed:
		return "allowed"
	case Unauthenticated:
		return "unauthenticated"
	case Forbidden:
		return "forbidden"
	}
	return "unknown"
}

// A Reason says why a decision is as it is, in a stable word for logs and metrics. The list is closed: see [Reasons].
type Reason string

// The reasons of [Allowed].
const (
	ReasonAllowed Reason = "allowed"        // everything that the policy asks for was checked
	ReasonCached  Reason = "allowed_cached" // the issuer cannot be asked; this token was active a short while ago
	ReasonGrace   Reason = "allowed_grace"  // the issuer cannot be asked; the device was known a short while ago
)

// The reasons of [Unauthenticated].
const (
	ReasonNoToken        Reason = "no_token"         // no Authorization line, or one with another scheme
	ReasonTwoTokens      Reason = "two_tokens"       // more than one Authorization line
	ReasonTwoProofs      Reason = "two_proofs"       // more than one DPoP line
	ReasonWrongScheme    Reason = "wrong_scheme"     // Bearer where a proof is required, or a key-bound token under Bearer
	ReasonNoProof        Reason = "no_proof"         // no DPoP line
	ReasonBadProof       Reason = "bad_proof"        // the proof is not valid, or not for this request
	ReasonUseNonce       Reason = "use_nonce"        // the proof needs the nonce of the answer
	ReasonReplayed       Reason = "replayed"         // the proof was used before
	ReasonOtherKey       Reason = "other_key"        // the token is bound to another key than that of the proof, or to none
	ReasonMalformed      Reason = "malformed_token"  // not a JWT, or one with malformed claims
	ReasonWrongType      Reason = "wrong_type"       // another signed object than an access token
	ReasonWrongAlgorithm Reason = "wrong_algorithm"  // signed by an algorithm that is not accepted
	ReasonBadClaims      Reason = "bad_claims"       // a claim is missing, or contradicts another
	ReasonUntrusted      Reason = "untrusted_issuer" // the issuer is not trusted
	ReasonSuspended      Reason = "suspended_issuer" // the operator has suspended the peer
	ReasonChanged        Reason = "issuer_changed"   // the domain suddenly names another issuer; the operator decides
	ReasonForeignDomain  Reason = "foreign_domain"   // the issuer may not speak for the domain of the user
	ReasonForeignHome    Reason = "foreign_home"     // home_iss in a token of an issuer that is not one of our own
	ReasonUnknownKey     Reason = "unknown_key"      // the issuer publishes no key with this kid
	ReasonBadSignature   Reason = "bad_signature"    // no key of the issuer made the signature
	ReasonWrongAudience  Reason = "wrong_audience"   // the token is for somebody else
	ReasonExpired        Reason = "expired"          // exp has passed
	ReasonNotYetValid    Reason = "not_yet_valid"    // iat or nbf is in the future
	ReasonTooOld         Reason = "token_too_old"    // issued longer ago than the policy allows
	ReasonRevoked        Reason = "revoked"          // the feed or the status list says so
	ReasonInactive       Reason = "inactive"         // the issuer says so
	ReasonBadNested      Reason = "bad_nested"       // a token that it encloses is not valid
	ReasonAuthentication Reason = "authentication"   // the login was too weak or too long ago for the policy
)

// The reasons of [Forbidden].
const (
	ReasonTarget   Reason = "bad_target"         // the request target is not in normal form
	ReasonOrigin   Reason = "wrong_origin"       // the request is for a host that is not one of ours
	ReasonDomain   Reason = "domain_refused"     // the policy does not accept the domain
	ReasonScope    Reason = "insufficient_scope" // a scope is missing
	ReasonRelation Reason = "relation_refused"   // an enclosed token has a relation that is not accepted, or a required one is missing
	ReasonDepth    Reason = "too_deep"           // more levels of enclosed tokens than the policy accepts
	ReasonBot      Reason = "bot_refused"        // a service, or somebody who acts for the user
	ReasonNoStatus Reason = "no_status"          // the policy looks up the status list, and the token names none
)

// The reasons of [Unknown].
const (
	ReasonNoKeys        Reason = "keys_unavailable"   // the keys of the issuer cannot be known now
	ReasonNoAnswer      Reason = "issuer_unavailable" // the issuer does not answer questions about tokens
	ReasonNoList        Reason = "status_unavailable" // the status list cannot be read
	ReasonNoFeed        Reason = "feed_unavailable"   // the feed told of more than can be kept
	ReasonNoReplay      Reason = "replay_unavailable" // whether the proof was used before cannot be known
	ReasonBusy          Reason = "too_many_proofs"    // the store of spent proofs is full for this address
	ReasonMisconfigured Reason = "misconfigured"      // the gateway is not configured for this question, or the issuer refuses it
)

// A rule is what goes with a reason.
type rule struct {
	reason  Reason
	outcome Outcome
	code    string // the OAuth error code; empty in a challenge without an error (RFC 6750 §3.1)
	check   string // the step that ends with this reason
	text    string
}

// Codes of OAuth errors (RFC 6749 §5.2, RFC 6750 §3.1, RFC 9449 §7.1, RFC 9470 §3).
const (
	codeRequest = "invalid_request"
	codeToken   = "invalid_token"
	codeProof   = "invalid_dpop_proof"
	codeNonce   = "use_dpop_nonce"
	codeScope   = "insufficient_scope"
	codeLogin   = "insufficient_user_authentication"
	codeDenied  = "access_denied"
	codeUnknown = "temporarily_unavailable"
)

// The checks, in their order.
const (
	checkHeaders   = "headers"
	checkProof     = "proof"
	checkToken     = "token"
	checkBinding   = "binding"
	checkIssuer    = "issuer"
	checkSignature = "signature"
	checkClaims    = "claims"
	checkNested    = "enclosed tokens"
	checkFeed      = "feed"
	checkPolicy    = "policy"
	checkOnline    = "online"
	checkReplay    = "replay"
)

var rules = []rule{
	{ReasonAllowed, Allowed, "", "", "The request may pass."},
	{ReasonCached, Allowed, "", checkOnline, "The issuer cannot be asked now. It said a short while ago that this token is active."},
	{ReasonGrace, Allowed, "", checkOnline, "The issuer cannot be asked now. It knew this device a short while ago."},

	{ReasonNoToken, Unauthenticated, "", checkHeaders, "The request has no access token."},
	{ReasonTwoTokens, Unauthenticated, codeRequest, checkHeaders, "The request has more than one Authorization header."},
	{ReasonTwoProofs, Unauthenticated, codeProof, checkHeaders, "The request has more than one DPoP header."},
	{ReasonWrongScheme, Unauthenticated, codeToken, checkHeaders, "The token must be sent under the scheme DPoP, with a proof by its key."},
	{ReasonNoProof, Unauthenticated, codeProof, checkHeaders, "The request has no DPoP header."},
	{ReasonBadProof, Unauthenticated, codeProof, checkProof, "The DPoP proof is not valid"},
	{ReasonUseNonce, Unauthenticated, codeNonce, checkProof, "The proof needs the nonce of the DPoP-Nonce header of this answer."},
	{ReasonReplayed, Unauthenticated, codeProof, checkReplay, "The DPoP proof was used before."},
	{ReasonOtherKey, Unauthenticated, codeToken, checkBinding, "The token is not bound to the key of the proof."},
	{ReasonMalformed, Unauthenticated, codeToken, checkToken, "The token is malformed"},
	{ReasonWrongType, Unauthenticated, codeToken, checkToken, "The token is not an access token: its typ is not at+jwt."},
	{ReasonWrongAlgorithm, Unauthenticated, codeToken, checkToken, "The token is signed by an algorithm that is not accepted here."},
	{ReasonBadClaims, Unauthenticated, codeToken, checkClaims, "The claims of the token are not valid"},
	{ReasonUntrusted, Unauthenticated, codeToken, checkIssuer, "The issuer of the token is not trusted here."},
	{ReasonSuspended, Unauthenticated, codeToken, checkIssuer, "The issuer of the token is suspended here."},
	{ReasonChanged, Unauthenticated, codeToken, checkIssuer, "The domain of the user names another issuer than before."},
	{ReasonForeignDomain, Unauthenticated, codeToken, checkIssuer, "The issuer may not speak for the domain of the user."},
	{ReasonForeignHome, Unauthenticated, codeToken, checkIssuer, "The token names a home issuer, and its issuer is not one of our own."},
	{ReasonUnknownKey, Unauthenticated, codeToken, checkSignature, "The issuer publishes no key with the kid of the token."},
	{ReasonBadSignature, Unauthenticated, codeToken, checkSignature, "No key of the issuer made the signature of the token."},
	{ReasonWrongAudience, Unauthenticated, codeToken, checkClaims, "The token is not for this service: aud names others."},
	{ReasonExpired, Unauthenticated, codeToken, checkClaims, "The token has expired."},
	{ReasonNotYetValid, Unauthenticated, codeToken, checkClaims, "The token is not yet valid: compare the clocks."},
	{ReasonTooOld, Unauthenticated, codeToken, checkPolicy, "The token was issued longer ago than this route accepts: refresh it."},
	{ReasonRevoked, Unauthenticated, codeToken, checkFeed, "The token was revoked."},
	{ReasonInactive, Unauthenticated, codeToken, checkOnline, "The issuer says that the token is not active."},
	{ReasonBadNested, Unauthenticated, codeToken, checkNested, "A token that it encloses is not valid"},
	{ReasonAuthentication, Unauthenticated, codeLogin, checkPolicy, "This route needs another login of the user"},

	{ReasonTarget, Forbidden, codeRequest, checkHeaders, "The path of the request is not in normal form."},
	{ReasonOrigin, Forbidden, codeRequest, checkHeaders, "The request is for a host that is not served here."},
	{ReasonDomain, Forbidden, codeDenied, checkPolicy, "This route does not accept the domain of the user."},
	{ReasonScope, Forbidden, codeScope, checkPolicy, "The token lacks a scope that this route needs."},
	{ReasonRelation, Forbidden, codeDenied, checkPolicy, "The relations of the enclosed tokens are not those that this route accepts."},
	{ReasonDepth, Forbidden, codeDenied, checkPolicy, "The token encloses more levels of tokens than this route accepts."},
	{ReasonBot, Forbidden, codeDenied, checkPolicy, "This route accepts only users themselves: no services, and no actors."},
	{ReasonNoStatus, Forbidden, codeDenied, checkOnline, "This route looks up the status list of a token, and the token names none."},

	{ReasonNoKeys, Unknown, codeUnknown, checkSignature, "The keys of the issuer cannot be read now."},
	{ReasonNoAnswer, Unknown, codeUnknown, checkOnline, "The issuer cannot be asked now whether the token is active."},
	{ReasonNoList, Unknown, codeUnknown, checkOnline, "The status list of the token cannot be read now."},
	{ReasonNoFeed, Unknown, codeUnknown, checkFeed, "More revocations are in force than can be kept."},
	{ReasonNoReplay, Unknown, codeUnknown, checkReplay, "Whether the proof was used before cannot be known now."},
	{ReasonBusy, Unknown, codeUnknown, checkReplay, "Too many requests from this address."},
	{ReasonMisconfigured, Unknown, codeUnknown, checkOnline, "The gateway cannot check this token as its policy demands."},
}

// rule returns what goes with the reason. Every reason has a rule, as a test holds.
func (r Reason) rule() *rule {
	for i := range rules {
		if rules[i].reason == r {
			return &rules[i]
		}
	}
	panic("gateway: the reason " + string(r) + " has no rule")
}

// Reasons returns all reasons with the outcome of each, in the order of the documentation.
func Reasons() []Reason {
	list := make([]Reason, len(rules))
	for i := range rules {
		list[i] = rules[i].reason
	}
	return list
}

// Outcome returns the outcome that a reason leads to.
func (r Reason) Outcome() Outcome { return r.rule().outcome }
