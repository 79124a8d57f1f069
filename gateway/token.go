package gateway

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// How long clients should wait.
const (
	retryKeys = 10 * time.Second // keys are not asked for again earlier
	retryBusy = time.Minute
)

// An unverified is an access token that was read and not yet verified: its claims may only count against it.
type unverified struct {
	jws *jose.JWS
	set claims.Set
}

// readToken reads an access token. The type is pinned, or another object that the issuer has signed could pass for an access token (RFC
// 9068 §4, RFC 8725 §3.11). No header parameter chooses the key (RFC 8725 §3.10).
func (v *Verifier) readToken(text string) (*unverified, *refusal) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxToken})
	if err != nil {
		return nil, refuseFor(ReasonMalformed, plain(err))
	}
	h := &jws.Header
	// RFC 7515 §4.1.9: a type may have the prefix "application/", which has no meaning.
	if strings.TrimPrefix(h.Typ, "application/") != jose.TypeAccessToken {
		return nil, refuse(ReasonWrongType)
	}
	switch {
	case !jose.Allows(v.cfg.Algorithms, h.Alg): // and [jose.Tables.VerifyJWS] demands that of the key
		return nil, refuse(ReasonWrongAlgorithm)
	case h.Kid == "":
		return nil, refuseFor(ReasonMalformed, "kid is missing")
	case h.JWK != nil:
		return nil, refuseFor(ReasonMalformed, "a token must not have a key in its header")
	}
	set, err := claims.ParseSet(jws.Payload)
	if err != nil {
		return nil, refuseFor(ReasonMalformed, plain(err))
	}
	return &unverified{jws, set}, nil
}

// plain returns the text of an error without the name of its package.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"jose: ", "claims: ", "nested: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// A token is a verified access token, with what has to be checked again for each request.
type token struct {
	identity *Identity
	speaker  string // the issuer that must be able to speak for the domain: the home issuer, if there is one
	kid      string
	key      crypto.PublicKey // that verified the signature
	from     time.Time        // iat, or nbf if that is later
	statuses []reference      // of the token and of those that it encloses
	subjects []subject        // what events of feeds may match
	size     int

	feeds atomic.Uint64 // the number of the newest event that was compared
	// By the issuer, and by its status lists, which may be behind.
	introspected, listed atomic.Pointer[confirmation]
}

// confirmed is the last confirmation by the mode of a policy.
func (t *token) confirmed(m Mode) *atomic.Pointer[confirmation] {
	if m == Status {
		return &t.listed
	}
	return &t.introspected
}

// A reference is a place in a status list of an issuer. The first one of a token is its own, if it has one.
type reference struct {
	issuer string
	statuslist.Reference
	own bool
}

// verify verifies a token that is seen for the first time.
func (v *Verifier) verify(ctx context.Context, r *Request, text string, u *unverified, steps *trace) (*token, *refusal) {
	t, f := v.checkClaims(u)
	if f != nil {
		return nil, f
	}
	steps.passed(checkClaims, "The token is for this service and valid now, and its identifiers agree.")
	if f := v.checkIssuer(ctx, r, t); f != nil {
		return nil, f
	}
	steps.passed(checkIssuer, "The issuer may speak for the domain of the user.")
	if f := v.checkSignature(ctx, t, u.jws); f != nil {
		return nil, f
	}
	steps.passed(checkSignature, "A key of the issuer made the signature.")
	if u.set.Tokens != nil || u.jws.Header.Cty != "" {
		if f := v.open(ctx, t, text); f != nil {
			return nil, f
		}
		steps.passed(checkNested, "The enclosed tokens are valid, and bound to the token.")
	}
	t.addSubjects(&u.set)
	t.size = sizeOf(t, len(text))
	return t, nil
}

