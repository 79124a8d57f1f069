package login_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/imidentity/issuer/login"
)

const oid = "6b1f7f43-2f4e-4b0d-9a55-0d2b7c4c8e11"

// TestSubjectClaim holds that users are identified by the claim of the settings, in the ID token and in the form of sub, at a login and
// in the ID token of an app.
func TestSubjectClaim(t *testing.T) {
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	cfg.SubjectClaim = "oid"
	p := newProvider(t, cfg)
	tam.userinfo = func(said object) { said["oid"] = "of-userinfo" }
	for _, test := range []struct {
		name   string
		change object
		want   string // "" is refused
	}{
		{"a GUID", object{"oid": oid}, oid},
		{"beside an unknown claim", object{"oid": oid, "tid": "t"}, oid},
		{"the longest", object{"oid": strings.Repeat("a", 255)}, strings.Repeat("a", 255)},
		{"in userinfo alone", nil, ""},
		{"empty", object{"oid": ""}, ""},
		{"null", object{"oid": nil}, ""},
		{"a number", object{"oid": 7}, ""},
		{"a list", object{"oid": []string{oid}}, ""},
		{"too long", object{"oid": strings.Repeat("a", 256)}, ""},
		{"beyond ASCII", object{"oid": "zoë"}, ""},
		{"a control character", object{"oid": "a\u0000b"}, ""},
		{"a second OID", object{"oid": oid, "OID": "other"}, ""},
		{"OID alone", object{"OID": oid}, ""},
		{"without sub", object{"oid": oid, "sub": nil}, ""},
		{"an empty sub", object{"oid": oid, "sub": ""}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam.idToken = func(_, claims object) { maps.Copy(claims, test.change) }
			start := begin(t, p, login.BeginParams{})
			got, err := p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
			claims := appClaims(cfg.Issuer)
			maps.Copy(claims, test.change)
			app, appErr := p.AppLogin(t.Context(), signed(tam, object{"alg": "ES256", "kid": "tamperer"}, claims), appNonce, apps)
			if test.want == "" {
				wantRejected(t, err, "id_token")
				wantRejected(t, appErr, "id_token")
				return
			}
			if err != nil || got.Subject != test.want || got.Sub != "dev-10021" || got.Issuer != cfg.Issuer {
				t.Errorf("Finish = %+v, %v, want subject %s", got, err, test.want)
			}
			if appErr != nil || app.Subject != test.want || app.Sub != "dev-10021" {
				t.Errorf("AppLogin = %+v, %v, want subject %s", app, appErr, test.want)
			}
		})
	}

	for _, claim := range []string{"Sub", "AUD", "Nonce", "AT_HASH"} {
		cfg.SubjectClaim = claim
		if _, err := login.New(cfg, client(t, 0), nil); err == nil {
			t.Errorf("New with the subject claim %s = nil, want an error", claim)
		}
	}
}

// TestSubjectClaimOfUserinfo holds that userinfo is read by sub, which both have, when another claim identifies users.
func TestSubjectClaimOfUserinfo(t *testing.T) {
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	cfg.SubjectClaim, cfg.UserClaim = "oid", "employee"
	p := newProvider(t, cfg)
	tam.idToken = func(_, claims object) { claims["oid"] = oid }
	tam.userinfo = func(said object) { said["employee"], said["oid"] = "e7", "other" }
	finish := func() (login.Identity, error) {
		start := begin(t, p, login.BeginParams{})
		return p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
	}
	if got, err := finish(); err != nil || got.User != "e7" || got.Subject != oid {
		t.Errorf("Finish = %+v, %v, want user e7 with subject %s", got, err, oid)
	}
	tam.userinfo = func(said object) { said["employee"], said["sub"] = "e7", oid }
	_, err := finish()
	wantRejected(t, err, "userinfo")
}

// TestLogoutOfSubjectClaim holds that a logout token ends logins of the user whom the claim identifies or, without that claim, of the
// session; its sub identifies nobody.
func TestLogoutOfSubjectClaim(t *testing.T) {
	tam := newTamperer(t)
	cfg := config(serve(t, tam.wrap, dev))
	cfg.SubjectClaim = "oid"
	p := newProvider(t, cfg)
	for name, test := range map[string]struct {
		change       object
		subject, sid string
		refused      string
	}{
		"the session":           {object{}, "", "08a5019c", ""},
		"session and user":      {object{"oid": oid}, oid, "08a5019c", ""},
		"the user":              {object{"oid": oid, "sid": "DELETED"}, oid, "", ""},
		"the user, without sub": {object{"oid": oid, "sid": "DELETED", "sub": "DELETED"}, oid, "", "it has neither sub nor sid"},
		"sub alone":             {object{"sid": "DELETED"}, "", "", "it has neither sid nor oid, which identifies the users of this provider in place of sub"},
		"a number":              {object{"oid": 7}, "", "", "oid is not 1 to 255 printable ASCII characters"},
		"null":                  {object{"oid": nil}, "", "", "oid is not"},
		"empty":                 {object{"oid": ""}, "", "", "oid is not"},
		"a second OID":          {object{"oid": oid, "OID": "x"}, "", "", "member oid differs only in case from a known one"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := logoutClaims(cfg.Issuer)
			maps.Copy(claims, test.change)
			maps.DeleteFunc(claims, func(_ string, v any) bool { return v == "DELETED" })
			got, err := p.Logout(t.Context(), signed(tam, object{"alg": "ES256", "typ": "logout+jwt", "kid": "tamperer"}, claims))
			var bad *login.Rejected
			switch {
			case test.refused != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("Logout = %+v, %v, want %q", got, err, test.refused)
			case test.refused == "" && (err != nil || got.Subject != test.subject || got.SID != test.sid):
				t.Errorf("Logout = %+v, %v, want subject %q and sid %q", got, err, test.subject, test.sid)
			}
		})
	}
}
