package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop/dpoptest"
)

// TestAcceptance holds /token and /par to the acceptance list of RFC 9449, with nonces and without, and with each store
// of spent proofs.
func TestAcceptance(t *testing.T) {
	for _, test := range []struct {
		name string
		fill map[string]string
	}{
		{"memory", nil},
		{"memory, nonces off", map[string]string{"nonce": "off"}},
		{"storage", map[string]string{"replay": "storage"}},
		{"redis", map[string]string{"replay": "redis"}},
		// Only a host with letters can be written in capitals, and only a URL without a port with the default one.
		{"by name", map[string]string{"origin": "https://issuer.example"}},
		{"by name, with a path", map[string]string{"origin": "https://issuer.example", "prefix": "/id"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.fill["replay"] == "redis" {
				test.fill["redis"] = "redis_url_file: " + startRedis(t)
			}
			s := start(t, test.fill)
			nonces := test.fill["nonce"] != "off"
			if !nonces {
				s.clock.advance(time.Minute) // what was made before the replay store began is refused
				s.waitReady(t)
			}
			t.Run("token", func(t *testing.T) { s.acceptToken(t, nonces) })
			t.Run("par", func(t *testing.T) { s.acceptPAR(t, nonces) })
		})
	}
}

// acceptToken refreshes. The token before the newest one is good until that is used, so one serves for all requests.
func (s *site) acceptToken(t *testing.T, nonces bool) {
	d := newDevice(t)
	held := s.login(t, d, "alice")
	dpoptest.Run(t, dpoptest.Endpoint{
		Method: http.MethodPost, URL: s.issuer + "/token", Key: d.key, Nonces: nonces,
		Refused: http.StatusBadRequest, OtherKey: "invalid_grant", Client: s.http, Now: s.clock.now,
		Request: func(t *testing.T) *http.Request {
			form := refreshForm(held.refresh)
			form.Set("client_id", app.id)
			return s.formRequest(t, "/token", form)
		},
	})
}

func (s *site) acceptPAR(t *testing.T, nonces bool) {
	dpoptest.Run(t, dpoptest.Endpoint{
		Method: http.MethodPost, URL: s.issuer + "/par", Key: newKey(t), Optional: true, Nonces: nonces,
		Refused: http.StatusBadRequest, Client: s.http, Now: s.clock.now,
		Request: func(t *testing.T) *http.Request { return s.formRequest(t, "/par", authorization(nil)) },
	})
}

func (s *site) formRequest(t *testing.T, to string, form url.Values) *http.Request {
	t.Helper()
	req := s.request(t, http.MethodPost, to, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// startRedis starts a Redis server on a socket, and returns a file that holds its URL.
func startRedis(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make setup installs redis-server", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for range 1000 {
		if c, err := net.Dial("unix", socket); err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "url")
			if err := os.WriteFile(file, []byte("unix://"+socket+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("redis-server does not start")
	return ""
}

// TestEmptiedRedis holds that a Redis server which is emptied costs a client one more try: the refusal carries a nonce of
// the new epoch, though the issuer learned of that only from the proof.
func TestEmptiedRedis(t *testing.T) {
	file := startRedis(t)
	s := start(t, map[string]string{"replay": "redis", "redis": "redis_url_file: " + file})
	d := newDevice(t)
	held := s.login(t, d, "alice")
	form := refreshForm(held.refresh)
	form.Set("client_id", app.id)
	proof := s.proof(t, d, "")
	flush(t, filepath.Join(filepath.Dir(file), "s"))

	a := s.post(t, "/token", form, http.Header{"Dpop": {proof}})
	wantError(t, a, http.StatusBadRequest, "use_dpop_nonce")
	if nonces := a.header.Values("DPoP-Nonce"); len(nonces) != 1 {
		t.Fatalf("DPoP-Nonce = %q, want one", nonces)
	}
	wantTokens(t, s.post(t, "/token", form, http.Header{"Dpop": {s.proof(t, d, a.header.Get("DPoP-Nonce"))}}))
}

// flush empties the Redis server at socket.
func flush(t *testing.T, socket string) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "FLUSHALL\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := bufio.NewReader(c).ReadString('\n'); answer != "+OK\r\n" || err != nil {
		t.Fatalf("FLUSHALL = %q, %v", answer, err)
	}
}

// TestRestartForgetsNoProof holds that a proof spent before a restart stays spent: the store remembers it or, in
// memory, has a new epoch, so that its nonce is stale.
func TestRestartForgetsNoProof(t *testing.T) {
	for store, code := range map[string]string{"memory": "use_dpop_nonce", "storage": "invalid_dpop_proof"} {
		t.Run(store, func(t *testing.T) {
			s := start(t, map[string]string{"replay": store})
			d := newDevice(t)
			header := http.Header{"Dpop": {s.proof(t, d, "")}, "Authorization": {basic(peer.id, url.QueryEscape(peer.secret))}}
			form := url.Values{"grant_type": {"client_credentials"}}
			if a := s.post(t, "/token", form, header); a.status != http.StatusOK {
				t.Fatalf("answer = %v, want 200", a)
			}
			s.restart(t, nil)
			a := s.post(t, "/token", form, header)
			if a.status != http.StatusBadRequest || !strings.Contains(a.body, code) {
				t.Errorf("the same proof after a restart = %v, want 400 %s", a, code)
			}
		})
	}
}