// checkClaims checks the claims of a token against each other, the clock and the names of the verifier.
func (v *Verifier) checkClaims(u *unverified) (*token, *refusal) {
	set := &u.set
	var domain string
	if !set.Service() {
		id, err := set.Identity()
		if err != nil {
			return nil, refuseFor(ReasonBadClaims, plain(err))
		}
		domain = id.User.Domain()
	}
	speaker, domains, f := v.speaker(set, domain)
	if f != nil {
		return nil, f
	}
	now := v.cfg.Now()
	err := set.Validate(claims.Expect{
		Issuer: set.Issuer, AnyAudience: true, Domains: domains, Own: speaker != set.Issuer, Now: now, Leeway: v.cfg.Leeway,
		Development: v.cfg.Development,
	})
	switch {
	case errors.Is(err, claims.ErrExpired), err == nil && !now.Before(set.Expires):
		return nil, refuse(ReasonExpired)
	case errors.Is(err, claims.ErrNotYetValid):
		return nil, refuse(ReasonNotYetValid)
	case err != nil:
		return nil, refuseFor(ReasonBadClaims, plain(err))
	case !slices.ContainsFunc(v.cfg.Audience, func(name string) bool { return slices.Contains(set.Audience, name) }):
		return nil, refuse(ReasonWrongAudience)
	}
	id := &Identity{
		Handle: set.Handle, Device: set.Device, Domain: domain, Issuer: set.Issuer, HomeIssuer: set.HomeIss, ClientID: set.ClientID,
		Service: set.Service(), Scope: strings.Fields(set.Scope), Audience: set.Audience, ACR: set.ACR, AMR: set.AMR,
		AuthTime: set.AuthTime, IssuedAt: set.IssuedAt, Expires: set.Expires, JTI: set.JTI, SID: set.SID, JKT: set.JKT,
	}
	if !id.Service {
		id.User = set.Subject
	}
	if set.Actor != nil { // one without a name would pass for nobody
		if id.Actor = cmp.Or(set.Actor.Subject, set.Actor.ClientID); id.Actor == "" {
			return nil, refuseFor(ReasonBadClaims, "act: sub is missing")
		}
	}
	t := &token{identity: id, speaker: speaker, kid: u.jws.Header.Kid, from: set.IssuedAt}
	if set.NotBefore.After(t.from) {
		t.from = set.NotBefore
	}
	if set.Status != nil {
		ref := statuslist.Reference{Index: set.Status.Index, URI: set.Status.URI}
		t.statuses = append(t.statuses, reference{set.Issuer, ref, true})
	}
	return t, nil
}

// speaker returns the issuer that must be able to speak for the domain of the user, and the domains that the claims may be about. The
// trust in the issuer is checked later. A token for a user of another domain is made by an issuer of our own alone, by identity
// chaining: then the home issuer speaks for the user.
func (v *Verifier) speaker(set *claims.Set, domain string) (issuer string, domains []string, f *refusal) {
	switch {
	case set.HomeIss == "" || set.HomeIss == set.Issuer: // the latter is refused
		return set.Issuer, []string{domain}, nil
	case !slices.Contains(v.cfg.OwnIssuers, set.Issuer):
		return "", nil, refuse(ReasonForeignHome)
	}
	domains, err := v.cfg.Trust.Domains(set.Issuer)
	if err != nil {
		return "", nil, fromTrust(err)
	}
	return set.HomeIss, domains, nil
}

// sourced is a Trust that shares out among sources what tokens may have it discover: see [trust.Table.SpeaksFor].
type sourced interface {
	SpeaksFor(ctx context.Context, source, issuer, domain string) error
}

// checkIssuer checks that the issuer may speak for the domain of the user. A service belongs to its issuer. A token that is seen for the
// first time, in r, may have the issuer of its domain discovered.
func (v *Verifier) checkIssuer(ctx context.Context, r *Request, t *token) *refusal {
	if t.identity.Domain == "" {
		return nil
	}
	var err error
	if discovers, ok := v.cfg.Trust.(sourced); ok && r != nil {
		err = discovers.SpeaksFor(ctx, dpop.Network(r.Source).String(), t.speaker, t.identity.Domain)
	} else {
		err = v.cfg.Trust.Speaks(ctx, t.speaker, t.identity.Domain)
	}
	if err != nil {
		return fromTrust(err)
	}
	return nil
}

// checkSignature verifies the signature with the key of the issuer, and with another one if it publishes a new key under the same kid.
// The algorithm is that of the key, whatever the header says (RFC 8725 §3.1).
func (v *Verifier) checkSignature(ctx context.Context, t *token, jws *jose.JWS) *refusal {
	key, alg, err := v.cfg.Trust.Key(ctx, t.identity.Issuer, t.kid)
	if err != nil {
		return fromTrust(err)
	}
	if v.tables.VerifyJWS(jws, alg, key) != nil {
		key, alg, err = v.cfg.Trust.OtherKey(ctx, t.identity.Issuer, t.kid, key)
		switch {
		case errors.Is(err, trust.ErrSuspended):
			return refuse(ReasonSuspended)
		case errors.Is(err, claims.ErrIssuer):
			return refuse(ReasonBadSignature)
		case err != nil:
			return fromTrust(err)
		case v.tables.VerifyJWS(jws, alg, key) != nil:
			return refuse(ReasonBadSignature)
		}
	}
	t.key = key
	return nil
}

