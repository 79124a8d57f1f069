package jose_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

// A wycheproof file, as testdata/wycheproof holds it.
type wycheproof struct {
	Groups []struct {
		Type    string
		Alg     string
		JWK     json.RawMessage // public; absent for symmetric keys
		Private json.RawMessage // instead of JWK
		Tests   []struct {
			ID                        int
			Comment, Msg, Sig, Result string
			JWS                       string
		}
	}
}

func readWycheproof(t testing.TB, name string) wycheproof {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproof
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	return file
}

// Files about one algorithm each, where we differ from them, and why.
var wycheproofSignatures = map[string]map[int]string{
	"ecdsa_secp256r1_sha256_p1363_test.json": nil,
	"ecdsa_secp384r1_sha384_p1363_test.json": nil,
	"ed25519_test.json":                      nil,
	"rsa_pss_2048_sha256_mgf1_32_test.json":  nil,
	"rsa_signature_2048_sha256_test.json": {
		258: "the exponent of the key is 3, and those below 65537 are refused",
		259: "the exponent of the key is 3, and those below 65537 are refused",
	},
}

func TestWycheproofSignatures(t *testing.T) {
	for name, differences := range wycheproofSignatures {
		t.Run(name, func(t *testing.T) {
			for _, group := range readWycheproof(t, name).Groups {
				key, refused := jose.ParseJWK(group.JWK)
				for _, tt := range group.Tests {
					want, err := tt.Result == "valid", refused
					if differences[tt.ID] != "" {
						want = !want
					} else if refused != nil {
						t.Errorf("test %d: ParseJWK(%s) = %v", tt.ID, group.JWK, refused)
						continue
					}
					if err == nil {
						err = jose.Verify(group.Alg, key.Public, unhex(t, tt.Msg), unhex(t, tt.Sig))
					}
					if tt.Result != "acceptable" && (err == nil) != want {
						t.Errorf("test %d, %s: Verify = %v, want accepted: %v", tt.ID, tt.Comment, err, want)
					}
				}
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Where we differ from the vectors, and why.
var wycheproofDifferences = map[string]map[int]string{
	"json_web_signature_test.json": {
		346: "signed with PS384, which is not supported", 350: "signed with PS384, which is not supported",
		347: "ES521 is no algorithm; P-521 signs with ES512", 351: "ES521 is no algorithm; P-521 signs with ES512",
	},
	"json_web_key_test.json": {
		7: "keys are not searched for the ROCA weakness: who makes his own key badly harms himself",
	},
}

func TestWycheproofJOSE(t *testing.T) {
	for name, differences := range wycheproofDifferences {
		t.Run(name, func(t *testing.T) {
			for _, group := range readWycheproof(t, name).Groups {
				var set struct{ Keys []json.RawMessage }
				jwks := []json.RawMessage{group.JWK}
				if json.Unmarshal(group.JWK, &set) == nil && set.Keys != nil {
					jwks = set.Keys
				}
				for _, tt := range group.Tests {
					want := tt.Result == "valid"
					if differences[tt.ID] != "" {
						want = !want
					}
					var named struct{ Alg string }
					if group.JWK != nil {
						if err := json.Unmarshal(jwks[0], &named); err != nil {
							t.Fatal(err)
						}
					}
					switch named.Alg {
					case "", "RS384", "RS512", "PS384", "PS512":
						want = want && group.JWK != nil && named.Alg == "" // algorithms that are not supported
					}
					if err := verifyAny(tt.JWS, named.Alg, jwks); (err == nil) != want {
						t.Errorf("test %d, %s, %s: %v, want accepted: %v", tt.ID, group.Type, tt.Comment, err, want)
					}
				}
			}
		})
	}
}

// verifyAny verifies token with the algorithm and one of the keys.
func verifyAny(token, alg string, jwks []json.RawMessage) error {
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		return err
	}
	err = jose.ErrSignature
	for _, jwk := range jwks {
		var key jose.Key
		if key, err = jose.ParseJWK(jwk); err == nil {
			if err = jws.Verify(alg, key.Public); err == nil {
				return nil
			}
		}
	}
	return err
}
