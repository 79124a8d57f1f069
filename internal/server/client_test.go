package server_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"testing"
)

// TestClientAuthentication holds the endpoints that programs call to RFC 6749 §2.3.1 and §5.2.
func TestClientAuthentication(t *testing.T) {
	s := start(t, nil)
	encoded := url.QueryEscape(secret)
	everything := func(text string) (out string) { // each octet percent-encoded, as some libraries do
		const hex = "0123456789ABCDEF"
		for i := range len(text) {
			out += "%" + string(hex[text[i]>>4]) + string(hex[text[i]&15])
		}
		return out
	}
	raw := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, test := range []struct {
		name   string
		header []string // Authorization
		form   url.Values
		status int // 0: the client is known
		code   string
	}{
		{name: "basic", header: []string{basic("web-app_1.0", encoded)}},
		{name: "basic with everything encoded", header: []string{basic(everything("web-app_1.0"), everything(secret))}},
		{name: "basic with the id in the form too", header: []string{basic("web-app_1.0", encoded)}, form: url.Values{"client_id": {"web-app_1.0"}}},
		{name: "basic in lower case", header: []string{"basic " + basic("web-app_1.0", encoded)[len("Basic "):]}},
		{name: "post", form: url.Values{"client_id": {"web-app_1.0"}, "client_secret": {secret}}},
		{name: "public", form: url.Values{"client_id": {"app"}}},

		{name: "no client", status: 401, code: "invalid_client"},
		{name: "empty client", form: url.Values{"client_id": {""}}, status: 401, code: "invalid_client"},
		{name: "unknown client", form: url.Values{"client_id": {"nobody"}}, status: 401, code: "invalid_client"},
		{name: "unknown client with a secret", header: []string{basic("nobody", encoded)}, status: 401, code: "invalid_client"},
		{name: "id in capitals", header: []string{basic("WEB-APP_1.0", encoded)}, status: 401, code: "invalid_client"},
		{name: "no secret", form: url.Values{"client_id": {"web-app_1.0"}}, status: 401, code: "invalid_client"},
		{name: "empty secret", form: url.Values{"client_id": {"web-app_1.0"}, "client_secret": {""}}, status: 401, code: "invalid_client"},
		{name: "wrong secret", header: []string{basic("web-app_1.0", "wrong")}, status: 401, code: "invalid_client"},
		{name: "wrong secret in the form", form: url.Values{"client_id": {"web-app_1.0"}, "client_secret": {"wrong"}}, status: 401, code: "invalid_client"},
		{name: "secret not encoded", header: []string{basic("web-app_1.0", secret)}, status: 401, code: "invalid_client"},
		{name: "public client with a secret", form: url.Values{"client_id": {"app"}, "client_secret": {secret}}, status: 401, code: "invalid_client"},
		{name: "public client by basic", header: []string{basic("app", "")}, status: 401, code: "invalid_client"},
		{name: "not base64", header: []string{"Basic %%%"}, status: 401, code: "invalid_client"},
		{name: "no colon", header: []string{raw("web-app_1.0")}, status: 401, code: "invalid_client"},
		{name: "broken percent-encoding", header: []string{raw("web-app_1.0:%zz")}, status: 401, code: "invalid_client"},
		{name: "empty header", header: []string{""}, status: 401, code: "invalid_client"},
		{name: "no scheme that is known", header: []string{"Digest " + secret}, status: 401, code: "invalid_client"},

		{name: "two ways", header: []string{basic("web-app_1.0", encoded)}, form: url.Values{"client_id": {"web-app_1.0"}, "client_secret": {secret}}, status: 400, code: "invalid_request"},
		{name: "two headers", header: []string{basic("web-app_1.0", encoded), basic("web-app_1.0", encoded)}, status: 400, code: "invalid_request"},
		{name: "two clients", header: []string{basic("web-app_1.0", encoded)}, form: url.Values{"client_id": {"app"}}, status: 400, code: "invalid_request"},
	} {
		for path, form := range map[string]url.Values{
			"/token": refreshForm("AAAA"), "/introspect": {"token": {"AAAA"}}, "/revoke": {"token": {"AAAA"}},
		} {
			t.Run(test.name+path, func(t *testing.T) {
				form, header := maps.Clone(form), http.Header{"Authorization": test.header}
				maps.Copy(form, test.form)
				if path == "/token" {
					header.Set("DPoP", s.proof(t, newDevice(t), ""))
				}
				a := s.post(t, path, form, header)
				if test.status != 0 {
					wantError(t, a, test.status, test.code)
				} else if a.text("error") == "invalid_client" && path != "/introspect" {
					t.Errorf("answer = %v, want the client to be known", a) // introspection knows no public clients
				}
			})
		}
	}
}

// TestSameAnswerForUnknownClients holds that nobody learns which clients there are.
func TestSameAnswerForUnknownClients(t *testing.T) {
	s := start(t, nil)
	ask := func(id string) answer {
		return s.post(t, "/introspect", url.Values{"token": {"AAAA"}}, http.Header{"Authorization": {basic(id, "wrong")}})
	}
	known, unknown := ask("peer"), ask("nobody")
	if known.body != unknown.body || known.status != unknown.status {
		t.Errorf("answers %v and %v to a known and an unknown client, want the same", known, unknown)
	}
}
