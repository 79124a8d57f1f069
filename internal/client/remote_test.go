package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/internal/jose"
)

// A served issuer has a listener for operators over the network.
type served struct {
	server string
	key    *ecdsa.PrivateKey
	kid    string
}

// serve runs an issuer with the client ops until the test ends.
func serve(t *testing.T) served {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	kid, err := jose.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	public, operators := listen(), listen()
	cfg, err := config.Parse("settings.yaml", fmt.Appendf(nil, `
issuer: http://%[1]s
data: %[2]s
development: true
admin_listen: %[3]s
admin_url: http://%[3]s
domains:
  - {name: example.com, providers: [{id: corp, issuer: "http://127.0.0.1:1", client_id: issuer}]}
  - {name: example.org, providers: [{id: other, issuer: "http://127.0.0.1:1", client_id: issuer}]}
clients:
  - {id: ops, auth: private_key_jwt, jwks: '{"keys":[%[4]s]}', grants: [client_credentials], scopes: [admin], domains: [example.com, example.org]}
`, public.Addr(), strconv.Quote(t.TempDir()), operators.Addr(), jwk), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	instance, err := issuer.Open(ctx, cfg, issuer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := issuer.ListenAdmin(cfg.AdminSocket())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- instance.Serve(ctx, issuer.Listeners{Public: public, Admin: socket, Operators: operators})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return served{"http://" + operators.Addr().String(), key, kid}
}

// counted counts the requests to the token endpoint. Each request has a connection of its own.
type counted struct {
	http.Transport
	tokens atomic.Int64
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/token" {
		c.tokens.Add(1)
	}
	return c.Transport.RoundTrip(req)
}

// A losing transport loses the first answers to requests that change something, after the server has answered.
type losing struct {
	http.RoundTripper
	lose   int
	keys   []string
	failed error
}

func (l *losing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(req)
	if err != nil || req.Header.Get("Idempotency-Key") == "" || resp.StatusCode == http.StatusUnauthorized {
		return resp, err
	}
	l.keys = append(l.keys, req.Header.Get("Idempotency-Key"))
	if len(l.keys) > l.lose {
		return resp, nil
	}
	return nil, errors.Join(l.failed, resp.Body.Close())
}

// TestRemoteLostAnswer loses answers on their way: the request is sent again with its key, and done once.
func TestRemoteLostAnswer(t *testing.T) {
	s := serve(t)
	for _, test := range []struct {
		lose int
		done bool // the client learns so
	}{{0, true}, {1, true}, {2, true}, {3, false}} {
		base := &losing{&http.Transport{DisableKeepAlives: true}, test.lose, nil, errors.New("connection reset")}
		admin, err := client.Remote(client.RemoteConfig{Server: s.server, ClientID: "ops", Key: s.key, KID: s.kid, Base: base})
		if err != nil {
			t.Fatal(err)
		}
		before, err := admin.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		change, err := admin.RotateKey(t.Context(), true)
		if (err == nil) != test.done || test.done && !change.Changed {
			t.Errorf("RotateKey with %d answers lost = %+v, %v, want success: %v", test.lose, change, err, test.done)
		}
		after, err := admin.Keys(t.Context())
		if err != nil || len(after) != len(before)+1 {
			t.Errorf("%d keys, %v, after %d; want one more", len(after), err, len(before))
		}
		if n := len(slices.Compact(base.keys)); n != 1 {
			t.Errorf("requests with the keys %q, want one key", base.keys)
		}
	}
}

// TestRemote holds that one token serves many requests, that it is replaced before it expires, and that a wrong clock is named.
func TestRemote(t *testing.T) {
	s := serve(t)
	base, ahead := &counted{Transport: http.Transport{DisableKeepAlives: true}}, time.Duration(0)
	admin, err := client.Remote(client.RemoteConfig{
		Server: s.server, ClientID: "ops", Key: s.key, KID: s.kid, Base: base, Now: func() time.Time { return time.Now().Add(ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if keys, err := admin.Keys(t.Context()); err != nil || len(keys) != 1 {
			t.Fatalf("Keys = %v, %v, want one", keys, err)
		}
	}
	asked := base.tokens.Load() // the first time for a nonce
	if asked > 2 {
		t.Errorf("%d requests for tokens, want one, repeated for a nonce", asked)
	}
	ahead = 9*time.Minute + 45*time.Second // the token is for ten minutes; no request uses a clock that far off
	clock := (*client.ClockError)(nil)
	if _, err := admin.Keys(t.Context()); !errors.As(err, &clock) || clock.Ahead > -9*time.Minute {
		t.Errorf("Keys with a clock that is ahead = %v, want a ClockError that says how far", err)
	}
	if base.tokens.Load() == asked {
		t.Error("the token was not replaced before it expired")
	}
	for _, server := range []string{"ftp://127.0.0.1", "http://admin.example.com", "https://a@admin.example.com", "https://admin.example.com/x", "https://admin.example.com?x", ""} {
		if _, err := client.Remote(client.RemoteConfig{Server: server, ClientID: "ops", Key: s.key}); err == nil {
			t.Errorf("Remote(%q) = nil, want an error", server)
		}
	}
}
