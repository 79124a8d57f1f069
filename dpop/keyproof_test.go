package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// proveKey makes a good key proof.
func proveKey(t testing.TB, s *server, signer *dpop.Signer) string {
	t.Helper()
	text, err := signer.KeyProof(dpop.KeyProofParams{Audience: audience, Client: "app", Nonce: s.nonce(t), IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatalf("KeyProof = %v", err)
	}
	return text
}

// checkKeyProof makes all checks of a key proof but that it is used once.
func (s *server) checkKeyProof(text string) (*dpop.KeyProof, error) {
	u, err := s.ReadKeyProof(context.Background(), text, audience)
	if err != nil {
		return nil, err
	}
	return u.Verify()
}

func TestKeyProof(t *testing.T) {
	for _, key := range []crypto.Signer{p256(t), ed25519.NewKeyFromSeed(make([]byte, 32))} {
		s, signer := newServer(t, true), newSigner(t, key)
		text := proveKey(t, s, signer)
		u, err := s.ReadKeyProof(t.Context(), text, audience)
		if err != nil {
			t.Fatalf("ReadKeyProof = %v", err)
		}
		if u.JKT() != signer.JKT() || u.Client() != "app" {
			t.Errorf("JKT, Client = %q, %q", u.JKT(), u.Client())
		}
		k, err := u.Verify()
		if err != nil {
			t.Fatalf("Verify = %v", err)
		}
		if k.JKT != signer.JKT() || k.Client != "app" || k.Nonce != s.nonce(t) || !k.IssuedAt.Equal(s.clock.now()) ||
			!k.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("Verify = %+v", k)
		}
		if err := s.SpendKeyProof(t.Context(), k, netip.Addr{}); err != nil {
			t.Errorf("SpendKeyProof = %v", err)
		}
		wantRefused(t, "second SpendKeyProof", s.SpendKeyProof(t.Context(), k, netip.Addr{}), "jti", dpop.ErrReplayed)

		// A key proof is no proof of a request, and the other way round.
		_, err = s.check(text)
		wantRefused(t, "Check of a key proof", err, "typ", dpop.ErrInvalidProof)
		_, err = s.checkKeyProof(s.make(t, signer, func(*dpop.ProofParams) {}))
		wantRefused(t, "ReadKeyProof of a proof", err, "typ", dpop.ErrInvalidProof)
	}
}

// A key is proved again at once, as for a second credential.
func TestKeyProofAgain(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	for range 2 {
		k, err := s.checkKeyProof(proveKey(t, s, signer))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SpendKeyProof(t.Context(), k, netip.Addr{}); err != nil {
			t.Errorf("SpendKeyProof = %v", err)
		}
	}
}

// Whoever has seen an ECDSA signature (r, s) can make another one, (r, -s). With it the key proof is the same one.
func TestKeyProofWithAnotherSignature(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	text := proveKey(t, s, signer)
	dot := strings.LastIndexByte(text, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(text[dot:])
	if err != nil {
		t.Fatal(err)
	}
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(signature[32:]))
	other.FillBytes(signature[32:])
	second := text[:dot] + base64.RawURLEncoding.EncodeToString(signature)
	for i, text := range []string{text, second} {
		k, err := s.checkKeyProof(text)
		if err != nil {
			t.Fatalf("checks of proof %d = %v", i, err)
		}
		err = s.SpendKeyProof(t.Context(), k, netip.Addr{})
		if i == 0 && err != nil {
			t.Errorf("SpendKeyProof = %v", err)
		} else if i == 1 {
			wantRefused(t, "SpendKeyProof with another signature", err, "jti", dpop.ErrReplayed)
		}
	}
}

