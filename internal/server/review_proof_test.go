package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// otherSignature replaces the signature of a proof by one that does not verify.
func otherSignature(proof string) string {
	return proof[:strings.LastIndexByte(proof, '.')+1] + strings.Repeat("A", 86)
}

// proofFor makes a proof for a request with nonce and token, by any key.
func (s *site) proofFor(t *testing.T, signer *dpop.Signer, method, path, nonce, token string) string {
	t.Helper()
	proof, err := signer.Proof(dpop.ProofParams{
		Method: method, URL: s.issuer + path, Nonce: nonce, IssuedAt: s.clock.now(), AccessToken: token,
	})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// TestReviewA3ClientBeforeProofSignature: an unknown client, and at /par a dpop_jkt that names another key, are refused
// before the signature of the proof is verified.
func TestReviewA3ClientBeforeProofSignature(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	for _, test := range []struct {
		path   string
		form   url.Values
		status int
		code   string
	}{
		{"/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {"nobody"}}, http.StatusUnauthorized, "invalid_client"},
		{"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {app.id}}, http.StatusBadRequest, "unauthorized_client"},
		{"/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {app.id}}, http.StatusBadRequest, "invalid_dpop_proof"},
		{"/par", authorization(url.Values{"client_id": {"nobody"}}), http.StatusUnauthorized, "invalid_client"},
		{"/par", authorization(url.Values{"dpop_jkt": {newDevice(t).JKT()}}), http.StatusBadRequest, "invalid_request"},
		{"/par", authorization(nil), http.StatusBadRequest, "invalid_dpop_proof"},
	} {
		proof := otherSignature(s.proofFor(t, d.Signer, http.MethodPost, test.path, s.nonce(t), ""))
		wantError(t, s.post(t, test.path, test.form, http.Header{"Dpop": {proof}}), test.status, test.code)
		// The nonce still comes first: a client learns it before anything else counts.
		proof = otherSignature(s.proofFor(t, d.Signer, http.MethodPost, test.path, "stale", ""))
		wantError(t, s.post(t, test.path, test.form, http.Header{"Dpop": {proof}}), http.StatusBadRequest, "use_dpop_nonce")
	}
}

// TestReviewA3RefusedProofsCount: wherever a proof is looked at, an address can have so many refused and no more,
// whether they are forged, by a key that is slow to verify, or with a stale nonce. Of stale nonces some are free.
func TestReviewA3RefusedProofsCount(t *testing.T) {
	s := start(t, limits("20/30s", "off", "off"))
	s.freeze(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := dpop.NewSigner(p521, "")
	if err != nil {
		t.Fatal(err)
	}
	address := 0
	for _, route := range []struct{ method, path string }{
		{"POST", "/introspect"}, {"GET", "/me/actors"}, {"POST", "/me/actors"}, {"POST", "/token"}, {"POST", "/par"},
	} {
		token, free := "", 0
		if route.path == "/introspect" || strings.HasPrefix(route.path, "/me/") {
			token = held.access
		}
		if route.path == "/introspect" || route.method == "GET" {
			free = 2 // a tenth
		}
		nonce := s.nonce(t)
		for _, test := range []struct {
			name, proof, code string
			want              int
		}{
			{"slow key", s.proofFor(t, slow, route.method, route.path, nonce, token), "invalid_dpop_proof", 20},
			{"forged", otherSignature(s.proofFor(t, d.Signer, route.method, route.path, nonce, token)), "invalid_dpop_proof", 20},
			{"stale nonce", s.proofFor(t, d.Signer, route.method, route.path, "stale", token), "use_dpop_nonce", 20 + free},
			{"no nonce", s.proofFor(t, d.Signer, route.method, route.path, "", token), "use_dpop_nonce", 20 + free},
		} {
			t.Run(fmt.Sprint(route.method, route.path, " ", test.name), func(t *testing.T) {
				address++
				send := func(from string) answer {
					form := url.Values{"grant_type": {"authorization_code"}, "client_id": {app.id}, "token": {"token"}}
					if route.path == "/par" {
						form = authorization(nil)
					}
					req := s.request(t, route.method, route.path, form.Encode())
					req.Header.Set("X-Forwarded-For", from)
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					req.Header.Set("DPoP", test.proof)
					if token != "" {
						req.Header.Set("Authorization", "DPoP "+token)
					}
					return s.send(t, s.http, req)
				}
				greedy := fmt.Sprintf("192.0.2.%d", address)
				for i := range test.want {
					if a := send(greedy); a.text("error") != test.code {
						t.Fatalf("answer %d = %v, want %s", i, a, test.code)
					}
				}
				wantLimited(t, send(greedy), false)
				if a := send("198.51.100.1"); address == 1 && a.text("error") != test.code {
					t.Errorf("answer to another address = %v, want %s", a, test.code)
				}
			})
		}
	}
}
