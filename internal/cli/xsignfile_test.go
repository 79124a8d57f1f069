package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

// newTestSigner writes a key file.
func newTestSigner(t testing.TB, path, algorithm string) *crossSigner {
	t.Helper()
	id, err := readIdentity("im:7kHb3h043lahTHszoAokdg@example.com;id-type=user", "", "")
	if err != nil {
		t.Fatal(err)
	}
	c := &crossSigner{path: path, user: id.User, file: keyFileV1{Version: 1, User: id.User.String(), Own: []string{}}}
	if c.keys, err = newKeys(algorithm); err != nil {
		t.Fatal(err)
	}
	now := signingTime()
	if err := c.signKeys(now, xsign.MaxLife, 1, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.signDevices(now, xsign.MaxListLife, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.save([]byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKeyFile changes a key file from outside: each change is refused when it is read, or before anything is signed.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "xsign.json")
	c := newTestSigner(t, path, jose.ES256)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(newTestSigner(t, filepath.Join(dir, "other.json"), jose.EdDSA).path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from []byte, change func(*keyFileV1)) []byte {
		var f keyFileV1
		if err := json.Unmarshal(from, &f); err != nil {
			t.Fatal(err)
		}
		change(&f)
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var stranger keyFileV1
	if err := json.Unmarshal(other, &stranger); err != nil {
		t.Fatal(err)
	}
	devices := xsign.Devices{User: c.user, IssuedAt: signingTime(), Expires: signingTime().Add(xsign.MaxListLife), Seq: 2}
	newer, err := devices.Sign(c.keys.deviceSigning)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text       []byte
		read, open string // the errors; empty for none
	}{
		"as it is":            {whole, "", ""},
		"empty":               {nil, "EOF", ""},
		"cut":                 {whole[:len(whole)/2], "unexpected EOF", ""},
		"twice":               {append(bytes.Clone(whole), whole...), "more after", ""},
		"unknown member":      {bytes.Replace(whole, []byte(`"user"`), []byte(`"usr"`), 1), "unknown field", ""},
		"version 2":           {change(whole, func(f *keyFileV1) { f.Version = 2 }), "version 2", ""},
		"no user":             {change(whole, func(f *keyFileV1) { f.User = "" }), "names no user", ""},
		"another user":        {change(whole, func(f *keyFileV1) { f.User = "im:x@example.com;id-type=user" }), "another user", ""},
		"keys of another":     {change(whole, func(f *keyFileV1) { f.Bundle.Keys = stranger.Bundle.Keys }), "kid", ""},
		"no device list":      {change(whole, func(f *keyFileV1) { f.Devices = "" }), "no device list", ""},
		"vouch by nobody":     {change(whole, func(f *keyFileV1) { f.Own = []string{"e30.e30.AA"} }), "im-vouch+jwt", ""},
		"too much memory":     {change(whole, func(f *keyFileV1) { f.Sealed.MemoryKiB = 1 << 31 }), "memory_kib", ""},
		"a later list":        {change(whole, func(f *keyFileV1) { f.Devices = newer }), "", "changed by something else"},
		"box of another file": {change(whole, func(f *keyFileV1) { f.Sealed = stranger.Sealed }), "", "changed by something else"},
		"statements of another": {change(whole, func(f *keyFileV1) {
			f.Bundle = stranger.Bundle
		}), "", "changed by something else"},
		"another salt": {change(whole, func(f *keyFileV1) { f.Sealed.Salt[0]++ }), "", "passphrase is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseCrossSigner(path, test.text)
			if !matches(err, test.read) {
				t.Fatalf("read = %v, want %q", err, test.read)
			}
			if test.read != "" {
				return
			}
			if err := got.unlock([]byte("correct horse")); !matches(err, test.open) || got.keys != nil != (test.open == "") {
				t.Errorf("unlock = %v, want %q", err, test.open)
			}
		})
	}
}

func matches(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}

// FuzzKeyFile: a key file that is read has statements of its user alone, verified by the keys that it states, and parameters within their
// bounds; written again it is the same.
func FuzzKeyFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "xsign.json")
	newTestSigner(f, path, jose.EdDSA)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCrossSigner("x", text)
		if err != nil {
			return
		}
		if c.file.Sealed.Check() != nil || c.contents.Devices == nil || c.user.IsZero() {
			t.Errorf("accepted without keys, devices or user: %s", text)
		}
		again, err := c.text()
		if err != nil {
			t.Fatalf("written again, it is refused: %v", err)
		}
		d, err := parseCrossSigner("x", []byte(again))
		if err != nil || d.user != c.user || d.master() != c.master() || len(d.file.Own) != len(c.file.Own) {
			t.Errorf("written again, it is another file: %v", err)
		}
	})
}

// FuzzPins: every pin of a file that is read is found by the URI of its user, and the file that is written is read as the same pins.
func FuzzPins(f *testing.F) {
	f.Add([]byte(`{"version":1,"pins":{"mimi://example.com/u/7kHb3h043lahTHszoAokdg":` +
		`{"master":"LLer-5wSP-KGGT6liV4uifcfy-YjHyYem4bs9_GcKa0","how":"hand","at":"2026-11-28T13:48:11Z","keys":{"seq":1,"hash":"x"}}}}`))
	f.Add([]byte(`{"version":1,"pins":{"im:7kHb3h043lahTHszoAokdg@example.com;id-type=user":{}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		pins, err := parsePins(text)
		if err != nil {
			return
		}
		for user, pin := range pins {
			id, err := readIdentity(user, "", "")
			if err != nil {
				t.Fatalf("%q: %v", user, err)
			}
			if got, ok := pins.Of(id.User); !ok || got.Master != pin.Master || got.How != pin.How {
				t.Errorf("%q is not found", user)
			}
		}
		path := filepath.Join(t.TempDir(), "pins.json")
		if err := writePins(path, pins); err != nil {
			t.Fatal(err)
		}
		again, err := readPins(path)
		if err != nil || len(again) != len(pins) {
			t.Errorf("written and read: %d pins, %v, want %d", len(again), err, len(pins))
		}
	})
}
