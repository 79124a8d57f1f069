package xsign_test

import (
	"testing"

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
