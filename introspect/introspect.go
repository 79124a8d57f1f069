// Package introspect decides whether an access token is active now (RFC 7662), and what a caller may know about it.
//
// An [Introspector] knows the tokens of one issuer. It has no storage: it asks [Keys], [Revocations] and [Records]. The
// result is a [Verdict], which no encoding shapes; [Verdict.Answer] is the JSON of RFC 7662 §2.2.
//
// Every text that is not an active token of this issuer for this caller gets the same answer, {"active":false}: expired,
// revoked, of another issuer, meant for another service, or no token. One code path makes it.
//
// An active answer says that the token is valid. It does not say who showed it: tokens are shown to peers, so others have
// seen it. Only a proof or a presentation says who holds the key of a token: [Verdict.Holder] is "unverified" unless the question
// has one.
//
// A [Client] is the other side: it asks an issuer, for other programs.
package introspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// ErrForbidden is returned for a caller that lacks scope introspect. Every other error of [Introspector.Introspect]
// means that the issuer cannot know now.
var ErrForbidden = errors.New("introspect: the caller lacks scope introspect")

// Config configures an [Introspector].
type Config struct {
	// Issuer is the iss of the tokens that may be active. Required.
	Issuer string
	// Domains are the domains whose identities the issuer issues, in canonical form. Required. Development admits
	// reserved ones.
	Domains     []string
	Development bool
	// Keys, Revocations and Records are what the issuer knows. Required.
	Keys        Keys
	Revocations Revocations
	Records     Records
	// History is what the issuer knows of the past. Required for questions about successors.
	History History
	// ParseCWT reads the text of an access token in the form of a CWT, of which it verifies nothing. It is called for texts that cannot
	// be a JWT. Nil: there are no such tokens.
	ParseCWT func(text string) (UnverifiedToken, error)
	// Authority finds the keys of the issuers of enclosed tokens. Nil: no token that encloses others is active.
	Authority nested.KeySource
	// CrossSigning tells about the cross signing of users. Nil: answers say nothing of it.
	CrossSigning CrossSigning
	// MaxAge is how long callers may cache an active answer, and so how late they may learn of a revocation. Zero means
	// 5 s.
	MaxAge time.Duration
	// PairwiseKey is the secret from which the pairwise ids of users are derived. Required if a caller has a [Release] with them.
	PairwiseKey [32]byte
	// Replay remembers the proofs and presentations of holders that were used. Required for questions about holders.
	Replay dpop.Replay
	// ProofAlgorithms are the accepted algorithms of those, as in [dpop.Config].
	ProofAlgorithms []string
	// CacheBytes bounds the memory for tokens that were seen before, whose signatures are not verified again. Zero
	// means 64 MiB, enough for some 40,000 tokens. Tokens of callers from peers have a sixteenth beside it.
	CacheBytes int
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// An Introspector answers questions about access tokens. It is safe for concurrent use.
type Introspector struct {
	cfg    Config
	cache  *cache[token]
	peers  *cache[credential] // apart from the others: a peer's token is none of the issuer
	tables *jose.Tables       // of the issuer's keys: all new tokens have the signatures of a few
}

// ownKeys is how many keys an issuer signs with at a time, with room for a rotation.
const ownKeys = 8

// New returns an Introspector.
func New(cfg Config) (*Introspector, error) {
	if cfg.Issuer == "" || len(cfg.Domains) == 0 {
		return nil, errors.New("introspect: Issuer and Domains are required")
	}
	if cfg.Keys == nil || cfg.Revocations == nil || cfg.Records == nil {
		return nil, errors.New("introspect: Keys, Revocations and Records are required")
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 5 * time.Second
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 64 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Introspector{
		cfg: cfg, cache: newCache[token](cfg.CacheBytes), peers: newCache[credential](cfg.CacheBytes / 16),
		tables: jose.NewTables(ownKeys, nil),
	}, nil
}

// A Question is a token that a caller asks about.
type Question struct {
	Token string
	// Along are the tokens that were sent along, for a token that encloses some by their digests.
	Along []string
	// Shown is what the holder showed to the caller. Without it the verdict says nothing about the holder. The answer to a question
	// with it is for one use: it must not be cached, and equal questions must not be joined.
	Shown Shown
}

// Introspect returns the verdict about an access token, as far as the caller may know it. An inactive token is a verdict
// and not an error. The error is [ErrForbidden], [ErrNotItsURL] or
// [ErrNotItsName], or means that the issuer cannot know now.
func (i *Introspector) Introspect(ctx context.Context, caller Caller, q Question) (Verdict, error) {
	if !slices.Contains(caller.Scopes, ScopeIntrospect) {
		return Verdict{}, ErrForbidden
	}
	if caller.Release != nil && caller.Release.pairwise && (caller.Name == "" || i.cfg.PairwiseKey == [32]byte{}) {
		return Verdict{}, errNameless
	}
	shown := q.Shown.given()
	if shown {
		if err := q.Shown.mayAsk(&caller); err != nil {
			return Verdict{}, err
		}
	}
	// RFC 7662 §2.2: a caller must not learn which check failed. All of them are made for each question, also for a text
	// that is no token.
	t, f, err := i.judge(ctx, q)
	if err != nil {
		return Verdict{}, err
	}
	switch {
	case !caller.sees(t):
		return Verdict{}, nil
	case f.reason == "" && !shown:
		return i.active(ctx, t, f.at, i.veil(caller)), nil
	case f.reason == "":
		verified, err := i.holds(ctx, &caller, t, q.Token, &q.Shown)
		if err != nil {
			return Verdict{}, err
		}
		if verified {
			v := i.active(ctx, t, f.at, i.veil(caller))
			v.Holder, v.MaxAge = Verified, 0
			return v, nil
		}
		f = finding{reason: InvalidProof}
	}
	if slices.Contains(caller.Scopes, ScopeReason) && caller.Release.tellsReasons() && t.JTI != "" {
		return Verdict{Reason: f.reason, Path: f.path}, nil
	}
	return Verdict{}, nil
}

// errNameless is our own mistake: all callers without a name would get the same pairwise ids.
var errNameless = errors.New("introspect: pairwise ids need the name of the caller and a key")

// Own returns the claims of an active access token of the issuer, whatever its audience, and false for any other text. It
// is for the issuer's own endpoints, which check audience, scope and proof. If the token encloses others, scope, expiry
// and login are the least of all of them. An error means that the issuer cannot know now.
func (i *Introspector) Own(ctx context.Context, accessToken string) (claims.Set, bool, error) {
	t, f, err := i.judge(ctx, Question{Token: accessToken})
	return t.whole(), err == nil && f.reason == "", err
}

// A finding says when a token was judged and, if it is not active, why, and which enclosed token is at fault.
type finding struct {
	at     time.Time
	reason Reason // empty: the token is active
	path   string
}

// judge decides whether a token is active now. For a text that is no token of the issuer it returns an empty token.
func (i *Introspector) judge(ctx context.Context, q Question) (*token, finding, error) {
	t, genuine, err := i.token(ctx, q)
	refused := refusal(err)
	if err != nil && refused == nil {
		return &token{}, finding{}, err
	}
	f := finding{at: i.cfg.Now()}
	reason, err := i.cfg.Revocations.Revoked(ctx, t.ids)
	switch {
	case err != nil:
		return &token{}, finding{}, err
	case !genuine:
		f.reason = Revoked
	case !f.at.Before(t.Expires):
		f.reason = Expired
	case reason != "":
		f.reason = reason
	case refused != nil:
		f.reason, f.path = Reason(refused.Code), refused.Path
	case t.HomeIss != "":
		f.reason, err = i.judgeHome(ctx, t)
	default:
		f.reason, f.path, err = i.judgeInner(ctx, t, f.at)
	}
	return t, f, err
}

// refusal returns err as the refusal of an enclosed token, nil if it is another error. A call without an error does not
// allocate, as [errors.As] would.
func refusal(err error) *nested.Error {
	if err == nil {
		return nil
	}
	var refused *nested.Error
	errors.As(err, &refused)
	return refused
}
