// Package verdict decides what to do when several methods speak about one person, and perhaps disagree (draft-mahy-mimi-identity-00,
// "Trust approaches"): the hierarchy of issuers, cross signing, and places where a person is known.
//
// Each method gives one [Verdict]: its finding about the user, the device with its key, and the handle. [Decide] is a pure function: the
// same policy, verdicts and time give the same [Decision], which says in words what decided. Some rules hold whatever the policy says:
//
//	F1  its own authority has ended it                                    refused
//	F2  the verifier distrusts it                                         refused
//	F3  a pinned user's device list lacks the device or its key           quarantined
//	F4  the user shows another master key than the pinned one             quarantined
//	F5  enough places that agreed before now name another master key      quarantined
//	F6  the hierarchy has expired and would be good                       update_only
//	F7  the hierarchy cannot be known, or the cross signing of a pinned   undecided
//	    user cannot
//
// If several of them hold, the lowest outcome counts. Elsewhere a finding that cannot be known counts as none.
//
// User, device and handle are decided apart, and the lowest of the three is the outcome. Only the hierarchy, or a vouch that names
// the handle, can make a handle good: places and cross signing say nothing about it.
//
// The package is for clients and gateways. An issuer does not judge for its peers.
package verdict

import (
	"time"

	"github.com/imidentity/issuer/claims"
)

// A Method is a way to know a person.
type Method string

// The methods.
const (
	Hierarchy Method = "hierarchy" // the domain's issuer: tokens, credentials, introspection
	XSign     Method = "xsign"     // cross signing: the user's own keys, and people who vouch for them
	Places    Method = "places"    // places on the web that name the user's master key
)

// Methods returns the methods, in the order in which decisions name them.
func Methods() []Method { return []Method{Hierarchy, XSign, Places} }

// A Result is what a method says.
type Result string

// The results. The empty result counts as None.
const (
	Good    Result = "good"
	Bad     Result = "bad"     // there is evidence against it
	None    Result = "none"    // the method says nothing
	Unknown Result = "unknown" // it cannot be known now
)

// A Code says why a finding is as it is. The fixed rules look at these codes; methods may use others for people to read.
type Code string

// The codes that decide.
const (
	CodeEnded      Code = "ended"             // hierarchy, bad: revoked, removed, disabled
	CodeExpired    Code = "expired"           // hierarchy, none: good but for its time
	CodeDistrusted Code = "distrusted"        // xsign, bad: the verifier's own statement
	CodeNotListed  Code = "device_not_listed" // xsign, bad: the current list of a pinned user lacks the device or its key
	CodeMaster     Code = "other_master"      // xsign or places, bad: another master key, without succession
	CodeMassLoss   Code = "mass_loss"         // places, bad: most places are gone at once
	CodeStale      Code = "stale"             // unknown: the policy wants a later look
	CodeUnchecked  Code = "unchecked"         // unknown: the policy wants the status looked up
)

// A Finding is what a method says about the user, the device or the handle. The zero Finding says nothing.
type Finding struct {
	Result Result
	Code   Code // empty for a plain result
	// Since is when it began to be so, Checked when the method last looked, and Until when the finding ends. Each may be zero for "not
	// known"; a zero Checked means that nothing was looked up, as for a token that was checked offline.
	Since, Checked, Until time.Time
	// Details says in a few words what is behind it, for people; "status 2 min old".
	Details string
}

// About is the subject of verdicts. Verdicts about one subject agree in all fields that are not zero.
type About struct {
	Handle, User, Device claims.ID
	JKT                  string // thumbprint of the device's key
}

// A Verdict is what one method says about a subject.
type Verdict struct {
	Method Method
	About  About
	// User, Device and Handle are its findings. That about the device includes its key.
	User, Device, Handle Finding
	// Pinned says that the verifier knows the user's master key: compared by hand, vouched for, or kept at first use. Only cross signing
	// knows that.
	Pinned bool
	// Evidence names the signed objects behind the findings: ids of tokens and credentials, thumbprints of keys, addresses of places.
	Evidence []string
}

// A Facet is a part of a subject that is decided by itself.
type Facet string

// The facets.
const (
	User   Facet = "user"
	Device Facet = "device"
	Handle Facet = "handle"
)

// Facets returns the facets, in the order in which decisions name them.
func Facets() []Facet { return []Facet{User, Device, Handle} }

// Finding returns the finding about a facet.
func (v *Verdict) Finding(f Facet) Finding {
	switch f {
	case User:
		return v.User
	case Device:
		return v.Device
	}
	return v.Handle
}

// has reports whether the subject has a facet.
func (a About) has(f Facet) bool {
	switch f {
	case User:
		return !a.User.IsZero()
	case Device:
		return !a.Device.IsZero()
	}
	return !a.Handle.IsZero()
}

// merge returns the fields of both, and false if they are about two subjects.
func (a About) merge(b About) (About, bool) {
	agree := true
	for _, id := range []struct{ to, from *claims.ID }{{&a.Handle, &b.Handle}, {&a.User, &b.User}, {&a.Device, &b.Device}} {
		switch {
		case id.to.IsZero():
			*id.to = *id.from
		case !id.from.IsZero() && *id.to != *id.from:
			agree = false
		}
	}
	switch {
	case a.JKT == "":
		a.JKT = b.JKT
	case b.JKT != "" && a.JKT != b.JKT:
		agree = false
	}
	return a, agree && a.isOne()
}

// isOne reports whether the device may be one of the user, and the handle too: else they are two subjects, such as a user and the device
// of somebody else that a certificate of a device alone names.
func (a About) isOne() bool {
	id := claims.Identity{Handle: a.Handle, User: a.User, Device: a.Device}
	return a.User.IsZero() || id.Check([]string{a.User.Domain()}, true) == nil
}
