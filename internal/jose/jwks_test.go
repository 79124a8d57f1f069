package jose_test

import (
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

func TestSplitJWKS(t *testing.T) {
	for set, want := range map[string]int{ // -1: refused
		`{"keys":[]}`:                                    0,
		`{"x":1,"keys":[{"kty":"EC"}, 7 ]}`:              2,
		`{"keys":[` + strings.Repeat("{},", 63) + `{}]}`: 64,
		`{"keys":[` + strings.Repeat("{},", 64) + `{}]}`: -1,
		``:                             -1,
		`[]`:                           -1,
		`{}`:                           -1,
		`{"keys":null}`:                -1,
		`{"keys":{}}`:                  -1,
		`{"Keys":[]}`:                  -1,
		`{"keys":[],"KEYS":[]}`:        -1,
		`{"keys":[],"keys":[]}`:        -1,
		`{"keys":[{"kty":1,"kty":2}]}`: -1,
		`{"keys":[]} {}`:               -1,
		"{\"keys\":[\"\xff\"]}":        -1,
	} {
		keys, err := jose.SplitJWKS([]byte(set))
		if got := len(keys); err != nil && want != -1 || err == nil && got != want {
			t.Errorf("SplitJWKS(%.60s) = %d keys, %v, want %d", set, got, err, want)
		}
	}
}
