package server_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/trust"
)

// nonceForKeys asks for a c_nonce. That never fails: see TestStoreFails.
func (s *site) nonceForKeys(t *testing.T) (nonce string) {
	t.Helper()
	s.faults.quietly(func() {
		nonce = s.send(t, s.http, s.request(t, http.MethodPost, "/credential/nonce", "")).text("c_nonce")
	})
	return nonce
}

// keyProof makes a good key proof.
func (s *site) keyProof(t *testing.T, key *dpop.Signer) string {
	t.Helper()
	text, err := key.KeyProof(dpop.KeyProofParams{Audience: s.issuer, Client: wallet.id, Nonce: s.nonceForKeys(t), IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keyProofs makes a good key proof by each of n new keys.
func (s *site) keyProofs(t *testing.T, n int) (proofs []string) {
	t.Helper()
	for range n {
		proofs = append(proofs, s.keyProof(t, newDevice(t).Signer))
	}
	return proofs
}

// askCredentials asks for a credential for each key proof.
func (s *site) askCredentials(t *testing.T, d *device, token string, proofs ...string) answer {
	t.Helper()
	return s.held(t, d, token, http.MethodPost, "/credential", object{
		"credential_configuration_id": "im-device", "proofs": object{"jwt": proofs},
	})
}

// wantCredentials wants n credentials.
func wantCredentials(t *testing.T, a answer, n int) (list []string) {
	t.Helper()
	var got struct {
		Credentials []struct{ Credential string }
	}
	if a.status == http.StatusOK {
		decode(t, []byte(a.body), &got)
	}
	if a.status != http.StatusOK || len(got.Credentials) != n {
		t.Fatalf("answer = %v, want %d credentials", a, n)
	}
	wantNotStored(t, a)
	for _, c := range got.Credentials {
		list = append(list, c.Credential)
	}
	return list
}

// wantDenied wants a credential request to be refused, with a code of OpenID4VCI 1.0 §8.3.1.2.
func wantDenied(t *testing.T, a answer, code string) {
	t.Helper()
	wantError(t, a, http.StatusBadRequest, code)
	if a.json["credentials"] != nil {
		t.Errorf("answer = %v with credentials", a)
	}
}

// verifyCredential verifies a credential as its holder does, who knows nothing but the URL of the issuer.
func (s *site) verifyCredential(t *testing.T, text string) (credential.Credential, error) {
	t.Helper()
	var peers []trust.Peer
	for _, domain := range []string{"example.com", "generic.example", "wxyz.example", "wire.example", "xmpp.example", "mimi.example"} {
		peers = append(peers, trust.Peer{Domain: domain, Issuer: s.issuer})
	}
	table, err := trust.NewTable(trust.Config{
		Peers: peers, Client: s.http, ForeignClient: s.http, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: s.http, Bits: 2, AllowHTTP: true, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return sdjwt.Verify(t.Context(), text, sdjwt.Options{
		Options:        credential.Options{Issuers: table, Status: status, Now: s.clock.now, Development: true},
		WithoutBinding: true,
	})
}

// liveCredentials counts the credentials of a device that have neither expired nor ended.
func (s *site) liveCredentials(t *testing.T, device claims.ID) int {
	t.Helper()
	n, err := s.store.CountCredentials(t.Context(), device.Domain(), device.Device(), string(credential.SDJWT), s.clock.now(),
		storage.CredentialCount{Live: 100})
	if err != nil {
		t.Fatal(err)
	}
	return n.Live
}

// TestCredential gets credentials for keys of both kinds and for the key of the device itself, as a wallet does that asks for nothing
// else: without a resource, and with the scope that the metadata names.
func TestCredential(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {wallet.id}, "scope": {"im:credential"}})
	held := wantTokens(t, s.token(t, wallet, phone, codeForm(code, nil)))
	if set := held.set; set.Scope != "im:credential" || len(set.Audience) != 1 || set.Audience[0] != s.issuer || set.Device == "" || set.Handle != "" {
		t.Fatalf("token = %+v, want one for the issuer alone, with the device and without the handle", set)
	}
	alice := s.account(t, phone, "alice").set
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := dpop.NewSigner(private, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]struct {
		signer *dpop.Signer
		public crypto.PublicKey
	}{
		"the device's own": {phone.Signer, phone.key.Public()}, "Ed25519": {other, private.Public()},
	} {
		t.Run(name, func(t *testing.T) {
			var a answer
			events := s.audited(func() { a = s.askCredentials(t, phone, held.access, s.keyProof(t, key.signer)) })
			text := wantCredentials(t, a, 1)[0]
			c, err := s.verifyCredential(t, text)
			if err != nil {
				t.Fatalf("Verify = %v", err)
			}
			if c.Format != credential.SDJWT || c.Issuer != s.issuer || c.Identity.User.String() != alice.Subject ||
				c.Identity.Handle.String() != alice.Handle || c.Identity.Device.String() != held.set.Device || c.JKT != key.signer.JKT() ||
				!c.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.public) || !c.Checked {
				t.Errorf("credential = %+v, want one of alice's phone for the key", c)
			}
			if now := s.clock.now(); c.Until.Sub(c.From) != 30*24*time.Hour || now.Sub(c.From).Abs() > time.Minute {
				t.Errorf("it is valid from %v to %v, want 30 days from now on", c.From, c.Until)
			}
			row, err := s.store.Credential(t.Context(), c.ID)
			if err != nil || row.User != deviceOf(t, held).Local() || row.Device != deviceOf(t, held).Device() || row.JKT != c.JKT ||
				row.Handle != "alice" || !row.ExpiresAt.Equal(c.Until) || row.Status.Index != int(c.Status.Index) {
				t.Errorf("row = %+v, %v, want that of the credential", row, err)
			}
			want := fmt.Sprintf("event=credential.issued actor=user domain=example.com user=%s device=%s client=wallet session=%s credential=%s id=%s address=127.0.0.1",
				row.User, row.Device, held.set.SID, c.ID, a.header.Get("X-Request-Id"))
			if len(events) != 1 || !sameWords(events[0], want) {
				t.Errorf("events = %q, want %q", events, want)
			}
			// It states the type, and hides the handle alone.
			jws, err := jose.ParseCompact(text[:strings.IndexByte(text, '~')], jose.Limits{})
			if err != nil || jws.Header.Typ != "dc+sd-jwt" || jws.Header.Kid == "" || strings.Contains(string(jws.Payload), "alice") {
				t.Errorf("issuer-signed JWT = %s (%v), want a dc+sd-jwt with a kid and without the handle", jws.Payload, err)
			}
		})
	}

	// Five keys get five credentials; the device has two already. The order is that of the proofs.
	tablet := newDevice(t)
	second := s.forCredentials(t, tablet, s.inWallet(t, tablet, "alice"))
	var proofs, jkts []string
	for range 5 {
		d := newDevice(t)
		proofs, jkts = append(proofs, s.keyProof(t, d.Signer)), append(jkts, d.JKT())
	}
	seen := make(map[string]bool)
	for i, text := range wantCredentials(t, s.askCredentials(t, tablet, second, proofs...), 5) {
		c, err := s.verifyCredential(t, text)
		if err != nil || c.JKT != jkts[i] || seen[c.ID] || seen[fmt.Sprint(*c.Status)] {
			t.Errorf("credential %d = %+v, %v, want one of its own for key %d", i, c, err, i)
		}
		seen[c.ID], seen[fmt.Sprint(*c.Status)] = true, true
	}

	// A sixth is refused until one has ended. The same key may have another credential of the same device.
	wantDenied(t, s.askCredentials(t, tablet, second, s.keyProof(t, newDevice(t).Signer)), "credential_request_denied")
	wantDenied(t, s.askCredentials(t, phone, held.access, s.keyProofs(t, 4)...), "credential_request_denied")
	err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: "example.com", Device: deviceOf(t, tokens{set: claimsOf(t, second)}).Device(), JKT: jkts[0]}, s.clock.now(), "test")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.freeze(t)
	s.advance(t, time.Second) // another iat
	wantCredentials(t, s.askCredentials(t, phone, held.access, s.keyProof(t, phone.Signer)), 1)
	wantCredentials(t, s.askCredentials(t, tablet, second, s.keyProofs(t, 1)...), 1)
}

