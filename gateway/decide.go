package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/imidentity/issuer/dpop"
)

// maxToken bounds an access token in bytes.
const maxToken = 16 << 10

// Decide decides about a request under a policy; a nil policy is that of the zero [PolicyConfig]. It checks the cheap things first, and
// records the proof as used last, when everything else is in order: a request that is refused for another reason can be sent again
// with the same proof.
func (v *Verifier) Decide(ctx context.Context, r Request, p *Policy) Decision {
	if p == nil {
		p = nobody
	}
	var d Decision
	var t *trace
	if r.Explain {
		t = new(trace)
	}
	f := v.decide(ctx, &r, p, &d, t)
	v.finish(ctx, &d, f, &r, p, t)
	return d
}

// Refuse returns the decision about a request that the caller itself refuses, with challenge and nonce: for [ReasonTarget] and
// [ReasonOrigin], which a Verifier does not find out.
func (v *Verifier) Refuse(ctx context.Context, r Request, reason Reason) Decision {
	var d Decision
	v.finish(ctx, &d, refuse(reason), &r, nobody, nil)
	return d
}

// finish completes a decision. Without a refusal the request is allowed.
func (v *Verifier) finish(ctx context.Context, d *Decision, f *refusal, r *Request, p *Policy, steps *trace) {
	nonce, err := v.cfg.Proofs.Nonce(ctx)
	if err != nil && (f == nil || f.reason.Outcome() != Unknown) {
		f = unknown(ReasonNoReplay, err)
	}
	d.Nonce = nonce
	if f == nil {
		d.Outcome, d.Reason, d.Explanation = Allowed, ReasonAllowed, allowedText
	} else {
		d.explain(f)
		steps.ended(d)
		d.Challenge = v.challenge(d, r, p)
	}
	if d.Outcome != Allowed {
		d.Identity, d.Shadowed = nil, p.cfg.Shadow
	}
	if steps != nil {
		d.Steps = steps.steps
	}
}

var allowedText = ReasonAllowed.rule().text

// decide returns nil if the request is allowed, and else why not, or why in spite of an outage.
func (v *Verifier) decide(ctx context.Context, r *Request, p *Policy, d *Decision, steps *trace) *refusal {
	text, bearer, f := r.credentials(p)
	if f != nil {
		return f
	}
	steps.passed(checkHeaders, "There is one Authorization header.")
	var claimed *dpop.Unverified
	if !bearer {
		if claimed, f = v.readProof(ctx, r, text); f != nil {
			return f
		}
		steps.passed(checkProof, "The proof is for this request and this token, and its time or nonce is good.")
	}
	key := tokenKey(text)
	t, u, f := v.find(ctx, key, text)
	if f != nil {
		return f
	}
	seen := t != nil
	jkt := ""
	if seen {
		jkt = t.identity.JKT
	} else {
		steps.passed(checkToken, "The token has the form and the type of an access token.")
		jkt = u.set.JKT
	}
	proof, f := bind(jkt, claimed, steps)
	if f != nil {
		return f
	}
	if seen {
		steps.passed(checkSignature, "The token was verified before, and its issuer and key are still trusted.")
	} else {
		if t, f = v.verify(ctx, r, text, u, steps); f != nil {
			return f
		}
		v.tokens.put(key, t, t.size)
	}
	d.Issuer, d.Seen = t.identity.Issuer, seen
	if f = v.admit(ctx, r, p, t, text, key, steps); f != nil && f.reason.Outcome() != Allowed {
		return f
	}
	if proof != nil {
		if err := v.cfg.Proofs.Spend(ctx, proof, r.Source); err != nil {
			return fromProof(err)
		}
		steps.passed(checkReplay, "The proof was not used before.")
	}
	d.Identity = t.identity
	return f
}

// find returns the token that was verified before, and is still good, or else the unverified claims of a new one.
func (v *Verifier) find(ctx context.Context, key [32]byte, text string) (*token, *unverified, *refusal) {
	if t, ok := v.tokens.get(key); ok {
		f := v.recheck(ctx, t)
		if f == nil {
			return t, nil, nil
		}
		again := f.reason == reasonReverify
		if !again && f.reason.Outcome() == Unknown {
			return nil, nil, f // the token is not at fault, and what is known about it is kept
		}
		v.tokens.drop(key)
		if !again {
			return nil, nil, f
		}
	}
	u, f := v.readToken(text)
	return nil, u, f
}

