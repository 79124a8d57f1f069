package forwardauth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

var identityHeaders = []string{"X-Im-User", "X-Im-Handle", "X-Im-Device", "X-Im-Domain", "X-Im-Issuer", "X-Im-Scope", "X-Im-Identity"}

// ask returns the answer to the question of a proxy.
func (w *world) ask(q *http.Request) *http.Response {
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, q)
	return answer.Result()
}

// Every header is set, also an empty one: a proxy copies it over that of the client.
func TestHandlerSetsEveryHeader(t *testing.T) {
	for _, kind := range forwardauth.Kinds {
		w := newWorld(t, kind)
		for _, token := range []string{w.token(t, nil), w.token(t, map[string]any{"device": nil, "handle": nil, "scope": nil})} {
			q := question(kind, "GET", "https", "chat.a.example", "/rooms?x=y")
			for _, name := range identityHeaders {
				q.Header.Set(name, "im:mallory@b.example")
			}
			w.sign(t, q, token, "GET", chat+"/rooms")
			resp := w.ask(q)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: the answer is %d %v", kind, resp.StatusCode, resp.Header)
			}
			for _, name := range identityHeaders {
				if values := resp.Header[name]; len(values) != 1 || strings.Contains(values[0], "mallory") {
					t.Errorf("%s: %s is %q, want one value, which is not the client's", kind, name, values)
				}
			}
			if resp.Header.Get("X-IM-User") != "im:u2@b.example;id-type=user" || resp.Header.Get("DPoP-Nonce") == "" {
				t.Errorf("%s: the answer has the headers %v", kind, resp.Header)
			}
		}
	}
}

// A trusted issuer that signs names with line breaks or other characters cannot write headers.
func TestHandlerRefusesUnsafeNames(t *testing.T) {
	w := newWorld(t, forwardauth.Nginx, forwardauth.Route{Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{Bots: true})})
	for name, change := range map[string]map[string]any{
		"a line break":  {"client_id": "app\r\nX-IM-User: mallory"},
		"not ASCII":     {"client_id": "äpp"},
		"a space":       {"client_id": "app "},
		"a long scope":  {"scope": strings.Repeat("a ", 3000)},
		"a long client": {"client_id": strings.Repeat("a", 3000)},
	} {
		q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/rooms")
		w.sign(t, q, w.token(t, change), "GET", chat+"/rooms")
		resp := w.ask(q)
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s: the answer is 200 %v", name, resp.Header)
		}
		for _, header := range identityHeaders {
			if len(resp.Header[header]) > 0 {
				t.Errorf("%s: the answer has %s", name, header)
			}
		}
	}
}

// A service of one issuer cannot pass for a user of another domain.
func TestHandlerRefusesServiceNamedLikeUser(t *testing.T) {
	w := newWorld(t, forwardauth.Nginx, forwardauth.Route{Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{Bots: true})})
	for id, status := range map[string]int{"bridge": 200, "im:u1@a.example;id-type=user": 403} {
		token := w.token(t, map[string]any{"sub": id, "client_id": id, "handle": nil, "device": nil, "sid": nil})
		q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/rooms")
		w.sign(t, q, token, "GET", chat+"/rooms")
		resp := w.ask(q)
		if resp.StatusCode != status && (status == 200 || resp.StatusCode != http.StatusUnauthorized) {
			t.Errorf("%s: the answer is %d %s, want %d", id, resp.StatusCode, resp.Header.Get("X-IM-Reason"), status)
		}
		if got := resp.Header.Get("X-IM-User"); status == 200 && got != id || status != 200 && got != "" {
			t.Errorf("%s: X-IM-User is %q", id, got)
		}
	}
}

// A route that watches lets requests pass that it would refuse, and names nobody then.
func TestHandlerShadow(t *testing.T) {
	w := newWorld(t, forwardauth.Nginx, forwardauth.Route{
		Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{Scopes: []string{"admin"}, Shadow: true}),
	})
	q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/")
	w.sign(t, q, w.token(t, nil), "GET", chat+"/")
	resp := w.ask(q)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-IM-Reason") != "insufficient_scope" {
		t.Errorf("the answer is %d %v", resp.StatusCode, resp.Header)
	}
	for _, name := range identityHeaders {
		if values := resp.Header[name]; len(values) != 1 || values[0] != "" {
			t.Errorf("%s is %q, want one empty value", name, values)
		}
	}
	if len(resp.Header["Www-Authenticate"]) > 0 {
		t.Error("an answer that lets through has a challenge")
	}
	// What is refused before any policy is refused here, too.
	if resp := w.ask(question(forwardauth.Nginx, "GET", "https", "chat.a.example", "//")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the answer is %d, want 403", resp.StatusCode)
	}
}

