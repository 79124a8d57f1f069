package xsign_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// A new master key that keeps the device-signing key does not bring an old device list back.
func TestOldListUnderNewMaster(t *testing.T) {
	next := alice.again("alice's next")
	next.device = alice.device
	newer := func() *xsign.Bundle {
		return &xsign.Bundle{
			Keys:    next.keys(1, func(k *xsign.Keys) { k.Succeeds = alice.succession(jkt(next.master)) }),
			Devices: list(7),
		}
	}
	_, pins := verify(t, xsign.Query{About: about(), Bundle: bundle(), Pins: byHand()})

	old := newer()
	old.Devices = list(6, both) // the laptop was removed since
	v, after := verify(t, xsign.Query{About: aboutLaptop(), Bundle: old, Pins: pins})
	if v.Device.Result != verdict.Unknown || v.Device.Code != verdict.Code(xsign.CodeOlder) {
		t.Errorf("an old list under a new master key: %+v", v.Device)
	}
	for _, pins := range []xsign.Pins{pins, after} {
		if v, _ := verify(t, xsign.Query{About: aboutLaptop(), Bundle: newer(), Pins: pins}); v.Device.Code != verdict.CodeNotListed {
			t.Errorf("the removed device: %+v", v.Device)
		}
		if v, _ := verify(t, xsign.Query{About: about(), Bundle: newer(), Pins: pins}); v.Device.Result != verdict.Good {
			t.Errorf("the device: %+v", v.Device)
		}
	}
}

// Another content under a number that was seen is no later statement: two servers that show different ones are found, whichever is asked
// first.
func TestOtherContent(t *testing.T) {
	shorter := func(k *xsign.Keys) { k.Expires = k.Expires.Add(-time.Hour) }
	seen := &xsign.Bundle{Keys: alice.keys(3), Devices: list(7)}
	for name, test := range map[string]struct {
		other        *xsign.Bundle
		user, device verdict.Result
	}{
		"the same": {&xsign.Bundle{Keys: alice.keys(3), Devices: list(7)}, verdict.Good, verdict.Bad},
		"keys":     {&xsign.Bundle{Keys: alice.keys(3, shorter), Devices: list(7)}, verdict.Unknown, verdict.Unknown},
		"list":     {&xsign.Bundle{Keys: alice.keys(3), Devices: list(7, both)}, verdict.Good, verdict.Unknown},
	} {
		_, pins := verify(t, xsign.Query{About: aboutLaptop(), Bundle: seen, Pins: byHand()})
		v, after := verify(t, xsign.Query{About: aboutLaptop(), Bundle: test.other, Pins: pins})
		if v.User.Result != test.user || v.Device.Result != test.device {
			t.Errorf("%s: user %+v, device %+v", name, v.User, v.Device)
		}
		if test.device == verdict.Unknown {
			if d := decide(t, v); v.Device.Code != verdict.Code(xsign.CodeConflict) || d.Outcome != verdict.Undecided {
				t.Errorf("%s: device %+v, Decide = %s", name, v.Device, d.Explain(now))
			}
		}
		if !reflect.DeepEqual(pins, after) {
			t.Errorf("%s: the pins changed to %v", name, after)
		}
	}
}
