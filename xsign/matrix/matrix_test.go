package matrix_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
	"github.com/imidentity/issuer/xsign/matrix"
)

var update = flag.Bool("update", false, "write testdata/vectors.json")

const (
	alice = "@alice:example.com"
	bob   = "@bob:example.org"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

type object = map[string]any

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func b64(data []byte) string { return base64.RawStdEncoding.EncodeToString(data) }

var master, selfSigning, userSigning, phone, laptop, bobs = key(1), key(2), key(3), key(4), key(5), key(6)

// sign signs an object as encoding/json writes it, which sorts names and here needs no escapes.
func sign(o object, user, id string, k ed25519.PrivateKey) {
	signed := maps.Clone(o)
	delete(signed, "signatures")
	delete(signed, "unsigned")
	text, err := json.Marshal(signed)
	if err != nil {
		panic(err)
	}
	all, _ := o["signatures"].(object)
	if all == nil {
		all = object{}
		o["signatures"] = all
	}
	by, _ := all[user].(object)
	if by == nil {
		by = object{}
		all[user] = by
	}
	by["ed25519:"+id] = b64(ed25519.Sign(k, text))
}

func signName(o object, user string, k ed25519.PrivateKey) { sign(o, user, b64(public(k)), k) }

// A world is an answer before it is signed. The changes are made first, so a refusal is not about the signature.
type world struct {
	master, self, user    object
	phone, laptop         object
	masterKey, selfKey    ed25519.PrivateKey
	unsigned              string // a device that the self-signing key does not sign
	after                 func(answer object)
	text                  func(answer string) string
	withoutSelf, bobSigns bool
}

func usage(name string, k ed25519.PrivateKey) object {
	return object{"user_id": alice, "usage": []any{name}, "keys": object{"ed25519:" + b64(public(k)): b64(public(k))}}
}

func device(id string, k ed25519.PrivateKey) object {
	return object{
		"user_id": alice, "device_id": id, "algorithms": []any{"m.olm.v1.curve25519-aes-sha2"},
		"keys": object{"ed25519:" + id: b64(public(k)), "curve25519:" + id: b64(make([]byte, 32))},
	}
}

func newWorld() *world {
	return &world{
		master: usage("master", master), self: usage("self_signing", selfSigning), user: usage("user_signing", userSigning),
		phone: device("PHONE", phone), laptop: device("LAPTOP", laptop), masterKey: master, selfKey: selfSigning,
	}
}

func (w *world) answer() string {
	signName(w.master, alice, w.masterKey)
	if w.bobSigns {
		signName(w.master, bob, bobs)
	}
	signName(w.self, alice, w.masterKey)
	signName(w.user, alice, w.masterKey)
	sign(w.phone, alice, "PHONE", phone)
	sign(w.laptop, alice, "LAPTOP", laptop)
	for id, d := range map[string]object{"PHONE": w.phone, "LAPTOP": w.laptop} {
		if id != w.unsigned {
			signName(d, alice, w.selfKey)
		}
	}
	answer := object{
		"master_keys": object{alice: w.master}, "self_signing_keys": object{alice: w.self}, "user_signing_keys": object{alice: w.user},
		"device_keys": object{alice: object{"PHONE": w.phone, "LAPTOP": w.laptop}}, "failures": object{},
	}
	if w.withoutSelf {
		delete(answer, "self_signing_keys")
	}
	if w.after != nil {
		w.after(answer)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	if w.text != nil {
		return w.text(string(text))
	}
	return string(text)
}

func replace(old, with string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic(old + " is not in the answer")
		}
		return strings.Replace(s, old, with, 1)
	}
}

// pad adds padding to the signature of an object by a key.
func pad(o object, id string) {
	by := o["signatures"].(object)[alice].(object)
	by["ed25519:"+id] = by["ed25519:"+id].(string) + "=="
}

