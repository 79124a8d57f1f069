package places

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/verdict"
)

// ErrSubject is returned by [Verify] for a subject without a user.
var ErrSubject = errors.New("places: the subject needs a user")

// A Query holds the subject that [Verify] judges, what was found, and the knowledge of the verifier.
type Query struct {
	// About is the subject. Its user is required.
	About verdict.About
	// Address is where the profile was got from.
	Address Address
	// Profile is the profile; empty if there is none or it could not be got.
	Profile string
	// ProfileErr is why it could not be got, as [Reader.Profile] returns it; nil stands for CodeMissing.
	ProfileErr error
	// Looks are what the places of the profile show, see [Reader.Look]. A place without a look is unreachable.
	Looks []Look
	// Checked is when they were made; zero means now.
	Checked time.Time
	// Memory is the verifier's memory about the user.
	Memory Memory
	// Master is the thumbprint of the master key that the verifier knows of the user by cross signing; empty if nothing is known of it. A
	// profile of another key is never good.
	Master string
	// Former are the thumbprints of earlier master keys that the profile's key succeeds, by the statements of cross signing. Places may
	// turn from these to the present one.
	Former []string
	// Require are the requirements of the policy: Need, of which zero is 2, and MinAge.
	Require verdict.PlacesRequirements
}

// A State is what a place does for a profile.
type State string

// The states.
const (
	Agrees      State = "agrees"      // it shows the address of the profile
	Silent      State = "silent"      // it shows no address of the profile, and never has
	Gone        State = "gone"        // it did, and shows no address any more
	Turned      State = "turned"      // it named another master key before, or names one now
	Unreachable State = "unreachable" // it cannot be known now
	Refused     State = "refused"     // its answer does not count
)

// A Standing is how a place stands to a profile.
type Standing struct {
	Place Place
	State State
	// First is since when it agrees; zero if it does not, or never has.
	First time.Time
	// Own says that the place is below the domain of the user's provider, or of the server of the profile, and does not count.
	Own bool
	// Counts says that it agrees and is old enough.
	Counts bool
	// Err is why it is unreachable or refused.
	Err error
}

// A Report is what [Verify] has found.
type Report struct {
	Verdict verdict.Verdict
	// Memory is for the verifier to store.
	Memory Memory
	// Profile is the profile; nil if it was refused.
	Profile *Profile
	// Places are those of the profile, in its order.
	Places []Standing
	// Dropped are places that an earlier profile of this master key had, and this one has not.
	Dropped []string
}

// Verify judges the places of a user for a verifier at a time, and returns the memory to store. It does not change q.Memory.
//
// The finding about the user is good if Need places, of different registrable domains, name the master key of the profile and were seen to
// do so for MinAge. Places below the domain of the user's provider, or of the server of the profile, do not count.
//
// It is bad with [verdict.CodeMaster] if Need places name another master key than before, whether the profile of either is shown or not,
// and with [verdict.CodeMassLoss] if more than half of the places, and at least two, have ceased to name it within 48 hours. It is unknown
// if places that cannot be reached could make it good, if the profile cannot be reached, and if a known user's profile is absent or
// refused. Else it is none. The code says why. The error is [ErrSubject].
func Verify(q Query, now time.Time) (*Report, error) {
	if q.About.User.IsZero() {
		return nil, ErrSubject
	}
	if q.Checked.IsZero() {
		q.Checked = now
	}
	if q.Require.Need < 1 {
		q.Require.Need = defaultNeed
	}
	v := &verifier{Query: q, now: now, out: &Report{Verdict: verdict.Verdict{Method: verdict.Places, About: q.About}}}
	if v.Memory = maps.Clone(q.Memory); v.Memory == nil {
		v.Memory = Memory{}
	}
	v.out.Verdict.User = v.verify()
	v.out.Memory = v.Memory
	return v.out, nil
}

type verifier struct {
	Query
	now time.Time
	own []string // domains that do not count for the profile
	// provider is the one of them that does not count against it either. That of the server does: who forges a profile chooses its server,
	// which may be at a place that was taken over.
	provider string
	out      *Report
	// other says that the verifier knows another master key of the user than that of the profile.
	other bool
}

func (v *verifier) finding(r verdict.Result, code verdict.Code, format string, args ...any) verdict.Finding {
	return verdict.Finding{Result: r, Code: code, Checked: v.Checked, Details: fmt.Sprintf(format, args...)}
}

// open opens the profile and checks that it counts now.
func (v *verifier) open() (*Profile, error) {
	if v.Profile == "" {
		if v.ProfileErr != nil {
			return nil, v.ProfileErr
		}
		return nil, refuse("", CodeMissing, "there is no profile")
	}
	p, err := ParseProfile(v.Profile)
	switch {
	case err != nil:
		return nil, err
	case p.fingerprint != v.Address.Fingerprint:
		return nil, refuse("kid", CodeFingerprint, "the profile is not of the key in its address")
	case !same(p.User, v.About.User):
		return nil, refuse("claims", CodeUser, "the profile is of another user")
	case !p.Expires.IsZero() && !v.now.Before(p.Expires):
		return nil, refuse("exp", CodeExpired, "expired on %s", date(p.Expires))
	}
	return p, nil
}