// bind checks that the proof was made with the key that the token is bound to, and verifies its signature. Without a proof the token is a
// bearer token, which must be bound to no key: a thief could otherwise use it without a proof (RFC 9449 §7.2). A token that is bound to
// no key does not go with a proof either (§7.1).
func bind(jkt string, claimed *dpop.Unverified, steps *trace) (*dpop.Proof, *refusal) {
	switch {
	case claimed == nil && jkt != "":
		return nil, refuse(ReasonWrongScheme)
	case claimed == nil:
		return nil, nil
	case jkt != claimed.JKT():
		return nil, refuse(ReasonOtherKey)
	}
	steps.passed(checkBinding, "The token is bound to the key of the proof.")
	proof, err := claimed.Verify()
	if err != nil {
		return nil, fromProof(err)
	}
	steps.passed(checkProof, "The key of the proof made its signature.")
	return proof, nil
}

// admit checks a verified token by the feed, the policy and its mode.
func (v *Verifier) admit(ctx context.Context, r *Request, p *Policy, t *token, text string, key [32]byte, steps *trace) *refusal {
	if f := v.checkFeeds(t); f != nil {
		v.tokens.drop(key)
		return f
	}
	steps.passed(checkFeed, "No revocation that is known ends the token.")
	if f := p.check(t.identity, v.cfg.Now(), v.cfg.Trust.Domains); f != nil {
		return f
	}
	steps.passed(checkPolicy, "Domain, scope, relations, login and age are those that the route accepts.")
	f := v.online(ctx, r, p, t, text)
	switch {
	case f == nil && p.cfg.Mode == Offline:
		steps.passed(checkOnline, "The route asks nobody whether the token was revoked.")
	case f == nil:
		steps.passed(checkOnline, "The token is active.")
	case f.reason == ReasonInactive, f.reason == ReasonRevoked:
		v.tokens.drop(key)
	}
	return f
}

// credentials returns the token of the one Authorization header, and whether it is sent as a bearer token that the policy may accept.
// There must be exactly one Authorization line and one DPoP line (RFC 9449 §4.3, check 1, and §7.1).
func (r *Request) credentials(p *Policy) (token string, bearer bool, f *refusal) {
	switch {
	case len(r.Authorization) > 1:
		return "", false, refuse(ReasonTwoTokens)
	case len(r.DPoP) > 1:
		return "", false, refuse(ReasonTwoProofs)
	case len(r.Authorization) == 0:
		return "", false, refuse(ReasonNoToken)
	}
	scheme, token, _ := strings.Cut(r.Authorization[0], " ")
	switch {
	case strings.EqualFold(scheme, "DPoP"):
	case strings.EqualFold(scheme, "Bearer"):
		if !p.cfg.AllowBearer || len(r.DPoP) > 0 {
			return "", false, refuse(ReasonWrongScheme)
		}
		bearer = true
	default:
		return "", false, refuse(ReasonNoToken)
	}
	token = strings.Trim(token, " ")
	switch {
	case len(token) > maxToken:
		return "", false, refuseFor(ReasonMalformed, "longer than 16 KiB")
	case !token68(token):
		return "", false, refuseFor(ReasonMalformed, "empty, or with characters that no token has")
	}
	if !bearer && len(r.DPoP) == 0 {
		return "", false, refuse(ReasonNoProof)
	}
	return token, bearer, nil
}

// token68 reports whether s is a token68 (RFC 9110 §11.2).
func token68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// readProof checks everything about the proof but its signature.
func (v *Verifier) readProof(ctx context.Context, r *Request, token string) (*dpop.Unverified, *refusal) {
	u, err := v.cfg.Proofs.Read(ctx, dpop.Request{Method: r.Method, URL: r.URL, Proofs: r.DPoP, AccessToken: token})
	if err != nil {
		return nil, fromProof(err)
	}
	return u, nil
}

// fromProof returns the refusal for an error of package dpop.
func fromProof(err error) *refusal {
	var refused *dpop.ProofError
	switch {
	case errors.Is(err, dpop.ErrReplayed):
		return refuse(ReasonReplayed)
	case errors.Is(err, dpop.ErrUseNonce):
		return refuse(ReasonUseNonce)
	case errors.Is(err, dpop.ErrNoProof):
		return refuse(ReasonNoProof)
	case errors.As(err, &refused):
		return refuseFor(ReasonBadProof, refused.Part+": "+refused.Err.Error())
	case errors.Is(err, dpop.ErrReplayFull):
		return &refusal{reason: ReasonBusy, retry: retryBusy, err: err}
	}
	return unknown(ReasonNoReplay, err)
}

// tokenKey hashes the text of a token. Most texts fit into a buffer on the stack.
func tokenKey(text string) [32]byte {
	var buffer [2 << 10]byte
	return sha256.Sum256(append(buffer[:0], text...))
}
