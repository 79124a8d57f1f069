package jose_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

func TestObject(t *testing.T) {
	type member struct{ name, value string }
	for _, tt := range []struct {
		name, text string
		want       []member // nil: refused
	}{
		{"empty", `{}`, []member{}},
		{"all kinds", `{"s":"a","n":-1.5e+3,"z":0,"t":true,"f":false,"0":null,"a":[1,[]],"o":{"s":{}}}`, []member{
			{"s", `"a"`}, {"n", `-1.5e+3`}, {"z", `0`}, {"t", `true`}, {"f", `false`}, {"0", `null`}, {"a", `[1,[]]`},
			{"o", `{"s":{}}`}}},
		{"white space", " {\t\"a\" :\r\n1 , \"b\": [ 1 , 2 ] } \n", []member{{"a", "1"}, {"b", "[ 1 , 2 ]"}}},
		{"escaped name", `{"\u0061lg":"\ud83d\ude00"}`, []member{{"alg", `"\ud83d\ude00"`}}},
		{"same name in two objects", `{"a":{"a":1},"b":{"a":1}}`, []member{{"a", `{"a":1}`}, {"b", `{"a":1}`}}},
		{"nothing", ``, nil},
		{"array", `[]`, nil},
		{"twice", `{"a":1,"b":2,"a":1}`, nil},
		{"twice, escaped", `{"a":1,"\u0061":1}`, nil},
		{"twice, below", `{"a":[{"b":1,"b":1}]}`, nil},
		{"twice, after many", `{` + members(40) + `,"m3":1}`, nil},
		{"twice, among many", `{` + members(40) + `,"m39":1}`, nil},
		{"trailing comma", `{"a":1,}`, nil},
		{"trailing value", `{} {}`, nil},
		{"trailing byte", `{}x`, nil},
		{"byte order mark", "\ufeff{}", nil},
		{"no value", `{"a"}`, nil},
		{"no name", `{:1}`, nil},
		{"bare name", `{a:1}`, nil},
		{"single quotes", `{'a':1}`, nil},
		{"unclosed", `{"a":1`, nil},
		{"unclosed string", `{"a":"b}`, nil},
		{"comment", `{"a":1/**/}`, nil},
		{"leading zero", `{"a":01}`, nil},
		{"plus sign", `{"a":+1}`, nil},
		{"bare fraction", `{"a":.5}`, nil},
		{"bare point", `{"a":1.}`, nil},
		{"bare exponent", `{"a":1e}`, nil},
		{"not a number", `{"a":NaN}`, nil},
		{"word", `{"a":nul}`, nil},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", nil},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", nil},
		{"half a pair", `{"a":"\ud83d"}`, nil},
		{"pair in disorder", `{"a":"\ude00\ud83d"}`, nil},
		{"half a pair and an escape", `{"a":"\ud83d\u0041"}`, nil},
		{"control character", "{\"a\":\"\x1f\"}", nil},
		{"control character after escape", "{\"a\":\"\\n\n\"}", nil},
		{"unknown escape", `{"a":"\x41"}`, nil},
		{"short escape", `{"a":"\u41"}`, nil},
		{"signed escape", `{"a":"\u+041"}`, nil},
		{"escape at the end", `{"a":"\`, nil},
		{"deep", `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, nil},
		{"deep objects", strings.Repeat(`{"a":`, 33) + `1` + strings.Repeat("}", 33), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := []member{}
			err := jose.Object([]byte(tt.text), func(name string, value []byte) error {
				got = append(got, member{name, string(value)})
				return nil
			})
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("Object = %v, want accepted: %v", err, tt.want != nil)
			}
			if err == nil && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Object told %q, want %q", got, tt.want)
			}
		})
	}
}

func TestArrayText(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`: {}, ` [ ] `: {}, `["a"]`: {`"a"`}, " [ 1 ,\t{\"a\": [2]}, null,[[]] ]\n": {`1`, `{"a": [2]}`, `null`, `[[]]`},
		`["\u002e"]`: {`"\u002e"`}, strings.Repeat("[", 32) + strings.Repeat("]", 32): {strings.Repeat("[", 31) + strings.Repeat("]", 31)},
	} {
		got := []string{}
		err := jose.ArrayText(text, func(value string) error { got = append(got, value); return nil })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ArrayText(%q) = %v and told %q, want %q", text, err, got, want)
		}
	}
	for _, text := range []string{
		``, `1`, `{}`, `"[]"`, `[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `[] []`, `[]x`, `[01]`, "[\"\xff\"]", `["\ud800"]`, `[{"a":1,"a":2}]`,
		strings.Repeat("[", 33) + strings.Repeat("]", 33), strings.Repeat("[", 31) + `{"a":{}}` + strings.Repeat("]", 31),
	} {
		if err := jose.ArrayText(text, func(string) error { return nil }); err == nil {
			t.Errorf("ArrayText(%q) = nil, want an error", text)
		}
	}
	stop := errors.New("stop")
	if err := jose.ArrayText(`[1,x`, func(string) error { return stop }); err != stop {
		t.Errorf("ArrayText = %v, want the error of fn", err)
	}
}

