package dpop_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

const (
	audience = "https://issuer.example"
	phone    = "im:USER/1@example.org"
)

// rekeyParams are those of a good statement.
func rekeyParams(t testing.TB, s *server, oldJKT string) dpop.RekeyParams {
	return dpop.RekeyParams{Audience: audience, Device: phone, OldJKT: oldJKT, Nonce: s.nonce(t), IssuedAt: s.clock.now()}
}

func stateKey(t testing.TB, signer *dpop.Signer, p dpop.RekeyParams) string {
	t.Helper()
	text, err := signer.Rekey(p)
	if err != nil {
		t.Fatalf("Rekey = %v", err)
	}
	return text
}

func TestRekey(t *testing.T) {
	for _, nonces := range []bool{true, false} {
		s, signer := newServer(t, nonces), newSigner(t, p256(t))
		params := rekeyParams(t, s, "old")
		params.JTI = "one"
		text := stateKey(t, signer, params)
		k, err := s.CheckRekey(t.Context(), text, audience)
		if err != nil {
			t.Fatalf("CheckRekey = %v", err)
		}
		if k.JKT != signer.JKT() || k.OldJKT != "old" || k.Device != phone || k.Audience != audience || k.JTI != "one" || k.Alg != "ES256" ||
			k.Nonce != params.Nonce || !k.IssuedAt.Equal(s.clock.now()) {
			t.Errorf("CheckRekey = %+v", k)
		}
		if err := s.SpendRekey(t.Context(), k, netip.Addr{}); err != nil {
			t.Errorf("SpendRekey = %v", err)
		}
		wantRefused(t, "second SpendRekey", s.SpendRekey(t.Context(), k, netip.Addr{}), "jti", dpop.ErrReplayed)

		// A proof with the same key and jti is another thing, and neither passes for the other.
		made := s.make(t, signer, func(p *dpop.ProofParams) { p.JTI = "one" })
		proof, err := s.check(made)
		if err == nil {
			err = s.Spend(t.Context(), proof, netip.Addr{})
		}
		if err != nil {
			t.Errorf("proof with the jti of a statement = %v", err)
		}
		_, err = s.check(text)
		wantRefused(t, "Check of a statement", err, "typ", dpop.ErrInvalidProof)
		_, err = s.CheckRekey(t.Context(), made, audience)
		wantRefused(t, "CheckRekey of a proof", err, "typ", dpop.ErrInvalidProof)
	}
}

func TestRekeyRefused(t *testing.T) {
	s, key := newServer(t, true), p256(t)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"typ": "im-rekey+jwt", "alg": "ES256", "jwk": json.RawMessage(jwk)}
	claims := map[string]any{
		"aud": audience, "device": phone, "old_jkt": "old", "nonce": s.nonce(t), "iat": s.clock.now().Unix(), "jti": "1",
	}
	for _, tt := range []struct {
		name string
		edit func(h, c map[string]any)
		part string // "": accepted
		kind error
	}{
		{"nothing", func(h, c map[string]any) {}, "", nil},
		{"unknown members", func(h, c map[string]any) { h["x"], c["y"] = 1, []int{2} }, "", nil},
		{"a clock an hour off", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() - 3600 }, "", nil},
		{"another typ", func(h, c map[string]any) { h["typ"] = jose.TypePresentation }, "typ", dpop.ErrInvalidProof},
		{"no typ", func(h, c map[string]any) { delete(h, "typ") }, "typ", dpop.ErrInvalidProof},
		{"alg none", func(h, c map[string]any) { h["alg"] = "none" }, "alg", dpop.ErrInvalidProof},
		{"HMAC", func(h, c map[string]any) { h["alg"] = "HS256" }, "alg", dpop.ErrInvalidProof},
		{"an alg that is off", func(h, c map[string]any) { h["alg"] = "RS256" }, "alg", dpop.ErrInvalidProof},
		{"an alg of another key", func(h, c map[string]any) { h["alg"] = "EdDSA" }, "jwk", dpop.ErrInvalidProof},
		{"no jwk", func(h, c map[string]any) { delete(h, "jwk") }, "jwk", dpop.ErrInvalidProof},
		{"jwk of another key", func(h, c map[string]any) { h["jwk"] = publicJWK(t, p256(t).Public()) }, "signature", dpop.ErrInvalidProof},
		{"crit", func(h, c map[string]any) { h["crit"] = []string{"x"} }, "crit", dpop.ErrInvalidProof},
		{"another issuer", func(h, c map[string]any) { c["aud"] = audience + "/" }, "aud", dpop.ErrInvalidProof},
		{"two audiences", func(h, c map[string]any) { c["aud"] = []string{audience} }, "aud", dpop.ErrInvalidProof},
		{"no audience", func(h, c map[string]any) { delete(c, "aud") }, "aud", dpop.ErrInvalidProof},
		{"no nonce", func(h, c map[string]any) { delete(c, "nonce") }, "nonce", dpop.ErrUseNonce},
		{"stale nonce", func(h, c map[string]any) { c["nonce"] = "stale" }, "nonce", dpop.ErrUseNonce},
		{"no device", func(h, c map[string]any) { delete(c, "device") }, "device", dpop.ErrInvalidProof},
		{"no old key", func(h, c map[string]any) { delete(c, "old_jkt") }, "old_jkt", dpop.ErrInvalidProof},
		{"no iat", func(h, c map[string]any) { delete(c, "iat") }, "iat", dpop.ErrInvalidProof},
		{"two days old", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() - 2*86400 }, "iat", dpop.ErrInvalidProof},
		{"no jti", func(h, c map[string]any) { delete(c, "jti") }, "jti", dpop.ErrInvalidProof},
		{"long jti", func(h, c map[string]any) { c["jti"] = strings.Repeat("j", 256) }, "jti", dpop.ErrInvalidProof},
		{"claim in another case", func(h, c map[string]any) { c["Old_jkt"] = "old" }, "payload", dpop.ErrInvalidProof},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, c := maps.Clone(header), maps.Clone(claims)
			tt.edit(h, c)
			_, err := s.CheckRekey(t.Context(), sign(t, key, h, c), audience)
			if tt.part != "" {
				wantRefused(t, "CheckRekey", err, tt.part, tt.kind)
			} else if err != nil {
				t.Errorf("CheckRekey = %v", err)
			}
		})
	}
	good := sign(t, key, header, claims)
	for name, tt := range map[string]struct{ text, part string }{
		"bad signature":  {good[:len(good)-4] + "AAAA", "signature"},
		"two parts":      {good[:strings.LastIndexByte(good, '.')], "form"},
		"empty":          {"", "form"},
		"longer than 8k": {good + strings.Repeat("A", 8<<10), "size"},
	} {
		_, err := s.CheckRekey(t.Context(), tt.text, audience)
		wantRefused(t, name, err, tt.part, dpop.ErrInvalidProof)
	}

	// Without nonces, the time decides.
	off := newServer(t, false)
	signer := newSigner(t, key)
	for after, part := range map[time.Duration]string{-60 * time.Second: "", 15 * time.Second: "", -61 * time.Second: "iat", 16 * time.Second: "iat"} {
		params := rekeyParams(t, off, "old")
		params.IssuedAt = params.IssuedAt.Add(after)
		_, err := off.CheckRekey(t.Context(), stateKey(t, signer, params), audience)
		if part != "" {
			wantRefused(t, after.String(), err, part, dpop.ErrInvalidProof)
		} else if err != nil {
			t.Errorf("CheckRekey of one made %v ago = %v", -after, err)
		}
	}
}

