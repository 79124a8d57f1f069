package sdjwt_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
)

func decodeBase64(t testing.TB, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzParse: a text that is accepted is written again from its decoded parts with the same bytes; each of its disclosures is there once;
// and its claims are those that a plain reading of RFC 9901 §7.1 with encoding/json gives.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).Vectors {
		f.Add(v.Text)
	}
	f.Fuzz(checkParse)
}

// FuzzClaims: the same, for texts that the fuzzer writes before they are encoded: a payload, and disclosures in lines. In them, @1 to @9
// stand for the digests of the disclosures that follow.
func FuzzClaims(f *testing.F) {
	f.Add(`{"a":1,"_sd":["@1","@2"]}`, `["s","b",{"_sd":["@3"],"c":[{"...":"@4"}]}]`+"\n"+`["s","d",2]`+"\n"+`["s","e",null]`+"\n"+`["s",[1]]`)
	f.Add(`{"a":[1,{"...":"@1"},{"...":"@2"}],"_sd_alg":"sha-256"}`, `["s",{"x":[{"...":"@2"}]}]`+"\n"+`["s","\u005fsd"]`)
	f.Add(`{"_sd":["@1"],"a":{"_sd":["@1"]}}`, `["s","a",1]`)
	f.Add(`{"a":{"\u005fsd":["@1"]},"b":[[{"\u002e..":"@2"}]]}`, `["s","...",1]`+"\n"+`["s","b"]`)
	f.Fuzz(func(t *testing.T, payload, lines string) {
		list := strings.Split(lines, "\n")
		if len(list) > 9 {
			return
		}
		for i := len(list) - 1; i >= 0; i-- {
			encoded := disclosure(list[i])
			name, sum := "@"+string(rune('1'+i)), digest(encoded)
			for j := range i {
				list[j] = strings.ReplaceAll(list[j], name, sum)
			}
			payload = strings.ReplaceAll(payload, name, sum)
			list[i] = encoded
		}
		checkParse(t, disclosure(`{"alg":"ES256"}`)+"."+disclosure(payload)+".AAAA~"+strings.Join(list, "~")+"~")
	})
}

// checkParse checks the property of [FuzzParse].
func checkParse(t *testing.T, text string) {
	token, err := sdjwt.Parse(text)
	if err != nil {
		if refused := (*credential.Error)(nil); !errors.As(err, &refused) {
			t.Fatalf("Parse = %v, which is no refusal", err)
		}
		return
	}
	if token.String() != text {
		t.Fatalf("String = %q", token.String())
	}
	for part := range strings.SplitSeq(text, "~") {
		for segment := range strings.SplitSeq(part, ".") {
			if again := base64.RawURLEncoding.EncodeToString(decodeBase64(t, segment)); again != segment {
				t.Fatalf("%q is written again as %q", segment, again)
			}
		}
	}
	reader := plainReader{disclosures: map[string][]any{}}
	for _, d := range token.Disclosures() {
		var array []any
		if err := json.Unmarshal(decodeBase64(t, d.Text), &array); err != nil {
			t.Fatal(err)
		}
		reader.disclosures[digest(d.Text)] = array
	}
	if len(reader.disclosures) != len(token.Disclosures()) {
		t.Fatal("a disclosure is there twice")
	}
	var payload, got any
	if err := errors.Join(json.Unmarshal(token.Payload(), &payload), json.Unmarshal(token.Claims(), &got)); err != nil {
		t.Fatal(err)
	}
	if want := reader.read(payload); !reflect.DeepEqual(got, want) {
		t.Fatalf("Claims = %v, want %v", got, want)
	}
	for digest := range reader.disclosures {
		if n := count(reader.digests, digest); n != 1 {
			t.Fatalf("the digest of a disclosure is there %d times", n)
		}
	}
	if slices.Sort(reader.digests); len(slices.Compact(reader.digests)) != len(reader.digests) {
		t.Fatal("a digest is there twice")
	}
}

func count(list []string, one string) (n int) {
	for _, s := range list {
		if s == one {
			n++
		}
	}
	return n
}

// A plainReader processes claims as RFC 9901 §7.1 says it, and checks nothing.
type plainReader struct {
	disclosures map[string][]any
	digests     []string
}

