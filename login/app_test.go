package login_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/login"
)

const appNonce = "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE"

// apps are an app with a client id of its own, and one that logs in for its server.
var apps = []login.App{{Audience: "im-app"}, {Audience: "server", AuthorizedParty: "android"}}

// appClaims are those of a good ID token of an app.
func appClaims(issuer string) object {
	return object{
		"iss": issuer, "sub": "dev-10021", "aud": "im-app", "iat": future(0), "exp": future(time.Hour), "nonce": appNonce,
		"sid": "08a5019c", "auth_time": future(-time.Minute), "acr": "phr", "amr": []string{"pwd"}, "preferred_username": "alice",
	}
}

func TestAppLogin(t *testing.T) {
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	p := newProvider(t, cfg)
	alter := func(change object) func(header, claims object) {
		return func(_, claims object) {
			maps.Copy(claims, change)
			maps.DeleteFunc(claims, func(_ string, v any) bool { return v == "DELETED" })
		}
	}
	without := func(name string) func(header, claims object) { return alter(object{name: "DELETED"}) }
	head := func(name string, value any) func(header, claims object) {
		return func(header, _ object) { header[name] = value }
	}
	for _, test := range []struct {
		name   string
		change func(header, claims object)
		sign   func(t *tamperer, header, claims object) string
		part   string // "" is accepted
	}{
		{"as it should be", alter(nil), nil, ""},
		{"without typ", without("typ"), nil, ""},
		{"the claim typ of an ID token", alter(object{"typ": "ID"}), nil, ""},
		{"azp as aud", alter(object{"azp": "im-app"}), nil, ""},
		{"one of several audiences", alter(object{"aud": []string{"other", "im-app"}, "azp": "im-app"}), nil, ""},
		{"for the server, by the app", alter(object{"aud": "server", "azp": "android"}), nil, ""},
		{"almost five minutes old", alter(object{"iat": future(-290 * time.Second)}), nil, ""},
		{"just expired", alter(object{"exp": future(-30 * time.Second)}), nil, ""},
		{"without what describes the login", func(_, c object) {
			for _, name := range []string{"sid", "auth_time", "acr", "amr", "preferred_username"} {
				delete(c, name)
			}
		}, nil, ""},

		{"typ of an access token", head("typ", "at+jwt"), nil, "id_token"},
		{"typ of a logout token", head("typ", "logout+jwt"), nil, "id_token"},
		{"an access token of Keycloak", alter(object{"typ": "Bearer"}), nil, "id_token"},
		{"the claim typ no text", alter(object{"typ": 7}), nil, "id_token"},
		{"of another provider", alter(object{"iss": "https://idp.example.net"}), nil, "id_token"},
		{"of this service", alter(object{"aud": dev.ID}), nil, "id_token"},
		{"of another app", alter(object{"aud": "other"}), nil, "id_token"},
		{"without aud", without("aud"), nil, "id_token"},
		{"aud a number", alter(object{"aud": 7}), nil, "id_token"},
		{"an app that logged in for another", alter(object{"azp": "other"}), nil, "id_token"},
		{"azp a number", alter(object{"azp": 7}), nil, "id_token"},
		{"several audiences without azp", alter(object{"aud": []string{"im-app", "other"}}), nil, "id_token"},
		{"several audiences with the azp of another", alter(object{"aud": []string{"im-app", "other"}, "azp": "other"}), nil, "id_token"},
		{"for the server, by nobody named", alter(object{"aud": "server"}), nil, "id_token"},
		{"for the server, by another", alter(object{"aud": "server", "azp": "server"}), nil, "id_token"},
		{"aud of one entry and azp of another", alter(object{"aud": "im-app", "azp": "android"}), nil, "id_token"},
		{"without sub", without("sub"), nil, "id_token"},
		{"a long sub", alter(object{"sub": strings.Repeat("a", 256)}), nil, "id_token"},
		{"a second SUB", alter(object{"SUB": "dev-10022"}), nil, "id_token"},
		{"expired", alter(object{"exp": future(-2 * time.Minute)}), nil, "id_token"},
		{"without exp", without("exp"), nil, "id_token"},
		{"not yet valid", alter(object{"nbf": future(time.Hour)}), nil, "id_token"},
		{"older than five minutes", alter(object{"iat": future(-6 * time.Minute)}), nil, "id_token"},
		{"iat in the future", alter(object{"iat": future(2 * time.Minute)}), nil, "id_token"},
		{"without iat", without("iat"), nil, "id_token"},
		{"another nonce", alter(object{"nonce": "AAAA"}), nil, "nonce"},
		{"without nonce", without("nonce"), nil, "nonce"},
		{"nonce null", alter(object{"nonce": nil}), nil, "nonce"},
		{"of another key", alter(nil), func(t *tamperer, h, c object) string { return signWith(t.stranger, h, c) }, "id_token"},
		{"alg none", head("alg", "none"), func(_ *tamperer, h, c object) string { return compact(h, c, "") }, "id_token"},
		{"HMAC", head("alg", "HS256"), func(_ *tamperer, h, c object) string { return compact(h, c, "AAAA") }, "id_token"},
		{"truncated", alter(nil), func(t *tamperer, h, c object) string {
			text := signed(t, h, c)
			return text[:len(text)-1] // no base64url has this length
		}, "id_token"},
		{"padded", alter(nil), func(t *tamperer, h, c object) string { return signed(t, h, c) + "=" }, "id_token"},
		{"empty", alter(nil), func(*tamperer, object, object) string { return "" }, "id_token"},
		{"too large", alter(object{"picture": strings.Repeat("a", 64<<10)}), nil, "id_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			header, claims := object{"alg": "ES256", "typ": "JWT", "kid": "tamperer"}, appClaims(cfg.Issuer)
			test.change(header, claims)
			if test.sign == nil {
				test.sign = signed
			}
			got, err := p.AppLogin(t.Context(), test.sign(tam, header, claims), appNonce, apps)
			if test.part != "" {
				wantRejected(t, err, test.part)
				return
			}
			if err != nil {
				t.Fatalf("AppLogin = %v, want nil", err)
			}
			if got.Issuer != cfg.Issuer || got.Subject != "dev-10021" || got.Handle != text(claims["preferred_username"]) ||
				got.SID != text(claims["sid"]) || got.ACR != text(claims["acr"]) || got.AuthTime.IsZero() != (claims["auth_time"] == nil) {
				t.Errorf("AppLogin = %+v, want what the token says", got)
			}
		})
	}
	if asked := tam.userinfoAsked.Load(); asked != 0 {
		t.Errorf("userinfo was asked %d times without an access token", asked)
	}
	if _, err := p.AppLogin(t.Context(), signed(tam, object{"alg": "ES256", "kid": "tamperer"}, appClaims(cfg.Issuer)), "", apps); err == nil {
		t.Error("AppLogin without a nonce = nil, want an error")
	}
}

