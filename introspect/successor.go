package introspect

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// MediaTypeSuccessor is the media type of signed answers about successors.
const MediaTypeSuccessor = "application/" + jose.TypeSuccessor

// History is what the issuer has stored about the past of its keys, users and devices. It is safe for concurrent use.
type History interface {
	// Known returns the key of that kid, its JOSE algorithm and when it stopped signing, zero if it has not; also if the key is no
	// longer published. It returns false if there is none or it was revoked.
	Known(kid string) (key crypto.PublicKey, alg string, retired time.Time, ok bool)
	// Past returns the past of the device that a token names. It is asked once for every question, with the zero Token for a text
	// that is no token of the issuer, and does the same work for each. An error means that this is not known now.
	Past(ctx context.Context, t Token) (Past, error)
}

// A Past is the past of a device and its user, at one moment.
type Past struct {
	// Reason says why the device, its user or the session of the token has ended. Empty if none of them has.
	Reason Reason
	// Gen is the present generation of the user.
	Gen int64
	// Keys are the recorded replacements of the key of the device.
	Keys []KeyChange
	// Handles are the local parts of all handles that the user has or had, as recorded.
	Handles []string
}

// A KeyChange is a recorded replacement of the key of a device by another one. Both are thumbprints.
type KeyChange struct{ Old, New string }

// A Succession is a question about two access tokens: whether the second is a valid successor of the first.
type Succession struct {
	Token, Successor string
	// Along are the tokens that were sent along with the successor, if it encloses some by their digests.
	Along []string
}

// The reasons why a token is not the successor of another, beside those for which one of them is not active.
const (
	NoDevice         Reason = "no_device"         // the token is not that of a user's device, or does not name the device
	OtherClient      Reason = "other_client"      // the tokens are those of two devices
	Older            Reason = "older"             // the successor was issued before the token
	KeyUnrecorded    Reason = "key_unrecorded"    // the key changed, and not by a recorded replacement
	HandleUnrecorded Reason = "handle_unrecorded" // the handle changed, and not by a recorded change
)

// The tokens of a [Succession], as [SuccessorAnswer.Path] names them.
const (
	pathToken     = "token"
	pathSuccessor = "successor_token"
)

// A SuccessorAnswer says whether one access token is a valid successor of another (RFC 9420 §5.3.1). The zero answer is that for all
// tokens about which the caller may not know, or of which one has ended.
type SuccessorAnswer struct {
	// Known says that both tokens count: the caller may know about them, the first was not revoked, and the second is active. Only
	// then SameClient means something: whether both tokens are those of one device of one user.
	Known      bool
	SameClient bool
	// Successor says that the second token is a valid successor of the first.
	Successor bool
	// MaxAge is for how long the answer may be cached. It is zero unless Successor is true.
	MaxAge time.Duration

	// Only callers that may know have the following. State says how the first token is: "active", "expired", or "superseded" if the
	// handle of the user or the key of a device changed since. Reason says why Successor is false, and Path which token is at fault,
	// empty for both together.
	State  Reason
	Reason Reason
	Path   string
}

// The states of a predecessor, beside [Expired] and [Superseded].
const stateActive Reason = "active"

// Successor tells whether one access token of the issuer is a valid successor of another: same user and device, the key changed only
// by recorded replacements, the handle only by recorded changes, and the second is active and not older than the first. The first may
// have expired, or be from before a change of the handle or a key; its session must be alive.
//
// The error is [ErrForbidden], or means that the issuer cannot know now.
func (i *Introspector) Successor(ctx context.Context, caller Caller, q Succession) (SuccessorAnswer, error) {
	if !slices.Contains(caller.Scopes, ScopeIntrospect) {
		return SuccessorAnswer{}, ErrForbidden
	}
	if i.cfg.History == nil {
		return SuccessorAnswer{}, errors.New("introspect: Config.History is required for questions about successors")
	}
	// As in Introspect, everything is asked about every text, so that neither an answer nor its cost tells which check failed.
	first, reason, err := i.predecessor(ctx, q.Token)
	if err != nil {
		return SuccessorAnswer{}, err
	}
	past, err := i.cfg.History.Past(ctx, first.ids)
	if err != nil {
		return SuccessorAnswer{}, err
	}
	second, f, err := i.judge(ctx, Question{Token: q.Successor, Along: q.Along})
	if err != nil {
		return SuccessorAnswer{}, err
	}
	if first.JTI == "" || second.JTI == "" || !caller.sees(first) || !caller.sees(second) {
		return SuccessorAnswer{}, nil
	}
	a := compare(first, second, past, reason, f)
	switch {
	case a.Successor:
		a.MaxAge = min(second.whole().Expires.Sub(f.at), i.cfg.MaxAge)
		a.State = stateOf(first, past, f.at)
	case a.Known:
		a.State = stateOf(first, past, f.at)
	}
	if !slices.Contains(caller.Scopes, ScopeReason) || !caller.Release.tellsReasons() {
		a.State, a.Reason, a.Path = "", "", ""
	}
	return a, nil
}

