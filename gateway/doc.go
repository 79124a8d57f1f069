// Package gateway decides at the edge of a provider whether a request may pass: this access token, from that domain, held by this
// key, for this route. It is also the offline verifier for a single resource server.
//
// A [Verifier] has the table of trusted issuers and the names of the services behind it. [Verifier.Decide] takes a [Request] and the
// [Policy] of its route, and returns a [Decision]: allowed, unauthenticated (401), forbidden (403), or unknown (503). An outage is
// always unknown, never a refusal. A decision has a [Reason] from a closed list, and an explanation in plain words that contains
// neither token nor proof.
//
//	verifier, err := gateway.New(gateway.Config{Trust: table, Audience: []string{"im:a.example"}})
//	policy, err := gateway.NewPolicy(gateway.PolicyConfig{Scopes: []string{"im:handle"}})
//	decision := verifier.Decide(ctx, gateway.Request{
//		Method: r.Method, URL: "https://chat.a.example" + r.URL.EscapedPath(),
//		Authorization: r.Header.Values("Authorization"), DPoP: r.Header.Values("DPoP"),
//	}, policy)
//
// In Go services a [Guard] does this as middleware for net/http. Package gateway/forwardauth does it for the proxies.
//
// Each request needs one token under the scheme DPoP and one proof by its key (RFC 9449 §7). The verifier pins `typ`, `alg`, `iss` and
// `aud` (RFC 9068 §4, RFC 8725 §3.11), and verifies the signature with the keys that the issuer publishes. It checks that handle, user
// and device are in one domain for which the issuer may speak. Verified tokens are kept, so that the next request with the same token
// costs one signature verification, that of its proof. A kept token is not used past its expiry, and it falls when its key leaves the
// key set, when its issuer loses the trust, or when the feed says so.
//
// Whether a token was revoked is asked by the mode of the policy: never ([Offline]), at the issuer ([Introspect]), or in the status
// list ([Status]). In every mode the events of a [Feed] end tokens at once. The [Outage] of the policy says what happens while the
// issuer cannot be asked.
package gateway