// TestCredentialSystems gets a credential in a domain of each identifier system. It says what the access token says.
func TestCredentialSystems(t *testing.T) {
	s := start(t, nil)
	for _, domain := range []string{"generic.example", "wxyz.example", "wire.example", "xmpp.example", "mimi.example"} {
		t.Run(domain, func(t *testing.T) {
			d := newDevice(t)
			code := s.code(t, "alice", url.Values{
				"client_id": {manyApp.id}, "im_domain": {domain}, "scope": {"im:handle im:device im:credential"}, "resource": {s.issuer},
			})
			held := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
			proof, err := d.KeyProof(dpop.KeyProofParams{
				Audience: s.issuer, Client: manyApp.id, Nonce: s.nonceForKeys(t), IssuedAt: s.clock.now(),
			})
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.verifyCredential(t, wantCredentials(t, s.askCredentials(t, d, held.access, proof), 1)[0])
			if err != nil {
				t.Fatalf("Verify = %v", err)
			}
			own, err := held.set.Identity()
			if err != nil || c.Identity != own {
				t.Errorf("credential about %+v, want %+v (%v)", c.Identity, own, err)
			}
		})
	}
}

// TestCredentialMetadata holds what wallets and verifiers learn of the issuer, at both places where the specifications put it.
func TestCredentialMetadata(t *testing.T) {
	s := start(t, map[string]string{"prefix": "/id"})
	origin := strings.TrimSuffix(s.issuer, "/id")
	want := fmt.Sprintf(`{"credential_issuer":%[1]q,"credential_endpoint":"%[2]s/credential","nonce_endpoint":"%[2]s/credential/nonce",`+
		`"batch_credential_issuance":{"batch_size":5},"credential_configurations_supported":{"im-device":{"format":"dc+sd-jwt",`+
		`"scope":"im:credential","vct":"tag:imidentity.github.io,2026:im-device:1","cryptographic_binding_methods_supported":["jwk"],`+
		`"credential_signing_alg_values_supported":["ES256"],"credential_metadata":{"display":[{"name":"Device"}]},`+
		`"proof_types_supported":{"jwt":{"proof_signing_alg_values_supported":["ES256","EdDSA","Ed25519","ES384"]}}},`+
		`"im-device-cwt":{"format":"im-sd-cwt","scope":"im:credential","vct":"tag:imidentity.github.io,2026:im-device:1",`+
		`"cryptographic_binding_methods_supported":["cose_key"],"credential_signing_alg_values_supported":["ES256"],`+
		`"credential_metadata":{"display":[{"name":"Device, as a CWT"}]},`+
		`"proof_types_supported":{"jwt":{"proof_signing_alg_values_supported":["ES256","EdDSA","Ed25519"]}}}}}`, s.issuer, s.issuer)
	for at, want := range map[string]string{
		"openid-credential-issuer": want,
		"jwt-vc-issuer":            fmt.Sprintf(`{"issuer":%q,"jwks_uri":"%s/jwks"}`, s.issuer, s.issuer),
	} {
		for _, path := range []string{origin + "/.well-known/" + at + "/id", s.issuer + "/.well-known/" + at} {
			a := s.get(t, path)
			if a.status != http.StatusOK || a.body != want || a.header.Get("Content-Type") != "application/json" ||
				a.header.Get("Cache-Control") != "public, max-age=300" || a.header.Get("DPoP-Nonce") != "" {
				t.Errorf("%s = %v %v, want %s", path, a, a.header, want)
			}
		}
		if a := s.get(t, origin+"/.well-known/"+at); a.status != http.StatusNotFound {
			t.Errorf("the metadata of another issuer of the host = %v, want 404", a)
		}
	}
}

