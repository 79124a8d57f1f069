package server_test

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// TestReviewD3ExamplesCheckAudience: the examples of resources let a token in that is for them, and refuse one that is
// for another service.
func TestReviewD3ExamplesCheckAudience(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice") // for im:example.com, the default
	for _, name := range []string{"resource", "offline"} {
		binary := filepath.Join(t.TempDir(), name)
		build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./docs/examples/"+name)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", build, err, out)
		}
		for audience, want := range map[string]string{
			"im:example.com": "200 Hello im:", "im:example.org": "401 {\"error\":\"invalid_token\"", "im:example.co": "401 {\"error\":\"invalid_token\"",
		} {
			t.Run(name+" "+audience, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), binary)
				cmd.Env = []string{"ISSUER=" + s.issuer, "PEER_ID=" + peer.id, "PEER_SECRET=" + peer.secret, "AUDIENCE=" + audience}
				cmd.Stderr = t.Output()
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait() // it was killed
				}()
				address, err := bufio.NewReader(out).ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSpace(address)+"/hello", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "DPoP "+held.access)
				resp, err := (&http.Client{Transport: &dpop.Transport{Signer: d.Signer}}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if got := resp.Status[:4] + string(body); err != nil || !strings.HasPrefix(got, want) {
					t.Errorf("answer = %q, %v, want %q", got, err, want)
				}
			})
		}
	}
}
