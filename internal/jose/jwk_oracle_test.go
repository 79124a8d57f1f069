package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/imidentity/issuer/internal/jose"
)

// A jwkInput is a JWK as encoding/json sees it, with the public key that jwx reads from it; nil if it reads none.
type jwkInput struct {
	document
	public crypto.PublicKey
}

// jwkMembers are the members that this package reads, also those that it refuses for being there.
var jwkMembers = []string{
	"kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid", "d", "p", "q", "dp", "dq", "qi", "oth", "k",
}

// Why this package refuses a key that jwx reads.
var stricterJWK = append([]rule[jwkInput]{
	{"a key is public: no private or symmetric member", func(in jwkInput) bool {
		return in.has("d", "p", "q", "dp", "dq", "qi", "oth", "k")
	}},
	{"kty is EC, OKP or RSA", func(in jwkInput) bool { return !slices.Contains([]string{"EC", "OKP", "RSA"}, in.str("kty")) }},
	{"an OKP key is on Ed25519", func(in jwkInput) bool { return in.str("kty") == "OKP" && in.str("crv") != "Ed25519" }},
	{"members that are read are strings", func(in jwkInput) bool {
		return slices.ContainsFunc([]string{"kty", "crv", "x", "y", "n", "e", "alg", "kid"}, func(name string) bool {
			return !in.isString(name)
		})
	}},
	{"use is sig", func(in jwkInput) bool { return in.has("use") && in.str("use") != "sig" }},
	{"key_ops contains verify", func(in jwkInput) bool {
		var ops []string
		err := json.Unmarshal(in.members["key_ops"], &ops)
		return in.has("key_ops") && (err != nil || !slices.Contains(ops, "verify"))
	}},
	{"alg fits the key", func(in jwkInput) bool { return in.has("alg") && !fitsType(in.str("alg"), in.public) }},
	{"coordinates, modulus and exponent are canonical base64url", func(in jwkInput) bool {
		return slices.ContainsFunc([]string{"x", "y", "n", "e"}, func(name string) bool { return !canonical(in.str(name)) })
	}},
	{"coordinates have the length of the curve", func(in jwkInput) bool {
		switch pub := in.public.(type) {
		case *ecdsa.PublicKey:
			size := (pub.Curve.Params().BitSize + 7) / 8
			return len(lenient(in.str("x"))) != size || len(lenient(in.str("y"))) != size
		case ed25519.PublicKey:
			return len(pub) != ed25519.PublicKeySize
		}
		return false
	}},
	{"a point is on its curve", func(in jwkInput) bool {
		pub, ok := in.public.(*ecdsa.PublicKey)
		if !ok {
			return false
		}
		_, err := pub.ECDH()
		return err != nil
	}},
	{"a point of Ed25519 is canonical and not of small order", func(in jwkInput) bool {
		pub, ok := in.public.(ed25519.PublicKey)
		return ok && len(pub) == ed25519.PublicKeySize && weakPoint(pub)
	}},
	{"an RSA modulus has 2048 to 8192 bits and is odd, its exponent is odd and from 65537 to 2^31-1, both without leading zeros",
		func(in jwkInput) bool {
			n, e := lenient(in.str("n")), lenient(in.str("e"))
			pub, ok := in.public.(*rsa.PublicKey)
			return ok && (len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 || len(e) > 4 ||
				pub.N.BitLen() < 2048 || pub.N.BitLen() > 8192 || pub.N.Bit(0) == 0 || pub.E < 65537 || pub.E > 1<<31-1 || pub.E%2 == 0)
		}},
}, with(documentOf, strictJSON(jwkMembers...))...)

// Why jwx refuses a key that this package reads.
var laxerJWK = append([]rule[jwkInput]{
	{"jwx does not know the name Ed25519 (RFC 9864)", func(in jwkInput) bool { return in.str("alg") == jose.Ed25519 }},
	{"jwx knows a closed list of operations", func(in jwkInput) bool { return in.has("key_ops") }},
	{"jwx reads x5u, x5c, x5t and x5t#S256; here they are ignored", func(in jwkInput) bool {
		return in.has("x5u", "x5c", "x5t", "x5t#S256")
	}},
}, with(documentOf, laxerJSON)...)

func documentOf(in jwkInput) document { return in.document }

