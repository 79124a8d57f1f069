package matrix

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// ErrMapping is returned by [Verify] if a subject with a device comes without the id of the Matrix device, or the other way round.
var ErrMapping = errors.New("matrix: the device of the subject and the Matrix device go together")

// A Query holds the subject that [Verify] judges, and the knowledge of the verifier.
type Query struct {
	// About is the subject. Its user is required. A device goes with its key: JKT is the thumbprint (RFC 7638) of the Ed25519 key of the
	// Matrix device. A client whose tokens have another key asks about the user alone.
	About verdict.About
	// User and Device are the Matrix ids of the user and the device of About. Device is empty if About has none.
	User, Device string
	// Answer is the answer about the user; nil if it could not be fetched.
	Answer []byte
	// Fetched is when that was; zero means now.
	Fetched time.Time
	// Pins is the memory of the verifier about Matrix users.
	Pins xsign.Pins
	// Verifier and UserSigning are the Matrix id of the verifier and its own user-signing key, if it has one. See [Identity.SignedBy].
	Verifier    string
	UserSigning ed25519.PublicKey
}

// Verify judges the Matrix cross signing of a user for a verifier at a time, and returns the pins to store. It does not change q.Pins. The
// results and codes are those of [xsign.Verify].
//
// The user is good if the shown master key is the one that the verifier has compared by hand, or if the verifier's own user-signing key
// has signed it. Such a signature has no time, so it never replaces a pinned key that was compared or signed: the verifier compares the
// new one and calls [xsign.Pins.ByHand] with the thumbprint of the key. The device is good if the user is, its key is that of the
// subject, and it is signed by itself and by the user's self-signing key; without that it is bad with [verdict.CodeNotListed]. About a
// pinned user, an answer that is absent or refused is unknown. The handle is never good.
//
// The errors are [xsign.ErrSubject] and [ErrMapping], with no verdict: do not decide as if cross signing said nothing.
func Verify(q Query, now time.Time) (verdict.Verdict, xsign.Pins, error) {
	a := q.About
	switch {
	case a.User.IsZero(), !a.Device.IsZero() && (a.JKT == "" || !owns(a.User, a.Device)):
		return verdict.Verdict{}, nil, xsign.ErrSubject
	case a.Device.IsZero() != (q.Device == ""):
		return verdict.Verdict{}, nil, ErrMapping
	}
	if q.Fetched.IsZero() {
		q.Fetched = now
	}
	v, pins := q.verify(now)
	return v, pins, nil
}

func owns(user, device claims.ID) bool {
	id := claims.Identity{User: user, Device: device}
	return id.Check([]string{user.Domain()}, true) == nil
}

func (q *Query) verify(now time.Time) (verdict.Verdict, xsign.Pins) {
	pin, pinned := q.Pins.Of(q.About.User)
	out := verdict.Verdict{Method: verdict.XSign, About: q.About, Pinned: pinned}
	both := func(f verdict.Finding) verdict.Verdict {
		out.User = f
		if q.Device != "" {
			out.Device = f
		}
		if pinned {
			out.Evidence = []string{pin.Master}
		}
		return out
	}
	identity, master, err := q.open()
	if err != nil {
		return both(q.refused(err, pinned)), q.Pins
	}
	signed := identity.SignedBy(q.Verifier, q.UserSigning)
	switch {
	case !pinned, pin.Master != master && pin.How == xsign.FirstUse && signed:
		pin = xsign.Pin{Master: master, How: xsign.FirstUse, At: now}
	case pin.Master != master:
		return both(verdict.Finding{
			Result: verdict.Bad, Code: verdict.CodeMaster, Checked: q.Fetched,
			Details: "Matrix master key " + short(master) + ", known is " + short(pin.Master),
		}), q.Pins
	}
	if signed && pin.How == xsign.FirstUse {
		pin.How, pin.At = xsign.ByVouch, now
	}
	pinned, out.Pinned = true, true
	user := verdict.Finding{Result: verdict.None, Code: verdict.Code(xsign.CodeFirstUse), Checked: q.Fetched}
	switch {
	case pin.How == xsign.ByHand:
		user = verdict.Finding{Result: verdict.Good, Since: pin.At, Checked: q.Fetched}
		user.Details = "Matrix master key " + short(master) + " compared by you"
	case signed:
		user = verdict.Finding{Result: verdict.Good, Since: pin.At, Checked: q.Fetched}
		user.Details = "Matrix master key " + short(master) + " signed by your user-signing key"
	}
	if user.Since.After(now) {
		user.Since = now // a clock was ahead
	}
	both(user)
	if q.Device != "" {
		out.Device = q.device(identity, user)
	}
	return out, q.Pins.With(q.About.User, pin)
}

// open reads the answer, and returns the thumbprint of the master key.
func (q *Query) open() (*Identity, string, error) {
	if q.Answer == nil {
		return nil, "", refuse(kindAnswer, "", xsign.CodeMissing, "there is no answer")
	}
	identity, err := Parse(q.Answer, q.User)
	if err != nil {
		return nil, "", err
	}
	master, err := xsign.Thumbprint(identity.Master)
	return identity, master, err
}

// refused is the finding of an answer that does not count: unknown about a pinned user. About others it says nothing.
func (q *Query) refused(err error, pinned bool) verdict.Finding {
	f := verdict.Finding{Result: verdict.None, Checked: q.Fetched}
	if pinned {
		f.Result = verdict.Unknown
	}
	if at := (*xsign.Error)(nil); errors.As(err, &at) {
		f.Code, f.Details = verdict.Code(at.Code), at.Error()
	}
	return f
}

// device returns the finding about the device, from the one about its user.
func (q *Query) device(i *Identity, user verdict.Finding) verdict.Finding {
	if i.SelfSigning == nil {
		return q.refused(refuse(kindSelfSigning, "", xsign.CodeMissing, "the answer has none of the user"), true)
	}
	bad := verdict.Finding{Result: verdict.Bad, Code: verdict.CodeNotListed, Checked: q.Fetched}
	d, ok := i.Devices[q.Device]
	if !ok {
		bad.Details = "the answer lacks the device"
		return bad
	}
	if d.Err != nil {
		bad.Details = d.Err.Error()
		return bad
	}
	if key, err := xsign.Thumbprint(d.Key); err != nil || key != q.About.JKT {
		bad.Details = "the Matrix device has another key"
		return bad
	}
	user.Details = "signed by the user's self-signing key; " + user.Details
	if user.Result != verdict.Good {
		user.Details = "signed by the user's self-signing key"
	}
	return user
}

// short returns the beginning of a thumbprint, for people.
func short(thumbprint string) string {
	if len(thumbprint) > 8 {
		return thumbprint[:8] + "…"
	}
	return thumbprint
}
