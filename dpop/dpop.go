// Package dpop makes and checks DPoP proofs (RFC 9449), hands out their nonces, remembers which proofs were spent, and
// guards the resources of any net/http service with them. docs/dpop.md tells the whole way.
//
// A server has one [Verifier] for all endpoints of an origin. [Verifier.Check] holds a proof to every rule of
// RFC 9449 §4.3 but one and changes nothing; [Verifier.Spend] is the last rule, that a proof counts once.
// Between the two belongs everything else that can refuse the request: whoever authenticates the client, finds
// the code or the token and compares its key with [Proof.JKT] does so before Spend, and Spend comes before the
// first write. A proof that was refused for something else can then be sent again.
//
//	request := dpop.Request{Method: r.Method, URL: "https://as.example/token", Proofs: r.Header.Values("DPoP")}
//	proof, err := verifier.Check(ctx, request)
//	… // authenticate the client, find the code, compare keys
//	err = verifier.Spend(ctx, proof, addr)
//
// The URL is the one under which clients know the endpoint, from configuration. It is never put together from
// the Host or X-Forwarded headers of the request: then whoever sends those headers chooses which proofs fit.
//
// A client has a [Signer], and mostly a [Transport], which adds a proof to each request and follows the
// server's nonces. A service whose requests come with an access token has a [Resource], which does all of the above:
// [Resource.Protect] as middleware, [Resource.Check] for servers with an error handler of their own.
// A [Binding] ties a connection that lasts to the key that opened it. Outside HTTP, where there is no URL to sign, a
// presentation shows who holds a token: [Signer.Presentation], [Verifier.CheckPresentation].
//
// Nonces are required or off, nothing between (RFC 9449 §11.3). Required, a nonce bounds the life of a proof
// and the client's clock does not matter; off, `iat` does and it must be right within seconds.
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

// What a caller branches on. Any other error of [Verifier.Check] and [Verifier.Spend] means that the answer
// cannot be known now: it is the server's fault (503), never a verdict on the proof.
var (
	// ErrInvalidProof is what every refused proof is, a missing and a replayed one too: `invalid_dpop_proof`
	// (RFC 9449 §5, §7.1).
	ErrInvalidProof = errors.New("dpop: invalid proof")
	// ErrNoProof is a request without a DPoP header. It is an ErrInvalidProof.
	ErrNoProof = errors.New("dpop: no proof")
	// ErrUseNonce is a proof whose nonce is missing or too old: `use_dpop_nonce`, with [Verifier.Nonce] in the
	// answer's DPoP-Nonce header (RFC 9449 §8, §9). It is not an ErrInvalidProof.
	ErrUseNonce = errors.New("dpop: a fresh nonce is needed")
	// ErrReplayed is a proof that was spent before (RFC 9449 §11.1). It is an ErrInvalidProof.
	ErrReplayed = errors.New("dpop: proof replayed")
)

// A ProofError tells which part of a proof was refused, in printable ASCII fit for an `error_description` (RFC
// 6749 §5.2): no proof, key, token or anything else that the client sent. [errors.Is] finds ErrUseNonce, or
// else ErrInvalidProof, and ErrNoProof and ErrReplayed where they apply; [errors.As] finds a *[ClockError].
type ProofError struct {
	// Part is "header" (the HTTP field, or the JOSE header), "form", "size", "payload", "signature", the name of a
	// header parameter ("typ", "alg", "jwk", "crit") or of a claim ("jti", "htm", "htu", "nonce", "iat", "ath").
	Part string
	Err  error
}

func (e *ProofError) Error() string { return "dpop: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *ProofError) Unwrap() error { return e.Err }

// Is reports that e is an [ErrInvalidProof], unless it asks for a nonce.
func (e *ProofError) Is(target error) bool {
	return target == ErrInvalidProof && !errors.Is(e.Err, ErrUseNonce)
}

// A ClockError tells a client whose `iat` was refused how its clock differs from the server's.
type ClockError struct {
	Server time.Time // the server's time
	Client time.Time // what iat says
}

// Error says it in words, with the server's time in seconds since 1970, as iat is written.
func (e *ClockError) Error() string {
	offset, where := e.Client.Sub(e.Server).Truncate(time.Second), "ahead of"
	if offset < 0 {
		offset, where = -offset, "behind"
	}
	return fmt.Sprintf("iat is %d s %s the server, whose time is %d", offset/time.Second, where, e.Server.Unix())
}

// A reason says why a part was refused and which of the errors above that is.
type reason struct {
	words string
	kind  error
}

func (r *reason) Error() string { return r.words }
func (r *reason) Unwrap() error { return r.kind }

func refuse(part, words string) error { return &ProofError{part, errors.New(words)} }

// maxNamed is how many bytes of a wrong value a refusal repeats.
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
