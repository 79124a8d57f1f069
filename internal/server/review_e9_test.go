package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestReviewE9Semicolon holds that a semicolon in the value of a query parameter is part of it (RFC 3986 §3.4), and that it hides no
// parameter.
func TestReviewE9Semicolon(t *testing.T) {
	s := start(t, nil)
	query := func(state string) string {
		return authorization(url.Values{"state": nil}).Encode() + "&state=" + state
	}
	b := s.browser()
	to, err := s.send(t, b.Client(), s.request(t, http.MethodGet, "/authorize?"+query("a;b=c")+"&prompt=none", "")).to()
	if err != nil {
		t.Fatal(err)
	}
	back := url.Values{"state": {to.Query().Get("state")}, "error": {"login_required"}}
	a := s.arrive(t, b, mustParse(t, s.provider.callback+"dev?"+back.Encode()))
	s.wantRedirect(t, a, redirectURI, "a;b=c", "login_required")
	for _, hidden := range []string{
		"&x;client_id=evil", "&x;state=evil&y=1", "&state;=evil", // in a name
		"&state=a;b&state=c", "&client%5Fid=evil", // twice, however it is written
		"&state=%zz", "&%zz=1", "&state=a;%zz",
	} {
		wantPage(t, s.get(t, "/authorize?"+authorization(nil).Encode()+hidden), http.StatusBadRequest)
	}
	a = s.get(t, "/authorize?"+authorization(url.Values{"state": nil}).Encode()+"&state=a;redirect_uri=https://evil.example&prompt=wrong")
	if to, err = a.to(); err != nil || !strings.HasPrefix(to.String(), redirectURI) || to.Query().Get("state") != "a;redirect_uri=https://evil.example" {
		t.Errorf("the browser is sent to %v, %v, want the app with its state", to, err)
	}
}

// TestReviewE9NotFoundIsShared holds that a page of another origin can read that it asked a wrong path, unless it is one that
// people go to.
func TestReviewE9NotFoundIsShared(t *testing.T) {
	for _, prefix := range []string{"", "/im"} {
		t.Run("prefix "+prefix, func(t *testing.T) { wantSharedNotFound(t, start(t, map[string]string{"prefix": prefix})) })
	}
}

func wantSharedNotFound(t *testing.T, s *site) {
	for path, shared := range map[string]bool{
		"/tokens": true, "/token/": true, "/me/": true, "/me/unknown": true, "/.well-known/openid-configuration": true, "/userinfo": true,
		"/login/unknown": false, "/authorize/": false,
	} {
		a := s.get(t, path)
		wantStatus(t, a, http.StatusNotFound)
		if shared {
			wantShared(t, a)
		} else if got := corsHeaders(a); len(got) != 0 {
			t.Errorf("GET %s = %v with CORS headers %v, want none", path, a, got)
		}
	}
}