// TestCredentialNonce holds the nonce endpoint to OpenID4VCI 1.0 §7.
func TestCredentialNonce(t *testing.T) {
	for _, nonces := range []string{"required", "off"} {
		t.Run(nonces, func(t *testing.T) {
			s := start(t, map[string]string{"nonce": nonces})
			s.freeze(t)
			s.advance(t, time.Minute) // without nonces, DPoP proofs must be younger than the process
			a := s.send(t, s.http, s.request(t, http.MethodPost, "/credential/nonce", ""))
			nonce := a.text("c_nonce")
			if a.status != http.StatusOK || len(nonce) < 22 || a.header.Get("Cache-Control") != "no-store" ||
				a.header.Get("Content-Type") != "application/json" || (a.header.Get("DPoP-Nonce") != "") != (nonces == "required") {
				t.Errorf("answer = %v %v, want a c_nonce", a, a.header)
			}
			// The nonces of the two kinds are not each other's.
			if nonce == s.nonce(t) {
				t.Error("c_nonce is the nonce of DPoP proofs")
			}
			wantStatus(t, s.get(t, "/credential/nonce"), http.StatusMethodNotAllowed)
			phone := newDevice(t)
			own := s.forCredentials(t, phone, s.inWallet(t, phone, "alice"))
			prove := func(nonce string) string {
				text, err := phone.KeyProof(dpop.KeyProofParams{Audience: s.issuer, Nonce: nonce, IssuedAt: s.clock.now()})
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			if nonces == "required" {
				wantDenied(t, s.askCredentials(t, phone, own, prove(s.nonce(t))), "invalid_nonce")
			}
			wantDenied(t, s.askCredentials(t, phone, own, prove("")), "invalid_proof")
			wantCredentials(t, s.askCredentials(t, phone, own, prove(nonce)), 1)
			s.advance(t, time.Minute) // it is good for the next minute, too
			wantCredentials(t, s.askCredentials(t, phone, own, prove(nonce)), 1)
			s.advance(t, time.Minute)
			wantDenied(t, s.askCredentials(t, phone, own, prove(nonce)), "invalid_nonce")
			// A restart forgets the spent proofs in memory, and with them the nonces.
			nonce = s.nonceForKeys(t)
			spent := prove(nonce)
			wantCredentials(t, s.askCredentials(t, phone, own, spent), 1)
			s.restart(t, nil)
			s.advance(t, 20*time.Second)
			wantDenied(t, s.askCredentials(t, phone, own, spent), "invalid_nonce")
		})
	}
}

// TestCredentialTokenRefused holds which access tokens get credentials.
func TestCredentialTokenRefused(t *testing.T) {
	c := startCast(t)
	s := c.site
	phone, gone, out := newDevice(t), newDevice(t), newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	claimed := func(change func(set *claims.Set)) string {
		set := claimsOf(t, own)
		set.JTI += "x"
		change(&set)
		return s.signs(t, set)
	}
	removed, left := s.inWallet(t, gone, "alice"), s.inWallet(t, out, "alice")
	goneToken, outToken := s.forCredentials(t, gone, removed), s.forCredentials(t, out, left)
	s.remove(t, removed.set.Device)
	wantStatus(t, s.revoke(t, wallet, left.refresh), http.StatusOK)
	revoked := s.forCredentials(t, phone, held)
	wantStatus(t, s.revokeBy(t, wallet, phone, revoked), http.StatusOK)
	form := s.walletRefresh(held, "im:credential")
	form["resource"] = []string{s.issuer, "im:example.com"}
	both := wantTokens(t, s.token(t, wallet, phone, form))
	if both.set.Device != "" {
		t.Errorf("a token that others see = %+v, want no device without the scope im:device", both.set)
	}
	proof, err := newDevice(t).KeyProof(dpop.KeyProofParams{Audience: s.issuer, Nonce: s.nonceForKeys(t), IssuedAt: s.clock.now()}) // without iss
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		d      *device
		token  string
		status int
		code   string
	}{
		{"for the domain", phone, held.access, 401, "invalid_token"},
		{"for the issuer and others", phone, both.access, 401, "invalid_token"},
		{"for the issuer in other letters", phone, claimed(func(set *claims.Set) { set.Audience = []string{s.issuer + "/"} }), 401, "invalid_token"},
		{"without the scope", phone, wantTokens(t, s.token(t, wallet, phone, s.walletRefresh(held, "account"))).access, 403, "insufficient_scope"},
		{"of a service", c.machine, claimed(func(set *claims.Set) {
			*set = claims.Set{
				Issuer: set.Issuer, Subject: bot.id, ClientID: bot.id, Audience: set.Audience, Scope: set.Scope, JTI: "service",
				IssuedAt: set.IssuedAt, Expires: set.Expires, JKT: c.machine.JKT(),
			}
		}), 401, "invalid_token"},
		{"of one who acts", phone, claimed(func(set *claims.Set) { set.Actor = &claims.Actor{Subject: bot.id, Issuer: s.issuer, ClientID: bot.id} }), 401, "invalid_token"},
		{"with enclosed tokens", phone, s.nestedForCredentials(t, c, phone, held), 401, "invalid_token"},
		{"without a device", phone, claimed(func(set *claims.Set) { set.Device = "" }), 401, "invalid_token"},
		{"of another device", phone, claimed(func(set *claims.Set) { set.Device = c.alice.set.Device }), 401, "invalid_token"},
		{"of another session", phone, claimed(func(set *claims.Set) { set.SID = c.bob.set.SID }), 401, "invalid_token"},
		{"of a session that never was", phone, claimed(func(set *claims.Set) { set.SID = "none" }), 401, "invalid_token"},
		{"of another client", phone, claimed(func(set *claims.Set) { set.ClientID = accounts.id }), 401, "invalid_token"},
		{"of another generation", phone, claimed(func(set *claims.Set) { set.Gen++ }), 401, "invalid_token"},
		{"of another issuer", phone, c.vouch.vouches(t, phone.JKT(), s.issuer, func(set *claims.Set) { set.Scope = "im:credential" }), 401, "invalid_token"},
		{"of a removed device", gone, goneToken, 401, "invalid_token"},
		{"of a session that is over", out, outToken, 401, "invalid_token"},
		{"that was revoked", phone, revoked, 401, "invalid_token"},
		{"with another key", c.bobs, own, 401, "invalid_token"},
		{"a refresh token", phone, held.refresh, 401, "invalid_token"},
		{"a key proof", phone, proof, 401, "invalid_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantRefused(t, s.askCredentials(t, test.d, test.token, proof), test.status, test.code)
		})
	}
	body := `{"credential_configuration_id":"im-device","proofs":{"jwt":["` + proof + `"]}}`
	ask := func(change func(h http.Header)) answer {
		req := s.request(t, http.MethodPost, "/credential", body)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodPost, "/credential", s.nonce(t), own))
		change(req.Header)
		return s.send(t, s.http, req)
	}
	for name, test := range map[string]struct {
		change func(h http.Header)
		code   string
	}{
		"as a bearer":     {func(h http.Header) { h.Set("Authorization", "Bearer "+own) }, "invalid_token"},
		"without a proof": {func(h http.Header) { h.Del("DPoP") }, "invalid_dpop_proof"},
		"with two proofs": {func(h http.Header) { h.Add("DPoP", h.Get("DPoP")) }, "invalid_dpop_proof"},
		"with an old nonce": {func(h http.Header) {
			h.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodPost, "/credential", "old", own))
		}, "use_dpop_nonce"},
		"with a c_nonce": {func(h http.Header) {
			h.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodPost, "/credential", s.nonceForKeys(t), own))
		}, "use_dpop_nonce"},
		"with another path": {func(h http.Header) {
			h.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodPost, "/credential/nonce", s.nonce(t), own))
		}, "invalid_dpop_proof"},
		"with another method": {func(h http.Header) {
			h.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodGet, "/credential", s.nonce(t), own))
		}, "invalid_dpop_proof"},
		"for another token": {func(h http.Header) {
			h.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodPost, "/credential", s.nonce(t), held.access))
		}, "invalid_dpop_proof"},
		"with a key proof there": {func(h http.Header) { h.Set("DPoP", proof) }, "invalid_dpop_proof"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, ask(test.change), http.StatusUnauthorized, test.code) })
	}
	if a := ask(func(h http.Header) { h.Del("Authorization") }); a.status != http.StatusUnauthorized || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "DPoP ") {
		t.Errorf("without a token = %v, want 401 DPoP", a)
	}
	// Nothing of all that has spent the key proof.
	wantCredentials(t, ask(func(http.Header) {}), 1)
	if n := s.liveCredentials(t, deviceOf(t, held)); n != 1 {
		t.Errorf("%d credentials, want one", n)
	}
}