// open checks the enclosed tokens. The signature of the outermost one is verified twice: such tokens are rare.
func (v *Verifier) open(ctx context.Context, t *token, text string) *refusal {
	tree, err := nested.Open(ctx, text, nested.Options{
		Keys: v.cfg.Trust, Audience: v.cfg.Audience, Now: v.cfg.Now, Leeway: v.cfg.Leeway, Development: v.cfg.Development,
		// Statuses are looked up for each request whose policy says so.
		Status: func(context.Context, *nested.Layer) (bool, error) { return true, nil },
	})
	var refused *nested.Error
	switch {
	case errors.As(err, &refused):
		return refuseFor(ReasonBadNested, plain(err))
	case err != nil:
		return &refusal{reason: ReasonNoKeys, retry: retryKeys, err: err}
	}
	id, least := t.identity, tree.Assurance
	id.Tree, id.Scope, id.Expires = tree, strings.Fields(tree.Scope), tree.Until
	id.ACR, id.AMR, id.AuthTime = least.ACR, least.AMR, time.Time{}
	if least.AuthTime != nil {
		id.AuthTime = *least.AuthTime
	}
	if tree.Actor != nil {
		id.Actor = cmp.Or(tree.Actor.URI, id.Actor) // an `act` may name a client alone
	}
	for _, l := range tree.Layers()[1:] {
		var status *claims.Status
		if l.Access != nil {
			status = l.Access.Status
		} else {
			status = l.Statement.Status
		}
		if status != nil {
			t.statuses = append(t.statuses, reference{l.Issuer, statuslist.Reference{Index: status.Index, URI: status.URI}, false})
		}
	}
	if !v.cfg.Now().Before(id.Expires) {
		return refuse(ReasonExpired)
	}
	return nil
}

// reasonReverify is not a reason of a decision: the token has to be verified again.
const reasonReverify Reason = "reverify"

// recheck checks what may have changed since a token was verified: time, the trust in its issuers, and their keys.
func (v *Verifier) recheck(ctx context.Context, t *token) *refusal {
	now := v.cfg.Now()
	switch {
	case !now.Before(t.identity.Expires):
		return refuse(ReasonExpired)
	case now.Add(v.cfg.Leeway).Before(t.from):
		return refuse(ReasonNotYetValid)
	}
	if f := v.checkIssuer(ctx, nil, t); f != nil {
		return f
	}
	key, _, err := v.cfg.Trust.Key(ctx, t.identity.Issuer, t.kid)
	if err != nil {
		return fromTrust(err)
	}
	if known, ok := t.key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !known.Equal(key) {
		return refuse(reasonReverify)
	}
	if t.identity.Tree == nil {
		return nil
	}
	for _, l := range t.identity.Tree.Layers()[1:] {
		if f := v.recheckLayer(ctx, l); f != nil {
			return f
		}
	}
	return nil
}

// recheckLayer does the same for an enclosed token. One that is signed by a key of a user has no kid: it rests on another one.
func (v *Verifier) recheckLayer(ctx context.Context, l *nested.Layer) *refusal {
	if l.Kid == "" {
		return nil
	}
	key, _, err := v.cfg.Trust.Key(ctx, l.Issuer, l.Kid)
	if err == nil && !l.SignedBy(key) {
		return refuse(reasonReverify)
	}
	if id, wrong := (claims.Parser{AllowSingleLabel: true}).Parse(l.Subject); err == nil && wrong == nil {
		err = v.cfg.Trust.Speaks(ctx, l.Issuer, id.Domain()) // the subject of a service's token is no identifier
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, claims.ErrIssuer), errors.Is(err, claims.ErrDomain):
		return refuseFor(ReasonBadNested, l.Path+": its issuer is not trusted any more")
	}
	return fromTrust(err)
}

// fromTrust returns the refusal for an error of [Trust].
func fromTrust(err error) *refusal {
	switch {
	case errors.Is(err, trust.ErrSuspended):
		return refuse(ReasonSuspended)
	case errors.Is(err, trust.ErrChanged):
		return refuse(ReasonChanged)
	case errors.Is(err, trust.ErrUnknownKey):
		return refuse(ReasonUnknownKey)
	case errors.Is(err, claims.ErrDomain):
		return refuse(ReasonForeignDomain)
	case errors.Is(err, claims.ErrIssuer):
		return refuse(ReasonUntrusted)
	}
	return &refusal{reason: ReasonNoKeys, retry: retryKeys, err: err}
}

// overhead is how many bytes a plain token takes in the cache beside the text of its claims.
const overhead = 2 << 10

// sizeOf returns about how many bytes a token takes that has n bytes of text. With enclosed tokens, their texts are kept, too.
func sizeOf(t *token, n int) int {
	if t.identity.Tree == nil {
		return overhead + n
	}
	return (overhead + 4*n) * (1 + len(t.identity.Tree.Layers()))
}
