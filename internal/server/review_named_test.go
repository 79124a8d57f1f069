package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// TestReviewD5RefusalsNameTheValue holds that a refusal of a scope or a resource names it, cut short and in the characters of
// RFC 6749 §5.2.
func TestReviewD5RefusalsNameTheValue(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	refresh := func(name, value string) answer {
		form := refreshForm(held.refresh)
		form.Set(name, value)
		return s.token(t, app, d, form)
	}
	long := "https://rooms.example/" + strings.Repeat("x", 4000)
	for name, test := range map[string]struct {
		a    answer
		want string
	}{
		"scope at /par":      {s.push(t, nil, url.Values{"scope": {"im:handle everything"}}), "'everything'"},
		"resource at /par":   {s.push(t, nil, url.Values{"resource": {"https://peer.example.net"}}), "'https://peer.example.net'"},
		"scope at /token":    {refresh("scope", "introspect"), "'introspect'"},
		"resource at /token": {refresh("resource", "https://peer.example.net"), "'https://peer.example.net'"},
		"odd characters":     {s.push(t, nil, url.Values{"scope": {"a\"b\\c\x01ü"}}), "'a'b'c??'"},
		"long":               {s.push(t, nil, url.Values{"resource": {long}}), "'" + long[:80] + "...'"},
	} {
		t.Run(name, func(t *testing.T) {
			text := test.a.text("error_description")
			if test.a.status != http.StatusBadRequest || !strings.Contains(text, test.want) || len(text) > 400 {
				t.Errorf("answer = %v, want 400 and %s in the description", test.a, test.want)
			}
			for _, r := range text {
				if r < ' ' || r > '~' || r == '"' || r == '\\' {
					t.Errorf("error_description holds %q", r)
				}
			}
		})
	}
}