// nestedForCredentials returns a token with the scope for credentials that encloses another.
func (s *site) nestedForCredentials(t *testing.T, c *cast, d *device, held tokens) string {
	t.Helper()
	set := claimsOf(t, s.forCredentials(t, d, held))
	set.JTI += "n"
	set.Tokens = json.RawMessage(`[{"type":"jwt","rel":"member_of","token":"` + c.member(t, nil).token + `"}]`)
	return s.signs(t, set)
}

// TestCredentialProofRefused holds which key proofs are refused, and that this spends none of a request.
func TestCredentialProofRefused(t *testing.T) {
	s := start(t, nil)
	phone, key := newDevice(t), newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	now := s.clock.now().Unix()
	sign := func(change func(h, c object)) string {
		t.Helper()
		jwk, err := jose.MarshalJWK(key.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		h := object{"typ": "openid4vci-proof+jwt", "alg": "ES256", "jwk": json.RawMessage(jwk)}
		c := object{"aud": s.issuer, "iat": now, "nonce": s.nonceForKeys(t)}
		change(h, c)
		text, err := jose.Sign(key.key, jose.ES256, encode(h), encode(c))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(func(object, object) {})
	beside := s.keyProof(t, newDevice(t).Signer) // good, in the same request
	for _, test := range []struct {
		name, code string
		change     func(h, c object)
	}{
		{"other typ", "invalid_proof", func(h, c object) { h["typ"] = "JWT" }},
		{"a DPoP proof", "invalid_proof", func(h, c object) { h["typ"] = "dpop+jwt" }},
		{"no typ", "invalid_proof", func(h, c object) { delete(h, "typ") }},
		{"alg none", "invalid_proof", func(h, c object) { h["alg"] = "none" }},
		{"HMAC", "invalid_proof", func(h, c object) { h["alg"] = "HS256" }},
		{"alg of another key", "invalid_proof", func(h, c object) { h["alg"] = "EdDSA" }},
		{"kid", "invalid_proof", func(h, c object) { h["kid"] = "did:key:x" }},
		{"kid alone", "invalid_proof", func(h, c object) { h["kid"] = "did:key:x"; delete(h, "jwk") }},
		{"x5c", "invalid_proof", func(h, c object) { h["x5c"] = []string{"MII"} }},
		{"private key", "invalid_proof", func(h, c object) {
			d, err := key.key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			jwk := object{}
			decode(t, h["jwk"].(json.RawMessage), &jwk)
			jwk["d"] = d
			h["jwk"] = jwk
		}},
		{"jwk of another key", "invalid_proof", func(h, c object) {
			jwk, err := jose.MarshalJWK(newKey(t).Public())
			if err != nil {
				t.Fatal(err)
			}
			h["jwk"] = json.RawMessage(jwk)
		}},
		{"other audience", "invalid_proof", func(h, c object) { c["aud"] = "https://other.example" }},
		{"a slash more", "invalid_proof", func(h, c object) { c["aud"] = s.issuer + "/" }},
		{"audiences", "invalid_proof", func(h, c object) { c["aud"] = []string{s.issuer} }},
		{"no audience", "invalid_proof", func(h, c object) { delete(c, "aud") }},
		{"no iat", "invalid_proof", func(h, c object) { delete(c, "iat") }},
		{"iat of last week", "invalid_proof", func(h, c object) { c["iat"] = now - 7*86400 }},
		{"expired", "invalid_proof", func(h, c object) { c["exp"] = now - 3600 }},
		{"no nonce", "invalid_proof", func(h, c object) { delete(c, "nonce") }},
		{"nonce of nobody", "invalid_nonce", func(h, c object) { c["nonce"] = "wKI4LT17ac15ES9bw8ac4" }},
		{"nonce for DPoP", "invalid_nonce", func(h, c object) { c["nonce"] = s.nonce(t) }},
		{"another client", "invalid_proof", func(h, c object) { c["iss"] = app.id }},
		{"repeated claim", "invalid_proof", func(h, c object) { c["Aud"] = s.issuer }},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := sign(test.change)
			wantDenied(t, s.askCredentials(t, phone, own, bad), test.code)
			a := s.askCredentials(t, phone, own, beside, bad)
			wantDenied(t, a, test.code)
			if !strings.Contains(a.text("error_description"), "proof 2") {
				t.Errorf("error_description = %q, want the number of the proof", a.text("error_description"))
			}
		})
	}
	for name, proofs := range map[string][]string{
		"no JWT":               {"x"},
		"empty":                {""},
		"another signature":    {good[:len(good)-8] + "AAAAAAAA"},
		"too long":             {good + strings.Repeat("A", 8<<10)},
		"twice":                {good, good},
		"one key twice":        {good, sign(func(h, c object) { c["x"] = 1 })},
		"none":                 {},
		"six":                  s.keyProofs(t, 6),
		"an access token":      {own},
		"a DPoP proof of ours": {s.proof(t, phone, "")},
	} {
		t.Run(name, func(t *testing.T) { wantDenied(t, s.askCredentials(t, phone, own, proofs...), "invalid_proof") })
	}
	t.Run("request", func(t *testing.T) { s.refusedCredentialRequests(t, phone, own, good) })
	// Each of the good ones is good once.
	wantCredentials(t, s.askCredentials(t, phone, own, good, beside), 2)
	for _, spent := range []string{good, beside} {
		a := s.askCredentials(t, phone, own, spent)
		wantDenied(t, a, "invalid_proof")
		if !strings.Contains(a.text("error_description"), "used before") {
			t.Errorf("error_description = %q, want that it was used before", a.text("error_description"))
		}
	}
	if n := s.liveCredentials(t, deviceOf(t, held)); n != 2 {
		t.Errorf("%d credentials, want two", n)
	}
}