// A store that fails is no verdict on the statement, and one that may have forgotten it refuses it.
func TestRekeyStore(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	text := stateKey(t, signer, rekeyParams(t, s, "old"))
	k, err := s.CheckRekey(t.Context(), text, audience)
	if err != nil {
		t.Fatalf("CheckRekey = %v", err)
	}
	gone := errors.New("connection refused")
	s.store.err = gone
	_, checked := s.CheckRekey(t.Context(), text, audience)
	for what, err := range map[string]error{"CheckRekey": checked, "SpendRekey": s.SpendRekey(t.Context(), k, netip.Addr{})} {
		if !errors.Is(err, gone) || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("%s = %v, want %v and no verdict", what, err, gone)
		}
	}
	s.store.err = nil
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	wantRefused(t, "SpendRekey", s.SpendRekey(t.Context(), k, netip.Addr{}), "nonce", dpop.ErrUseNonce)
}

// FuzzRekey signs any header and claims with a new key, or sends text as it is. What CheckRekey accepts has one spelling, and every
// rule is true of it as another reader of JSON sees it.
func FuzzRekey(f *testing.F) {
	seed := [32]byte{2}
	key := ed25519.NewKeyFromSeed(seed[:])
	signer := newSigner(f, key)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	s := newServer(f, false)
	header := `{"typ":"im-rekey+jwt","alg":"EdDSA","jwk":` + string(jwk) + `}`
	claims := fmt.Sprintf(`{"aud":%q,"device":%q,"old_jkt":"old","iat":%d,"jti":"1"}`, audience, phone, s.clock.now().Unix())
	f.Add(header, claims, "")
	f.Add(strings.Replace(header, "im-rekey", "dpop", 1), claims, "")
	f.Add(header, strings.Replace(claims, `"jti"`, `"old_jkt":"other","jti"`, 1), "")
	f.Add("", "", stateKey(f, signer, rekeyParams(f, s, "old")))
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		b64 := base64.RawURLEncoding
		if header != "" {
			input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
			text = input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
		}
		k, err := s.CheckRekey(context.Background(), text, audience)
		if err != nil {
			var refused *dpop.ProofError
			if !errors.As(err, &refused) {
				t.Fatalf("CheckRekey = %v, want a ProofError", err)
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
			Typ, Alg string
			Crit     any
		}
		var c struct {
			AUD, Device, JTI string
			OldJKT           string `json:"old_jkt"`
			IAT              float64
		}
		if err := errors.Join(json.Unmarshal(decoded[0], &h), json.Unmarshal(decoded[1], &c)); err != nil {
			t.Fatal(err)
		}
		age := s.clock.now().Sub(time.Unix(int64(c.IAT), 0))
		if h.Typ != "im-rekey+jwt" || h.Crit != nil || k.JKT != signer.JKT() || c.AUD != audience || c.Device != k.Device ||
			c.OldJKT != k.OldJKT || c.JTI != k.JTI || c.JTI == "" || len(c.JTI) > 255 || age > time.Minute || age < -15*time.Second {
			t.Errorf("accepted %s %s", decoded[0], decoded[1])
		}
		if err := jose.Verify(h.Alg, key.Public(), []byte(parts[0]+"."+parts[1]), decoded[2]); err != nil {
			t.Errorf("Verify = %v", err)
		}
	})
}
