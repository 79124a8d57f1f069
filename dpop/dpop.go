// Package dpop makes and checks DPoP proofs (RFC 9449), issues nonces, remembers spent proofs, and protects the resources
// of any net/http service. docs/dpop.md explains how the parts work together.
//
// A server has one [Verifier] for all endpoints of an origin. [Verifier.Check] checks every rule of RFC 9449 §4.3 except
// that a proof is used once, and changes nothing. [Verifier.Spend] checks that last rule. All other checks that can refuse
// the request come between the two: authenticate the client, find the code or the token, compare its key with
// [Proof.JKT]. Spend comes before the first write. So a proof whose request was refused for another reason can be sent
// again.
//
//	request := dpop.Request{Method: r.Method, URL: "https://as.example/token", Proofs: r.Header.Values("DPoP")}
//	proof, err := verifier.Check(ctx, request)
//	… // authenticate the client, find the code, compare keys
//	err = verifier.Spend(ctx, proof, addr)
//
// The URL is the public URL of the endpoint, from configuration. It must not be built from the Host or X-Forwarded headers
// of the request, because the sender of those headers could then choose which proofs are valid.
//
// A client has a [Signer], and usually a [Transport], which adds a proof to each request and uses the server's nonces. A
// service that receives access tokens has a [Resource], which does all of the above: [Resource.Protect] as middleware,
// [Resource.Check] for servers with their own error handler. A [Binding] ties a long-lived connection to the key that
// opened it. Outside HTTP, where there is no URL to sign, a presentation proves who holds a token:
// [Signer.Presentation], [Verifier.CheckPresentation]. A key proof shows a credential issuer who holds the key of a credential
// (OpenID4VCI 1.0): [Signer.KeyProof], [Verifier.ReadKeyProof]. A Wire proof shows which device has an account at a certificate
// authority of Wire: [Signer.WireProof], [Verifier.ReadWireProof].
//
// Nonces are either required or off (RFC 9449 §11.3). If they are required, a nonce bounds the life of a proof, and the
// client's clock may be wrong. If they are off, `iat` bounds it, and the client's clock must be right within seconds.
package dpop

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/errtext"
)

// Errors that callers branch on. Any other error of [Verifier.Check] and [Verifier.Spend] means that the server cannot
// decide now (503). It says nothing about the proof.
var (
	// ErrInvalidProof is the error of every refused proof, including missing and replayed ones: `invalid_dpop_proof`
	// (RFC 9449 §5, §7.1).
	ErrInvalidProof = errors.New("dpop: invalid proof")
	// ErrNoProof is the error of a request without a DPoP header. It is an ErrInvalidProof.
	ErrNoProof = errors.New("dpop: no proof")
	// ErrUseNonce is the error of a proof whose nonce is missing or too old: `use_dpop_nonce`, with [Verifier.Nonce] in
	// the answer's DPoP-Nonce header (RFC 9449 §8, §9). It is not an ErrInvalidProof.
	ErrUseNonce = errors.New("dpop: a fresh nonce is needed")
	// ErrReplayed is the error of a proof that was spent before (RFC 9449 §11.1). It is an ErrInvalidProof.
	ErrReplayed = errors.New("dpop: proof replayed")
)

// A ProofError names the part of a proof that was refused. Its text is printable ASCII and may be used as
// `error_description` (RFC 6749 §5.2): it contains no proof, key or token. [errors.Is] finds ErrUseNonce or else
// ErrInvalidProof, and ErrNoProof and ErrReplayed where they apply; [errors.As] finds a *[ClockError].
type ProofError struct {
	// Part is "header" (the HTTP field, or the JOSE header), "form", "size", "payload", "signature", the name of a
	// header parameter ("typ", "alg", "jwk", "crit") or of a claim ("jti", "htm", "htu", "nonce", "iat", "ath").
	Part string
	Err  error
}

func (e *ProofError) Error() string { return "dpop: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *ProofError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrInvalidProof], unless e asks for a nonce.
func (e *ProofError) Is(target error) bool {
	return target == ErrInvalidProof && !errors.Is(e.Err, ErrUseNonce)
}

// A ClockError says by how much the clock of a client whose `iat` was refused differs from the server's.
type ClockError struct {
	Server time.Time // the server's time
	Client time.Time // the time in iat
}

// Error returns the difference, and the server's time in seconds since 1970, as in iat.
func (e *ClockError) Error() string {
	offset, where := e.Client.Sub(e.Server).Truncate(time.Second), "ahead of"
	if offset < 0 {
		offset, where = -offset, "behind"
	}
	return fmt.Sprintf("iat is %d s %s the server, whose time is %d", offset/time.Second, where, e.Server.Unix())
}

// A reason says why a part was refused, and which of the errors above it is.
type reason struct {
	words string
	kind  error
}

func (r *reason) Error() string { return r.words }
func (r *reason) Unwrap() error { return r.kind }

func refuse(part, words string) error { return &ProofError{part, errors.New(words)} }

// maxNamed is how many bytes of a wrong value the text of a refusal contains at most.
const maxNamed = 200

// named quotes a value of a proof for an error.
func named(value string) string { return errtext.Quote(value, maxNamed) }

// ATH returns the `ath` claim for an access token: the base64url of its SHA-256 (RFC 9449 §4.2).
func ATH(accessToken string) string {
	var text [athSize]byte
	encodeATH(&text, accessToken)
	return string(text[:])
}

// isATH reports whether ath is that of an access token. It allocates nothing for a token of usual size.
func isATH(ath, accessToken string) bool {
	var want [athSize]byte
	encodeATH(&want, accessToken)
	return subtle.ConstantTimeCompare([]byte(ath), want[:]) == 1
}

const athSize = (sha256.Size*8 + 5) / 6 // characters of 6 bits

func encodeATH(text *[athSize]byte, accessToken string) {
	var buffer [1 << 10]byte
	sum := sha256.Sum256(append(buffer[:0], accessToken...))
	base64.RawURLEncoding.Encode(text[:], sum[:])
}