// A route that watches also lets those pass whose names cannot be written into headers, and names nobody then.
func TestHandlerShadowUnsafeName(t *testing.T) {
	w := newWorld(t, forwardauth.Nginx, forwardauth.Route{Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{Shadow: true})})
	q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/")
	w.sign(t, q, w.token(t, map[string]any{"client_id": "app\r\nX-IM-User: mallory"}), "GET", chat+"/")
	resp := w.ask(q)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-IM-Reason") != "bad_identity" {
		t.Errorf("the answer is %d %v, want 200 with the reason bad_identity", resp.StatusCode, resp.Header)
	}
	for _, name := range identityHeaders {
		if values := resp.Header[name]; len(values) != 1 || values[0] != "" {
			t.Errorf("%s is %q, want one empty value", name, values)
		}
	}
}

func TestRoutes(t *testing.T) {
	p := policy(t, gateway.PolicyConfig{})
	w := newWorld(t, forwardauth.Nginx,
		forwardauth.Route{Path: "/", Upstream: "all", Policy: p},
		forwardauth.Route{Path: "/rooms", Methods: []string{"GET"}, Upstream: "read", Policy: p},
		forwardauth.Route{Path: "/rooms", Methods: []string{"POST", "GET"}, Upstream: "write", Policy: p},
		forwardauth.Route{Path: "/rooms/admin", Upstream: "admin", Policy: p},
		forwardauth.Route{Path: "/rooms/admin/log", Origins: []string{"https://files.a.example:8443"}, Upstream: "log", Policy: p},
	)
	files := "https://files.a.example:8443"
	for _, v := range []struct{ method, origin, path, want string }{
		{"GET", chat, "/", "all"}, {"PUT", chat, "/other", "all"}, {"PUT", chat, "/roomservice", "all"},
		{"GET", chat, "/rooms", "read"}, {"GET", chat, "/rooms/", "read"}, {"GET", chat, "/rooms/7", "read"},
		{"POST", chat, "/rooms/7", "write"}, {"PUT", chat, "/rooms/7", ""}, {"get", chat, "/rooms", ""},
		{"PUT", chat, "/rooms/admin", "admin"}, {"GET", chat, "/rooms/admin/log", "admin"}, {"GET", files, "/rooms/admin/log/x", "log"},
		{"GET", chat, "/rooms/administrator", "read"}, {"GET", chat, "/Rooms", "all"},
	} {
		a := w.handler.Decide(t.Context(), forwardauth.Target{Method: v.method, Origin: v.origin, Path: v.path}, http.Header{}, false)
		got := ""
		if a.Route != nil {
			got = a.Route.Upstream
		}
		if got != v.want || (got == "") != (a.Decision.Reason == forwardauth.ReasonNoRoute) {
			t.Errorf("%s %s%s has the route %q, %s, want %q", v.method, v.origin, v.path, got, a.Decision.Reason, v.want)
		}
	}
}

func TestNewHandler(t *testing.T) {
	w := newWorld(t, forwardauth.Nginx)
	p := policy(t, gateway.PolicyConfig{})
	online := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})
	for name, routes := range map[string][]forwardauth.Route{
		"no routes":      {},
		"no policy":      {{Path: "/", Upstream: "chat"}},
		"no upstream":    {{Path: "/", Policy: p}},
		"no path":        {{Upstream: "chat", Policy: p}},
		"a slash":        {{Path: "/rooms/", Upstream: "chat", Policy: p}},
		"a query":        {{Path: "/rooms?x", Upstream: "chat", Policy: p}},
		"an encoding":    {{Path: "/%72ooms", Upstream: "chat", Policy: p}},
		"nobody to ask":  {{Path: "/", Upstream: "chat", Policy: online}},
		"other audience": {{Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{Audience: []string{"im:c.example"}})}},
	} {
		cfg := w.cfg
		cfg.Routes = routes
		if _, err := forwardauth.NewHandler(cfg); err == nil {
			t.Errorf("NewHandler with %s = nil, want an error", name)
		}
	}
}
