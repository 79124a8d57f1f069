package xsign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/verdict"
)

// ErrSubject is returned by [Verify] for a subject without a user, with a device of another user, or with a device without its key.
var ErrSubject = errors.New("xsign: the subject needs a user, and a device of that user with its key")

// A Query holds the subject that [Verify] judges, and the knowledge of the verifier.
type Query struct {
	// About is the subject. Its user is required, and a device goes with its key.
	About verdict.About
	// Bundle holds the user's statements; nil if there is none or it could not be fetched.
	Bundle *Bundle
	// Fetched is when that was; zero means now.
	Fetched time.Time
	// Pins is the verifier's memory.
	Pins Pins
	// Own are the verifier's own vouches and distrusts.
	Own *Own
	// Introductions are public vouches for the user. They count if Require.Hops is 2.
	Introductions []Introduction
	// Require are the requirements of the policy: Hops, of which zero is 1, and Introducers, of which zero is 2.
	Require verdict.XSignRequirements
}

// An Introduction is a public vouch with the bundle of its author.
type Introduction struct {
	By    Bundle
	User  claims.ID // the author
	Vouch string
}

// Verify judges the cross signing of a user for a verifier at a time, and returns the pins to store. It does not change q.Pins.
// Nothing that is refused changes a pin; a valid bundle of an unknown user pins the user by first use.
//
// The findings about user and device are bad with [verdict.CodeDistrusted], [verdict.CodeMaster] or [verdict.CodeNotListed]. If the user is
// pinned, they are unknown if the bundle, or for the device its list, is absent, refused, expired or older than what was seen: the
// server could withhold the list that lacks a device. The code says which. The error is [ErrSubject], and no verdict: do not decide as if
// cross signing said nothing.
func Verify(q Query, now time.Time) (verdict.Verdict, Pins, error) {
	a := q.About
	switch {
	case a.User.IsZero():
		return verdict.Verdict{}, nil, ErrSubject
	case !a.Device.IsZero() && (a.JKT == "" || !owns(a.User, a.Device)):
		return verdict.Verdict{}, nil, ErrSubject
	}
	if q.Fetched.IsZero() {
		q.Fetched = now
	}
	v := &verifier{Query: q, now: now}
	if v.Pins = maps.Clone(q.Pins); v.Pins == nil {
		v.Pins = Pins{}
	}
	return v.verify(), v.Pins, nil
}

type verifier struct {
	Query
	now time.Time
}

// A standing is what a verifier knows about a user after looking at the bundle.
type standing struct {
	*Contents
	pin    Pin
	pinned bool
	// about is the finding about the user, before anyone vouches; its result is none if nothing speaks against the user.
	about verdict.Finding
}

// stand looks at a bundle of a user, and stores the pin if nothing speaks against it.
func (v *verifier) stand(user claims.ID, b *Bundle) (s standing) {
	s.pin, s.pinned = v.Own.known(v.Pins, user, v.now)
	contents, err := v.open(user, b)
	if err != nil {
		s.about = v.refused(err, s.pinned)
		if s.pinned {
			v.distrust(&s, user, []string{s.pin.Master})
		}
		return s
	}
	master, masters := contents.Keys.master, contents.Masters
	at := 0
	if s.pinned {
		if at = slices.Index(masters, s.pin.Master); at < 0 {
			at = len(masters) - 1
			s.about = verdict.Finding{
				Result: verdict.Bad, Code: verdict.CodeMaster, Checked: v.Fetched,
				Details: "master key " + short(master) + ", known is " + short(s.pin.Master),
			}
			if slices.Contains(s.pin.Former, master) {
				err := refuse(jose.TypeXSignKeys, "", CodeOlder, "of a former master key")
				s.about = v.refused(err, true)
			}
		}
	}
	from := at
	if s.pin.How == FirstUse {
		from = 0 // the verifier has not looked at any key of the chain
	}
	v.distrust(&s, user, masters[from:])
	if s.about.Result != "" {
		return s
	}
	if s.pinned && s.pin.Master == master {
		if err := s.pin.Keys.check(jose.TypeXSignKeys, contents.Keys.Seq, contents.Keys.hash); err != nil {
			s.about = v.refused(err, true)
			return s
		}
	}
	s.Contents = contents
	switch {
	case !s.pinned:
		s.pin, s.pinned = Pin{Master: master, How: FirstUse, At: v.now}, true
	case s.pin.Master != master:
		former := append(slices.Clone(s.pin.Former), masters[at:len(masters)-1]...)
		former = former[max(0, len(former)-MaxSuccession):]
		next := Pin{Master: master, How: s.pin.How, At: v.now, Introducer: s.pin.Introducer, Former: former}
		if s.pin.ListKey == contents.Keys.device {
			next.Devices, next.ListKey = s.pin.Devices, s.pin.ListKey
		}
		s.pin = next
	}
	s.pin.Keys = Seen{contents.Keys.Seq, contents.Keys.hash}
	s.DevicesErr = v.checkDevices(&s)
	if s.DevicesErr == nil {
		s.pin.Devices, s.pin.ListKey = Seen{s.Devices.Seq, s.Devices.hash}, s.Keys.device
	}
	s.about = verdict.Finding{Result: verdict.None, Code: verdict.Code(CodeFirstUse), Checked: v.Fetched}
	v.Pins[account(user)] = s.pin
	return s
}

