package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

const room = "mimi://example.org/r/42"

// shown returns what a good presentation by signer is held against, and its parameters.
func shown(s *server, signer *dpop.Signer) (dpop.PresentationRequest, dpop.PresentationParams) {
	r := dpop.PresentationRequest{
		Audiences: []string{"im:example.org", room}, Nonce: "challenge", AccessToken: "token", JKT: signer.JKT(),
	}
	return r, dpop.PresentationParams{Audience: room, Nonce: "challenge", AccessToken: "token", IssuedAt: s.clock.now()}
}

func present(t testing.TB, signer *dpop.Signer, p dpop.PresentationParams) string {
	t.Helper()
	text, err := signer.Presentation(p)
	if err != nil {
		t.Fatalf("Presentation = %v", err)
	}
	return text
}

func TestPresentation(t *testing.T) {
	for _, nonces := range []bool{true, false} { // those of HTTP make no difference
		s, signer := newServer(t, nonces), newSigner(t, p256(t))
		r, params := shown(s, signer)
		params.JTI = "one"
		r.Presentation = present(t, signer, params)
		p, err := s.CheckPresentation(t.Context(), r)
		if err != nil {
			t.Fatalf("CheckPresentation = %v", err)
		}
		if p.Audience != room || p.Nonce != "challenge" || p.ATH != dpop.ATH("token") || p.JTI != "one" ||
			p.JKT != signer.JKT() || p.Alg != "ES256" || p.Key == nil || !p.IssuedAt.Equal(s.clock.now()) {
			t.Errorf("CheckPresentation = %+v", p)
		}
		if err := s.SpendPresentation(t.Context(), p, netip.Addr{}); err != nil {
			t.Errorf("SpendPresentation = %v", err)
		}
		err = s.SpendPresentation(t.Context(), p, netip.Addr{})
		wantRefused(t, "second SpendPresentation", err, "jti", dpop.ErrReplayed)

		// A proof with the same key and jti is another thing.
		proof, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.JTI = "one" }))
		if err == nil {
			err = s.Spend(t.Context(), proof, netip.Addr{})
		}
		if err != nil {
			t.Errorf("proof with the jti of a presentation = %v", err)
		}
	}
}

func TestPresentationSpendInParallel(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	r, params := shown(s, signer)
	r.Presentation = present(t, signer, params)
	var accepted atomic.Int32
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			p, err := s.CheckPresentation(context.Background(), r)
			if err != nil {
				t.Errorf("CheckPresentation = %v", err)
			} else if s.SpendPresentation(context.Background(), p, netip.Addr{}) == nil {
				accepted.Add(1)
			}
		})
	}
	group.Wait()
	if accepted.Load() != 1 {
		t.Errorf("a presentation was spent %d times, want 1", accepted.Load())
	}
}

