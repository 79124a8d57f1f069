package dpop_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

const wireTarget = "https://issuer.example/wire/access-token"

// wireParams are the claims of a good Wire proof, but for its nonce.
func wireParams(s *server) dpop.WireProofParams {
	return dpop.WireProofParams{
		Target: wireTarget, Audience: "https://ca.example/acme/wire/challenge/a/b", Challenge: "token",
		Device: "wireapp://CzbfFjDOQrenCbDxVmgnFw!594930e9d50bb175@wire.example", Handle: "wireapp://%40alice@wire.example", Name: "Alice Smith",
		Team: "red", IssuedAt: s.clock.now(),
	}
}

// checkWireProof makes all checks of a Wire proof but that it is used once.
func (s *server) checkWireProof(text string) (*dpop.WireProof, error) {
	u, err := s.ReadWireProof(context.Background(), text, wireTarget)
	if err != nil {
		return nil, err
	}
	return u.Verify()
}

func TestWireProof(t *testing.T) {
	for _, key := range []crypto.Signer{p256(t), ed25519.NewKeyFromSeed(make([]byte, 32))} {
		s, signer := newServer(t, true), newSigner(t, key)
		p := wireParams(s)
		p.Nonce = s.nonce(t)
		for _, team := range []string{"red", ""} {
			p.Team = team
			text, err := signer.WireProof(p)
			if err != nil {
				t.Fatalf("WireProof = %v", err)
			}
			u, err := s.ReadWireProof(t.Context(), text, wireTarget)
			if err != nil {
				t.Fatalf("ReadWireProof = %v", err)
			}
			w, err := u.Verify()
			if err != nil {
				t.Fatalf("Verify = %v", err)
			}
			if w.JKT != signer.JKT() || w.Device != p.Device || w.Handle != p.Handle || w.Name != p.Name || w.Team != team ||
				w.Audience != p.Audience || w.Challenge != p.Challenge || w.Nonce != p.Nonce || !w.IssuedAt.Equal(s.clock.now()) ||
				!w.Expires.Equal(s.clock.now().Add(5*time.Minute)) {
				t.Errorf("Verify = %+v", w)
			}
			if err := s.SpendWireProof(t.Context(), w, netip.Addr{}); err != nil {
				t.Errorf("SpendWireProof = %v", err)
			}
			wantRefused(t, "second SpendWireProof", s.SpendWireProof(t.Context(), w, netip.Addr{}), "jti", dpop.ErrReplayed)
			// A request with the same URL takes it for a proof only with the same nonces, which no server uses for both.
			_, err = s.checkWireProof(s.make(t, signer, func(p *dpop.ProofParams) { p.URL = wireTarget }))
			wantRefused(t, "ReadWireProof of a proof", err, "exp", dpop.ErrInvalidProof)
		}
	}
}

func TestWireProofNeedsNonces(t *testing.T) {
	s, signer := newServer(t, false), newSigner(t, p256(t))
	text, err := signer.WireProof(wireParams(s))
	if err != nil {
		t.Fatal(err)
	}
	var refused *dpop.ProofError
	if _, err := s.ReadWireProof(t.Context(), text, wireTarget); err == nil || errors.As(err, &refused) {
		t.Errorf("ReadWireProof without nonces = %v, want an error that is no refusal", err)
	}
}

// A store that fails is no verdict on the proof, and one that may have forgotten it asks for another nonce.
func TestWireProofStore(t *testing.T) {
	s, signer := newServer(t, true), newSigner(t, p256(t))
	p := wireParams(s)
	p.Nonce = s.nonce(t)
	text, err := signer.WireProof(p)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.checkWireProof(text)
	if err != nil {
		t.Fatalf("Wire proof = %v", err)
	}
	gone := errors.New("connection refused")
	s.store.err = gone
	_, checked := s.checkWireProof(text)
	for what, err := range map[string]error{"ReadWireProof": checked, "SpendWireProof": s.SpendWireProof(t.Context(), w, netip.Addr{})} {
		if !errors.Is(err, gone) || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("%s with a store that is gone = %v, want its error", what, err)
		}
	}
	s.store.err = nil
	s.store.current.Store(newMemory(t, 0, s.clock.now)) // it has forgotten
	wantRefused(t, "SpendWireProof in a new epoch", s.SpendWireProof(t.Context(), w, netip.Addr{}), "nonce", dpop.ErrUseNonce)
	_, err = s.checkWireProof(text)
	wantRefused(t, "ReadWireProof in a new epoch", err, "nonce", dpop.ErrUseNonce)
}

// FuzzWireProof signs any header and claims with a new key, or sends text as it is. An accepted Wire proof has one spelling, and its claims
// as another reader of JSON sees them are those that it is read with: there is none that step-ca would believe and the issuer not check.
func FuzzWireProof(f *testing.F) {
	f.Add("{}", `{"team":null}`, "")
	f.Add(`{"typ":"JWT"}`, `{"exp":1,"team":"blue"}`, "a.b.c")
	f.Add(`{"kid":"1"}`, `{"role":"admin"}`, "x")
	f.Add(`{"x":1}`, `{"Handle":"wireapp://%40bob@wire.example","aud":["a","b"]}`, "")
	f.Add(`{}`, `{"name":"\ud83d","nbf":1e300,"iat":1.5}`, "")
	f.Fuzz(func(t *testing.T, header, change, text string) {
		s, key := newServer(t, true), p256(t)
		now := s.clock.now().Unix()
		h := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": publicJWK(t, key.Public())}
		c := map[string]any{
			"jti": "1", "htm": "POST", "htu": wireTarget, "iat": now, "exp": now + 60, "nonce": s.nonce(t), "sub": "d", "aud": "a", "chal": "c",
			"handle": "h", "name": "n", "team": nil,
		}
		var dh, dc map[string]any
		if json.Unmarshal([]byte(header), &dh) == nil && json.Unmarshal([]byte(change), &dc) == nil {
			maps.Copy(h, dh)
			maps.Copy(c, dc)
		}
		if text == "" || strings.Count(text, ".") != 2 {
			text = sign(t, key, h, c)
		}
		w, err := s.checkWireProof(text)
		if err != nil {
			var refused *dpop.ProofError
			if !errors.As(err, &refused) {
				t.Fatalf("Wire proof = %v, want a ProofError", err)
			}
			return
		}
		jws, err := jose.ParseCompact(text, jose.Limits{})
		if err != nil || jws.Encode() != text || jws.Header.Kid != "" || jws.Header.Typ != "dpop+jwt" {
			t.Fatalf("accepted %q: %v", text, err)
		}
		var other map[string]any
		if err := json.Unmarshal(jws.Payload, &other); err != nil {
			t.Fatal(err)
		}
		read := map[string]string{
			"jti": w.JTI, "nonce": w.Nonce, "sub": w.Device, "aud": w.Audience, "chal": w.Challenge, "handle": w.Handle, "name": w.Name,
			"htm": "POST", "htu": wireTarget,
		}
		if w.Team != "" {
			read["team"] = w.Team
		}
		for name, value := range other {
			switch name {
			case "iat", "exp", "nbf":
			default:
				if text, is := value.(string); is && text != read[name] || !is && value != nil {
					t.Errorf("accepted %s with %s = %v, read as %q", jws.Payload, name, value, read[name])
				}
			}
		}
		if w.Expires.After(s.clock.now().Add(time.Hour)) || w.JKT == "" {
			t.Errorf("accepted %+v", w)
		}
	})
}