// refusedCredentialRequests sends requests with a good key proof that are refused for something else.
func (s *site) refusedCredentialRequests(t *testing.T, d *device, own, proof string) {
	t.Helper()
	good := `{"credential_configuration_id":"im-device","proofs":{"jwt":["` + proof + `"]}}`
	for _, test := range []struct{ name, body, code string }{
		{"unknown configuration", strings.Replace(good, "im-device", "im-devices", 1), "unknown_credential_configuration"},
		{"identifier", strings.Replace(good, "credential_configuration_id", "credential_identifier", 1), "unknown_credential_identifier"},
		{"encryption", good[:len(good)-1] + `,"credential_response_encryption":{"jwk":{"kty":"EC"},"enc":"A128GCM"}}`, "invalid_encryption_parameters"},
		{"repeated member", good[:len(good)-1] + `,"proofs":{"jwt":["x"]}}`, "invalid_credential_request"},
		{"other case", strings.Replace(good, `"proofs"`, `"Proofs"`, 1), "invalid_credential_request"},
		{"no JSON", "credential_configuration_id=im-device", "invalid_credential_request"},
		{"nothing", "", "invalid_credential_request"},
		{"no proofs", `{"credential_configuration_id":"im-device"}`, "invalid_proof"},
	} {
		a := s.held(t, d, own, http.MethodPost, "/credential", rawBody(test.body))
		if wantDenied(t, a, test.code); t.Failed() {
			t.Fatal(test.name)
		}
	}
	large := good[:len(good)-1] + `,"x":"` + strings.Repeat("x", 64<<10) + `"}`
	wantError(t, s.held(t, d, own, http.MethodPost, "/credential", rawBody(large)), http.StatusRequestEntityTooLarge, "invalid_request")
	for _, contentType := range []string{"application/jwt", "text/plain", ""} {
		req := s.request(t, http.MethodPost, "/credential", good)
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", s.proofFor(t, d.Signer, http.MethodPost, "/credential", s.nonce(t), own))
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		wantDenied(t, s.send(t, s.http, req), "invalid_credential_request")
	}
	req := s.request(t, http.MethodPost, "/credential?x=1", good)
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Authorization": {"DPoP " + own},
		"Dpop": {s.proofFor(t, d.Signer, http.MethodPost, "/credential", s.nonce(t), own)},
	}
	wantDenied(t, s.send(t, s.http, req), "invalid_credential_request")
}