// open opens a bundle and checks that its keys count now.
func (v *verifier) open(user claims.ID, b *Bundle) (*Contents, error) {
	if b == nil {
		return nil, refuse("", "", CodeMissing, "there is no bundle")
	}
	c, err := b.Open(user)
	if err != nil {
		return nil, err
	}
	return c, current(jose.TypeXSignKeys, c.Keys.IssuedAt, c.Keys.Expires, v.now)
}

// checkDevices returns why the device list does not count now, or nil.
func (v *verifier) checkDevices(s *standing) error {
	if s.DevicesErr != nil {
		return s.DevicesErr
	}
	d := s.Devices
	if err := current(jose.TypeXSignDevices, d.IssuedAt, d.Expires, v.now); err != nil {
		return err
	}
	return s.pin.Devices.check(jose.TypeXSignDevices, d.Seq, d.hash)
}

// distrust makes the finding that the verifier distrusts the master key of a user, the last of a chain. A key that a distrusted key has
// named, now or when the pin followed a succession, is not trusted either, unless the verifier has vouched for it.
func (v *verifier) distrust(s *standing, user claims.ID, masters []string) {
	if master := masters[len(masters)-1]; v.own(user, master) != nil {
		masters = []string{master}
	} else if slices.Contains(masters, s.pin.Master) {
		masters = append(slices.Clone(masters), s.pin.Former...)
	}
	d := v.Own.distrusted(user, masters...)
	if d == nil {
		return
	}
	s.about = verdict.Finding{Result: verdict.Bad, Code: verdict.CodeDistrusted, Since: v.past(d.IssuedAt), Checked: v.Fetched}
	s.about.Details = "distrusted since " + date(d.IssuedAt)
	if !d.Expires.IsZero() && !v.now.Before(d.Expires) {
		s.about.Details += ", by a statement that expired on " + date(d.Expires) + ": renew or withdraw it"
	}
}

// refused is the finding of a bundle or list that does not count: unknown about a pinned user. About others it says nothing.
func (v *verifier) refused(err error, pinned bool) verdict.Finding {
	f := verdict.Finding{Result: verdict.None, Checked: v.Fetched}
	if pinned {
		f.Result = verdict.Unknown
	}
	if at := (*Error)(nil); errors.As(err, &at) {
		f.Code, f.Details = verdict.Code(at.Code), at.Error()
	}
	return f
}

func (v *verifier) verify() verdict.Verdict {
	a := v.About
	s := v.stand(a.User, v.Bundle)
	out := verdict.Verdict{Method: verdict.XSign, About: a, Pinned: s.pinned, User: s.about}
	if s.Contents == nil {
		if !a.Device.IsZero() {
			out.Device = s.about
		}
		if s.pinned {
			out.Evidence = []string{s.pin.Master}
		}
		return out
	}
	master := s.Keys.master
	out.Evidence = []string{master, s.Keys.ID}
	vouchers, handle := v.vouchers(s)
	if len(vouchers) > 0 {
		out.User = v.good(s, vouchers)
	} else if old := v.Own.vouched(a.User, "", v.now); old != nil && slices.Contains(s.Masters[:len(s.Masters)-1], old.Master) {
		out.User.Code = verdict.Code(CodeFormerVouch)
	}
	if !a.Handle.IsZero() && len(handle) > 0 {
		out.Handle = v.good(s, handle)
	}
	if !a.Device.IsZero() {
		out.Device = v.device(s, out.User)
	}
	if s.DevicesErr == nil {
		out.Evidence = append(out.Evidence, s.Devices.ID)
	}
	return out
}

// device returns the finding about the device, from the one about its user.
func (v *verifier) device(s standing, user verdict.Finding) verdict.Finding {
	if s.DevicesErr != nil {
		return v.refused(s.DevicesErr, true)
	}
	list := fmt.Sprintf("device list %d of %s (master key %s, %s)", s.Devices.Seq, date(s.Devices.IssuedAt), short(s.Keys.master),
		v.knownBy(s))
	f := verdict.Finding{Result: user.Result, Code: user.Code, Since: v.past(s.Devices.IssuedAt), Checked: v.Fetched, Details: list}
	switch {
	case !s.Devices.Has(v.About.Device, v.About.JKT):
		f.Result, f.Code, f.Details = verdict.Bad, verdict.CodeNotListed, list+" does not have its key"
	case user.Result == verdict.Good:
		f.Until = earlier(user.Until, s.Devices.Expires)
	}
	return f
}

