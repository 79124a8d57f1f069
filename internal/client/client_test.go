package client_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/client"
)

// Nothing is sent anywhere for an answer that is not exactly that of the request, by the issuer it was made to.
func TestFinishRefuses(t *testing.T) {
	c := &client.Client{Server: client.Metadata{
		Issuer: "https://im-id.example.com", AuthorizationEndpoint: "https://im-id.example.com/authorize",
		TokenEndpoint: "https://127.0.0.1:1/token", // where an error would tell of a connection
	}, ID: "im-app"}
	flow := c.Begin("http://127.0.0.1:7777/callback", nil)
	begun, err := url.Parse(flow.URL)
	if err != nil {
		t.Fatal(err)
	}
	good := url.Values{"code": {"c"}, "state": {begun.Query().Get("state")}, "iss": {c.Server.Issuer}}
	for name, change := range map[string]url.Values{
		"other state":        {"state": {"x"}},
		"no state":           {"state": nil},
		"state twice":        {"state": {good.Get("state"), good.Get("state")}},
		"other issuer":       {"iss": {"https://evil.example.com"}},
		"issuer with slash":  {"iss": {c.Server.Issuer + "/"}},
		"no issuer":          {"iss": nil},
		"issuer twice":       {"iss": {c.Server.Issuer, "https://evil.example.com"}},
		"code twice":         {"code": {"c", "d"}},
		"the person refuses": {"error": {"access_denied"}},
	} {
		q := url.Values{}
		for _, from := range []url.Values{good, change} {
			for name, values := range from {
				q[name] = values
			}
		}
		_, err := c.Finish(t.Context(), flow, &url.URL{Path: "/callback", RawQuery: q.Encode()})
		if err == nil || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: Finish = %v, want a refusal before anything is sent", name, err)
		}
		if want := !strings.Contains(name, "state"); flow.Answers(&url.URL{RawQuery: q.Encode()}) != want {
			t.Errorf("%s: Answers = %t, want %t", name, !want, want)
		}
	}
	_, err = c.Finish(t.Context(), flow, &url.URL{Path: "/callback", RawQuery: good.Encode()})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Finish of a good answer = %v, want it to ask the token endpoint", err)
	}
}

func TestSafe(t *testing.T) {
	for raw, want := range map[string]bool{
		"https://im-id.example.com": true, "https://10.0.0.1:8443/x": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true,
		"http://localhost:8080": true, "http://127.9.9.9": true,
		"http://im-id.example.com": false, "http://10.0.0.1": false, "http://127.0.0.1.example.com": false,
		"http://localhost.example.com": false, "ftp://127.0.0.1": false, "https:///x": false, "im-id.example.com": false, "": false,
		"http://127.0.0.1@example.com": false,
	} {
		if got := client.Safe(raw); got != want {
			t.Errorf("Safe(%q) = %t, want %t", raw, got, want)
		}
	}
}