var cases = []struct {
	name   string
	change func(w *world)
}{
	{"signed devices", func(*world) {}},
	{"signed by the verifier", func(w *world) { w.bobSigns = true }},
	{"space and another order of members", func(w *world) { w.text = replace(`{`, "{\n ") }},
	{"unsigned members are not signed", func(w *world) {
		w.after = func(object) { w.phone["unsigned"] = object{"device_display_name": "a", "age": 1.5} }
	}},
	{"text that canonical JSON escapes", func(w *world) { w.phone["note"] = "\"\\\b\f\n\r\t\x01\x7f é😀" }},
	{"greatest integers", func(w *world) { w.phone["n"] = []any{9007199254740991, -9007199254740991, 0, true, false, nil} }},
	{"no user", func(w *world) { w.after = func(a object) { delete(a, "master_keys") } }},
	{"no self-signing key", func(w *world) { w.withoutSelf = true }},
	{"no user-signing key", func(w *world) { w.after = func(a object) { delete(a, "user_signing_keys") } }},
	{"another master key", func(w *world) { w.masterKey = key(9); w.master = usage("master", key(9)) }},
	{"another master key, signed by the verifier", func(w *world) {
		w.masterKey, w.bobSigns = key(9), true
		w.master = usage("master", key(9))
	}},
	{"master: usage missing", func(w *world) { delete(w.master, "usage") }},
	{"master: usage unknown", func(w *world) { w.master["usage"] = []any{"org.example"} }},
	{"master: usage empty", func(w *world) { w.master["usage"] = []any{} }},
	{"master: two usages", func(w *world) { w.master["usage"] = []any{"master", "self_signing"} }},
	{"master: usage is text", func(w *world) { w.master["usage"] = "master" }},
	{"master: of another user", func(w *world) { w.master["user_id"] = bob }},
	{"master: two keys", func(w *world) { w.master["keys"].(object)["ed25519:"+b64(public(laptop))] = b64(public(laptop)) }},
	{"master: no key", func(w *world) { w.master["keys"] = object{} }},
	{"master: named otherwise", func(w *world) { w.master["keys"] = object{"ed25519:A": b64(public(master))} }},
	{"master: padded base64", func(w *world) {
		id := b64(public(master)) + "="
		w.master["keys"] = object{"ed25519:" + id: id}
	}},
	{"master: bits beyond the last byte", func(w *world) {
		id := []byte(b64(public(master)))
		id[len(id)-1]++
		w.master["keys"] = object{"ed25519:" + string(id): string(id)}
	}},
	{"master: 31 bytes", func(w *world) {
		id := b64(public(master)[:31])
		w.master["keys"] = object{"ed25519:" + id: id}
	}},
	{"master: a point of small order", func(w *world) {
		id := b64(append([]byte{1}, make([]byte, 31)...))
		w.master["keys"] = object{"ed25519:" + id: id}
	}},
	{"master: fraction", func(w *world) { w.master["n"] = 1.5 }},
	{"master: null", func(w *world) { w.after = func(a object) { a["master_keys"] = object{alice: nil} } }},
	{"master: oversized", func(w *world) { w.master["note"] = strings.Repeat("a", matrix.MaxObject) }},
	{"self-signing: usage unknown", func(w *world) { w.self["usage"] = []any{"device_signing"} }},
	{"self-signing: usage of the master key", func(w *world) { w.self["usage"] = []any{"master"} }},
	{"self-signing: the master key", func(w *world) { w.self = usage("self_signing", master) }},
	{"self-signing: of another user", func(w *world) { w.self["user_id"] = bob }},
	{"self-signing: altered", func(w *world) { w.after = func(object) { w.self["note"] = "a" } }},
	{"self-signing: not signed", func(w *world) { w.after = func(object) { delete(w.self, "signatures") } }},
	{"self-signing: signed by itself", func(w *world) {
		w.after = func(object) { delete(w.self, "signatures"); signName(w.self, alice, selfSigning) }
	}},
	{"self-signing: padded signature", func(w *world) { w.after = func(object) { pad(w.self, b64(public(master))) } }},
	{"self-signing: signatures is an array", func(w *world) { w.after = func(object) { w.self["signatures"] = []any{} } }},
	{"user-signing: the master key", func(w *world) { w.user = usage("user_signing", master) }},
	{"user-signing: the self-signing key", func(w *world) { w.user = usage("user_signing", selfSigning) }},
	{"user-signing: signed by the self-signing key", func(w *world) {
		w.after = func(object) { delete(w.user, "signatures"); signName(w.user, alice, selfSigning) }
	}},
	{"device: not signed by the user", func(w *world) { w.unsigned = "PHONE" }},
	{"device: not signed by itself", func(w *world) {
		w.after = func(object) { delete(w.phone["signatures"].(object)[alice].(object), "ed25519:PHONE") }
	}},
	{"device: altered", func(w *world) { w.after = func(object) { w.phone["algorithms"] = []any{} } }},
	{"device: signed by the master key alone", func(w *world) {
		w.unsigned = "PHONE"
		w.after = func(object) { signName(w.phone, alice, master) }
	}},
	{"device: signed by another self-signing key", func(w *world) { w.selfKey = key(9) }},
	{"device: padded signature", func(w *world) { w.after = func(object) { pad(w.phone, b64(public(selfSigning))) } }},
	{"device: the signature is a number", func(w *world) {
		w.after = func(object) { w.phone["signatures"].(object)[alice].(object)["ed25519:PHONE"] = 1 }
	}},
	{"device: of another user", func(w *world) { w.phone["user_id"] = bob }},
	{"device: another id", func(w *world) { w.phone["device_id"] = "LAPTOP" }},
	{"device: a key of another device", func(w *world) { w.phone["keys"].(object)["ed25519:LAPTOP"] = b64(public(laptop)) }},
	{"device: no key", func(w *world) { w.phone["keys"] = object{} }},
	{"device: padded key", func(w *world) { w.phone["keys"].(object)["ed25519:PHONE"] = b64(public(phone)) + "=" }},
	{"device: the master key", func(w *world) { w.phone["keys"].(object)["ed25519:PHONE"] = b64(public(master)) }},
	{"device: the name of the master key", func(w *world) {
		w.after = func(a object) { rename(a, w.phone, b64(public(master))) }
	}},
	{"device: the name of the self-signing key", func(w *world) {
		w.after = func(a object) { rename(a, w.phone, b64(public(selfSigning))) }
	}},
	{"device: fraction", func(w *world) { w.phone["n"] = 0.5 }},
	{"device: exponent", func(w *world) { w.phone["n"] = json.RawMessage("1e2") }},
	{"device: minus zero", func(w *world) { w.phone["n"] = json.RawMessage("-0") }},
	{"device: integer beyond 2^53-1", func(w *world) { w.phone["n"] = int64(1) << 53 }},
	{"device: integer below -(2^53-1)", func(w *world) { w.phone["n"] = -(int64(1) << 53) }},
	{"device: oversized", func(w *world) { w.phone["note"] = strings.Repeat("a", matrix.MaxObject) }},
	{"device: absent", func(w *world) {
		w.after = func(a object) { delete(a["device_keys"].(object)[alice].(object), "PHONE") }
	}},
	{"device: another key", func(w *world) { w.phone["keys"].(object)["ed25519:PHONE"] = b64(public(laptop)) }},
	{"repeated member of a device", func(w *world) { w.text = replace(`"device_id":"PHONE"`, `"device_id":"PHONE","device_id":"PHONE"`) }},
	{"repeated device", func(w *world) { w.text = replace(`"LAPTOP":{`, `"PHONE":{},"LAPTOP":{`) }},
	{"repeated part", func(w *world) { w.text = replace(`"failures":{}`, `"master_keys":{}`) }},
	{"repeated user", func(w *world) { w.text = replace(`"master_keys":{`, `"master_keys":{"`+alice+`":{},`) }},
	{"half of a surrogate pair", func(w *world) { w.text = replace(`"PHONE"`, `"\ud800"`) }},
	{"invalid UTF-8", func(w *world) { w.text = replace(`"failures":{}`, "\"failures\":{\"\xff\":1}") }},
	{"text after the answer", func(w *world) { w.text = func(s string) string { return s + "{}" } }},
	{"truncated", func(w *world) { w.text = func(s string) string { return s[:len(s)-2] } }},
	{"an array", func(w *world) { w.text = func(string) string { return "[]" } }},
	{"devices are an array", func(w *world) { w.after = func(a object) { a["device_keys"] = object{alice: []any{}} } }},
	{"empty", func(w *world) { w.text = func(string) string { return "{}" } }},
}

