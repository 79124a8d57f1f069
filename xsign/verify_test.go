package xsign_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

func wantFinding(t testing.TB, name string, got verdict.Finding, result verdict.Result, code string) {
	t.Helper()
	if got.Result == "" {
		got.Result = verdict.None
	}
	if got.Result != result || string(got.Code) != code {
		t.Errorf("%s = %s (%s) %s, want %s (%s)", name, got.Result, got.Code, got.Details, result, code)
	}
}

// The operator adds a device to a user whose key the verifier knows: it is quarantined, and said in words.
func TestOperatorAddsDevice(t *testing.T) {
	v, _ := verify(t, xsign.Query{About: aboutLaptop(), Bundle: bundle(), Pins: byHand()})
	d := decide(t, v)
	if d.Outcome != verdict.Quarantined || d.Judgments[1].Rule != "F3" {
		t.Errorf("Decide = %s, want quarantined by F3: %s", d.Outcome, d.Explain(now))
	}
	if text := d.Explain(now); !strings.Contains(text, "device list 7 of 21 Nov 2026") || !strings.Contains(text, "device_not_listed") {
		t.Errorf("Explain = %s", text)
	}
	// The other URI of the same user is no way around.
	a := aboutLaptop()
	a.User, a.Device = must(claims.Parse(a.User.MIMI())), must(claims.Parse(a.Device.MIMI()))
	v, _ = verify(t, xsign.Query{About: a, Bundle: bundle(), Pins: byHand()})
	if d := decide(t, v); d.Outcome != verdict.Quarantined || d.Judgments[1].Rule != "F3" {
		t.Errorf("by its mimi: URI: %s", d.Explain(now))
	}
	// Nor is a URI that does not name the user.
	a.Device = must(claims.Parse("mimi://example.com/d/1a9c"))
	v, _ = verify(t, xsign.Query{About: a, Bundle: bundle(), Pins: byHand()})
	wantFinding(t, "device without its user", v.Device, verdict.Bad, "device_not_listed")
	// The key of another device of the list does not do, nor does another key.
	for _, change := range []func(*verdict.About){
		func(a *verdict.About) { a.JKT = phoneKey }, func(a *verdict.About) { a.Device, a.JKT = phone, laptopKey },
	} {
		a := aboutLaptop()
		change(&a)
		b := &xsign.Bundle{Keys: alice.keys(3), Devices: list(8, both)}
		v, _ := verify(t, xsign.Query{About: a, Bundle: b, Pins: byHand()})
		wantFinding(t, "device with another key", v.Device, verdict.Bad, "device_not_listed")
	}
	// The device of the list is verified.
	a = about()
	a.Handle = claims.ID{}
	v, _ = verify(t, xsign.Query{About: a, Bundle: bundle(), Pins: byHand()})
	if d := decide(t, v); d.Outcome != verdict.Verified {
		t.Errorf("Decide about a device of the list = %s", d.Explain(now))
	}
}

// Two servers, one with the older list: the rollback is found, whichever is asked later.
func TestRollback(t *testing.T) {
	newer := &xsign.Bundle{Keys: alice.keys(3), Devices: list(8)} // the laptop was removed
	older := &xsign.Bundle{Keys: alice.keys(3), Devices: list(7, both)}
	v, pins := verify(t, xsign.Query{About: aboutLaptop(), Bundle: older, Pins: byHand()})
	wantFinding(t, "device before", v.Device, verdict.Good, "")
	v, pins = verify(t, xsign.Query{About: aboutLaptop(), Bundle: newer, Pins: pins})
	wantFinding(t, "device after", v.Device, verdict.Bad, "device_not_listed")
	v, after := verify(t, xsign.Query{About: aboutLaptop(), Bundle: older, Pins: pins})
	wantFinding(t, "device after the rollback", v.Device, verdict.Unknown, "older")
	if d := decide(t, v); d.Outcome != verdict.Undecided || d.Judgments[1].Rule != "F7" {
		t.Errorf("Decide = %s", d.Explain(now))
	}
	if !reflect.DeepEqual(pins, after) {
		t.Errorf("a rollback changed the pins: %v", after)
	}
}