// TestCredentialKeys holds that no key belongs to two devices of a domain, also after they have gone.
func TestCredentialKeys(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs, gone, old, next := newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	own := s.forCredentials(t, phone, s.inWallet(t, phone, "alice"))
	hers := s.inWallet(t, tablet, "alice")
	his := s.inWallet(t, bobs, "bob")
	s.remove(t, s.inWallet(t, gone, "alice").set.Device)
	s.rekeyed(t, old, next, s.account(t, old, "bob"))
	leaf, theirs := newDevice(t), newDevice(t)
	wantCredentials(t, s.askCredentials(t, tablet, s.forCredentials(t, tablet, hers), s.keyProof(t, leaf.Signer)), 1)
	wantCredentials(t, s.askCredentials(t, bobs, s.forCredentials(t, bobs, his), s.keyProof(t, theirs.Signer)), 1)
	for name, key := range map[string]*device{
		"of another device of hers": tablet, "of another user": bobs, "of a removed device": gone, "that was replaced": old,
		"that replaced one": next, "of a credential of another device": leaf, "of a credential of another user": theirs,
	} {
		a := s.askCredentials(t, phone, own, s.keyProof(t, newDevice(t).Signer), s.keyProof(t, key.Signer))
		wantDenied(t, a, "invalid_proof")
		if words := a.text("error_description"); !strings.Contains(words, "proof 2") || !strings.Contains(words, "make a new key") {
			t.Errorf("%s: error_description = %q, want which and what to do", name, words)
		}
	}
	// A former key of the device itself is no key of it any more.
	carol := s.inWallet(t, next, "bob")
	wantDenied(t, s.askCredentials(t, next, s.forCredentials(t, next, carol), s.keyProof(t, old.Signer)), "invalid_proof")
	wantCredentials(t, s.askCredentials(t, next, s.forCredentials(t, next, carol), s.keyProof(t, next.Signer)), 1)
	if n := s.liveCredentials(t, deviceOf(t, tokens{set: claimsOf(t, own)})); n != 0 {
		t.Errorf("%d credentials of the phone, want none", n)
	}
}

// TestCredentialRaced sends one key proof many times at once, more requests than a device may have credentials, and a key that two
// devices share.
func TestCredentialRaced(t *testing.T) {
	for name, test := range map[string]struct {
		fill    func(t *testing.T) map[string]string
		further int
	}{
		"one node on SQLite":      {func(*testing.T) map[string]string { return make(map[string]string) }, 0},
		"two nodes on PostgreSQL": {onPostgres, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fill := test.fill(t)
			fill["limits"] = ", per_user: off, per_user_client: off"
			s := start(t, fill)
			s.freeze(t) // nonces are the same at all nodes
			s.balance(t, test.further)
			s.raceForCredentials(t)
		})
	}
}