func TestKeyProofRefused(t *testing.T) {
	s, key := newServer(t, true), p256(t)
	now := s.clock.now().Unix()
	header := map[string]any{"typ": "openid4vci-proof+jwt", "alg": "ES256", "jwk": publicJWK(t, key.Public())}
	claims := map[string]any{"aud": audience, "nonce": s.nonce(t), "iat": now}
	for _, tt := range []struct {
		name string
		edit func(h, c map[string]any)
		part string // "": accepted
		kind error
	}{
		{"nothing", func(h, c map[string]any) {}, "", nil},
		{"unknown members", func(h, c map[string]any) { h["x"], c["y"] = 1, []int{2} }, "", nil},
		{"a clock an hour off", func(h, c map[string]any) { c["iat"] = now - 3600 }, "", nil},
		{"exp to come", func(h, c map[string]any) { c["exp"], c["nbf"] = now+60, now-5 }, "", nil},
		{"exp passed", func(h, c map[string]any) { c["exp"] = now - 61 }, "exp", dpop.ErrInvalidProof},
		{"nbf to come", func(h, c map[string]any) { c["nbf"] = now + 90 }, "nbf", dpop.ErrInvalidProof},
		{"another typ", func(h, c map[string]any) { h["typ"] = jose.TypeProof }, "typ", dpop.ErrInvalidProof},
		{"typ of an older draft", func(h, c map[string]any) { h["typ"] = "JWT" }, "typ", dpop.ErrInvalidProof},
		{"typ with its prefix", func(h, c map[string]any) { h["typ"] = "application/openid4vci-proof+jwt" }, "typ", dpop.ErrInvalidProof},
		{"no typ", func(h, c map[string]any) { delete(h, "typ") }, "typ", dpop.ErrInvalidProof},
		{"alg none", func(h, c map[string]any) { h["alg"] = "none" }, "alg", dpop.ErrInvalidProof},
		{"HMAC", func(h, c map[string]any) { h["alg"] = "HS256" }, "alg", dpop.ErrInvalidProof},
		{"an alg that is off", func(h, c map[string]any) { h["alg"] = "RS256" }, "alg", dpop.ErrInvalidProof},
		{"an alg of another key", func(h, c map[string]any) { h["alg"] = "EdDSA" }, "jwk", dpop.ErrInvalidProof},
		{"no jwk", func(h, c map[string]any) { delete(h, "jwk") }, "jwk", dpop.ErrInvalidProof},
		{"kid for jwk", func(h, c map[string]any) { delete(h, "jwk"); h["kid"] = "did:example:1#1" }, "jwk", dpop.ErrInvalidProof},
		{"kid with jwk", func(h, c map[string]any) { h["kid"] = "1" }, "kid", dpop.ErrInvalidProof},
		{"x5c with jwk", func(h, c map[string]any) { h["x5c"] = []string{"MII"} }, "x5c", dpop.ErrInvalidProof},
		{"private key", func(h, c map[string]any) { h["jwk"] = privateJWK(t, key) }, "jwk", dpop.ErrInvalidProof},
		{"jwk of another key", func(h, c map[string]any) { h["jwk"] = publicJWK(t, p256(t).Public()) }, "signature", dpop.ErrInvalidProof},
		{"crit", func(h, c map[string]any) { h["crit"] = []string{"x"} }, "crit", dpop.ErrInvalidProof},
		{"another issuer", func(h, c map[string]any) { c["aud"] = "https://other.example" }, "aud", dpop.ErrInvalidProof},
		{"a slash more", func(h, c map[string]any) { c["aud"] = audience + "/" }, "aud", dpop.ErrInvalidProof},
		{"two audiences", func(h, c map[string]any) { c["aud"] = []string{audience} }, "aud", dpop.ErrInvalidProof},
		{"no audience", func(h, c map[string]any) { delete(c, "aud") }, "aud", dpop.ErrInvalidProof},
		{"no nonce", func(h, c map[string]any) { delete(c, "nonce") }, "nonce", dpop.ErrInvalidProof},
		{"nonce not text", func(h, c map[string]any) { c["nonce"] = 1 }, "nonce", dpop.ErrInvalidProof},
		{"stale nonce", func(h, c map[string]any) { c["nonce"] = "stale" }, "nonce", dpop.ErrUseNonce},
		{"no iat", func(h, c map[string]any) { delete(c, "iat") }, "iat", dpop.ErrInvalidProof},
		{"iat as text", func(h, c map[string]any) { c["iat"] = "1" }, "iat", dpop.ErrInvalidProof},
		{"two days old", func(h, c map[string]any) { c["iat"] = now - 2*86400 }, "iat", dpop.ErrInvalidProof},
		{"claim in another case", func(h, c map[string]any) { c["Nonce"] = "x" }, "payload", dpop.ErrInvalidProof},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, c := maps.Clone(header), maps.Clone(claims)
			tt.edit(h, c)
			_, err := s.checkKeyProof(sign(t, key, h, c))
			if tt.part != "" {
				wantRefused(t, "key proof", err, tt.part, tt.kind)
			} else if err != nil {
				t.Errorf("key proof = %v", err)
			}
		})
	}
	good := sign(t, key, header, claims)
	for name, tt := range map[string]struct{ text, part string }{
		"bad signature":  {good[:len(good)-4] + "AAAA", "signature"},
		"two parts":      {good[:strings.LastIndexByte(good, '.')], "form"},
		"four parts":     {good + ".x", "form"},
		"empty":          {"", "form"},
		"longer than 8k": {good + strings.Repeat("A", 8<<10), "size"},
	} {
		_, err := s.checkKeyProof(tt.text)
		wantRefused(t, name, err, tt.part, dpop.ErrInvalidProof)
	}
	s.clock.turn(4 * time.Minute)
	_, err := s.checkKeyProof(good)
	wantRefused(t, "nonce of four minutes ago", err, "nonce", dpop.ErrUseNonce)
}

// privateJWK returns a JWK with its private member.
func privateJWK(t testing.TB, key *ecdsa.PrivateKey) json.RawMessage {
	t.Helper()
	d, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public := publicJWK(t, key.Public())
	return fmt.Appendf(nil, `%s,"d":%q}`, public[:len(public)-1], base64.RawURLEncoding.EncodeToString(d))
}