// Hiding the list or the bundle of a pinned user gives unknown, also if the key was kept at first use only.
func TestHiding(t *testing.T) {
	_, firstUse := verify(t, xsign.Query{About: about(), Bundle: bundle()})
	vouched := own(t, bob.vouch(alice))
	for _, q := range []xsign.Query{{Pins: byHand()}, {Pins: firstUse}, {Own: vouched}} {
		q.About = about()
		for name, b := range map[string]*xsign.Bundle{
			"no bundle": nil, "empty": {}, "of another user": {Keys: bob.keys(1)}, "cut": {Keys: alice.keys(3)[:300]},
			"expired": {Keys: alice.keys(4, func(k *xsign.Keys) { k.Expires = now }), Devices: list(9)},
			"no list": {Keys: alice.keys(3)}, "list cut": {Keys: alice.keys(3), Devices: list(7)[:200]},
			"expired list": {Keys: alice.keys(3), Devices: list(9, func(d *xsign.Devices) { d.Expires = now })},
		} {
			q.Bundle = b
			v, _ := verify(t, q)
			if v.Device.Result != verdict.Unknown || !v.Pinned {
				t.Errorf("%s: device %+v, pinned %t, want unknown and pinned", name, v.Device, v.Pinned)
			}
			if d := decide(t, v); d.Outcome != verdict.Undecided {
				t.Errorf("%s: Decide = %s", name, d.Explain(now))
			}
		}
	}
	// About an unknown user nothing is said, and nothing pinned.
	v, pins := verify(t, xsign.Query{About: about()})
	if wantFinding(t, "device of an unknown user", v.Device, verdict.None, "missing"); v.Pinned || len(pins) > 0 {
		t.Errorf("an unknown user is pinned: %v", pins)
	}
}

// A key that was kept at first use makes nothing good, and arms the rules.
func TestFirstUse(t *testing.T) {
	v, pins := verify(t, xsign.Query{About: about(), Bundle: bundle()})
	wantFinding(t, "user", v.User, verdict.None, "first_use")
	wantFinding(t, "device", v.Device, verdict.None, "first_use")
	wantFinding(t, "handle", v.Handle, verdict.None, "")
	if pin, ok := pins.Of(alice.id); !ok || pin.How != xsign.FirstUse || !v.Pinned || pin.Keys.Seq != 3 || pin.Devices.Seq != 7 {
		t.Errorf("pin = %+v", pin)
	}
	v, _ = verify(t, xsign.Query{About: aboutLaptop(), Bundle: bundle(), Pins: pins})
	wantFinding(t, "device that is not listed", v.Device, verdict.Bad, "device_not_listed")
	other := alice.again("new alice")
	v, after := verify(t, xsign.Query{About: about(), Bundle: &xsign.Bundle{Keys: other.keys(4)}, Pins: pins})
	wantFinding(t, "user with another master key", v.User, verdict.Bad, "other_master")
	wantFinding(t, "device with another master key", v.Device, verdict.Bad, "other_master")
	if !reflect.DeepEqual(pins, after) {
		t.Errorf("another master key changed the pins")
	}
}