// rename gives the phone another id, and signs it again.
func rename(answer, phone object, id string) {
	phone["device_id"], phone["signatures"] = id, object{}
	phone["keys"] = object{"ed25519:" + id: b64(public(key(4)))}
	sign(phone, alice, id, key(4))
	signName(phone, alice, selfSigning)
	devices := answer["device_keys"].(object)[alice].(object)
	delete(devices, "PHONE")
	devices[id] = phone
}

func id(text string) claims.ID {
	parsed, err := claims.Parse(text)
	if err != nil {
		panic(err)
	}
	return parsed
}

func thumbprint(k ed25519.PublicKey) string {
	text, err := xsign.Thumbprint(k)
	if err != nil {
		panic(err)
	}
	return text
}

var (
	user  = id("im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user")
	about = verdict.About{User: user, Device: id("im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"), JKT: thumbprint(public(phone))}
)

// query asks about Alice's phone, as Bob.
func query(answer []byte, pins xsign.Pins) matrix.Query {
	return matrix.Query{
		About: about, User: alice, Device: "PHONE", Answer: answer, Pins: pins, Verifier: bob, UserSigning: public(bobs),
	}
}

func pinned(how xsign.How) xsign.Pins {
	at := now.AddDate(0, -1, 0)
	return xsign.Pins{}.With(user, xsign.Pin{Master: thumbprint(public(master)), How: how, At: at})
}

