package dpop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// With nonces off, a proof is valid from 15 s before to 60 s after its `iat`, by the server's clock (RFC 9449 §11.1). With
// nonces, `iat` may differ from that clock by a day.
const (
	maxAge    = 60 * time.Second
	maxAhead  = 15 * time.Second
	maxOffset = 24 * time.Hour
	// maxSkew is how much the clocks of two nodes may differ. Records of spent proofs are kept longer by that.
	maxSkew = 60 * time.Second
)

// Config configures a [Verifier].
type Config struct {
	// Algorithms are the accepted signature algorithms. Nil means ES256, EdDSA, Ed25519 and ES384. If ES512, PS256 or RS256
	// is added, anybody can make the server verify slow signatures: by P-521, or by RSA keys of up to 4096 bits. EdDSA and
	// Ed25519 are two names of one algorithm.
	Algorithms []string
	// Nonces makes and checks the nonce of every proof. Nil turns nonces off: then `iat` must be from 60 s before to 15 s
	// after the time of the server.
	Nonces *Nonces
	// Replay remembers spent proofs. Required; all nodes share it.
	Replay Replay
	// Namespace separates the proofs of servers that share a store and have different origins. It has at most 255 bytes.
	Namespace string
	// KeyTables is how many P-256 keys may have a table, with which a proof takes half the time. A key gets one when it signed often
	// within a minute, if there is a place, and loses it to another one if it has not signed for a minute. Use it where the same
	// clients send many requests: a gateway or a resource. A table takes 90 kB. Zero means none. What is accepted does not depend on
	// it.
	KeyTables int
	// Offset is called with how far the client's clock is ahead of the server's (negative: behind), for each proof whose
	// method and URL are those of the request, before its nonce, time and signature are checked. It may be nil.
	Offset func(time.Duration)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Verifier checks proofs for the endpoints of one origin. It may be used by several goroutines.
type Verifier struct {
	cfg      Config
	tables   *jose.Tables
	rereader rereader
}

// NewVerifier returns a verifier. The error is about a missing replay store, an unknown algorithm or a long namespace.
func NewVerifier(cfg Config) (*Verifier, error) {
	var err error
	if cfg.Algorithms, err = checkAlgorithms(cfg.Algorithms); err != nil {
		return nil, err
	}
	if cfg.Replay == nil {
		return nil, errors.New("dpop: a verifier needs a replay store")
	}
	if len(cfg.Namespace) > 255 {
		return nil, errors.New("dpop: the namespace is longer than 255 bytes")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &Verifier{cfg: cfg, rereader: rereader{turn: make(chan struct{}, 1)}}
	if cfg.KeyTables > 0 {
		v.tables = jose.NewTables(cfg.KeyTables, cfg.Now)
	}
	return v, nil
}

// Algorithms returns the accepted algorithms, for `dpop_signing_alg_values_supported` and the `algs` of a
// challenge.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.cfg.Algorithms) }

// A Request is a request with a proof.
type Request struct {
	Method      string   // as received; methods are case-sensitive
	URL         string   // the configured public URL of the endpoint; its query and fragment are ignored
	Proofs      []string // all values of the DPoP header, http.Header.Values("DPoP")
	AccessToken string   // the access token of the request, for which `ath` is required; "" at endpoints that need none
}

// Check checks the one proof in r.Proofs against every rule of RFC 9449 §4.3 but two: [Verifier.Spend] checks that it
// is used once, and the caller compares its key, [Proof.JKT], with that of the token, code or client. Check changes
// nothing and may be repeated. It verifies the signature last.
//
// A refusal is a *[ProofError]; any other error means that the replay store or the configured URL failed.
func (v *Verifier) Check(ctx context.Context, r Request) (*Proof, error) {
	u, err := v.Read(ctx, r)
	if err != nil {
		return nil, err
	}
	return u.Verify()
}

// An Unverified is a proof that [Verifier.Read] accepted. Its signature is not verified, so anybody may have written it.
type Unverified struct {
	proof  Proof
	jws    *jose.JWS
	tables *jose.Tables
}

// JKT returns the thumbprint of the key that the proof claims to be signed with. It serves to refuse a proof by another
// key than the expected one. It must not admit anything: see [Unverified.Verify].
func (u *Unverified) JKT() string { return u.proof.JKT }

// Verify verifies the signature and returns the proof. The error is a *[ProofError].
func (u *Unverified) Verify() (*Proof, error) {
	if err := verify(u.tables, u.jws, u.proof.Key); err != nil { // check 6
		return nil, err
	}
	return &u.proof, nil
}

// Read is the first part of [Verifier.Check]: every check but the signature. A caller that can refuse the request for
// another reason (an unknown client, a limit, a key that is not the expected one) calls Read, then does so, then calls
// [Unverified.Verify]. Signature verification costs far more than all other checks together.
func (v *Verifier) Read(ctx context.Context, r Request) (*Unverified, error) {
	switch { // check 1
	case len(r.Proofs) == 0:
		return nil, &ProofError{"header", &reason{"there is no DPoP header", ErrNoProof}}
	case len(r.Proofs) > 1:
		return nil, refuse("header", "there is more than one DPoP header")
	}
	u, err := readProof(r.Proofs[0], v.cfg.Algorithms) // checks 2 to 5 and 7
	if err != nil {
		return nil, err
	}
	u.tables = v.tables
	p := &u.proof
	if p.HTM != r.Method { // check 8; methods are case-sensitive (RFC 9110 §9.1)
		return nil, refuse("htm", "the proof is for "+named(p.HTM)+", the request is "+r.Method)
	}
	want, err := NormalizeHTU(r.URL)
	if err != nil {
		return nil, fmt.Errorf("dpop: the URL of the endpoint: %w", err)
	}
	got, err := NormalizeHTU(p.HTU)
	if err != nil {
		return nil, refuse("htu", fmt.Sprintf("%s: %v; the request is for %s", named(bare(p.HTU)), err, want))
	}
	if got != want { // check 9
		return nil, refuse("htu", "the proof is for "+named(got)+", the request is for "+want)
	}
	if p.epoch, err = v.cfg.Replay.Epoch(ctx); err != nil {
		return nil, fmt.Errorf("dpop: replay store: %w", err)
	}
	if v.cfg.Offset != nil {
		v.cfg.Offset(p.IssuedAt.Sub(v.cfg.Now()))
	}
	if err := v.checkTime(ctx, p); err != nil { // checks 10 and 11
		return nil, err
	}
	if r.AccessToken != "" && !isATH(p.ATH, r.AccessToken) { // check 12
		if p.ATH == "" {
			return nil, refuse("ath", "missing")
		}
		return nil, refuse("ath", "not the hash of this access token")
	}
	return u, nil
}

// bare removes the parts of a URL that may contain secrets: user information, query and fragment.
func bare(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	return url[strings.LastIndexByte(url, '@')+1:]
}

// checkTime checks nonce and iat. The nonce is checked first, because with a nonce a client with a wrong clock can
// succeed.
func (v *Verifier) checkTime(ctx context.Context, p *Proof) error {
	if v.cfg.Nonces == nil {
		p.until = p.IssuedAt.Add(maxAge + maxSkew)
		return v.checkIssuedAt(p.IssuedAt, p.epoch)
	}
	issued, ok := v.cfg.Nonces.check(p.epoch, p.Nonce)
	if !ok {
		e, err := v.reread(ctx, p.epoch)
		if err != nil {
			return err
		}
		p.epoch = e
		if issued, ok = v.cfg.Nonces.check(e, p.Nonce); !ok {
			return useNonce(p)
		}
	}
	p.NonceTime, p.until = issued, issued.Add(nonceLife)
	return v.checkClock(p.IssuedAt, maxOffset, maxOffset)
}

// checkIssuedAt checks the `iat` of a proof or presentation without a nonce of [Nonces]. One that was spent before the
// epoch may be dated up to maxAhead after its birth, so all that are dated earlier than that are refused.
func (v *Verifier) checkIssuedAt(iat time.Time, e Epoch) error {
	if err := v.checkClock(iat, maxAge, maxAhead); err != nil {
		return err
	}
	if wait := e.Birth + int64(maxAhead/time.Second) - iat.Unix(); wait > 0 {
		return refuse("iat", fmt.Sprintf("%s in %d s", forgotten, wait))
	}
	return nil
}

func (v *Verifier) checkClock(iat time.Time, behind, ahead time.Duration) error {
	now := v.cfg.Now()
	if iat.Before(now.Add(-behind)) || iat.After(now.Add(ahead)) {
		return &ProofError{"iat", &ClockError{Server: now, Client: iat}}
	}
	return nil
}

const forgotten = "the server may have forgotten proofs of that time; send a new one"

func useNonce(p *Proof) error {
	words := "the nonce is too old or not from this server"
	if p.Nonce == "" {
		words = "this server requires one"
	}
	return &ProofError{"nonce", &reason{words, ErrUseNonce}}
}

// Spend records that p was used, for a request from source (the zero Addr if it is not known). Call it after all other
// checks that can refuse the request, and before the first write. The error is [ErrReplayed] if p was spent before,
// [ErrUseNonce] (with nonces off: ErrInvalidProof) if the store may have lost the record since Check, and [ErrReplayFull]
// if the store accepts no more proofs from source. Any other error means that the store cannot know.
func (v *Verifier) Spend(ctx context.Context, p *Proof, source netip.Addr) error {
	key := replayKey(kindProof, v.cfg.Namespace, p.JKT, p.JTI)
	err := v.cfg.Replay.Spend(ctx, p.epoch, key, p.until, source)
	if err == nil {
		return nil
	}
	stale := refuse("iat", forgotten)
	if v.cfg.Nonces != nil {
		stale = useNonce(p)
	}
	return notSpent(err, stale)
}

// notSpent returns the error of [Verifier.Spend] for an error of the store. It is stale if the store has a new epoch.
func notSpent(err, stale error) error {
	switch {
	case errors.Is(err, ErrReplayed):
		return &ProofError{"jti", &reason{"this proof was used before", ErrReplayed}}
	case errors.Is(err, ErrStaleEpoch):
		return stale
	}
	return fmt.Errorf("dpop: replay store: %w", err)
}

// Nonce returns the newest nonce, for the DPoP-Nonce header of every answer (with Cache-Control: no-store, RFC 9449 §8.2).
// It is empty with nonces off: then no answer has the header. The error means that the replay store does not answer.
func (v *Verifier) Nonce(ctx context.Context) (string, error) {
	if v.cfg.Nonces == nil {
		return "", nil
	}
	e, err := v.cfg.Replay.Epoch(ctx)
	if err != nil {
		return "", fmt.Errorf("dpop: replay store: %w", err)
	}
	return v.cfg.Nonces.newest(e), nil
}