func (s *site) raceForCredentials(t *testing.T) {
	t.Helper()
	phone, tablet := newDevice(t), newDevice(t)
	held, hers := s.inWallet(t, phone, "alice"), s.inWallet(t, tablet, "alice")
	own, other := s.forCredentials(t, phone, held), s.forCredentials(t, tablet, hers)
	race := func(n int, ask func(i int) answer, refusals ...string) (won int) {
		t.Helper()
		answers := make([]answer, n)
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() { answers[i] = ask(i) })
		}
		group.Wait()
		for _, a := range answers {
			switch {
			case a.status == http.StatusOK:
				won++
			case a.status != http.StatusBadRequest || !strings.Contains(strings.Join(refusals, " "), a.text("error")):
				t.Errorf("answer = %v, want 200 or 400 with one of %q", a, refusals)
			}
		}
		return won
	}
	same := s.keyProof(t, newDevice(t).Signer)
	if won := race(8, func(int) answer { return s.askCredentials(t, phone, own, same) }, "invalid_proof"); won != 1 {
		t.Errorf("one key proof got %d credentials, want one", won)
	}
	proofs := s.keyProofs(t, 8)
	if won := race(8, func(i int) answer { return s.askCredentials(t, phone, own, proofs[i]) }, "credential_request_denied"); won != 4 {
		t.Errorf("the device got %d more credentials, want four", won)
	}
	if n := s.liveCredentials(t, deviceOf(t, held)); n != 5 {
		t.Errorf("%d credentials, want five", n)
	}
	third := newDevice(t)
	last := s.inWallet(t, third, "alice")
	tokens := []string{other, s.forCredentials(t, third, last)}
	devices := []*device{tablet, third}
	shared := newDevice(t)
	both := []string{s.keyProof(t, shared.Signer), ""}
	text, err := shared.KeyProof(dpop.KeyProofParams{Audience: s.issuer, Nonce: s.nonceForKeys(t), IssuedAt: s.clock.now().Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	both[1] = text
	if won := race(2, func(i int) answer { return s.askCredentials(t, devices[i], tokens[i], both[i]) }, "invalid_proof"); won != 1 {
		t.Errorf("%d devices got a credential for one key, want one", won)
	}
}

// TestCredentialMeanwhile changes what a credential says between what is read and what is written: none is given out.
func TestCredentialMeanwhile(t *testing.T) {
	s := start(t, nil)
	for name, change := range map[string]func(t *testing.T, held tokens){
		"device removed": func(t *testing.T, held tokens) { s.remove(t, held.set.Device) },
		"session ended":  func(t *testing.T, held tokens) { wantStatus(t, s.revoke(t, wallet, held.refresh), http.StatusOK) },
		"user disabled":  func(t *testing.T, held tokens) { wantStatus(t, s.disable(t, deviceOf(t, held).Local()), http.StatusOK) },
		"user renamed": func(t *testing.T, held tokens) {
			s.rename(t, deviceOf(t, held).Local(), "renamed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			phone := newDevice(t)
			s.namesake(t, "person "+name, strings.ReplaceAll(name, " ", "-"))
			held := s.inWallet(t, phone, "alice")
			own := s.forCredentials(t, phone, held)
			proof := s.keyProof(t, newDevice(t).Signer)
			s.faults.beforeUpdate(func() { change(t, held) })
			wantRefused(t, s.askCredentials(t, phone, own, proof), http.StatusUnauthorized, "invalid_token")
			if n := s.liveCredentials(t, deviceOf(t, held)); n != 0 {
				t.Errorf("%d credentials, want none", n)
			}
		})
	}
}

// TestCredentialEnds holds that a credential lives longer than the session by which it was got, and no longer than its device; and
// that a new one says the present handle.
func TestCredentialEnds(t *testing.T) {
	s := start(t, nil)
	phone, tablet := newDevice(t), newDevice(t)
	held, hers := s.inWallet(t, phone, "alice"), s.inWallet(t, tablet, "alice")
	one := wantCredentials(t, s.askCredentials(t, phone, s.forCredentials(t, phone, held), s.keyProofs(t, 1)...), 1)[0]
	two := wantCredentials(t, s.askCredentials(t, tablet, s.forCredentials(t, tablet, hers), s.keyProofs(t, 1)...), 1)[0]
	wantStatus(t, s.revoke(t, wallet, held.refresh), http.StatusOK)
	if c, err := s.verifyCredential(t, one); err != nil || c.HandleEnded {
		t.Errorf("credential after the session = %+v, %v, want it good", c, err)
	}
	s.rename(t, deviceOf(t, held).Local(), "alison")
	if c, err := s.verifyCredential(t, one); err != nil || !c.HandleEnded || c.Identity.Device.String() != held.set.Device {
		t.Errorf("credential after a rename = %+v, %v, want its device good and its handle ended", c, err)
	}
	again := wantTokens(t, s.token(t, wallet, tablet, refreshForm(hers.refresh)))
	three := wantCredentials(t, s.askCredentials(t, tablet, s.forCredentials(t, tablet, again), s.keyProofs(t, 1)...), 1)[0]
	if c, err := s.verifyCredential(t, three); err != nil || c.HandleEnded || !strings.Contains(c.Identity.Handle.String(), "alison") {
		t.Errorf("credential of after the rename = %+v, %v, want the new handle", c, err)
	}
	s.remove(t, hers.set.Device)
	for i, text := range []string{two, three} {
		if _, err := s.verifyCredential(t, text); !isEnded(err) {
			t.Errorf("credential %d of the removed device = %v, want it ended", i, err)
		}
	}
	if _, err := s.verifyCredential(t, one); err != nil {
		t.Errorf("credential of the other device = %v, want it good", err)
	}
	s.advance(t, 30*24*time.Hour)
	if c, err := s.verifyCredential(t, one); !credential.Stands(err) || err == nil {
		t.Errorf("credential after 30 days = %+v, %v, want it expired", c, err)
	}
}

func isEnded(err error) bool {
	return err != nil && credential.Stands(err) && strings.Contains(err.Error(), string(credential.CodeEnded))
}

// TestCredentialOutlivesItsKey holds that a credential verifies as long as it lives, however the signing key is replaced and whatever
// the settings say later, and not when the key was revoked.
func TestCredentialOutlivesItsKey(t *testing.T) {
	s := start(t, map[string]string{"lifetimes": ", statement: 1h, credential: 60d", "more": "signing: {rotate_every: never}"})
	get := func(person string) string {
		t.Helper()
		phone := newDevice(t)
		own := s.forCredentials(t, phone, s.inWallet(t, phone, person))
		return wantCredentials(t, s.askCredentials(t, phone, own, s.keyProofs(t, 1)...), 1)[0]
	}
	kid := func(text string) string { return kidOf(t, text[:strings.IndexByte(text, '~')]) }
	text := get("alice")
	s.rotate(t, "true")
	if s.signingKey(t) == kid(text) {
		t.Fatal("the same key signs after a rotation")
	}
	leaked := get("bob")
	wantStatus(t, s.revokeKey(t, kid(leaked)), http.StatusOK)
	var refused *credential.Error
	if _, err := s.verifyCredential(t, leaked); !errors.As(err, &refused) || credential.Stands(err) {
		t.Errorf("under a revoked key = %v, want a refusal", err)
	}
	if _, err := s.verifyCredential(t, get("bob")); err != nil {
		t.Errorf("under the next key = %v, want it good", err)
	}
	s.restart(t, map[string]string{"lifetimes": ", statement: 1h, credential: 1h"})
	for _, left := range []time.Duration{60 * 24 * time.Hour, time.Minute} {
		s.advance(t, max(0, 60*24*time.Hour-left-time.Minute))
		if _, err := s.verifyCredential(t, text); err != nil {
			t.Errorf("with %v left = %v, want it good", left, err)
		}
	}
	s.advance(t, 10*time.Minute)
	if _, ok := s.published(t)[kid(text)]; ok {
		t.Error("the key is published after all that it signed has expired")
	}
}

// TestCredentialsOfOneDevice holds that nobody fills the database by getting credentials and ending them.
func TestCredentialsOfOneDevice(t *testing.T) {
	s := start(t, nil)
	phone, tablet := newDevice(t), newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	for i := range vci.MaxStored - 1 {
		s.withCredential(t, i, held)
	}
	id := deviceOf(t, held)
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: id.Domain(), Device: id.Device()}, s.clock.now(), "user_ended")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, s.askCredentials(t, phone, own, s.keyProofs(t, 2)...), "credential_request_denied")
	wantCredentials(t, s.askCredentials(t, phone, own, s.keyProofs(t, 1)...), 1)
	wantDenied(t, s.askCredentials(t, phone, own, s.keyProofs(t, 1)...), "credential_request_denied")
	// Other devices of the user get theirs.
	wantCredentials(t, s.askCredentials(t, tablet, s.forCredentials(t, tablet, s.inWallet(t, tablet, "alice")), s.keyProofs(t, 1)...), 1)
}