func TestPresentationRefused(t *testing.T) {
	s, key := newServer(t, true), p256(t)
	signer := newSigner(t, key)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"typ": jose.TypePresentation, "alg": "ES256", "jwk": json.RawMessage(jwk)}
	claims := map[string]any{
		"aud": room, "nonce": "challenge", "ath": dpop.ATH("token"), "iat": s.clock.now().Unix(), "jti": "1",
	}
	for _, tt := range []struct {
		name string
		edit func(h, c map[string]any)
		part string // "": accepted
	}{
		{"nothing", func(h, c map[string]any) {}, ""},
		{"unknown members", func(h, c map[string]any) { h["x"], c["y"] = 1, []int{2} }, ""},
		{"exp and nbf", func(h, c map[string]any) { c["exp"], c["nbf"] = 1, 1<<40 }, ""},
		{"60 s old", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() - 60 }, ""},
		{"15 s ahead", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() + 15 }, ""},
		{"another of the verifier's names", func(h, c map[string]any) { c["aud"] = "im:example.org" }, ""},
		{"a proof", func(h, c map[string]any) { h["typ"] = jose.TypeProof }, "typ"},
		{"no typ", func(h, c map[string]any) { delete(h, "typ") }, "typ"},
		{"alg none", func(h, c map[string]any) { h["alg"] = "none" }, "alg"},
		{"no jwk", func(h, c map[string]any) { delete(h, "jwk") }, "jwk"},
		{"crit", func(h, c map[string]any) { h["crit"] = []string{"x"} }, "crit"},
		{"other audience", func(h, c map[string]any) { c["aud"] = "mimi://example.org/r/43" }, "aud"},
		{"audience in another case", func(h, c map[string]any) { c["aud"] = strings.ToUpper(room) }, "aud"},
		{"list of audiences", func(h, c map[string]any) { c["aud"] = []string{room} }, "aud"},
		{"no audience", func(h, c map[string]any) { delete(c, "aud") }, "aud"},
		{"other nonce", func(h, c map[string]any) { c["nonce"] = "challengf" }, "nonce"},
		{"no nonce", func(h, c map[string]any) { delete(c, "nonce") }, "nonce"},
		{"long nonce", func(h, c map[string]any) { c["nonce"] = strings.Repeat("n", 256) }, "nonce"},
		{"other token", func(h, c map[string]any) { c["ath"] = dpop.ATH("other") }, "ath"},
		{"no token", func(h, c map[string]any) { delete(c, "ath") }, "ath"},
		{"61 s old", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() - 61 }, "iat"},
		{"16 s ahead", func(h, c map[string]any) { c["iat"] = s.clock.now().Unix() + 16 }, "iat"},
		{"milliseconds", func(h, c map[string]any) { c["iat"] = s.clock.now().UnixMilli() }, "iat"},
		{"no iat", func(h, c map[string]any) { delete(c, "iat") }, "iat"},
		{"no jti", func(h, c map[string]any) { delete(c, "jti") }, "jti"},
		{"long jti", func(h, c map[string]any) { c["jti"] = strings.Repeat("j", 256) }, "jti"},
		{"claim in another case", func(h, c map[string]any) { c["Aud"] = room }, "payload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, c := maps.Clone(header), maps.Clone(claims)
			tt.edit(h, c)
			text := sign(t, key, h, c)
			r, _ := shown(s, signer)
			r.Presentation = text
			_, err := s.CheckPresentation(t.Context(), r)
			if tt.part != "" {
				wantRefused(t, "CheckPresentation", err, tt.part, dpop.ErrInvalidProof)
			} else if err != nil {
				t.Errorf("CheckPresentation = %v", err)
			}
		})
	}

	r, params := shown(s, signer)
	good := present(t, signer, params)
	for name, tt := range map[string]struct {
		text string
		part string
	}{
		"another key":    {present(t, newSigner(t, p256(t)), params), "jwk"},
		"bad signature":  {good[:len(good)-4] + "AAAA", "signature"},
		"two parts":      {good[:strings.LastIndexByte(good, '.')], "form"},
		"empty":          {"", "form"},
		"longer than 8k": {good + strings.Repeat("A", 8<<10), "size"},
		"request proof":  {s.make(t, signer, func(p *dpop.ProofParams) { p.AccessToken = "token" }), "typ"},
	} {
		r.Presentation = tt.text
		_, err := s.CheckPresentation(t.Context(), r)
		wantRefused(t, name, err, tt.part, dpop.ErrInvalidProof)
	}
	if _, err := s.check(good); err == nil {
		t.Error("Check accepted a presentation as a proof")
	} else {
		wantRefused(t, "Check of a presentation", err, "typ", dpop.ErrInvalidProof)
	}
}

// sign signs header and claims with an ES256 key, whatever they say.
func sign(t testing.TB, key *ecdsa.PrivateKey, header, claims any) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jose.Sign(key, jose.ES256, h, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What the caller left out, and a store that fails, are no verdict on the presentation.
func TestPresentationNoVerdict(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	good, params := shown(s, signer)
	good.Presentation = present(t, signer, params)
	for name, edit := range map[string]func(*dpop.PresentationRequest){
		"no audiences":    func(r *dpop.PresentationRequest) { r.Audiences = nil },
		"empty audience":  func(r *dpop.PresentationRequest) { r.Audiences = []string{room, ""} },
		"no nonce":        func(r *dpop.PresentationRequest) { r.Nonce = "" },
		"no access token": func(r *dpop.PresentationRequest) { r.AccessToken = "" },
		"no key":          func(r *dpop.PresentationRequest) { r.JKT = "" },
	} {
		r := good
		edit(&r)
		if p, err := s.CheckPresentation(t.Context(), r); err == nil || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("CheckPresentation with %s = %v, %v, want an error that is no verdict", name, p, err)
		}
	}

	p, err := s.CheckPresentation(t.Context(), good)
	if err != nil {
		t.Fatalf("CheckPresentation = %v", err)
	}
	gone := errors.New("connection refused")
	s.store.err = gone
	_, checked := s.CheckPresentation(t.Context(), good)
	for what, err := range map[string]error{
		"CheckPresentation": checked, "SpendPresentation": s.SpendPresentation(t.Context(), p, netip.Addr{}),
	} {
		if !errors.Is(err, gone) || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("%s = %v, want %v and no verdict", what, err, gone)
		}
	}
}

