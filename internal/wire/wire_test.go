package wire_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/wire"
)

// Only a provisioner in the one spelling that challenges are compared with is taken.
func TestParseProvisioner(t *testing.T) {
	for text, good := range map[string]bool{
		"https://ca.example.com/acme/wire": true, "https://ca.example.com:9000/acme/wire": true, "https://[::1]:9000/acme/wire": true,
		"http://127.0.0.1:9000/acme/wire": true, "https://ca.example.com/acme/wire/": false, "https://ca.example.com": false,
		"https://ca.example.com/": false, "https://CA.example.com/acme/wire": false, "https://ca.example.com:443/acme/wire": false,
		"https://ca.example.com/acme/wire?x": false, "https://ca.example.com/acme/wire#": false, "https://u@ca.example.com/acme/wire": false,
		"https://ca.example.com/acme/../wire": false, "https://ca.example.com/acme%2fwire": false, "https://ca.example.com//wire": false,
		"HTTPS://ca.example.com/acme/wire": false, "ftp://ca.example.com/acme": false, "/acme/wire": false, "": false,
		"https:///acme/wire": false, "https://ca.example.com/acme/w ire": false,
	} {
		p, err := wire.ParseProvisioner(text)
		if (err == nil) != good || good && p.String() != text {
			t.Errorf("ParseProvisioner(%q) = %v, %v, want accepted %t", text, p, err, good)
		}
	}
}

// FuzzChallenge: a URL that is taken for a challenge of a provisioner is one as another parser reads it: same scheme and host, two segments
// below PROVISIONER/challenge, and nothing else.
func FuzzChallenge(f *testing.F) {
	for _, text := range []string{
		"https://ca.example.com/acme/wire/challenge/a/b", "https://ca.example.com@evil.example/acme/wire/challenge/a/b",
		"https://ca.example.com/acme/wire/challenge/../b", "https://ca.example.com/acme/wire/challenge/a/b?x#y",
		"https://ca.example.com/acme/wire/challenge/a%2Fb/c", "https://ca.example.com\\@evil.example/acme/wire/challenge/a/b",
	} {
		f.Add(text)
	}
	p, err := wire.ParseProvisioner("https://ca.example.com/acme/wire")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !p.Has(text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host != "ca.example.com" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
			t.Fatalf("Has(%q), which is %+v (%v)", text, u, err)
		}
		clean := u.JoinPath() // without dots
		parts := strings.Split(clean.Path, "/")
		if clean.Path != u.Path || len(parts) != 6 || strings.Join(parts[:4], "/") != "/acme/wire/challenge" || parts[4] == "" || parts[5] == "" {
			t.Errorf("Has(%q), whose path is %q", text, clean.Path)
		}
	})
}

// FuzzParseRequest: an accepted body has one member, the proof, as another reader of JSON sees it.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"proof":"a.b.c"}`))
	f.Add([]byte(`{"proof":"a","proof":"b"}`))
	f.Add([]byte(`{"Proof":"a"}`))
	f.Add([]byte(`{"proof":"a","x":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		proof, err := wire.ParseRequest(body)
		if err != nil {
			var refused *wire.Error
			if !errors.As(err, &refused) || refused.Code != wire.InvalidRequest || strings.ContainsAny(refused.Description, "\"\\\n") {
				t.Fatalf("ParseRequest = %v, want an Error", err)
			}
			return
		}
		var other map[string]string
		if err := json.Unmarshal(body, &other); err != nil || len(other) != 1 || other["proof"] != proof || proof == "" {
			t.Errorf("ParseRequest(%q) = %q, another reader has %v (%v)", body, proof, other, err)
		}
	})
}