// pins are the verifier's memories under which each vector is judged.
var pins = map[string]xsign.Pins{"none": nil, "hand": pinned(xsign.ByHand), "vouch": pinned(xsign.ByVouch), "first_use": pinned(xsign.FirstUse)}

// A vector is an answer, with the error of Parse, that of the device beside the laptop, and for each pin the findings and how the user is pinned afterwards.
type vector struct {
	Name     string            `json:"name"`
	Answer   []byte            `json:"answer"`
	Error    string            `json:"error,omitempty"`
	Device   string            `json:"device,omitempty"`
	Verdicts map[string]string `json:"verdicts"`
}

func text(f verdict.Finding) string {
	if f.Code == "" {
		return string(f.Result)
	}
	return fmt.Sprintf("%s (%s)", f.Result, f.Code)
}

func judge(t testing.TB, name string, answer []byte) vector {
	v := vector{Name: name, Answer: answer, Verdicts: map[string]string{}}
	identity, err := matrix.Parse(answer, alice)
	if err != nil {
		v.Error = err.Error()
		if refused := (*xsign.Error)(nil); !errors.As(err, &refused) {
			t.Errorf("%s: error %v, which is no refusal", name, err)
		}
	} else {
		for _, id := range slices.Sorted(maps.Keys(identity.Devices)) {
			if d := identity.Devices[id]; d.Err != nil && id != "LAPTOP" {
				v.Device = d.Err.Error()
			}
		}
	}
	for how, pins := range pins {
		before := maps.Clone(pins)
		got, after, err := matrix.Verify(query(answer, pins), now)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(before, pins, func(a, b xsign.Pin) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("%s: Verify changed the pins", name)
		}
		pin, _ := after.Of(user)
		v.Verdicts[how] = fmt.Sprintf("user %s, device %s, pinned %s", text(got.User), text(got.Device), pin.How)
		if got.Handle.Result != "" {
			t.Errorf("%s: says %v about the handle", name, got.Handle)
		}
	}
	return v
}