// compare decides about two tokens that the caller may know about. A token of the issuer is genuine, and reason and f say whether it
// has ended.
func compare(first, second *token, past Past, reason Reason, f finding) SuccessorAnswer {
	if reason == "" {
		reason = past.Reason
	}
	path := pathSuccessor
	if f.path != "" {
		path += "." + f.path
	}
	switch {
	case !ofDevice(first):
		return SuccessorAnswer{Reason: NoDevice, Path: pathToken}
	case reason != "":
		return SuccessorAnswer{Reason: reason, Path: pathToken}
	case f.reason != "":
		return SuccessorAnswer{Reason: f.reason, Path: path}
	case !ofDevice(second):
		return SuccessorAnswer{Reason: NoDevice, Path: pathSuccessor}
	}
	a := SuccessorAnswer{Known: true}
	x, y := first.ids, second.ids
	if a.SameClient = x.Domain == y.Domain && x.User == y.User && x.Device == y.Device; !a.SameClient {
		a.Reason = OtherClient
		return a
	}
	switch {
	case second.IssuedAt.Before(first.IssuedAt) || y.Gen < x.Gen:
		a.Reason = Older
	case !replaced(first.JKT, second.JKT, past.Keys):
		a.Reason = KeyUnrecorded
	case !renamed(first, second, past.Handles):
		a.Reason = HandleUnrecorded
	default:
		a.Successor = true
	}
	return a
}

// ofDevice reports whether a token is that of a device of a user, and names it. The token of somebody who acts for the user is not.
func ofDevice(t *token) bool { return t.ids.Device != "" && t.Actor == nil && t.JKT != "" }

// replaced reports whether one key is another, or became it by recorded replacements alone.
func replaced(from, to string, changes []KeyChange) bool {
	next := make(map[string]string, len(changes))
	for _, c := range changes {
		next[c.Old] = c.New
	}
	for range len(changes) + 1 { // a key is used once, so there is no cycle
		if from == to {
			return true
		}
		from = next[from]
	}
	return false
}

// renamed reports whether the handle of one token is that of another, or both are recorded handles of the user. A token without a
// handle presents none, so that it changes none.
func renamed(first, second *token, handles []string) bool {
	if first.Handle == second.Handle || first.Handle == "" || second.Handle == "" {
		return true
	}
	for _, t := range []*token{first, second} {
		id, err := t.Set.Identity()
		if err != nil || !slices.Contains(handles, id.Handle.Local()) {
			return false
		}
	}
	return true
}

func stateOf(first *token, past Past, now time.Time) Reason {
	switch {
	case !now.Before(first.Expires):
		return Expired
	case first.ids.Gen < past.Gen:
		return Superseded
	}
	return stateActive
}

// predecessor returns the token that a text is, also if it has expired, and why it was revoked. For a text that is no token of the
// issuer it returns an empty token. A revocation of all tokens below a generation does not count: it leaves the session alive.
func (i *Introspector) predecessor(ctx context.Context, text string) (*token, Reason, error) {
	t, err := i.verifyPast(text)
	if err != nil {
		t = &token{}
	}
	reason, err := i.revokedOfAnyGeneration(ctx, t)
	return t, reason, err
}

// verifyPast is verify for a token that may have expired, signed by a key that may have retired since.
func (i *Introspector) verifyPast(text string) (*token, error) {
	s, err := i.read(text)
	// A key is looked up for a text that is no token, too: it costs as much as the token of another issuer.
	key, alg, retired, ok := i.cfg.History.Known(s.kid)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNotOurs
	}
	if err := s.verify(nil, alg, key); err != nil {
		return nil, err
	}
	set, err := s.set()
	if err != nil {
		return nil, err
	}
	now := i.cfg.Now()
	// Somebody who has a key that retired cannot sign with it what it would have signed before.
	if set.IssuedAt.After(now.Add(leeway)) || !retired.IsZero() && set.IssuedAt.After(retired.Add(leeway)) {
		return nil, errNotOurs
	}
	// At the time of its issue, it had not expired.
	err = set.Validate(claims.Expect{
		Issuer: i.cfg.Issuer, AnyAudience: true, Domains: i.cfg.Domains, Development: i.cfg.Development, Now: set.IssuedAt, Leeway: leeway,
	})
	if err != nil {
		return nil, err
	}
	return newToken(set, s.kid)
}

// AppendJSON appends the answer to b. The zero answer is {"successor":false}.
func (a *SuccessorAnswer) AppendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.bool("successor", a.Successor)
	if a.Known {
		o.bool("same_client", a.SameClient)
	}
	if a.Successor {
		o.b = strconv.AppendInt(o.name("max_age"), wholeSeconds(a.MaxAge), 10)
	}
	o.string("state", string(a.State))
	o.string("reason", string(a.Reason))
	o.string("path", a.Path)
	return append(o.b, '}')
}

// AppendSuccessorClaims appends the claims of a signed answer about two tokens to b. They name the tokens by the hashes of their texts,
// as a proof does (RFC 9449 §4.2), and hold the answer in im_successor.
func (e Envelope) AppendSuccessorClaims(b []byte, tokenATH, successorATH string, a *SuccessorAnswer) []byte {
	o := e.open(b)
	o.required("ath", tokenATH)
	o.required("successor_ath", successorATH)
	o.b = a.AppendJSON(o.name("im_successor"))
	return append(o.b, '}')
}