// members returns n members m0 to m(n-1).
func members(n int) string {
	var list []string
	for i := range n {
		list = append(list, `"m`+strconv.Itoa(i)+`":0`)
	}
	return strings.Join(list, ",")
}

func TestCheckCase(t *testing.T) {
	known := []string{"alg", "jwk"}
	for name, refused := range map[string]bool{
		"Alg": true, "JWK": true, "jw\u212a": true, "alg": false, "algo": false, "al": false, "": false,
	} {
		if err := jose.CheckCase(name, known); (err != nil) != refused {
			t.Errorf("CheckCase(%q) = %v, want refused: %v", name, err, refused)
		}
	}
}

func TestString(t *testing.T) {
	for raw, want := range map[string]string{
		`"a"`: "a", `""`: "", `"\"\\\/\b\f\n\r\t\u00e9é"`: "\"\\/\b\f\n\r\téé", `"\ud83d\ude00x"`: "\U0001f600x",
	} {
		if got, err := jose.String([]byte(raw)); got != want || err != nil {
			t.Errorf("String(%s) = %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{``, `a`, `1`, `null`, `"a`, `"a"b`, `["a"]`, "\"\xff\""} {
		if got, err := jose.String([]byte(raw)); err == nil {
			t.Errorf("String(%s) = %q, want an error", raw, got)
		}
	}
}

func TestStrings(t *testing.T) {
	for raw, want := range map[string][]string{`[]`: {}, `["a"]`: {"a"}, `[ "a" , "b" ]`: {"a", "b"}} {
		if got, err := jose.Strings([]byte(raw)); !slices.Equal(got, want) || got == nil || err != nil {
			t.Errorf("Strings(%s) = %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{``, `"a"`, `[1]`, `["a",]`, `["a"`, `["a"]]`, `null`, `[["a"]]`} {
		if got, err := jose.Strings([]byte(raw)); err == nil {
			t.Errorf("Strings(%s) = %q, want an error", raw, got)
		}
	}
}

func TestNumericDate(t *testing.T) {
	for raw, want := range map[string]int64{
		"0": 0, "1562262616": 1562262616, "1.6534558e9": 1653455800, "1562262616.9": 1562262616, "253402300799": 253402300799,
	} {
		got, err := jose.NumericDate([]byte(raw))
		if !got.Equal(time.Unix(want, 0)) || got.Location() != time.UTC || err != nil {
			t.Errorf("NumericDate(%s) = %v, %v, want %v", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"", "-1", "-0", "01", "1e", "1e400", "253402300800", "1562262616000", "99999999999999999999", `"1562262616"`, "null",
		"1 ", "0x1", "1_0", "Inf",
	} {
		if got, err := jose.NumericDate([]byte(raw)); err == nil {
			t.Errorf("NumericDate(%s) = %v, want an error", raw, got)
		}
	}
}

// What Object accepts is JSON to everybody: encoding/json reads the same names and values from it. What
// encoding/json does not read, Object refuses.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"b":[true,null,{"c":"\u0061\ud83d\ude00"}],"d":-0.5e-7}`, ` { "a" : "\"" } `, `{"a":1,"a":2}`,
		"{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string]json.RawMessage{}
		err := jose.Object(data, func(name string, value []byte) error {
			got[name] = value
			return nil
		})
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("Object = nil, encoding/json says %v", err)
		}
		if len(got) != len(want) {
			t.Fatalf("Object told %d members, encoding/json %d", len(got), len(want))
		}
		for name, value := range want {
			if string(got[name]) != string(value) {
				t.Errorf("member %q = %s, want %s", name, got[name], value)
			}
			var text string
			if value[0] == '"' && json.Unmarshal(value, &text) == nil {
				if s, err := jose.String(value); s != text || err != nil {
					t.Errorf("String(%s) = %q, %v, want %q", value, s, err, text)
				}
			}
		}
	})
}
