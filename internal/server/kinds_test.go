package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
)

// TestKindsApart shows everything that one issuer and one device sign to every verifier of something else. The signatures are all
// valid, so the types alone keep the kinds apart (RFC 8725 §3.11).
func TestKindsApart(t *testing.T) {
	s := start(t, withStatuses)
	d := newDevice(t)
	held := s.account(t, d, "alice")
	own := s.forIssuer(t, d, held, "account").access
	_, grant := s.made(t, d, held, "actors", object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle"})
	list := s.get(t, statusOf(t, held).URI)
	kinds := map[string]string{
		"access token":  held.access,
		"refresh token": held.refresh,
		"proof":         s.proof(t, d, ""),
		"presentation":  s.presented(t, d, held.access, "im:example.com").Get("presentation"),
		"answer":        s.asking(t, peer, "/introspect", url.Values{"token": {held.access}}, mediaSigned).body,
		"batch":         s.asking(t, peer, "/introspect/batch", batch(held.access), mediaBatch).body,
		"staple":        s.held(t, d, held.access, http.MethodPost, "/staple", nil).body,
		"status list":   list.body,
		"statement":     grant,
		"CWT":           s.twin(t, accounts, d, held.access),
	}
	phone := newDevice(t)
	credentials := wantCredentials(t, s.askCWTs(t, phone, s.forCredentials(t, phone, s.inWallet(t, phone, "alice")), s.keyProof(t, phone.Signer)), 1)
	kinds["credential as CWT"], kinds["key binding CWT"] = credentials[0], s.boundCWT(t, phone, credentials[0])
	cose := []string{"CWT", "credential as CWT", "key binding CWT"}
	types := make(map[string]string)
	for kind, text := range kinds {
		if kind == "refresh token" || slices.Contains(cose, kind) {
			continue
		}
		typ := typeOf(t, text)
		if other, twice := types[typ]; twice {
			t.Errorf("%s and %s are both of type %s", kind, other, typ)
		}
		types[typ] = kind
	}
	s.wantActive(t, held.access)
	for kind, text := range kinds {
		t.Run(kind, func(t *testing.T) {
			data := []byte(text)
			if slices.Contains(cose, kind) {
				var err error
				if data, err = cwt.ReadText(text); err != nil {
					t.Fatal(err)
				}
			}
			if token, err := (&cwt.Decoder{Keys: s.credentialOptions(t).Issuers}).Decode(t.Context(), data); (err == nil) != (kind == "CWT") {
				t.Errorf("as the CWT of an access token it is %+v, %v", token, err)
			}
			for _, binding := range []*cwt.Binding{nil, {Audience: "im:example.com", Nonce: []byte("n-1")}} {
				want := binding == nil && kind == "credential as CWT" || binding != nil && kind == "key binding CWT"
				_, err := cwt.Verify(t.Context(), data, cwt.Options{Options: s.credentialOptions(t), Binding: binding, WithoutBinding: binding == nil})
				if (err == nil) != want {
					t.Errorf("as a credential in a CWT, key binding: %t, Verify = %v", binding != nil, err)
				}
			}
			if kind != "access token" && kind != "CWT" {
				s.wantInactive(t, text)
			}
			if kind != "access token" {
				wantRefused(t, s.held(t, d, text, http.MethodGet, "/me/actors", nil), http.StatusUnauthorized, "invalid_token")
				for _, typ := range []string{typeAccess, typeJWT} {
					a := s.token(t, accounts, d, exchanging(text, typ, own, nil))
					if a.status != http.StatusBadRequest {
						t.Errorf("exchange as %s = %v, want 400", typ, a)
					}
				}
				if tree, err := nested.Open(t.Context(), text, nested.Options{Keys: s.offline(t), Audience: []string{"im:example.com"}, Now: s.clock.now}); err == nil {
					t.Errorf("nested.Open = %+v, want an error", tree)
				}
			}
			if kind != "refresh token" {
				wantError(t, s.token(t, accounts, d, refreshForm(text)), http.StatusBadRequest, "invalid_grant")
			}
			if kind != "proof" {
				form := refreshForm(held.refresh)
				form.Set("client_id", accounts.id)
				wantError(t, s.post(t, "/token", form, http.Header{"Dpop": {text}}), http.StatusBadRequest, "invalid_dpop_proof")
			}
			if kind != "presentation" {
				a := s.asking(t, peer, "/introspect", url.Values{
					"token": {held.access}, "presentation": {text}, "presentation_aud": {"im:example.com"}, "presentation_nonce": {"n-2"},
				})
				if a.json["active"] != false {
					t.Errorf("introspection with it as presentation = %v, want inactive", a)
				}
			}
			if kind != "staple" {
				staple, err := introspect.OpenStaple(t.Context(), text, held.access, introspect.StapleOptions{Issuer: s.issuer, Keys: s.offline(t), Now: s.clock.now})
				if err == nil {
					t.Errorf("OpenStaple = %+v, want an error", staple)
				}
			}
			if kind != "status list" {
				if _, err := statuslist.Parse(text, statuslist.Limits{}); err == nil {
					t.Error("statuslist.Parse = nil, want an error")
				}
			}
		})
	}
	wantTokens(t, s.token(t, accounts, d, refreshForm(held.refresh)))
}

// boundCWT returns the key binding token of a device for its credential.
func (s *site) boundCWT(t *testing.T, d *device, credential string) string {
	t.Helper()
	data, err := cwt.ReadText(credential)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cwt.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := token.Present(d.key, cwt.Binding{Audience: "im:example.com", Nonce: []byte("n-1")}, s.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	return cwt.Text(bound)
}

func typeOf(t *testing.T, token string) string {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{Total: 1 << 20})
	if err != nil || jws.Header.Typ == "" {
		t.Fatalf("%.20s…: %v, want a JWS with a type", token, err)
	}
	return jws.Header.Typ
}

// TestKeysInHeaders sends tokens that name or carry the key that signed them. No key is fetched, and none is believed (RFC 8725 §3.10).
func TestKeysInHeaders(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	key := newKey(t)
	k := startKeyServer(t, keySet(key.Public(), "evil"))
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var claims object
	decode(t, payloadOf(t, held.access), &claims)
	kid := kidOf(t, held.access)
	for name, header := range map[string]object{
		"jku":                  {"kid": "evil", "jku": k.URL},
		"jku, with a true kid": {"kid": kid, "jku": k.URL},
		"x5u":                  {"kid": kid, "x5u": k.URL},
		"x5c":                  {"kid": kid, "x5c": []string{"MIIB"}},
		"jwk":                  {"kid": kid, "jwk": json.RawMessage(jwk)},
		"jwk without kid":      {"jwk": json.RawMessage(jwk)},
		"kid is a URL":         {"kid": k.URL},
		"kid is a path":        {"kid": "../../../dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			header["typ"], header["alg"] = "at+jwt", "ES256"
			forged := sign(key, header, claims)
			s.wantInactive(t, forged)
			wantRefused(t, s.held(t, d, forged, http.MethodGet, "/me/actors", nil), http.StatusUnauthorized, "invalid_token")
		})
	}
	if k.times() != 0 {
		t.Errorf("the sender's keys were fetched %d times, want never", k.times())
	}
}
