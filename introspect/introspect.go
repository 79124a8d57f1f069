// Package introspect answers whether an access token is good now (RFC 7662), and for whom.
//
// An [Introspector] knows the tokens of one issuer and needs no storage: what only the issuer knows it asks a
// [Source]. Everything that is not a good token of this issuer that the caller may see, whether expired, revoked,
// foreign, somebody else's or no token at all, is the same answer, {"active":false}, and comes about by one path.
//
// An active answer says that the token is good. It does not say that whoever showed it holds its key: tokens are
// shown to peers, so others have seen it. Only a proof or a presentation says who holds it, which is why
// [Answer.Holder] is "unverified".
package introspect

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// ErrForbidden is returned for a caller that lacks scope introspect. Every other error of [Introspector.Introspect]
// means that the issuer cannot know now.
var ErrForbidden = errors.New("introspect: the caller lacks scope introspect")

// The scopes that a [Caller] may have.
const (
	ScopeIntrospect = "introspect"        // to ask at all
	ScopeDomain     = "introspect:domain" // to see every token of the caller's domains
	ScopeReason     = "introspect:reason" // to be told why a token is not active
)

// A Source knows what the issuer knows. It is safe for concurrent use.
type Source interface {
	// Key returns the issuer's public key of that kid and its JOSE algorithm, and false if there is none or it was
	// revoked.
	Key(kid string) (key crypto.PublicKey, alg string, ok bool)
	// Revoked tells what ended t, and "" if nothing did. It is asked for every question, with the zero Token for what is
	// no token of the issuer. An error means that it cannot know now.
	Revoked(ctx context.Context, t Token) (Reason, error)
}

// A Reason is why a token is not active, as callers with scope introspect:reason are told it. For a token that does not
// hold because of one that it encloses, it may also be one of the codes of package nested.
type Reason string

// The reasons.
const (
	Expired       Reason = "expired"
	Revoked       Reason = "revoked"
	DeviceRemoved Reason = "device_removed"
	UserDisabled  Reason = "user_disabled"
	HandleChanged Reason = "handle_changed"
	Superseded    Reason = "superseded" // the user's tokens from before some moment were ended
)

// A Token is what a revocation can be about in an access token. What it has not is empty.
type Token struct {
	JTI, SID string
	// Domain is that of User and Device, which are ids within it.
	Domain, User, Device string
	ClientID             string
	KID                  string // of the key that signed it
	Gen                  int64
	// Statement says that the token is a statement of the issuer, which knows it by its JTI.
	Statement bool
	// Actor says that SID, alone, is the session of one who acts for the subject.
	Actor bool
}

// A Caller is an authenticated client that asks, as it is registered.
type Caller struct {
	ClientID  string
	Resources []string // audiences that it serves
	Domains   []string
	Scopes    []string
}

// sees tells whether the caller may know about t: a token that is meant for it, its own, or one of its domains if it
// has the scope for those.
func (c Caller) sees(t *token) bool {
	if c.ClientID != "" && c.ClientID == t.ClientID {
		return true
	}
	for _, aud := range t.Audience {
		if slices.Contains(c.Resources, aud) {
			return true
		}
		if domain, ok := claims.DomainOf(aud); ok && slices.Contains(c.Domains, domain) {
			return true
		}
	}
	return slices.Contains(c.Scopes, ScopeDomain) && slices.Contains(c.Domains, t.subject.Domain)
}