// An outage of the provider is told as one. A token that cannot be good does not make the provider's keys be fetched.
func TestAppLoginWithoutKeys(t *testing.T) {
	tam := newTamperer(t)
	tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return true
	}
	cfg := config(serve(t, tam.wrap, dev))
	p := newProvider(t, cfg)
	header := object{"alg": "ES256", "kid": "tamperer"}
	other := appClaims(cfg.Issuer)
	other["aud"] = "other"
	_, err := p.AppLogin(t.Context(), signed(tam, header, other), appNonce, apps)
	wantRejected(t, err, "id_token")
	if asked := tam.keysAsked.Load(); asked != 0 {
		t.Errorf("the keys were fetched %d times for a token of another app", asked)
	}
	if got, err := p.AppLogin(t.Context(), signed(tam, header, appClaims(cfg.Issuer)), appNonce, apps); !errors.Is(err, login.ErrUnavailable) {
		t.Errorf("AppLogin = %+v, %v, want %v", got, err, login.ErrUnavailable)
	}
}

// FuzzAppLogin signs any payload with the provider's key. A payload that is accepted names the provider, one of the apps and the nonce,
// as another parser of JSON reads it too.
func FuzzAppLogin(f *testing.F) {
	t := new(testing.T)
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	p := newProvider(t, cfg)
	good, err := json.Marshal(appClaims(cfg.Issuer))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), "")
	f.Add("", `"nonce":""`)
	f.Add("", `"azp":"other"`)
	f.Add("", `"typ":"Bearer"`)
	f.Add("", `"AUD":["other"]`)
	f.Fuzz(func(t *testing.T, payload, members string) {
		if payload == "" { // a good token with further members
			if payload = string(good); members != "" {
				payload = payload[:len(payload)-1] + "," + members + "}"
			}
		}
		token, err := jose.Sign(tam.key, jose.ES256, []byte(`{"alg":"ES256","kid":"tamperer"}`), []byte(payload))
		if err != nil {
			return
		}
		got, err := p.AppLogin(t.Context(), token, appNonce, apps[:1])
		if err != nil {
			return
		}
		var read map[string]any
		if err := json.Unmarshal([]byte(payload), &read); err != nil {
			t.Fatalf("AppLogin accepted %q, which is no JSON: %v", payload, err)
		}
		azp := text(read["azp"])
		if read["iss"] != cfg.Issuer || read["nonce"] != appNonce || got.Subject == "" || got.Subject != read["sub"] ||
			azp != "" && azp != "im-app" {
			t.Errorf("AppLogin of %q = %+v", payload, got)
		}
	})
}