// A new master key counts if the pinned one has named it, over several steps, too. A stranger's succession changes nothing.
func TestSuccession(t *testing.T) {
	second, third := alice.again("second alice"), alice.again("third alice")
	one := alice.succession(jkt(second.master))
	two := second.succession(jkt(third.master))
	succeeds := func(text string) func(*xsign.Keys) { return func(k *xsign.Keys) { k.Succeeds = text } }
	v, pins := verify(t, xsign.Query{
		About: about(), Pins: byHand(),
		Bundle: &xsign.Bundle{Keys: third.keys(1, succeeds(two)), Succession: []string{one}},
	})
	wantFinding(t, "user", v.User, verdict.Good, "")
	if pin, _ := pins.Of(alice.id); pin.Master != jkt(third.master) || pin.How != xsign.ByHand || len(pin.Former) != 2 {
		t.Errorf("pin = %+v", pin)
	}
	// An older key of the chain is a rollback.
	v, after := verify(t, xsign.Query{About: about(), Pins: pins, Bundle: &xsign.Bundle{Keys: second.keys(9, succeeds(one))}})
	wantFinding(t, "user with a former key", v.User, verdict.Unknown, "older")
	if !reflect.DeepEqual(pins, after) {
		t.Error("a former key changed the pins")
	}
	// A vouch is for one master key.
	v, _ = verify(t, xsign.Query{About: about(), Own: own(t, bob.vouch(alice)), Bundle: &xsign.Bundle{Keys: second.keys(1, succeeds(one))}})
	wantFinding(t, "user whose former key was vouched for", v.User, verdict.None, "former_master")

	stranger := &person{alice.id, mallory.master, mallory.device, mallory.user}
	fourth := alice.again("fourth alice")
	foreign := stranger.succession(jkt(fourth.master))
	v, after = verify(t, xsign.Query{About: about(), Pins: byHand(), Bundle: &xsign.Bundle{Keys: fourth.keys(9, succeeds(foreign))}})
	wantFinding(t, "user by a stranger's succession", v.User, verdict.Bad, "other_master")
	if d := decide(t, v); d.Outcome != verdict.Quarantined || d.Judgments[0].Rule != "F4" {
		t.Errorf("Decide = %s", d.Explain(now))
	}
	if !reflect.DeepEqual(byHand(), after) {
		t.Error("a stranger's succession changed the pins")
	}
	// A distrusted key names no successor that is trusted.
	v, _ = verify(t, xsign.Query{
		About: about(), Pins: byHand(), Own: own(t, bob.distrust(alice)), Bundle: &xsign.Bundle{Keys: second.keys(1, succeeds(one))},
	})
	wantFinding(t, "successor of a distrusted key", v.User, verdict.Bad, "distrusted")
	// So it is if the pin has followed already, or was kept at first use, until the verifier compares the new key.
	distrust := own(t, bob.distrust(alice))
	chain := &xsign.Bundle{Keys: third.keys(1, succeeds(two)), Succession: []string{one}}
	_, atFirst := verify(t, xsign.Query{About: about(), Bundle: chain})
	for name, p := range map[string]xsign.Pins{"followed": pins, "first use": atFirst} {
		v, _ = verify(t, xsign.Query{About: about(), Pins: p, Own: distrust, Bundle: chain})
		wantFinding(t, name+": successor of a distrusted key", v.User, verdict.Bad, "distrusted")
		v, _ = verify(t, xsign.Query{About: about(), Pins: p.ByHand(alice.id, jkt(third.master), now), Own: distrust, Bundle: chain})
		wantFinding(t, name+": successor that was compared", v.User, verdict.Good, "")
		again := own(t, bob.distrust(alice), bob.vouch(&person{id: alice.id, master: third.master}))
		v, _ = verify(t, xsign.Query{About: about(), Pins: p, Own: again, Bundle: chain})
		wantFinding(t, name+": successor that was vouched for", v.User, verdict.Good, "")
	}
}

func TestDistrust(t *testing.T) {
	o := own(t, bob.vouch(alice), bob.distrust(alice, func(d *xsign.Distrust) { d.Expires = now.Add(-day) }))
	for name, b := range map[string]*xsign.Bundle{"shown": bundle(), "hidden": nil} {
		v, _ := verify(t, xsign.Query{About: about(), Bundle: b, Own: o})
		if d := decide(t, v); d.Outcome != verdict.Refused || d.Judgments[0].Rule != "F2" {
			t.Errorf("%s: Decide = %s", name, d.Explain(now))
		}
		if !strings.Contains(v.User.Details, "expired on 30 Nov 2026") {
			t.Errorf("%s: details %q", name, v.User.Details)
		}
	}
	// The distrusted user does not come back unnoticed with another key.
	other := alice.again("new alice")
	v, pins := verify(t, xsign.Query{About: about(), Bundle: &xsign.Bundle{Keys: other.keys(1)}, Own: own(t, bob.distrust(alice))})
	if wantFinding(t, "user with a new key", v.User, verdict.Bad, "other_master"); len(pins) > 0 {
		t.Errorf("pins = %v", pins)
	}
}