// The vectors are what cases says, and the verdicts are those that the file has.
func TestVectors(t *testing.T) {
	var got []vector
	for _, c := range cases {
		w := newWorld()
		c.change(w)
		got = append(got, judge(t, c.name, []byte(w.answer())))
	}
	if *update {
		data, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/vectors.json", append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []vector
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(got) {
		t.Fatalf("%d vectors, want %d", len(want), len(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s:\n got %+v\nwant %+v", want[i].Name, got[i], want[i])
		}
	}
	good := "user good, device good, pinned hand"
	if all := slices.DeleteFunc(want, func(v vector) bool { return v.Verdicts["hand"] != good }); len(all) != 7 {
		t.Errorf("%d vectors are good, want 7: %v", len(all), all)
	}
}

// Answers and devices beyond the limits are refused.
func TestLimits(t *testing.T) {
	answer := newWorld().answer()
	if _, err := matrix.Parse([]byte(answer+strings.Repeat(" ", matrix.MaxAnswer)), alice); !errors.Is(err, xsign.CodeTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	for n, want := range map[int]error{matrix.MaxDevices: nil, matrix.MaxDevices + 1: xsign.CodeTooMany} {
		w := newWorld()
		w.after = func(a object) {
			devices := a["device_keys"].(object)[alice].(object)
			for i := len(devices); i < n; i++ {
				devices[fmt.Sprint(i)] = object{}
			}
		}
		if _, err := matrix.Parse([]byte(w.answer()), alice); !errors.Is(err, want) {
			t.Errorf("%d devices: %v, want %v", n, err, want)
		}
	}
	for _, user := range []string{"", "alice", "alice:example.com", "@alice", "@alice:", "@" + strings.Repeat("a", 250) + ":example.com"} {
		if _, err := matrix.Parse([]byte(answer), user); !errors.Is(err, xsign.CodeUser) {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

// A subject that does not fit has an error and no verdict; no answer is unknown about a pinned user.
func TestSubjects(t *testing.T) {
	answer := []byte(newWorld().answer())
	for name, change := range map[string]func(q *matrix.Query){
		"no user":               func(q *matrix.Query) { q.About = verdict.About{} },
		"no key":                func(q *matrix.Query) { q.About.JKT = "" },
		"device of another":     func(q *matrix.Query) { q.About.Device = id("im:other/072b@example.com") },
		"no Matrix device":      func(q *matrix.Query) { q.Device = "" },
		"no device of the user": func(q *matrix.Query) { q.About.Device = claims.ID{} },
	} {
		q := query(answer, pins["hand"])
		change(&q)
		if v, _, err := matrix.Verify(q, now); !errors.Is(err, xsign.ErrSubject) && !errors.Is(err, matrix.ErrMapping) || v.Method != "" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	v, _, err := matrix.Verify(query(nil, pins["hand"]), now)
	if err != nil || text(v.User) != "unknown (missing)" || text(v.Device) != "unknown (missing)" || !v.Pinned {
		t.Errorf("no answer: %+v, %v", v, err)
	}
	q := query(answer, pins["hand"])
	q.Device, q.About.Device, q.About.JKT = "", claims.ID{}, ""
	v, _, err = matrix.Verify(q, now)
	if err != nil || v.User.Result != verdict.Good || v.Device.Result != "" {
		t.Errorf("the user alone: %+v, %v", v, err)
	}
}

// A device that the homeserver adds to a known user is quarantined (rule F3), and so is the user with another master key (F4), although the
// hierarchy says yes.
func TestDecision(t *testing.T) {
	for rule, change := range map[string]func(w *world){
		"F3": func(w *world) { w.unsigned = "PHONE" },
		"F4": func(w *world) { w.masterKey = key(9); w.master = usage("master", key(9)) },
	} {
		w := newWorld()
		change(w)
		v, _, err := matrix.Verify(query([]byte(w.answer()), pins["hand"]), now)
		if err != nil {
			t.Fatal(err)
		}
		yes := verdict.Finding{Result: verdict.Good, Checked: now}
		hierarchy := verdict.Verdict{Method: verdict.Hierarchy, About: about, User: yes, Device: yes}
		d, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{hierarchy, v}, now)
		if err != nil || d.Outcome != verdict.Quarantined {
			t.Errorf("%s: %s, %v", rule, d.Outcome, err)
		}
		if !slices.ContainsFunc(d.Judgments, func(j verdict.Judgment) bool { return j.Rule == rule }) {
			t.Errorf("%s: %+v", rule, d.Judgments)
		}
	}
}

// plain returns the phone of an answer without the members that are not signed.
func plain(answer []byte) object {
	var all struct {
		Devices map[string]map[string]object `json:"device_keys"`
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if d.Decode(&all) != nil {
		return nil
	}
	phone := all.Devices[alice]["PHONE"]
	delete(phone, "signatures")
	delete(phone, "unsigned")
	return phone
}

// FuzzVerify: no answer makes a device of a user good, whose master key the verifier has compared, unless it says about the device what the
// user's own keys have signed; none changes that pin or says anything about the handle; and each refusal is an *xsign.Error.
func FuzzVerify(f *testing.F) {
	var signed []object
	for _, c := range cases {
		w := newWorld()
		c.change(w)
		answer := []byte(w.answer())
		if judge(f, c.name, answer).Verdicts["hand"] == "user good, device good, pinned hand" {
			signed = append(signed, plain(answer))
		}
		f.Add(answer)
	}
	want, _ := pins["hand"].Of(user)
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, err := matrix.Parse(answer, alice); err != nil {
			if refused := (*xsign.Error)(nil); !errors.As(err, &refused) {
				t.Fatalf("error %v, which is no refusal", err)
			}
		}
		v, after, err := matrix.Verify(query(answer, pins["hand"]), now)
		if err != nil {
			t.Fatal(err)
		}
		if v.Device.Result == verdict.Good {
			phone := plain(answer)
			if !slices.ContainsFunc(signed, func(o object) bool { return reflect.DeepEqual(o, phone) }) {
				t.Fatalf("good without a signature of the user: %v", phone)
			}
		} else if v.Device.Result != verdict.Bad && v.Device.Result != verdict.Unknown {
			t.Fatalf("the device is %+v", v.Device)
		}
		if pin, _ := after.Of(user); v.Handle.Result != "" || !reflect.DeepEqual(pin, want) {
			t.Fatalf("the handle is %+v, the pin %+v", v.Handle, pin)
		}
	})
}
