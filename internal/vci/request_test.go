package vci_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/vci"
)

// isDevice is the choice of an issuer with one configuration.
func isDevice(id string) bool { return id == vci.ConfigurationDevice }

const oneProof = `{"credential_configuration_id":"im-device","proofs":{"jwt":["a.b.c"]}}`

func TestParseRequest(t *testing.T) {
	for body, want := range map[string]vci.Request{
		oneProof: {Configuration: "im-device", Proofs: []string{"a.b.c"}},
		` { "proofs" : { "jwt" : [ "1" , "2", "3","4","5" ] } , "credential_configuration_id" : "im-device" } `: {
			Configuration: "im-device", Proofs: []string{"1", "2", "3", "4", "5"},
		},
		// Unknown members are ignored: §8.2.
		`{"credential_configuration_id":"im-device","format":"vc+sd-jwt","proof":{"jwt":"x"},"x":[{}],"proofs":{"jwt":["a"]}}`: {
			Configuration: "im-device", Proofs: []string{"a"},
		},
		`{"credential_configuration_id":"im-device","proofs":{"jwt":["a"]}}`: {Configuration: "im-device", Proofs: []string{"a"}},
	} {
		got, err := vci.ParseRequest([]byte(body), isDevice)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseRequest(%s) = %+v, %v, want %+v", body, got, err, want)
		}
	}
}

