package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestFormRefused holds the endpoints that programs call to RFC 6749 §3.2: one form in the body, each parameter once.
func TestFormRefused(t *testing.T) {
	s := start(t, nil)
	const form = "application/x-www-form-urlencoded"
	for _, test := range []struct {
		name, contentType, query, body string
		status                         int
		code                           string
	}{
		{"parameter twice", form, "", "token=a&grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"},
		{"parameter twice, once empty", form, "", "token=a&client_id=&client_id=app", 400, "invalid_request"},
		{"unknown parameter twice", form, "", "a=1&a=2", 400, "invalid_request"},
		{"more than 32 resources", form, "", strings.Repeat("resource=a&", 33), 400, "invalid_request"},
		{"oversized parameter", form, "", "code=" + strings.Repeat("a", 8<<10+1), 413, "invalid_request"},
		{"oversized token", form, "", "token=" + strings.Repeat("a", 36<<10+1), 413, "invalid_request"},
		{"oversized body", form, "", strings.Repeat("a=1&", 16<<10) + "b=2", 413, "invalid_request"},
		{"oversized body of one parameter", form, "", strings.Repeat("a", 1<<20), 413, "invalid_request"},
		{"JSON", "application/json", "", `{"grant_type":"client_credentials"}`, 400, "invalid_request"},
		{"multipart", "multipart/form-data; boundary=b", "", "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\na\r\n--b--\r\n", 400, "invalid_request"},
		{"plain text", "text/plain", "", "token=a", 400, "invalid_request"},
		{"no content type", "", "", "token=a", 400, "invalid_request"},
		{"parameters in the URL", form, "?grant_type=client_credentials", "", 400, "invalid_request"},
		{"parameters in body and URL", form, "?client_id=app", "token=a", 400, "invalid_request"},
		{"broken percent-encoding", form, "", "token=%zz", 400, "invalid_request"},
		{"semicolons", form, "", "token=a;client_id=app", 400, "invalid_request"},
		{"not UTF-8", form, "", "token=%ff", 400, "invalid_request"},
		{"zero octet", form, "", "token=a%00", 400, "invalid_request"},
	} {
		for _, path := range []string{"/token", "/introspect", "/revoke"} {
			t.Run(test.name+path, func(t *testing.T) {
				req := s.request(t, http.MethodPost, path+test.query, test.body)
				if test.contentType != "" {
					req.Header.Set("Content-Type", test.contentType)
				}
				wantError(t, s.send(t, s.http, req), test.status, test.code)
			})
		}
	}
	t.Run("two content types", func(t *testing.T) {
		header := http.Header{"Content-Type": {form, form}}
		wantError(t, s.post(t, "/token", url.Values{"grant_type": {"client_credentials"}}, header), 400, "invalid_request")
	})
	t.Run("charset", func(t *testing.T) {
		form, header := url.Values{"grant_type": {"client_credentials"}}, http.Header{"Content-Type": {form + ";charset=UTF-8"}}
		mute.authenticate(form, header)
		if a := s.post(t, "/token", form, header); a.status != http.StatusOK {
			t.Errorf("answer = %v, want a token", a)
		}
	})
}

// TestGrantRefused holds the token endpoint to RFC 6749 §5.2 and RFC 8707 §2, for requests that are well-formed.
func TestGrantRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	for _, test := range []struct {
		name   string
		client caller
		proof  *device
		form   string
		code   string
	}{
		{"no grant type", peer, d, "", "invalid_request"},
		{"empty grant type", peer, d, "grant_type=", "invalid_request"},
		{"unknown grant", peer, d, "grant_type=password&username=alice&password=alice", "unsupported_grant_type"},
		{"device grant by a client that is not registered for it", peer, d, "grant_type=urn:ietf:params:oauth:grant-type:device_code", "unauthorized_client"},
		{"two grants in one", peer, d, "grant_type=client_credentials+refresh_token", "unsupported_grant_type"},
		{"grant in capitals", peer, d, "grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"},
		{"client_credentials by a public client", app, d, "grant_type=client_credentials", "unauthorized_client"},
		{"client_credentials by a client that is not registered for it", webApp, d, "grant_type=client_credentials", "unauthorized_client"},
		{"refresh_token by a client that is not registered for it", peer, d, "grant_type=refresh_token&refresh_token=AAAA", "unauthorized_client"},
		{"authorization_code by a client that is not registered for it", peer, d, "grant_type=authorization_code&code=AAAA", "unauthorized_client"},
		{"client_credentials without a proof", peer, nil, "grant_type=client_credentials", "invalid_dpop_proof"},
		{"unregistered scope", peer, d, "grant_type=client_credentials&scope=introspect+admin", "invalid_scope"},
		{"scope of people's tokens", peer, d, "grant_type=client_credentials&scope=im:handle", "invalid_scope"},
		{"unregistered resource", peer, d, "grant_type=client_credentials&resource=https://rooms.example.com", "invalid_target"},
		{"domain of others", peer, d, "grant_type=client_credentials&resource=im:example.org", "invalid_target"},
		{"unknown domain", peer, d, "grant_type=client_credentials&im_domain=example.net", "invalid_request"},
		{"domain it is not registered for", peer, d, "grant_type=client_credentials&im_domain=example.org", "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			form, err := url.ParseQuery(test.form)
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, s.token(t, test.client, test.proof, form), http.StatusBadRequest, test.code)
		})
	}
}

// TestServiceTokens holds what a service gets for itself (RFC 6749 §4.4, RFC 9068 §2.2).
func TestServiceTokens(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	for _, test := range []struct {
		name     string
		client   caller
		proof    *device
		form     string
		kind     string
		scope    string
		audience []string
	}{
		{"all that it is registered for", peer, d, "", "DPoP", "introspect introspect:domain", []string{"im:example.com"}},
		{"one scope", peer, d, "scope=introspect", "DPoP", "introspect", []string{"im:example.com"}},
		{"openid is ignored", peer, d, "scope=openid+introspect", "DPoP", "introspect", []string{"im:example.com"}},
		{"resources", peer, d, "resource=https://peer.example.net&resource=im:example.com&resource=im:example.com", "DPoP",
			"introspect introspect:domain", []string{"https://peer.example.net", "im:example.com"}},
		{"bearer", mute, nil, "", "Bearer", "", []string{"im:example.com"}},
		{"proof of one that may do without", mute, d, "", "DPoP", "", []string{"im:example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			form, err := url.ParseQuery("grant_type=client_credentials&" + test.form)
			if err != nil {
				t.Fatal(err)
			}
			a := s.token(t, test.client, test.proof, form)
			if a.status != http.StatusOK || a.text("token_type") != test.kind || a.text("scope") != test.scope || a.json["refresh_token"] != nil {
				t.Fatalf("answer = %v, want a %s token with scope %q and no refresh token", a, test.kind, test.scope)
			}
			set, jkt := claimsOf(t, a.text("access_token")), ""
			if test.proof != nil {
				jkt = test.proof.JKT()
			}
			if set.Subject != test.client.id || set.ClientID != test.client.id || set.JKT != jkt || set.SID != "" ||
				set.Handle != "" || set.Device != "" || !slices.Equal(set.Audience, test.audience) {
				t.Errorf("token = %+v, want one of %s for %q", set, test.client.id, test.audience)
			}
			s.wantActive(t, a.text("access_token"))
		})
	}
}