func (r *plainReader) read(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range value {
			if name != "_sd" && name != "_sd_alg" {
				out[name] = r.read(member)
			}
		}
		list, _ := value["_sd"].([]any)
		for _, digest := range list {
			r.digests = append(r.digests, digest.(string))
			if d := r.disclosures[digest.(string)]; d != nil {
				out[d[1].(string)] = r.read(d[2])
			}
		}
		return out
	case []any:
		out := []any{}
		for _, element := range value {
			object, _ := element.(map[string]any)
			digest, hidden := object["..."].(string)
			if !hidden {
				out = append(out, r.read(element))
				continue
			}
			r.digests = append(r.digests, digest)
			if d := r.disclosures[digest]; d != nil {
				out = append(out, r.read(d[1]))
			}
		}
		return out
	}
	return value
}

// FuzzPresent: a presentation has the disclosures of the claims that were asked for, and of no other; what it says otherwise is what the
// credential says. The payload and a disclosure are the fuzzer's, signed by an issuer.
func FuzzPresent(f *testing.F) {
	f.Add(`{"name":"Alice"}`, `["c2FsdA","handle","im:%40alice@example.com"]`, `["c2FsdA","team",["a"]]`, true, false)
	f.Add(`{}`, `["c2FsdA","a",{"b":[1]}]`, `["c2FsdA",{"c":2}]`, false, true)
	f.Add(`{"a":1}`, `["x","b",null]`, `["y","c","`+strings.Repeat("z", 100)+`"]`, true, true)
	f.Fuzz(func(t *testing.T, clear, first, second string, askFirst, askSecond bool) {
		cnf := `"cnf":{"jwk":` + phone.jwk() + `}`
		a, b := disclosure(first), disclosure(second)
		payload := strings.TrimSuffix(strings.TrimSpace(clear), "}")
		if strings.TrimSpace(payload) != "{" {
			payload += ","
		}
		// The second disclosure is a member or an element.
		payload += cnf + `,"_sd":["` + digest(a) + `"],"o":{"_sd":["` + digest(b) + `"]}}`
		token, err := sdjwt.Parse(issuers[home].jws(`{"alg":"ES256"}`, payload) + "~" + a + "~" + b + "~")
		if err != nil {
			payload = strings.Replace(payload, `"o":{"_sd":["`+digest(b)+`"]}`, `"o":[{"...":"`+digest(b)+`"}]`, 1)
			if token, err = sdjwt.Parse(issuers[home].jws(`{"alg":"ES256"}`, payload) + "~" + a + "~" + b + "~"); err != nil {
				return
			}
		}
		all := token.Disclosures()
		var ask []string
		for i, wanted := range []bool{askFirst, askSecond} {
			if wanted {
				ask = append(ask, all[i].Claim)
			}
		}
		text, err := token.Present(phone.key, sdjwt.Binding{Audience: room, Nonce: nonce}, now, ask...)
		if err != nil {
			t.Fatalf("Present = %v", err)
		}
		shown, err := sdjwt.Parse(text)
		if err != nil {
			t.Fatalf("Parse of the presentation = %v", err)
		}
		for _, d := range all {
			asked := slices.Contains(ask, d.Claim)
			there := slices.ContainsFunc(shown.Disclosures(), func(s sdjwt.Disclosure) bool { return s.Text == d.Text })
			if asked != there || strings.Contains(text, "~"+d.Text+"~") != there {
				t.Fatalf("%s was asked for: %v, and disclosed: %v", d.Claim, asked, there)
			}
		}
		if err := shown.VerifyBinding(phone.key.Public(), sdjwt.Binding{Audience: room, Nonce: nonce}, now); err != nil {
			t.Fatalf("VerifyBinding = %v", err)
		}
	})
}

// FuzzVerify: no text but the presentation itself is accepted. The holder has an Ed25519 key; of an ECDSA signature over the same content
// there are always two, so that a presentation with such a key has a second spelling.
func FuzzVerify(f *testing.F) {
	text := present(f, issue(f, vc()), phone, "handle")
	for i, r := range text {
		if r == '~' || r == '.' {
			f.Add(uint16(i), uint16(1), "")
			f.Add(uint16(i), uint16(0), "~")
			f.Add(uint16(i+1), uint16(0), "A")
		}
	}
	f.Add(uint16(0), uint16(len(text)), "")
	f.Fuzz(func(t *testing.T, at, drop uint16, insert string) {
		from := min(int(at), len(text))
		to := min(from+int(drop), len(text))
		changed := text[:from] + insert + text[to:]
		c, err := sdjwt.Verify(t.Context(), changed, options())
		if (err == nil) != (changed == text) {
			t.Fatalf("Verify(%q) = %+v, %v", changed, c, err)
		}
		if err != nil && c.ID != "" {
			t.Fatalf("Verify returned %+v with %v", c, err)
		}
	})
}