// fitsType reports whether alg is an algorithm that this package knows, for keys of the type of pub.
func fitsType(alg string, pub crypto.PublicKey) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return map[string]string{jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521"}[alg] == pub.Curve.Params().Name
	case ed25519.PublicKey:
		return alg == jose.EdDSA || alg == jose.Ed25519
	case *rsa.PublicKey:
		return alg == jose.RS256 || alg == jose.PS256
	}
	return false
}

// weakPoint reports whether 8 times the point is the neutral element, or its y is not reduced, by the tables of
// TestParseJWKRefuses.
func weakPoint(point []byte) bool {
	y := bytes.Clone(point)
	y[31] &= 0x7f
	slices.Reverse(y) // big-endian
	p := append([]byte{0x7f}, append(bytes.Repeat([]byte{0xff}, 30), 0xed)...)
	minusOne := append(bytes.Clone(p[:31]), 0xec)
	if bytes.Compare(y, p) >= 0 || bytes.Equal(y, minusOne) {
		return true
	}
	for _, text := range []string{
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU", "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
	} {
		small := lenient(text)
		slices.Reverse(small)
		if bytes.Equal(y, small) {
			return true
		}
	}
	return false
}

// Whatever is sent as a key is read as jwx reads it: the same key, with the same thumbprint.
func FuzzJWK(f *testing.F) {
	for name := range wycheproofDifferences {
		for _, group := range readWycheproof(f, name).Groups {
			f.Add([]byte(group.JWK))
			f.Add([]byte(group.Private))
			var set struct{ Keys []json.RawMessage }
			if json.Unmarshal(group.JWK, &set) == nil {
				for _, key := range set.Keys {
					f.Add([]byte(key))
				}
			}
		}
	}
	for name := range wycheproofSignatures {
		for _, group := range readWycheproof(f, name).Groups {
			f.Add([]byte(group.JWK))
		}
	}
	for _, seed := range []string{
		// x of this key begins with a zero byte.
		`{"kty":"EC","crv":"P-256","x":"ABYpWRBIBtcZJTRp3NcI8sXSLJxPhnEImRgV_G5vxhE","y":"6eO2r1XOjZbLwOYkmFCZtOr3Tw7O8KQF1tlPwG-iZ6I"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","key_ops":["verify"],"alg":"Ed25519"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU"}`,
		`{"kty":"EC","crv":"P-256","d":"AQ","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}`,
		`{"kty":"oct","k":"c2VjcmV0"}`, `{"kty":"EC","kty":"RSA"}`, `{"KTY":"EC"}`, `null`, `{"kty":"RSA","n":"","e":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := jwkInput{document: readDocument(raw)}
		ours, err := jose.ParseJWK(raw)
		theirs, theirErr := jwk.ParseKey(raw)
		if theirErr == nil {
			theirErr = theirs.Raw(&in.public)
		}
		switch {
		case err != nil && theirErr != nil:
			return
		case err != nil:
			explain(t, stricterJWK, in, "%q: refused (%v), and jwx accepts it", raw, err)
			return
		case theirErr != nil:
			explain(t, laxerJWK, in, "%q: accepted, and jwx refuses it (%v)", raw, theirErr)
			return
		}
		if !ours.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(in.public) {
			t.Errorf("%q: key %v, and jwx reads %v", raw, ours.Public, in.public)
		}
		sum, err := theirs.Thumbprint(crypto.SHA256)
		if got := base64.RawURLEncoding.EncodeToString(sum); err != nil || ours.JKT != got {
			t.Errorf("%q: thumbprint %s, and jwx says %s, %v", raw, ours.JKT, got, err)
		}
		if ours.Kid != theirs.KeyID() || ours.Alg != theirs.Algorithm().String() {
			t.Errorf("%q: kid %q and alg %q, and jwx reads %q and %q", raw, ours.Kid, ours.Alg, theirs.KeyID(), theirs.Algorithm())
		}
		canonical, err := jose.MarshalJWK(ours.Public)
		if err != nil {
			t.Fatal(err)
		}
		bare, err := jwk.FromRaw(ours.Public)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := json.Marshal(bare); err != nil || string(canonical) != string(want) {
			t.Errorf("MarshalJWK = %s, and jwx writes %s, %v", canonical, want, err)
		}
	})
}