// TestReviewD5WrongValuesAreNamed holds that a refusal names the value that is wrong and what was expected, and that an answer
// is harmless whatever the value is.
func TestReviewD5WrongValuesAreNamed(t *testing.T) {
	c := startCast(t)
	long := strings.Repeat("x", 10<<10)
	push := func(name string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer { return c.push(t, nil, url.Values{name: {value}}) }
	}
	authorize := func(name string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer {
			a := c.get(t, "/authorize?"+authorization(url.Values{name: {value}}).Encode())
			to, err := url.Parse(a.header.Get("Location"))
			if err != nil || a.status != http.StatusSeeOther { // a page, which says nothing of the value
				return answer{status: a.status, json: object{"error_description": "a page"}}
			}
			return answer{status: http.StatusBadRequest, json: object{"error_description": to.Query().Get("error_description")}}
		}
	}
	place := func(name string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer {
			return c.push(t, nil, url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}, name: {value}})
		}
	}
	token := func(by caller, d *device, form url.Values, name string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer {
			form := maps.Clone(form)
			form.Set(name, value)
			return c.token(t, by, d, form)
		}
	}
	own := exchanging(c.alice.access, typeAccess, "", nil)
	service := url.Values{"grant_type": {"client_credentials"}}
	embed := func(name string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer {
			e := c.her(c.member(t, nil))
			e.form = url.Values{name: {value}}
			a, _ := c.embed(t, e, asValue)
			return a
		}
	}
	proof := func(method, path, access string, claim string) func(t *testing.T, value string) answer {
		return func(t *testing.T, value string) answer {
			forged := c.forge(t, c.phone, func(f *forgery) {
				f.claims["htm"], f.claims["htu"] = method, c.issuer+path
				f.claims[claim] = value
				if access != "" {
					f.claims["ath"] = dpop.ATH(access)
				}
			})
			req := c.request(t, method, path, authorization(url.Values{"grant_type": {"refresh_token"}}).Encode())
			if method == http.MethodGet {
				req = c.request(t, method, path, "")
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("DPoP", forged)
			if access != "" {
				req.Header.Set("Authorization", "DPoP "+access)
			}
			return c.send(t, c.http, req)
		}
	}
	other := c.issuer + "/other"
	for _, test := range []struct {
		name  string
		ask   func(t *testing.T, value string) answer
		value string
		want  []string
	}{
		{"im_domain at /par", push("im_domain"), "nowhere.example", []string{"'nowhere.example'", "example.com"}},
		{"im_domain at /authorize", authorize("im_domain"), "nowhere.example", []string{"'nowhere.example'", "example.com"}},
		{"im_domain at /token", token(bot, c.machine, service, "im_domain"), "nowhere.example", []string{"'nowhere.example'", "example.com"}},
		{"im_provider at /par", place("im_provider"), "nobody", []string{"'nobody'", "staff, guests"}},
		{"im_provider of any domain", func(t *testing.T, value string) answer {
			return c.push(t, nil, url.Values{"client_id": {twoApp.id}, "im_provider": {value}})
		}, "dev", []string{"'dev'", "two.example, example.org", "staff, guests, other"}},
		{"redirect_uri at /par", push("redirect_uri"), "http://localhost/callback", []string{"'http://localhost/callback'", "localhost, and 127.0.0.1 is registered"}},
		{"response_type", authorize("response_type"), "token", []string{"'token'", "code"}},
		{"response_mode", push("response_mode"), "fragment", []string{"'fragment'", "query"}},
		{"code_challenge_method", push("code_challenge_method"), "plain", []string{"'plain'", "S256"}},
		{"prompt", push("prompt"), "now", []string{"'now'", "select_account"}},
		{"max_age", push("max_age"), "-1", []string{"'-1'", "whole number"}},
		{"resource at /par", push("resource"), "https://peer.example.net", []string{"'https://peer.example.net'", "resource of the client"}},
		{"grant_type", token(app, nil, url.Values{}, "grant_type"), "password", []string{"'password'", "authorization_code", "embedded-tokens"}},
		{"grant_type of others", token(app, c.phone, service, "grant_type"), "client_credentials", []string{"'client_credentials'"}},
		{"scope of an exchange", token(accounts, c.phone, own, "scope"), "admin", []string{"'admin'", "im:handle, im:device"}},
		{"resource of an exchange", token(accounts, c.phone, own, "resource"), "https://peer.example.net", []string{"'https://peer.example.net'", c.alice.set.Audience[0]}},
		{"audience of an exchange", token(accounts, c.phone, own, "audience"), "https://peer.example.net", []string{"'https://peer.example.net'", c.alice.set.Audience[0]}},
		{"requested_token_type", token(accounts, c.phone, own, "requested_token_type"), typeJWT, []string{"'" + typeJWT + "'", typeAccess}},
		{"subject_token_type", token(accounts, c.phone, own, "subject_token_type"), "saml2", []string{"'saml2'", typeAccess, typeJWT}},
		{"scope of an embedding", embed("scope"), "admin", []string{"'admin'", "im:handle, im:device"}},
		{"resource of an embedding", embed("resource"), "https://peer.example.net", []string{"'https://peer.example.net'", c.alice.set.Audience[0]}},
		{"htu at /token", proof("POST", "/token", "", "htu"), other, []string{"'" + other + "'", c.issuer + "/token"}},
		{"htu at /par", proof("POST", "/par", "", "htu"), other, []string{"'" + other + "'", c.issuer + "/par"}},
		{"htu at /me", proof("GET", "/me/links", c.alice.access, "htu"), other, []string{"'" + other + "'", c.issuer + "/me/links"}},
		{"htu at /introspect", proof("POST", "/introspect", c.alice.access, "htu"), other, []string{"'" + other + "'", c.issuer + "/introspect"}},
		{"htu that is no URL", proof("POST", "/token", "", "htu"), "https://me:secret@issuer.example/token?secret#secret", []string{"'issuer.example/token'", c.issuer + "/token"}},
		{"htm", proof("POST", "/token", "", "htm"), "GET", []string{"'GET'", "POST"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, value := range []string{test.value, "a\"b\\c'd", "a\x01\r\nb\x7f", "gr\u00fc\u00dfe", "\xff\xfe", long[:4000], long} {
				a := test.ask(t, value)
				text := a.text("error_description")
				if a.status < 400 || a.status > 413 || text == "" || len(text) > 800 {
					t.Errorf("answer to %.20q = %d with %d bytes: %.200q", value, a.status, len(text), a)
				}
				if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
					t.Errorf("error_description = %q, want the characters of RFC 6749 section 5.2", text)
				}
				for _, want := range test.want {
					if value == test.value && !strings.Contains(text, want) {
						t.Errorf("error_description = %q, want %q in it", text, want)
					}
				}
				if strings.Contains(text, "secret") {
					t.Errorf("error_description = %q has the query of htu", text)
				}
			}
		})
	}

	t.Run("no domain of another client", func(t *testing.T) {
		here := c.push(t, nil, url.Values{"im_domain": {"two.example"}}).text("error_description")
		nowhere := c.push(t, nil, url.Values{"im_domain": {"nowhere.example"}}).text("error_description")
		if here != strings.ReplaceAll(nowhere, "nowhere.example", "two.example") {
			t.Errorf("a domain of another client is refused with %q, an unknown one with %q: want the same", here, nowhere)
		}
	})
}