func (v *verifier) verify() verdict.Finding {
	for _, host := range []string{v.About.User.Domain(), v.Address.Host} {
		domain, err := registrable(host)
		if err != nil {
			domain = host // a public suffix, such as that of a provider who gives each user a domain below it
		}
		v.own = append(v.own, domain)
	}
	v.provider = v.own[0]
	p, err := v.open()
	if err != nil {
		return v.without(err)
	}
	v.out.Profile = p
	v.out.Verdict.Evidence = []string{p.thumbprint}
	v.other = v.Master != "" && v.Master != p.thumbprint
	if v.other && slices.Contains(v.Former, p.thumbprint) {
		return v.finding(verdict.None, verdict.Code(CodeOtherKey), "the profile is of a former master key of the user")
	}
	listed := map[string]bool{}
	for _, place := range p.Places {
		listed[place.same()] = true
	}
	if !v.other {
		v.Memory.succeed(v.Former, p.fingerprint, p.thumbprint)
		v.drop(p, listed)
	}
	for _, place := range p.Places {
		v.out.Places = append(v.out.Places, v.stand(p, place))
	}
	return v.judge(p, listed)
}

// without makes the finding if there is no profile to judge by. To withhold it does not end what speaks against the user.
func (v *verifier) without(err error) verdict.Finding {
	if turned := v.turned(); len(turned) >= v.Require.Need {
		return v.finding(verdict.Bad, verdict.CodeMaster, "%s changed to another master key", turned)
	}
	at := (*Error)(nil)
	if !errors.As(err, &at) {
		at = &Error{"", CodeUnreachable, err}
	}
	result := verdict.None
	if len(v.Memory) > 0 || at.Code == CodeUnreachable {
		result = verdict.Unknown
	}
	return v.finding(result, verdict.Code(at.Code), "%v", at)
}

// turned are the domains of places that named a master key and have named another one since, but for those that the owner of that key has
// taken out of the profile.
func (v *verifier) turned() domains {
	list := domains{}
	for _, s := range v.Memory {
		if !s.Turned.IsZero() && s.Dropped.IsZero() && !isBelow(s.Domain, v.provider) {
			list.add(s.Domain)
		}
	}
	return list
}

// drop notes the places that the profile does not have any more.
func (v *verifier) drop(p *Profile, listed map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(v.Memory)) {
		s := v.Memory[key]
		if s.Master == p.fingerprint && !listed[key] && s.Dropped.IsZero() {
			s.Dropped = v.Checked
			v.Memory[key] = s
			v.out.Dropped = append(v.out.Dropped, key)
		}
	}
}

// stand compares what a place shows with the memory, and updates that.
func (v *verifier) stand(p *Profile, place Place) Standing {
	out := Standing{Place: place, Own: slices.ContainsFunc(v.own, func(own string) bool { return isBelow(place.Domain, own) })}
	key := place.same()
	seen, known := v.Memory[key]
	mine := known && seen.Master == p.fingerprint
	if mine {
		seen.Dropped = time.Time{}
	}
	look, err := v.look(key)
	agrees := slices.Contains(look, p.fingerprint)
	switch {
	case err != nil:
		out.State, out.Err = Unreachable, err
		if errors.Is(err, CodeRefused) {
			out.State = Refused
		}
	case agrees && !known:
		out.State = Agrees
		seen = Seen{Master: p.fingerprint, Thumbprint: p.thumbprint, Domain: place.Domain, First: v.Checked, Last: v.Checked}
		if v.other || !v.Memory.add(key, seen) {
			return out
		}
		mine = true
	case agrees && mine:
		out.State = Agrees
		if v.Checked.After(seen.Last) {
			seen.Last = v.Checked
		}
		seen.Gone, seen.Turned, seen.To = time.Time{}, time.Time{}, ""
	case agrees, mine && len(look) > 0:
		// It agreed with another key before, or agrees with another one now. A place that names both has not turned, and does not count.
		out.State = Turned
		if seen.Turned.IsZero() && !slices.Contains(look, seen.Master) {
			seen.Turned, seen.To = v.Checked, look[0]
		}
		if !seen.Turned.IsZero() && agrees {
			seen.To = p.fingerprint
		}
	case mine:
		out.State = Gone
		if seen.Gone.IsZero() {
			seen.Gone = v.Checked
		}
	default:
		out.State = Silent
	}
	if known || mine {
		v.Memory[key] = seen
	}
	if mine && out.State == Agrees {
		out.First = seen.First
		out.Counts = !out.Own && v.now.Sub(seen.First) >= v.Require.MinAge
	}
	return out
}

