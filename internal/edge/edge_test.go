package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
	"github.com/imidentity/issuer/internal/jose"
)

const (
	chat    = "https://chat.a.example"
	issuerB = "https://id.b.example"
)

// A site is a gateway behind nginx, and a device of b.example with a token.
type site struct {
	*edge.Instance
	*httptest.Server
	folder string
	token  string
	device *dpop.Signer
	nonce  atomic.Value
	header http.Header // of further headers of requests
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{folder: t.TempDir()}
	key := newKey(t)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[%s,"kid":"k1"}]}`, strings.TrimSuffix(string(jwk), "}"))
	if err := os.WriteFile(filepath.Join(s.folder, "b.json"), []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Instance, err = edge.Open(t.Context(), s.settings(t, "upstream: chat"), edge.Options{}); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s.Instance)
	t.Cleanup(s.Server.Close)
	if s.device, err = dpop.NewSigner(newKey(t), ""); err != nil {
		t.Fatal(err)
	}
	token := claims.Set{
		Issuer: issuerB, Subject: "im:u2@b.example;id-type=user", Handle: "im:%40bob@b.example", Device: "im:u2/d1@b.example",
		Audience: []string{"im:a.example"}, ClientID: "app", Scope: "im:handle im:device", JTI: rand.Text(), IssuedAt: time.Now(),
		Expires: time.Now().Add(10 * time.Minute), SID: "s1", JKT: s.device.JKT(),
	}
	if s.token, err = jose.Sign(key, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"k1"}`), token.AppendJSON(nil)); err != nil {
		t.Fatal(err)
	}
	s.nonce.Store("")
	return s
}