// A store that may have forgotten a presentation refuses it.
func TestPresentationAfterLoss(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	r, params := shown(s, signer)
	r.Presentation = present(t, signer, params)
	p, err := s.CheckPresentation(t.Context(), r)
	if err != nil {
		t.Fatalf("CheckPresentation = %v", err)
	}
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	wantRefused(t, "SpendPresentation", s.SpendPresentation(t.Context(), p, netip.Addr{}), "iat", dpop.ErrInvalidProof)
	_, err = s.CheckPresentation(t.Context(), r)
	wantRefused(t, "CheckPresentation", err, "iat", dpop.ErrInvalidProof)
}

func TestSignerPresentationNeedsAll(t *testing.T) {
	signer := newSigner(t, p256(t))
	for _, p := range []dpop.PresentationParams{
		{Nonce: "n", AccessToken: "t"}, {Audience: "a", AccessToken: "t"}, {Audience: "a", Nonce: "n"},
	} {
		if text, err := signer.Presentation(p); err == nil {
			t.Errorf("Presentation(%+v) = %q, want an error", p, text)
		}
	}
}

// FuzzPresentation signs whatever header and claims the fuzzer thinks of with the key that the token is bound to, or
// sends text as it is. What CheckPresentation accepts has one spelling, and every rule is true of it as another
// reader of JSON sees it.
func FuzzPresentation(f *testing.F) {
	seed := [32]byte{1}
	key := ed25519.NewKeyFromSeed(seed[:])
	signer := newSigner(f, key)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	s := newServer(f, false)
	r, params := shown(s, signer)
	header := `{"typ":"im-presentation+jwt","alg":"EdDSA","jwk":` + string(jwk) + `}`
	claims := fmt.Sprintf(`{"aud":"im:example.org","nonce":"challenge","ath":%q,"iat":%d,"jti":"1"}`,
		dpop.ATH("token"), s.clock.now().Unix())
	f.Add(header, claims, "")
	f.Add(strings.Replace(header, "im-presentation", "dpop", 1), claims, "")
	f.Add(header, strings.Replace(claims, `"jti"`, `"aud":"im:example.org","jti"`, 1), "")
	f.Add("", "", present(f, signer, params))
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		b64 := base64.RawURLEncoding
		if header != "" {
			input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
			text = input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
		}
		r := r
		r.Presentation = text
		p, err := s.CheckPresentation(context.Background(), r)
		if err != nil {
			var refused *dpop.ProofError
			if !errors.As(err, &refused) {
				t.Fatalf("CheckPresentation = %v, want a ProofError", err)
			}
			wantRefused(t, "CheckPresentation", err, refused.Part, dpop.ErrInvalidProof)
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
			AUD, Nonce, ATH, JTI string
			IAT                  float64
		}
		if err := errors.Join(json.Unmarshal(decoded[0], &h), json.Unmarshal(decoded[1], &c)); err != nil {
			t.Fatal(err)
		}
		age := s.clock.now().Sub(time.Unix(int64(c.IAT), 0))
		if h.Typ != "im-presentation+jwt" || h.Alg != p.Alg || h.Crit != nil || p.JKT != signer.JKT() ||
			c.AUD != p.Audience || c.AUD != room && c.AUD != "im:example.org" || c.Nonce != "challenge" ||
			c.ATH != dpop.ATH("token") || c.JTI != p.JTI || c.JTI == "" || len(c.JTI) > 255 ||
			age > time.Minute || age < -15*time.Second {
			t.Errorf("accepted %s %s", decoded[0], decoded[1])
		}
		if err := jose.Verify(p.Alg, key.Public(), []byte(parts[0]+"."+parts[1]), decoded[2]); err != nil {
			t.Errorf("Verify = %v", err)
		}
	})
}