// knownBy says how the verifier knows the user's master key.
func (v *verifier) knownBy(s standing) string {
	own := v.own(v.About.User, s.Keys.master)
	switch {
	case s.pin.How == ByHand:
		return "which you compared on " + date(s.pin.At)
	case own != nil:
		return fmt.Sprintf("which you vouched for (%s) on %s", own.How, date(own.IssuedAt))
	}
	return "which you have known since " + date(s.pin.At)
}

// A voucher is a reason why a master key is the user's.
type voucher struct {
	details string
	since   time.Time
	until   time.Time // zero for no end
}

// good returns the finding of vouchers that all are needed.
func (v *verifier) good(s standing, vouchers []voucher) verdict.Finding {
	f := verdict.Finding{Result: verdict.Good, Checked: v.Fetched, Until: s.Keys.Expires, Details: vouchers[0].details}
	for _, one := range vouchers {
		f.Until = earlier(f.Until, one.until)
		if since := v.past(one.since); since.After(f.Since) {
			f.Since = since
		}
	}
	return f
}

// vouchers returns why the user's master key is known to be the user's, and why the handle is, each empty if nothing says so.
func (v *verifier) vouchers(s standing) (user, handle []voucher) {
	if s.pin.How == ByHand {
		user = []voucher{{"master key " + short(s.pin.Master) + " compared by you on " + date(s.pin.At), s.pin.At, time.Time{}}}
	}
	if own := v.own(v.About.User, s.Keys.master); own != nil {
		details := fmt.Sprintf("master key %s vouched for by you (%s) on %s", short(own.Master), own.How, date(own.IssuedAt))
		one := []voucher{{details, own.IssuedAt, own.Expires}}
		if user == nil {
			user = one
		}
		if !own.Handle.IsZero() && same(own.Handle, v.About.Handle) {
			handle = one
		}
	}
	if v.Require.Hops < 2 || user != nil && (handle != nil || v.About.Handle.IsZero()) {
		return user, handle
	}
	need := v.Require.Introducers
	if need < 1 {
		need = defaultNeed
	}
	var all, named []voucher
	asked := map[string]bool{account(v.About.User): true} // each introducer counts once
	if v.Own != nil {
		asked[account(v.Own.user)] = true
	}
	for i, one := range v.Introductions {
		if i == MaxOwn {
			break
		}
		if asked[account(one.User)] {
			continue
		}
		vouch := v.introduced(one, s.Keys.master)
		if vouch == nil {
			continue
		}
		asked[account(one.User)] = true
		details := fmt.Sprintf("master key %s introduced by %d introducers of yours", short(s.Keys.master), need)
		all = append(all, voucher{details, vouch.IssuedAt, vouch.Expires})
		if !vouch.Handle.IsZero() && same(vouch.Handle, v.About.Handle) {
			named = append(named, all[len(all)-1])
		}
	}
	if user == nil && len(all) >= need {
		user = longest(all, need)
	}
	if handle == nil && len(named) >= need {
		handle = longest(named, need)
	}
	return user, handle
}

// own returns the verifier's own vouch for a master key, if it counts now.
func (v *verifier) own(user claims.ID, master string) *Vouch {
	own := v.Own.vouched(user, master, v.now)
	if own == nil || current(jose.TypeVouch, own.IssuedAt, own.Expires, v.now) != nil {
		return nil
	}
	return own
}

// introduced returns a vouch for a master key of the user by a person whom the verifier has verified, by hand or by an own vouch, and
// marked as an introducer; nil if it does not count.
func (v *verifier) introduced(i Introduction, master string) *Vouch {
	if pin, ok := v.Own.known(v.Pins, i.User, v.now); !ok || !pin.Introducer {
		return nil
	}
	s := v.stand(i.User, &i.By)
	if s.Contents == nil || s.pin.How != ByHand && v.own(i.User, s.Keys.master) == nil {
		return nil
	}
	vouch, err := ParseVouch(i.Vouch, s.Keys.UserSigning)
	if err != nil || current(jose.TypeVouch, vouch.IssuedAt, vouch.Expires, v.now) != nil {
		return nil
	}
	if !vouch.Public || vouch.Master != master || !same(vouch.By, i.User) || !same(vouch.User, v.About.User) {
		return nil
	}
	vouch.Expires = earlier(vouch.Expires, s.Keys.Expires)
	return vouch
}

// longest returns the need vouchers that last longest.
func longest(all []voucher, need int) []voucher {
	slices.SortStableFunc(all, func(a, b voucher) int { return b.until.Compare(a.until) })
	return all[:need]
}

// past returns t unless it is in the future, by a clock that is ahead.
func (v *verifier) past(t time.Time) time.Time {
	if t.After(v.now) {
		return v.now
	}
	return t
}

// earlier returns the earlier of two ends, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

// short returns the beginning of a thumbprint, for people.
func short(thumbprint string) string {
	if len(thumbprint) > 8 {
		return thumbprint[:8] + "…"
	}
	return thumbprint
}