// gettingCredential gets a credential and reads its status list. A request whose answer was lost is sent again with new proofs, and gets
// another credential. The issuer has reserved no entries, and all lists are full.
func gettingCredential(t *testing.T, s *site) []step {
	s.restart(t, nil)
	sqlitetest.Exec(t, s.database(), "UPDATE credential_lists SET used = available")
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	good, list := 1, ""
	ask := func() answer { return s.askCredentials(t, phone, own, s.keyProof(t, newDevice(t).Signer)) }
	return []step{{
		name: "credential",
		ask:  ask,
		good: func(a answer) {
			text := wantCredentials(t, a, 1)[0]
			s.faults.quietly(func() {
				c, err := s.verifyCredential(t, text)
				if err != nil {
					t.Fatalf("Verify = %v", err)
				}
				list = c.Status.URI
				if n := s.liveCredentials(t, deviceOf(t, held)); n != good {
					t.Errorf("%d credentials, want %d", n, good)
				}
			})
		},
		again: func(durable bool) answer {
			stored := 0
			s.faults.quietly(func() { stored = s.liveCredentials(t, deviceOf(t, held)) })
			if stored > 0 && !durable { // durable may be about the entries that were reserved
				t.Error("a credential is stored, and its request was refused")
			}
			good += stored
			return ask()
		},
	}, {
		name:  "status list",
		ready: func() { s.restart(t, nil) }, // which has not read the list yet
		ask:   func() answer { return s.get(t, list) },
		good:  func(a answer) { wantStatus(t, a, http.StatusOK) },
	}}
}