// Config configures an [Introspector].
type Config struct {
	// Issuer is the iss of the tokens that may be active. Required.
	Issuer string
	// Domains are those whose identities the issuer issues, in canonical form. Required. Development admits
	// reserved ones.
	Domains     []string
	Development bool
	// Source is asked for keys and revocations. Required.
	Source Source
	// Authority says whom to believe about tokens that a token encloses. Nil: none that encloses others is active.
	Authority nested.KeySource
	// MaxAge is how long an active answer may be kept by whoever got it, and so how late it may learn of a
	// revocation. Zero means 5 s.
	MaxAge time.Duration
	// CacheBytes bounds the memory for tokens that were seen before, whose signatures are not checked again. Zero
	// means 64 MiB, which hold some 40,000 tokens.
	CacheBytes int
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// An Introspector answers questions about access tokens. It is safe for concurrent use.
type Introspector struct {
	cfg   Config
	cache *cache
}

// New returns an Introspector.
func New(cfg Config) (*Introspector, error) {
	if cfg.Issuer == "" || cfg.Source == nil || len(cfg.Domains) == 0 {
		return nil, errors.New("introspect: Issuer, Domains and Source are required")
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
	return &Introspector{cfg: cfg, cache: newCache(cfg.CacheBytes)}, nil
}

// A Question is what a caller asks about.
type Question struct {
	Token string
	// Along are the tokens that came along, for a token that encloses some by their digests.
	Along []string
}

// Introspect answers caller's question about an access token. An inactive token is an answer and not an error.
// The error is [ErrForbidden], or means that the issuer cannot know now.
func (i *Introspector) Introspect(ctx context.Context, caller Caller, q Question) (Answer, error) {
	if !slices.Contains(caller.Scopes, ScopeIntrospect) {
		return Answer{}, ErrForbidden
	}
	// RFC 7662 §2.2: a caller must not learn which of these made the answer, so all of them are looked at for each
	// question, also for no token at all.
	t, v, err := i.judge(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	switch {
	case !caller.sees(t):
		return Answer{}, nil
	case v.reason == "":
		return i.answer(t, i.cfg.Now()), nil
	case slices.Contains(caller.Scopes, ScopeReason) && t.JTI != "":
		return Answer{Reason: v.reason, Path: v.path}, nil
	}
	return Answer{}, nil
}

// Own returns the claims of an access token of the issuer that is active, whoever it is for, and false for any other text.
// It is for the issuer's own endpoints, which look at audience, scope and proof. Of a token that encloses others, scope, end and
// login are the least of all. An error means that it cannot know now.
func (i *Introspector) Own(ctx context.Context, accessToken string) (claims.Set, bool, error) {
	t, v, err := i.judge(ctx, Question{Token: accessToken})
	return t.whole(), err == nil && v.reason == "", err
}

// A verdict is why a token is not active, and which one inside it is at fault; the zero verdict is for an active one.
type verdict struct {
	reason Reason
	path   string
}

// judge finds out whether a token is active now. For what is no token of the issuer it returns an empty one.
func (i *Introspector) judge(ctx context.Context, q Question) (*token, verdict, error) {
	t, genuine, err := i.token(ctx, q)
	refused := refusal(err)
	if err != nil && refused == nil {
		return &token{}, verdict{}, err
	}
	now := i.cfg.Now()
	reason, err := i.cfg.Source.Revoked(ctx, t.subject)
	switch {
	case err != nil:
		return &token{}, verdict{}, err
	case !genuine:
		return t, verdict{reason: Revoked}, nil
	case !now.Before(t.Expires):
		return t, verdict{reason: Expired}, nil
	case reason != "":
		return t, verdict{reason: reason}, nil
	case refused != nil:
		return t, verdict{Reason(refused.Code), refused.Path}, nil
	}
	v, err := i.judgeInner(ctx, t, now)
	return t, v, err
}

// refusal returns the refusal of an enclosed token that err is, nil if it is none. The variable of errors.As is on the heap:
// not so for every question.
func refusal(err error) *nested.Error {
	if err == nil {
		return nil
	}
	var refused *nested.Error
	errors.As(err, &refused)
	return refused
}

// A token is an access token of the issuer whose signature and claims were good. Time and revocation are looked at
// for each question.
type token struct {
	claims.Set
	username string
	subject  Token
	actors   []Token // the sessions of those who act; none if nobody does
	tree     *nested.Tree
	inner    []inner // what it encloses, in the order of the text
}

// maxToken is how many octets an access token may have; the issuer's are much shorter, but for what they enclose.
const maxToken = 16 << 10

// token returns the token that q is about, from the cache if it was seen before. For text that is no token of the
// issuer it returns an empty token and false. A token whose enclosed ones do not hold is returned with an error of package
// nested; any other error means that this cannot be known.
func (i *Introspector) token(ctx context.Context, q Question) (t *token, genuine bool, err error) {
	if len(q.Token) > maxToken {
		return &token{}, false, nil
	}
	key := cacheKey(q.Token)
	t, seen := i.cache.get(key)
	if seen {
		// The key may have been revoked since.
		_, _, ok := i.cfg.Source.Key(t.subject.KID)
		return t, ok, nil
	}
	t, err = i.verify(q.Token)
	if err != nil {
		return &token{}, false, nil
	}
	if t.Tokens != nil {
		if err := i.open(ctx, t, q.Along); err != nil || len(q.Along) > 0 {
			return t, true, err // what came along is not part of the text, by which a token is found again
		}
	}
	i.cache.add(key, t, len(q.Token))
	return t, true, nil
}

var errNotOurs = errors.New("introspect: not an access token of this issuer")

// leeway is by how much the clock of the node that issued a token may be ahead of this one's. It is no leeway for
// expired tokens: their time is looked at again, without.
const leeway = 5 * time.Minute

func (i *Introspector) verify(text string) (*token, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxToken})
	if err != nil {
		return nil, err
	}
	// RFC 9068 §4: the type is pinned, or another object of the same key could pass for an access token. So are
	// the key and its algorithm (RFC 8725 §3.1).
	key, alg, ok := i.cfg.Source.Key(jws.Header.Kid)
	if !ok || jws.Header.Typ != jose.TypeAccessToken {
		return nil, errNotOurs
	}
	if err := jws.Verify(alg, key); err != nil {
		return nil, err
	}
	set, err := claims.ParseSet(jws.Payload)
	if err != nil {
		return nil, err
	}
	err = set.Validate(claims.Expect{
		Issuer: i.cfg.Issuer, AnyAudience: true, Domains: i.cfg.Domains, Development: i.cfg.Development,
		Now: i.cfg.Now(), Leeway: leeway,
	})
	if err != nil {
		return nil, err
	}
	return newToken(set, jws.Header.Kid)
}

func newToken(set claims.Set, kid string) (*token, error) {
	t := &token{Set: set, subject: Token{JTI: set.JTI, SID: set.SID, ClientID: set.ClientID, KID: kid, Gen: set.Gen}}
	for act := set.Actor; act != nil; act = act.Actor {
		if act.SID != "" {
			t.actors = append(t.actors, Token{SID: act.SID, Actor: true})
		}
	}
	if set.Service() {
		return t, nil
	}
	id, err := set.Identity()
	if err != nil {
		return nil, err
	}
	t.subject.Domain, t.subject.User, t.subject.Device = id.User.Domain(), id.User.Local(), id.Device.Device()
	t.username = id.Username()
	return t, nil
}