// Only a vouch that names the handle makes it good, and not after a rename.
func TestHandle(t *testing.T) {
	named := func(v *xsign.Vouch) { v.Handle = handle }
	v, _ := verify(t, xsign.Query{About: about(), Bundle: bundle(), Pins: byHand(), Own: own(t, bob.vouch(alice))})
	wantFinding(t, "handle that no vouch names", v.Handle, verdict.None, "")
	v, _ = verify(t, xsign.Query{About: about(), Bundle: bundle(), Own: own(t, bob.vouch(alice, named))})
	wantFinding(t, "handle that a vouch names", v.Handle, verdict.Good, "")
	wantFinding(t, "device", v.Device, verdict.Good, "")
	a := about()
	a.Handle = must(claims.Parse("im:%40alice2@example.com"))
	v, _ = verify(t, xsign.Query{About: a, Bundle: bundle(), Own: own(t, bob.vouch(alice, named))})
	wantFinding(t, "new handle", v.Handle, verdict.None, "")
	v, _ = verify(t, xsign.Query{About: about(), Bundle: bundle(), Own: own(t, bob.vouch(alice, named, func(v *xsign.Vouch) { v.Expires = now }))})
	wantFinding(t, "handle of a vouch that has expired", v.Handle, verdict.None, "")
	wantFinding(t, "user of a vouch that has expired", v.User, verdict.None, "first_use")
}

// Introducers count if the verifier has verified and marked them, each once, by public vouches for the present master key.
func TestIntroducers(t *testing.T) {
	public := func(v *xsign.Vouch) { v.Public, v.Handle = true, handle }
	introduction := func(p *person, change ...func(*xsign.Vouch)) xsign.Introduction {
		return xsign.Introduction{By: xsign.Bundle{Keys: p.keys(1)}, User: p.id, Vouch: p.vouch(alice, append([]func(*xsign.Vouch){public}, change...)...)}
	}
	marked := func(pins xsign.Pins, p *person) xsign.Pins {
		pins = pins.ByHand(p.id, jkt(p.master), now.Add(-20*day))
		pin, _ := pins.Of(p.id)
		pin.Introducer = true
		return pins.With(p.id, pin)
	}
	two := verdict.XSignRequirements{Hops: 2, Introducers: 2}
	pins := marked(marked(nil, carol), dave)
	unmarked := pins.ByHand(mallory.id, jkt(mallory.master), now)
	firstUse := marked(pins, carol)
	pin, _ := firstUse.Of(carol.id)
	pin.How = xsign.FirstUse
	firstUse = firstUse.With(carol.id, pin)
	for name, c := range map[string]struct {
		q    xsign.Query
		good bool
	}{
		"two":               {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(dave)}}, true},
		"one":               {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol)}}, false},
		"one twice":         {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(carol)}}, false},
		"one not marked":    {xsign.Query{Pins: unmarked, Introductions: []xsign.Introduction{introduction(carol), introduction(mallory)}}, false},
		"one at first use":  {xsign.Query{Pins: firstUse, Introductions: []xsign.Introduction{introduction(carol), introduction(dave)}}, false},
		"one private":       {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(dave, func(v *xsign.Vouch) { v.Public = false })}}, false},
		"one expired":       {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(dave, func(v *xsign.Vouch) { v.Expires = now })}}, false},
		"one for a former":  {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(dave, func(v *xsign.Vouch) { v.Master = jkt(mallory.master) })}}, false},
		"one distrusted":    {xsign.Query{Pins: pins, Own: own(t, bob.distrust(carol)), Introductions: []xsign.Introduction{introduction(carol), introduction(dave)}}, false},
		"one by other keys": {xsign.Query{Pins: pins, Introductions: []xsign.Introduction{introduction(carol), introduction(dave.again("new dave"))}}, false},
	} {
		c.q.About, c.q.Bundle, c.q.Require = about(), bundle(), two
		v, after := verify(t, c.q)
		want := verdict.None
		if c.good {
			want = verdict.Good
		}
		if v.User.Result != want || v.Device.Result != want || (v.Handle.Result == verdict.Good) != c.good {
			t.Errorf("%s: user %+v, device %+v, handle %+v, want %s", name, v.User, v.Device, v.Handle, want)
		}
		if pin, _ := after.Of(alice.id); pin.How != xsign.FirstUse {
			t.Errorf("%s: pin = %+v", name, pin)
		}
		c.q.Require.Hops = 1
		if v, _ := verify(t, c.q); v.User.Result == verdict.Good {
			t.Errorf("%s: good with one hop", name)
		}
	}
}

