package sdjwt_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
)

// An example is what a section of RFC 9901 shows. Those without a signature are signed here.
type example struct {
	Section     string
	Key         json.RawMessage // of the issuer (appendix A.5)
	Payload     map[string]any  // with digests
	Disclosures []struct {
		Claim, Digest, Disclosure string
		Contents                  []any
	}
	Decoys       []string
	Spellings    []string       // other disclosures of the same claim
	Claims       map[string]any // that the issuer starts with
	Issued       string
	Presentation string
	Binding      map[string]any // the payload of the key binding
	Processed    map[string]any // what the verifier gets
}

// The nonce, audience and time of each presentation with key binding in the RFC.
var rfcBinding = sdjwt.Binding{Audience: "https://verifier.example.org", Nonce: "1234567890"}

const rfcTime = 1748537244

func readExample(t *testing.T, file string) *example {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	e := new(example)
	if err := d.Decode(e); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return e
}

// Every example of RFC 9901 in compact serialization: the digests, the issued SD-JWTs, the presentations, their key bindings and claims.
func TestRFC9901(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc9901/*.json")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d examples, want 13: %v", len(files), err)
	}
	for _, file := range files {
		e := readExample(t, file)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			if e.Payload != nil {
				e.testIssued(t)
			}
			if e.Presentation != "" {
				e.testPresentation(t)
			}
			for _, spelling := range e.Spellings {
				token := e.sign(t, map[string]any{"_sd": []string{digest(spelling)}}, spelling)
				if d := token.Disclosures()[0]; d.Name != "family_name" || decode(t, d.Value) != "Möbius" {
					t.Errorf("%s is read as %+v", spelling, d)
				}
			}
		})
	}
}

// sign makes an SD-JWT of an example that shows none.
func (e *example) sign(t *testing.T, payload map[string]any, disclosures ...string) *sdjwt.Token {
	t.Helper()
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, strings.Join(append([]string{issuers[home].jws(`{"alg":"ES256"}`, string(text))}, append(disclosures, "")...), "~"))
}

func (e *example) testIssued(t *testing.T) {
	var disclosures []string
	for _, d := range e.Disclosures {
		disclosures = append(disclosures, d.Disclosure)
	}
	var token *sdjwt.Token
	switch {
	case e.Issued != "":
		token = parse(t, e.Issued)
		e.verify(t, token)
	case e.Presentation != "":
		signed, _, _ := strings.Cut(e.Presentation, "~")
		token = parse(t, strings.Join(append([]string{signed}, append(disclosures, "")...), "~"))
		e.verify(t, token)
	default:
		token = e.sign(t, e.Payload, disclosures...)
	}
	if got := decode(t, token.Payload()); !reflect.DeepEqual(got, any(e.Payload)) {
		t.Errorf("Payload = %v, want %v", got, e.Payload)
	}
	for i, d := range token.Disclosures() {
		want := e.Disclosures[i]
		if d.Text != want.Disclosure || d.Digest != want.Digest || d.Name != want.Claim ||
			!reflect.DeepEqual(decode(t, d.Value), want.Contents[len(want.Contents)-1]) || (d.Name == "") != (len(want.Contents) == 2) {
			t.Errorf("disclosure %d is %+v, want %+v", i+1, d, want)
		}
		for _, decoy := range e.Decoys {
			if d.Digest == decoy || !strings.Contains(string(token.Payload()), decoy) {
				t.Errorf("%s is no decoy", decoy)
			}
		}
	}
	if len(token.Disclosures()) != len(e.Disclosures) {
		t.Errorf("%d disclosures, want %d", len(token.Disclosures()), len(e.Disclosures))
	}
	// With all disclosures the claims are those that the issuer started with, and the clear ones that it added.
	want := map[string]any{}
	for name, value := range e.Payload {
		want[name] = value
	}
	for name, value := range e.Claims {
		want[name] = value
	}
	delete(want, "_sd")
	delete(want, "_sd_alg")
	if got := decode(t, token.Claims()); !reflect.DeepEqual(got, any(want)) {
		t.Errorf("Claims = %v, want %v", got, want)
	}
}

func (e *example) testPresentation(t *testing.T) {
	token := parse(t, e.Presentation)
	e.verify(t, token)
	if got := decode(t, token.Claims()); !reflect.DeepEqual(got, any(e.Processed)) {
		t.Errorf("Claims = %v, want %v", got, e.Processed)
	}
	if token.String() != e.Presentation {
		t.Error("String differs from the presentation")
	}
	if strings.HasSuffix(e.Presentation, "~") {
		if token.KeyBinding != nil {
			t.Error("there is a key binding")
		}
		return
	}
	kb := token.KeyBinding
	if e.Binding != nil && (kb.Audience != e.Binding["aud"] || kb.Nonce != e.Binding["nonce"] || kb.Hash != e.Binding["sd_hash"] ||
		float64(kb.IssuedAt.Unix()) != e.Binding["iat"]) {
		t.Errorf("the key binding is %+v, want %v", kb, e.Binding)
	}
	var cnf struct{ Cnf struct{ JWK json.RawMessage } }
	if err := json.Unmarshal(token.Claims(), &cnf); err != nil {
		t.Fatal(err)
	}
	holder, err := jose.ParseJWK(cnf.Cnf.JWK)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(rfcTime, 0)
	if err := token.VerifyBinding(holder.Public, rfcBinding, at); err != nil {
		t.Errorf("VerifyBinding = %v", err)
	}
	for code, try := range map[credential.Code]func() error{
		credential.CodeKey:       func() error { return token.VerifyBinding(laptop.key.Public(), rfcBinding, at) },
		credential.CodeAlgorithm: func() error { return token.VerifyBinding(phone.key.Public(), rfcBinding, at) },
		credential.CodeAge: func() error {
			return token.VerifyBinding(holder.Public, rfcBinding, at.Add(credential.DefaultMaxAge+time.Second))
		},
		credential.CodeNonce: func() error {
			return token.VerifyBinding(holder.Public, sdjwt.Binding{Audience: rfcBinding.Audience, Nonce: "1234567891"}, at)
		},
		credential.CodeAudience: func() error {
			return token.VerifyBinding(holder.Public, sdjwt.Binding{Audience: "https://verifier.example.com", Nonce: rfcBinding.Nonce}, at)
		},
	} {
		wantRefused(t, try(), "key binding", code)
	}
	// One disclosure less is another text.
	_, rest, _ := strings.Cut(e.Presentation, "~")
	first, _, _ := strings.Cut(rest, "~")
	if shorter, err := sdjwt.Parse(strings.Replace(e.Presentation, first+"~", "", 1)); err == nil {
		wantRefused(t, shorter.VerifyBinding(holder.Public, rfcBinding, at), "key binding", credential.CodeHash)
	} else {
		wantRefused(t, err, "disclosure 1", credential.CodeDisclosure) // one that was inside it
	}
}

// verify verifies the signature with the key of appendix A.5, and with another one.
func (e *example) verify(t *testing.T, token *sdjwt.Token) {
	t.Helper()
	key, err := jose.ParseJWK(e.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.VerifySignature(jose.ES256, key.Public); err != nil {
		t.Errorf("VerifySignature = %v", err)
	}
	wantRefused(t, token.VerifySignature(jose.ES256, laptop.key.Public()), "", credential.CodeSignature)
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