func TestParseRequestRefused(t *testing.T) {
	replace := func(old, now string) string {
		if !strings.Contains(oneProof, old) {
			t.Fatalf("there is no %s", old)
		}
		return strings.Replace(oneProof, old, now, 1)
	}
	many := `"` + strings.Repeat(`a","`, vci.BatchSize) + `a"`
	for _, tt := range []struct{ name, body, code string }{
		{"empty", ``, vci.InvalidRequest},
		{"no JSON", `x`, vci.InvalidRequest},
		{"an array", `[` + oneProof + `]`, vci.InvalidRequest},
		{"two objects", oneProof + oneProof, vci.InvalidRequest},
		{"cut off", oneProof[:len(oneProof)-1], vci.InvalidRequest},
		{"not UTF-8", replace("im-device", "im-\xff"), vci.InvalidRequest},
		{"a form", `credential_configuration_id=im-device`, vci.InvalidRequest},
		{"repeated member", replace(`"proofs"`, `"proofs":{"jwt":["x"]},"proofs"`), vci.InvalidRequest},
		{"repeated unknown member", replace(`{"c`, `{"x":1,"x":2,"c`), vci.InvalidRequest},
		{"repeated member inside", replace(`{"jwt"`, `{"jwt":["x"],"jwt"`), vci.InvalidRequest},
		{"repeated and escaped", replace(`"proofs"`, `"pro\u006ffs":{"jwt":["x"]},"proofs"`), vci.InvalidRequest},
		{"other case", replace(`"proofs"`, `"Proofs"`), vci.InvalidRequest},
		{"other case beside", replace(`"proofs"`, `"Proofs":1,"proofs"`), vci.InvalidRequest},
		{"other case of encryption", replace(`"proofs"`, `"Credential_Response_Encryption":{},"proofs"`), vci.InvalidRequest},
		{"too deep", replace(`"proofs"`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"proofs"`), vci.InvalidRequest},
		{"no configuration", `{"proofs":{"jwt":["a"]}}`, vci.InvalidRequest},
		{"empty configuration", replace("im-device", ""), vci.InvalidRequest},
		{"configuration not text", replace(`"im-device"`, `1`), vci.InvalidRequest},
		{"configuration null", replace(`"im-device"`, `null`), vci.InvalidRequest},
		{"configuration and identifier", replace(`"proofs"`, `"credential_identifier":"x","proofs"`), vci.InvalidRequest},
		{"identifier", replace(`"credential_configuration_id"`, `"credential_identifier"`), vci.UnknownIdentifier},
		{"format of a draft", replace(`"credential_configuration_id":"im-device"`, `"format":"vc+sd-jwt"`), vci.InvalidRequest},
		{"unknown configuration", replace("im-device", "mDL"), vci.UnknownConfiguration},
		{"configuration in capitals", replace("im-device", "IM-DEVICE"), vci.UnknownConfiguration},
		{"encryption", replace(`"proofs"`, `"credential_response_encryption":{"jwk":{},"enc":"A128GCM"},"proofs"`), vci.InvalidEncryption},
		{"encryption null", replace(`"proofs"`, `"credential_response_encryption":null,"proofs"`), vci.InvalidEncryption},
		{"no proofs", `{"credential_configuration_id":"im-device"}`, vci.InvalidProof},
		{"proof of a draft", replace(`"proofs":{"jwt":["a.b.c"]}`, `"proof":{"proof_type":"jwt","jwt":"a.b.c"}`), vci.InvalidProof},
		{"proofs null", replace(`{"jwt":["a.b.c"]}`, `null`), vci.InvalidProof},
		{"proofs an array", replace(`{"jwt":["a.b.c"]}`, `["a.b.c"]`), vci.InvalidProof},
		{"proofs empty", replace(`"jwt":["a.b.c"]`, ``), vci.InvalidProof},
		{"another proof type", replace(`"jwt"`, `"di_vp"`), vci.InvalidProof},
		{"two proof types", replace(`"jwt"`, `"attestation":["x"],"jwt"`), vci.InvalidProof},
		{"proof type in capitals", replace(`"jwt"`, `"JWT"`), vci.InvalidProof},
		{"one proof without an array", replace(`["a.b.c"]`, `"a.b.c"`), vci.InvalidProof},
		{"no proof", replace(`"a.b.c"`, ``), vci.InvalidProof},
		{"a proof that is not text", replace(`"a.b.c"`, `"a",{}`), vci.InvalidProof},
		{"six proofs", replace(`"a.b.c"`, many), vci.InvalidProof},
	} {
		got, err := vci.ParseRequest([]byte(tt.body), isDevice)
		var refused *vci.Error
		if !errors.As(err, &refused) || refused.Code != tt.code {
			t.Errorf("%s: ParseRequest(%s) = %+v, %v, want %s", tt.name, tt.body, got, err, tt.code)
			continue
		}
		if refused.Description == "" || strings.ContainsFunc(refused.Description, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			t.Errorf("%s: description %q, which an error_description may not be", tt.name, refused.Description)
		}
	}
}

// FuzzParseRequest: an accepted request has its configuration and 1 to 5 key proofs as another reader of JSON sees it, and asks for
// nothing that this issuer does not do.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(oneProof))
	f.Add([]byte(`{"credential_configuration_id":"im-device","x":{"y":[1]},"proofs":{"jwt":["a","b","c","d","e"]}}`))
	f.Add([]byte(`{"credential_identifier":"x","proofs":{"jwt":["a"]}}`))
	f.Add([]byte(`{"credential_configuration_id":"im-device","Proofs":{"jwt":["a"]},"proofs":{"jwt":["b"]}}`))
	f.Add([]byte(`{"credential_configuration_id":"im-device","proofs":{"jwt":["a"]},"credential_response_encryption":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := vci.ParseRequest(body, isDevice)
		if err != nil {
			if refused := (*vci.Error)(nil); !errors.As(err, &refused) {
				t.Fatalf("ParseRequest = %v, want an Error", err)
			}
			return
		}
		var other struct {
			Configuration string              `json:"credential_configuration_id"`
			Identifier    json.RawMessage     `json:"credential_identifier"`
			Encryption    json.RawMessage     `json:"credential_response_encryption"`
			Proofs        map[string][]string `json:"proofs"`
		}
		if err := json.Unmarshal(body, &other); err != nil {
			t.Fatal(err)
		}
		if got.Configuration != vci.ConfigurationDevice || other.Configuration != got.Configuration || other.Identifier != nil ||
			other.Encryption != nil || len(other.Proofs) != 1 || fmt.Sprint(other.Proofs["jwt"]) != fmt.Sprint(got.Proofs) ||
			len(got.Proofs) < 1 || len(got.Proofs) > vci.BatchSize {
			t.Errorf("ParseRequest(%s) = %+v", body, got)
		}
	})
}