// Whatever sequence of bundles a server shows, it never lowers a sequence number in a pin, changes the master key of a hand-made pin, makes
// good a device that the newest list lacks, or changes the pins at a second look.
func TestAnyServer(t *testing.T) {
	other := alice.again("new alice")
	rapid.Check(t, func(rt *rapid.T) {
		pins := byHand()
		var newest int64
		with := map[int64]bool{}
		for range rapid.IntRange(1, 6).Draw(rt, "bundles") {
			seq := rapid.Int64Range(1, 4).Draw(rt, "seq")
			laptops := rapid.Bool().Draw(rt, "laptop")
			change := func(*xsign.Devices) {}
			if laptops {
				change = both
			}
			b := &xsign.Bundle{Keys: alice.keys(rapid.Int64Range(1, 3).Draw(rt, "keys")), Devices: list(seq, change)}
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				b = nil
			case 1:
				b.Keys = other.keys(9)
			case 2:
				b.Devices = ""
			}
			before, _ := pins.Of(alice.id)
			v, after := verify(t, xsign.Query{About: aboutLaptop(), Bundle: b, Pins: pins})
			pin, _ := after.Of(alice.id)
			if pin.Master != before.Master || pin.Keys.Seq < before.Keys.Seq || pin.Devices.Seq < before.Devices.Seq {
				rt.Fatalf("pin %+v after %+v", pin, before)
			}
			if pin.Devices.Seq > newest {
				newest = pin.Devices.Seq
				with[newest] = laptops
			}
			if v.Device.Result == verdict.None || v.Device.Result == "" || v.Device.Result == verdict.Good && !with[newest] {
				rt.Fatalf("device %+v, newest list %d has it: %t", v.Device, newest, with[newest])
			}
			again, twice := verify(t, xsign.Query{About: aboutLaptop(), Bundle: b, Pins: after})
			if !reflect.DeepEqual(again, v) || !reflect.DeepEqual(twice, after) {
				rt.Fatalf("at a second look: %+v, pins %v", again, twice)
			}
			pins = after
		}
	})
}

func TestPinsJSON(t *testing.T) {
	_, pins := verify(t, xsign.Query{About: about(), Bundle: bundle(), Pins: byHand()})
	var read xsign.Pins
	if err := json.Unmarshal(must(json.Marshal(pins)), &read); err != nil || !reflect.DeepEqual(pins, read) {
		t.Errorf("pins as JSON: %v, %v", read, err)
	}
}

func TestSubject(t *testing.T) {
	for name, a := range map[string]verdict.About{
		"no user": {Device: phone, JKT: phoneKey}, "no key": {User: alice.id, Device: phone}, "another's device": {User: bob.id, Device: phone, JKT: phoneKey},
	} {
		if _, _, err := xsign.Verify(xsign.Query{About: a, Bundle: bundle()}, now); !errors.Is(err, xsign.ErrSubject) {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
}

// A statement of the verifier's own that cannot be read is an error: a distrust does not end unnoticed.
func TestReadOwn(t *testing.T) {
	for name, c := range map[string]struct {
		statements []string
		code       xsign.Code
	}{
		"a former key":     {[]string{bob.again("Old bob").distrust(alice)}, xsign.CodeKey},
		"by another":       {[]string{(&person{carol.id, bob.master, bob.device, bob.user}).vouch(alice)}, xsign.CodeUser},
		"a device list":    {[]string{list(1)}, xsign.CodeType},
		"more than enough": {make([]string, xsign.MaxOwn+1), xsign.CodeTooMany},
	} {
		if _, err := xsign.ReadOwn(bob.id, bob.user.Public(), c.statements); !errors.Is(err, c.code) {
			t.Errorf("%s: ReadOwn = %v, want %s", name, err, c.code)
		}
	}
}
