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

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutClaims are those of a good logout token.
func logoutClaims(issuer string) object {
	return object{
		"iss": issuer, "sub": "dev-10021", "aud": dev.ID, "iat": future(0), "exp": future(2 * time.Minute), "jti": "bWJq",
		"sid": "08a5019c", "events": object{logoutEvent: object{}},
	}
}

func TestLogout(t *testing.T) {
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
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
		ok     bool
	}{
		{"as it should be", alter(nil), nil, true},
		{"without typ", func(h, _ object) { delete(h, "typ") }, nil, true},
		{"typ as a media type", head("typ", "application/logout+JWT"), nil, true},
		{"typ of any JWT", head("typ", "JWT"), nil, true},
		{"without kid", func(h, _ object) { delete(h, "kid") }, nil, true},
		{"sub alone", without("sid"), nil, true},
		{"sid alone", without("sub"), nil, true},
		{"one of several audiences", alter(object{"aud": []string{"other", dev.ID}}), nil, true},
		{"just expired", alter(object{"exp": future(-30 * time.Second)}), nil, true},
		{"iat a little ahead", alter(object{"iat": future(30 * time.Second)}), nil, true},
		{"an hour of life", alter(object{"exp": future(time.Hour)}), nil, true},
		{"further events", alter(object{"events": object{logoutEvent: object{"a": 1}, "urn:other": nil}}), nil, true},

		{"typ of an access token", head("typ", "at+jwt"), nil, false},
		{"an ID token", func(h, c object) {
			h["typ"] = "JWT"
			c["nonce"] = "n"
			delete(c, "events")
		}, nil, false},
		{"an ID token without a nonce and typ", func(h, c object) {
			delete(h, "typ")
			delete(c, "events")
		}, nil, false},
		{"with nonce", alter(object{"nonce": "n"}), nil, false},
		{"with an empty nonce", alter(object{"nonce": ""}), nil, false},
		{"with a nonce that is null", alter(object{"nonce": nil}), nil, false},
		{"with NONCE", alter(object{"NONCE": "n"}), nil, false},
		{"of another provider", alter(object{"iss": "https://idp.example.net"}), nil, false},
		{"without iss", without("iss"), nil, false},
		{"for another client", alter(object{"aud": "other"}), nil, false},
		{"without aud", without("aud"), nil, false},
		{"expired", alter(object{"exp": future(-2 * time.Minute)}), nil, false},
		{"without exp", without("exp"), nil, false},
		{"good for a year", alter(object{"exp": future(365 * 24 * time.Hour)}), nil, false},
		{"iat in the future", alter(object{"iat": future(2 * time.Minute)}), nil, false},
		{"without iat", without("iat"), nil, false},
		{"not yet valid", alter(object{"nbf": future(time.Hour)}), nil, false},
		{"without jti", without("jti"), nil, false},
		{"an empty jti", alter(object{"jti": ""}), nil, false},
		{"a jti that is a number", alter(object{"jti": 7}), nil, false},
		{"a long jti", alter(object{"jti": strings.Repeat("a", 256)}), nil, false},
		{"neither sub nor sid", alter(object{"sub": "DELETED", "sid": "DELETED"}), nil, false},
		{"an empty sub beside sid", alter(object{"sub": ""}), nil, false},
		{"sub null beside sid", alter(object{"sub": nil}), nil, false},
		{"a long sub", alter(object{"sub": strings.Repeat("a", 256)}), nil, false},
		{"a sid that is a number", alter(object{"sid": 7}), nil, false},
		{"a second SUB", alter(object{"SUB": "dev-10022"}), nil, false},
		{"without events", without("events"), nil, false},
		{"events null", alter(object{"events": nil}), nil, false},
		{"events an array", alter(object{"events": []string{logoutEvent}}), nil, false},
		{"another event", alter(object{"events": object{"urn:other": object{}}}), nil, false},
		{"an event that is null", alter(object{"events": object{logoutEvent: nil}}), nil, false},
		{"an event that is text", alter(object{"events": object{logoutEvent: "{}"}}), nil, false},
		{"of another key", alter(nil), func(t *tamperer, h, c object) string { return signWith(t.stranger, h, c) }, false},
		{"alg none", head("alg", "none"), func(_ *tamperer, h, c object) string { return compact(h, c, "") }, false},
		{"HMAC", head("alg", "HS256"), func(_ *tamperer, h, c object) string { return compact(h, c, "AAAA") }, false},
		{"unsigned", alter(nil), func(_ *tamperer, h, c object) string { return compact(h, c, "") }, false},
		{"truncated", alter(nil), func(t *tamperer, h, c object) string {
			text := signed(t, h, c)
			return text[:len(text)-4]
		}, false},
		{"padded", alter(nil), func(t *tamperer, h, c object) string { return signed(t, h, c) + "=" }, false},
		{"empty", alter(nil), func(*tamperer, object, object) string { return "" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProvider(t, cfg) // has not fetched the keys yet, and may
			header, claims := object{"alg": "ES256", "typ": "logout+jwt", "kid": "tamperer"}, logoutClaims(cfg.Issuer)
			test.change(header, claims)
			if test.sign == nil {
				test.sign = signed
			}
			got, err := p.Logout(t.Context(), test.sign(tam, header, claims))
			var bad *login.Rejected
			switch {
			case !test.ok && (!errors.As(err, &bad) || bad.Part != "logout_token") && !(test.sign != nil && errors.Is(err, login.ErrUnavailable)):
				t.Errorf("Logout = %+v, %v, want it rejected", got, err)
			case test.ok && err != nil:
				t.Errorf("Logout = %v, want nil", err)
			case test.ok && (got.Issuer != cfg.Issuer || got.JTI != "bWJq" || got.IssuedAt.Unix() != claims["iat"]):
				t.Errorf("Logout = %+v, want what the token says", got)
			case test.ok && (got.Subject != text(claims["sub"]) || got.SID != text(claims["sid"])):
				t.Errorf("Logout = %+v, want sub and sid of %v", got, claims)
			}
		})
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// An outage of the provider is told as one: nobody knows whether the token is good.
func TestLogoutWithoutKeys(t *testing.T) {
	tam := newTamperer(t)
	tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return true
	}
	cfg := config(serve(t, tam.wrap, dev))
	token := signed(tam, object{"alg": "ES256", "typ": "logout+jwt", "kid": "tamperer"}, logoutClaims(cfg.Issuer))
	if got, err := newProvider(t, cfg).Logout(t.Context(), token); !errors.Is(err, login.ErrUnavailable) {
		t.Errorf("Logout = %+v, %v, want %v", got, err, login.ErrUnavailable)
	}
}

// FuzzLogout signs any payload with the provider's key. A payload that is accepted is a logout token: it has the event, a jti, sub or
// sid, and no nonce, as another parser of JSON reads it too.
func FuzzLogout(f *testing.F) {
	t := new(testing.T)
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	p := newProvider(t, cfg)
	good, err := json.Marshal(logoutClaims(cfg.Issuer))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), "")
	f.Add("", `"nonce":""`)
	f.Add("", `"events":{"a":1}`)
	f.Add("", `"sub":null`)
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
		got, err := p.Logout(t.Context(), token)
		if err != nil {
			return
		}
		var read map[string]any
		if err := json.Unmarshal([]byte(payload), &read); err != nil {
			t.Fatalf("Logout accepted %q, which is no JSON: %v", payload, err)
		}
		events, _ := read["events"].(map[string]any)
		_, event := events[logoutEvent].(map[string]any)
		_, nonce := read["nonce"]
		if !event || nonce || got.JTI == "" || got.JTI != read["jti"] || got.Subject == "" && got.SID == "" ||
			got.Subject != text(read["sub"]) || got.SID != text(read["sid"]) || read["iss"] != cfg.Issuer {
			t.Errorf("Logout of %q = %+v", payload, got)
		}
	})
}
