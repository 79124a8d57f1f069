// Package sasl lets chat servers verify who signs in with an access token: the SASL mechanism IM-PRESENTATION, and the helper
// process that a server asks (docs/sasl.md describes both).
//
// The mechanism has the message format of OAUTHBEARER (RFC 7628), with two differences: the server begins with a challenge, and the
// client sends a presentation beside the token, signed by the key that the token is bound to, with the challenge as its nonce. So a
// stolen token is of no use. [ParseMessage] reads the client's message, a [Checker] makes challenges and decides, and a [Helper]
// speaks the line protocol.
//
// A decision has three values. A [*Refusal] is a "no". Every other error means that the checker cannot know, because the issuer does not
// answer for example: the server must report a temporary failure, never a wrong password.
package sasl

// Mechanism is the name of the mechanism (RFC 4422 §3.1).
const Mechanism = "IM-PRESENTATION"

// Conditions of a failed exchange. XMPP defines the names (RFC 6120 §6.5).
const (
	NotAuthorized    = "not-authorized"
	InvalidAuthzid   = "invalid-authzid"
	MalformedRequest = "malformed-request"
	TemporaryFailure = "temporary-auth-failure"
)

// Codes tell the client what to do. They are OAuth error codes, as in RFC 7628 §3.2.2.
const (
	codeRequest      = "invalid_request"
	codeToken        = "invalid_token"
	codeScope        = "insufficient_scope"
	codePresentation = "invalid_dpop_proof"
	codeNonce        = "use_dpop_nonce"
)

// A Refusal is the answer "no": the user is not signed in, and the client is told why.
type Refusal struct {
	// Condition is the SASL condition, as the server sends it.
	Condition string
	// Code is an OAuth error code for the client.
	Code string
	// Text is for the developer of the client. It contains no token and no presentation.
	Text string
}

func (r *Refusal) Error() string { return "sasl: " + r.Condition + ": " + r.Text }

func refuse(code, text string) *Refusal { return &Refusal{NotAuthorized, code, text} }

func malformed(text string) *Refusal { return &Refusal{MalformedRequest, codeRequest, text} }