// The example of OpenID4VCI 1.0 appendix F.1 has the form that is read. Its nonce and its time are long gone.
func TestKeyProofExample(t *testing.T) {
	text, err := os.ReadFile("testdata/openid4vci/appendix-f.1-proof.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, true)
	_, err = s.ReadKeyProof(t.Context(), strings.TrimSpace(string(text)), "https://credential-issuer.example.com")
	wantRefused(t, "ReadKeyProof of the example", err, "nonce", dpop.ErrUseNonce)
	jws, err := jose.ParseCompact(strings.TrimSpace(string(text)), jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := jose.ParseJWK(jws.Header.JWK)
	if err == nil {
		err = jws.Verify(jose.ES256, key.Public)
	}
	if err != nil {
		t.Errorf("the signature of the example = %v", err)
	}
}

// A store that fails is no verdict on the proof, and one that may have forgotten it refuses it.
func TestKeyProofStore(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	text := proveKey(t, s, signer)
	k, err := s.checkKeyProof(text)
	if err != nil {
		t.Fatalf("key proof = %v", err)
	}
	gone := errors.New("connection refused")
	s.store.err = gone
	_, checked := s.checkKeyProof(text)
	for what, err := range map[string]error{"ReadKeyProof": checked, "SpendKeyProof": s.SpendKeyProof(t.Context(), k, netip.Addr{})} {
		if !errors.Is(err, gone) || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("%s = %v, want %v and no verdict", what, err, gone)
		}
	}
	s.store.err = nil
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	wantRefused(t, "SpendKeyProof", s.SpendKeyProof(t.Context(), k, netip.Addr{}), "nonce", dpop.ErrUseNonce)
	_, err = s.checkKeyProof(text)
	wantRefused(t, "ReadKeyProof in a new epoch", err, "nonce", dpop.ErrUseNonce)
}

// FuzzKeyProof signs any header and claims with a new key, or sends text as it is. An accepted key proof has one spelling, and every
// rule is true of it as another reader of JSON sees it.
func FuzzKeyProof(f *testing.F) {
	seed := [32]byte{2}
	key := ed25519.NewKeyFromSeed(seed[:])
	s, signer := newServer(f, true), newSigner(f, key)
	header := `{"typ":"openid4vci-proof+jwt","alg":"EdDSA","jwk":` + string(publicJWK(f, key.Public())) + `}`
	claims := fmt.Sprintf(`{"iss":"app","aud":%q,"iat":%d,"nonce":%q}`, audience, s.clock.now().Unix(), s.nonce(f))
	f.Add(header, claims, "")
	f.Add(strings.Replace(header, "openid4vci-proof", "dpop", 1), claims, "")
	f.Add(strings.Replace(header, `"jwk"`, `"kid":"1","jwk"`, 1), claims, "")
	f.Add(header, strings.Replace(claims, `"iat"`, `"aud":"other","iat"`, 1), "")
	f.Add("", "", proveKey(f, s, signer))
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		b64 := base64.RawURLEncoding
		if header != "" {
			input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
			text = input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
		}
		k, err := s.checkKeyProof(text)
		if err != nil {
			if refused := (*dpop.ProofError)(nil); !errors.As(err, &refused) {
				t.Fatalf("key proof = %v, want a ProofError", err)
			}
			return
		}
		parts := strings.Split(text, ".")
		var decoded [3][]byte
		for i, part := range parts {
			if decoded[i], err = b64.DecodeString(part); err != nil || b64.EncodeToString(decoded[i]) != part {
				t.Fatalf("part %d is %q and re-encodes to %q", i, part, b64.EncodeToString(decoded[i]))
			}
		}
		var h struct {
			Typ, Alg       string
			Crit, KID, X5C any
			JWK            map[string]any
		}
		var c struct {
			ISS, AUD, Nonce string
			IAT             float64
			EXP, NBF        *float64
		}
		if err := errors.Join(json.Unmarshal(decoded[0], &h), json.Unmarshal(decoded[1], &c)); err != nil {
			t.Fatal(err)
		}
		now := float64(s.clock.now().Unix())
		if h.Typ != "openid4vci-proof+jwt" || h.Crit != nil || h.X5C != nil || h.KID != nil && h.KID != "" || h.JWK["d"] != nil ||
			k.JKT != signer.JKT() || c.AUD != audience || c.ISS != k.Client || c.Nonce != k.Nonce || c.Nonce != s.nonce(t) ||
			c.IAT < now-86400 || c.IAT > now+86400 || c.EXP != nil && *c.EXP < now-60 || c.NBF != nil && *c.NBF > now+60 {
			t.Errorf("accepted %s %s", decoded[0], decoded[1])
		}
		if err := jose.Verify(h.Alg, key.Public(), []byte(parts[0]+"."+parts[1]), decoded[2]); err != nil {
			t.Errorf("Verify = %v", err)
		}
	})
}
