package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// Grant types and token types of RFC 8693 and of the draft about embedded tokens.
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantEmbed    = "urn:ietf:params:oauth:grant-type:embedded-tokens"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// account logs a person in with the app for accounts.
func (s *site) account(t *testing.T, d *device, person string) tokens {
	t.Helper()
	code := s.code(t, person, url.Values{"client_id": {accounts.id}, "scope": {"im:handle im:device account introspect"}})
	return wantTokens(t, s.token(t, accounts, d, codeForm(code, nil)))
}

// forIssuer refreshes for a token that is for the issuer alone, with one scope.
func (s *site) forIssuer(t *testing.T, d *device, held tokens, scope string) tokens {
	t.Helper()
	form := refreshForm(held.refresh)
	form.Set("resource", s.issuer)
	form.Set("scope", scope)
	return wantTokens(t, s.token(t, accounts, d, form))
}

// service gets a token for a client itself.
func (s *site) service(t *testing.T, c caller, d *device, change url.Values) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, v := range change {
		form[name] = v
	}
	a := s.token(t, c, d, form)
	if a.status != http.StatusOK {
		t.Fatalf("client_credentials = %v, want a token", a)
	}
	return a.text("access_token")
}

// A rawBody is a body that is sent as it stands, as JSON.
type rawBody string

// held sends a request with a token and a proof of its key. Values are sent as a form, and what is none as JSON.
func (s *site) held(t *testing.T, d *device, token, method, path string, body any) answer {
	t.Helper()
	return s.heldWith(t, d, token, method, path, body, nil)
}

// heldWith is held with further headers.
func (s *site) heldWith(t *testing.T, d *device, token, method, path string, body any, header http.Header) answer {
	t.Helper()
	text, contentType := "", ""
	switch body := body.(type) {
	case nil:
	case url.Values:
		text, contentType = body.Encode(), "application/x-www-form-urlencoded"
	case rawBody:
		text, contentType = string(body), "application/json"
	default:
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text, contentType = string(data), "application/json"
	}
	req := s.request(t, method, path, text)
	maps.Copy(req.Header, header)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	proof, err := d.Proof(dpop.ProofParams{
		Method: method, URL: s.issuer + path, Nonce: s.nonce(t), AccessToken: token, IssuedAt: s.clock.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+token)
	req.Header.Set("DPoP", proof)
	return s.send(t, s.http, req)
}

// made makes a statement of a person's, and returns its id and the statement.
func (s *site) made(t *testing.T, d *device, held tokens, kind string, body object) (id, statement string) {
	t.Helper()
	a := s.held(t, d, s.forIssuer(t, d, held, "account").access, http.MethodPost, "/me/"+kind, body)
	if a.status != http.StatusCreated || a.text("token") == "" {
		t.Fatalf("POST /me/%s = %v, want a statement", kind, a)
	}
	return a.text("id"), a.text("token")
}

// withdrawn withdraws a statement of a person's.
func (s *site) withdrawn(t *testing.T, d *device, held tokens, kind, id string) {
	t.Helper()
	a := s.held(t, d, s.forIssuer(t, d, held, "account").access, http.MethodDelete, "/me/"+kind+"/"+id, nil)
	if a.status != http.StatusNoContent {
		t.Fatalf("DELETE /me/%s = %v, want 204", kind, a)
	}
}

// audit asks about a token as a caller that is told the reason.
func (s *site) audit(t *testing.T, token string) answer {
	t.Helper()
	d := newDevice(t)
	own := s.service(t, auditor, d, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	return s.held(t, d, own, http.MethodPost, "/introspect", url.Values{"token": {token}})
}

// wantReason wants a token to be inactive, for a reason and by the fault of an enclosed token.
func (s *site) wantReason(t *testing.T, token, reason, path string) {
	t.Helper()
	if a := s.audit(t, token); a.status != http.StatusOK || a.json["active"] != false || a.text("reason") != reason || a.text("path") != path {
		t.Errorf("introspection = %v, want inactive, %q, %q", a, reason, path)
	}
	s.wantInactive(t, token)
}

// issued wants a token out of an exchange or an embedding.
func issued(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK || a.text("token_type") != "DPoP" || a.text("issued_token_type") != typeAccess || a.json["refresh_token"] != nil {
		t.Fatalf("answer = %v, want an access token alone", a)
	}
	return a.text("access_token")
}

// entries writes the parameter tokens.
func entries(t *testing.T, list ...object) string {
	t.Helper()
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func byValue(typ, rel, token string) object {
	return object{"type": typ, "rel": rel, "token": token}
}