// look returns what a place shows.
func (v *verifier) look(key string) ([]string, error) {
	for _, l := range v.Looks {
		if l.Place.kind != nil && l.Place.same() == key {
			return l.Shows, l.Err
		}
	}
	return nil, refuse("place", CodeUnreachable, "was not looked at")
}

// judge makes the finding from the places and the memory.
func (v *verifier) judge(p *Profile, listed map[string]bool) verdict.Finding {
	m := v.remembered(p, listed)
	f := v.count(p, m)
	if v.other && f.Code != verdict.CodeMaster {
		f = v.finding(verdict.None, verdict.Code(CodeOtherKey), "the profile is of another master key than the known one of the user")
	}
	if f.Code != verdict.CodeMaster && len(m.turned) > 0 {
		f.Details += fmt.Sprintf("; %s changed to another master key", m.turned)
	}
	if n := len(v.out.Dropped); n > 0 {
		f.Details += fmt.Sprintf("; the profile has %d fewer of the places that it had before", n)
	}
	return f
}

func (v *verifier) count(p *Profile, m memories) verdict.Finding {
	need := v.Require.Need
	agree, silent, since := domains{}, domains{}, map[string]time.Time{}
	for _, s := range v.out.Places {
		switch {
		case s.Own:
		case s.State == Unreachable:
			silent.add(s.Place.Domain)
		case s.State == Agrees:
			agree.add(s.Place.Domain)
			v.out.Verdict.Evidence = append(v.out.Verdict.Evidence, s.Place.URI)
			if old, ok := since[s.Place.Domain]; s.Counts && (!ok || s.First.Before(old)) {
				since[s.Place.Domain] = s.First
			}
		}
	}
	key := "master key " + p.fingerprint[:8] + "…"
	unreachable := 0
	for domain := range silent {
		if !agree[domain] {
			unreachable++
		}
	}
	switch {
	case len(m.turned) >= need:
		return v.finding(verdict.Bad, verdict.CodeMaster, "%s changed to another master key", m.turned)
	case len(m.lost) >= 2 && 2*len(m.lost) > len(m.base):
		return v.finding(verdict.Bad, verdict.CodeMassLoss, "%d of %d domains ceased to name %s within two days",
			len(m.lost), len(m.base), key)
	case len(m.others) >= need:
		return v.finding(verdict.None, verdict.Code(CodeOtherBefore), "%s named another master key before", m.others)
	case len(since) >= need:
		f := v.finding(verdict.Good, "", "%s named by %s", key, domainsOf(since))
		f.Since = slices.SortedFunc(maps.Values(since), time.Time.Compare)[need-1].Add(v.Require.MinAge)
		f.Until = p.Expires
		return f
	case unreachable > 0 && len(agree)+unreachable >= need:
		return v.finding(verdict.Unknown, verdict.Code(CodeUnreachable), "%d of %d places cannot be reached",
			unreachable, len(v.out.Places))
	case len(agree) >= need:
		return v.finding(verdict.None, verdict.Code(CodeTooYoung), "%s named by %s, by %d of them for %s",
			key, agree, len(since), days(v.Require.MinAge))
	}
	return v.finding(verdict.None, verdict.Code(CodeTooFew), "%s named by %d of the %d domains that are needed", key, len(agree), need)
}

// memories are the domains of places that a verifier remembers.
type memories struct {
	turned domains // those that named a master key and have named another one since
	others domains // those that named another master key for long enough to count
	base   domains // those of this profile that named this master key two days ago or since
	lost   domains // those of base that do not any more
}

func (v *verifier) remembered(p *Profile, listed map[string]bool) memories {
	m := memories{v.turned(), domains{}, domains{}, domains{}}
	kept := domains{}
	for key, s := range v.Memory {
		mine := s.Master == p.fingerprint
		if isBelow(s.Domain, v.provider) || mine && !listed[key] {
			continue
		}
		switch at := s.lost(); {
		case !mine && s.lasted(v.Require.MinAge):
			m.others.add(s.Domain)
		case !mine:
		case at.IsZero():
			m.base.add(s.Domain)
			kept.add(s.Domain)
		case v.now.Sub(at) < massLoss:
			m.base.add(s.Domain)
			m.lost.add(s.Domain)
		}
	}
	for domain := range kept {
		delete(m.lost, domain)
	}
	return m
}

// domains is a set of registrable domains.
type domains map[string]bool

func (d domains) add(domain string) { d[domain] = true }

// String lists the first three in order.
func (d domains) String() string { return domainsOf(d) }

func domainsOf[V any](m map[string]V) string {
	names := slices.Sorted(maps.Keys(m))
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " and " + names[n]
	}
	return strings.Join(names, "")
}

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