// settings returns the settings of the gateway, with members of its route.
func (s *site) settings(t *testing.T, route string, peers ...string) *config.Gateway {
	t.Helper()
	cfg, err := config.ParseGateway(filepath.Join(s.folder, "gateway.yaml"), fmt.Appendf(nil, `development: true
public_origins: [%s]
proxy: nginx
trusted_proxies: [127.0.0.1/32]
audience: ["im:a.example"]
peers: [{domain: b.example, issuer: %s, jwks_file: b.json}%s]
routes: [{path: /, %s}]
`, chat, issuerB, strings.Join(peers, ""), route), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// asks returns the status and the reason of the answer about a request with a new proof.
func (s *site) asks() (string, error) {
	for {
		nonce := s.nonce.Load().(string)
		proof, err := s.device.Proof(dpop.ProofParams{Method: "GET", URL: chat + "/", AccessToken: s.token, Nonce: nonce})
		if err != nil {
			return "", err
		}
		q, err := http.NewRequest(http.MethodGet, s.URL+"/verify", nil)
		if err != nil {
			return "", err
		}
		for name, value := range map[string]string{
			"X-Original-Method": "GET", "X-Original-URI": "/", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.a.example",
			"Authorization": "DPoP " + s.token, "DPoP": proof,
		} {
			q.Header.Set(name, value)
		}
		maps.Copy(q.Header, s.header)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		reason := resp.Header.Get("X-IM-Reason")
		if reason != "use_nonce" || err != nil {
			return fmt.Sprintf("%d%s", resp.StatusCode, reason), err
		}
		s.nonce.Store(resp.Header.Get("DPoP-Nonce"))
	}
}

func (s *site) want(t *testing.T, want string) {
	t.Helper()
	if got, err := s.asks(); err != nil || got != want {
		t.Errorf("the answer is %s, %v, want %s", got, err, want)
	}
}

// A suspension holds from the moment at which it returns, however many requests are decided and settings are read meanwhile.
func TestSuspendRaced(t *testing.T) {
	s := newSite(t)
	s.want(t, "200")
	stop := make(chan struct{})
	var suspended atomic.Int64 // odd: a suspension is in force
	var all sync.WaitGroup
	var let, refused atomic.Int64
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := suspended.Load()
				got, err := s.asks()
				during := before%2 == 1 && suspended.Load() == before
				switch {
				case err != nil, got != "200" && got != "401suspended_issuer":
					t.Errorf("the answer is %s, %v", got, err)
					return
				case during && got == "200":
					t.Error("a suspended peer was let through")
					return
				case got == "200":
					let.Add(1)
				default:
					refused.Add(1)
				}
			}
		})
	}
	all.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			further := []string{", {domain: c.example, issuer: https://id.c.example}"} // another table of trust each time
			if err := s.Reload(s.settings(t, "upstream: chat, scopes: [im:handle]", further[:n%2]...)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	const least = 5 // of each outcome, in each round
	for round := range 10 {
		on := round%2 == 0
		if !on {
			suspended.Add(1)
		}
		if err := s.Suspend("b.example", on); err != nil {
			t.Fatal(err)
		}
		if on {
			suspended.Add(1)
		}
		count := &let
		if on {
			count = &refused
		}
		for from := count.Load(); count.Load() < from+least && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	all.Wait()
	t.Logf("%d requests were let through, and %d refused", let.Load(), refused.Load())
}

// A suspension that cannot be stored is in force, and the operator is told that it will not last.
func TestSuspendWithoutStorage(t *testing.T) {
	s := newSite(t)
	data := filepath.Join(s.folder, "gateway-data")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := s.Suspend("b.example", true); err == nil || !strings.Contains(err.Error(), "only until the gateway stops") {
		t.Errorf("Suspend = %v, want an error about the storage", err)
	}
	s.want(t, "401suspended_issuer")
	if err := s.Suspend("b.example", false); err == nil || !strings.Contains(err.Error(), "still suspended") {
		t.Errorf("Suspend = %v, want an error about the storage", err)
	}
	s.want(t, "401suspended_issuer")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Suspend("B.Example", false); err != nil {
		t.Fatal(err)
	}
	s.want(t, "200")
	for _, domain := range []string{"c.example", "", "b example"} {
		if err := s.Suspend(domain, true); err == nil {
			t.Errorf("Suspend(%q) = nil, want an error", domain)
		}
	}
}

// A gateway of a new process finds the suspensions of the last one, and does not begin if it cannot read them.
func TestSuspensionsOutliveRestarts(t *testing.T) {
	s := newSite(t)
	if err := s.Suspend("b.example", true); err != nil {
		t.Fatal(err)
	}
	next, err := edge.Open(t.Context(), s.settings(t, "upstream: chat"), edge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if peers := next.Peers(); len(peers) != 1 || !peers[0].Suspended {
		t.Errorf("Peers = %+v, want one that is suspended", peers)
	}
	for _, text := range []string{
		``, `{"suspended":[`, `{}`, `{"suspend":["b.example"]}`, `{"suspended":["b.example"],"more":1}`, `{"suspended":["b_example."]}`,
		`{"suspended":[]} {"suspended":["b.example"]}`,
	} {
		if err := os.WriteFile(filepath.Join(s.folder, "gateway-data", "suspended.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := edge.Open(t.Context(), s.settings(t, "upstream: chat"), edge.Options{}); err == nil {
			t.Errorf("Open with the suspensions %q = nil, want an error", text)
		}
	}
}

// Settings that cannot be applied change nothing.
func TestReloadRefuses(t *testing.T) {
	s := newSite(t)
	bad := s.settings(t, "upstream: chat")
	bad.Development = false
	if err := s.Reload(bad); err == nil {
		t.Error("Reload with another development = nil, want an error")
	}
	proxy := s.settings(t, "upstream: chat")
	proxy.Proxy, proxy.Upstream = "", "http://127.0.0.1:1"
	if err := s.Reload(proxy); err == nil {
		t.Error("Reload with an upstream = nil, want an error")
	}
	s.want(t, "200")
	if err := s.Reload(s.settings(t, "upstream: chat, scopes: [admin]")); err != nil {
		t.Fatal(err)
	}
	s.want(t, "403insufficient_scope")
}
