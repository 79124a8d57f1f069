package interop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// wallet lets npm @openid4vc/openid4vci, unmodified, get credentials of the issuer: from an offer over PAR, a code and a DPoP token to a
// nonce and a batch of credentials, one of which it ends. Then issuer credential verifies them, and presentations of them.
func wallet(t *testing.T, ctx context.Context, issuer string) {
	command := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, program(t, "./cmd/issuer"), append([]string{"credential"}, args...)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("issuer credential %q: exit code %d, want %d\n%s", args, code, want, out)
		}
		return strings.TrimSpace(string(out))
	}
	script := node(t, ctx, "openid4vci.mjs", map[string]string{
		"OFFER": command(0, "offer", "--issuer", issuer), "CLIENT_ID": "im-app", "REDIRECT_URI": redirect,
	})
	script.Stderr = t.Output()
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	var steps strings.Builder
	var got struct{ Credentials, Keys []string }
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if address, ok := strings.CutPrefix(line, "LOGIN "); ok {
			back, err := browser.New(nil).Login(ctx, address, browser.To(redirect), map[string]string{"login": "bob", "password": "bob"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintln(in, back); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if json.Unmarshal([]byte(line), &got) != nil {
			fmt.Fprintln(&steps, line)
		}
	}
	if err := script.Wait(); err != nil || steps.String() != walletSteps {
		t.Fatalf("openid4vci.mjs = %v and\n%s\nwant\n%s", err, steps.String(), walletSteps)
	}
	if len(got.Credentials) != 2 || len(got.Keys) != 2 {
		t.Fatalf("openid4vci.mjs got %d credentials for %d keys, want 2", len(got.Credentials), len(got.Keys))
	}

	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	trusted := []string{"--peer", "example.com=" + issuer, "--development"}
	for i, credential := range got.Credentials {
		file, key := write(fmt.Sprint("credential", i), credential), write(fmt.Sprint("key", i), got.Keys[i])
		text := command(0, append([]string{"verify", file, "--no-binding"}, trusted...)...)
		for _, want := range []string{"The credential is valid.", "im:%40bob@example.com", "status  looked up in " + issuer + "/status/"} {
			if !strings.Contains(text, want) {
				t.Errorf("issuer credential verify printed\n%s\nwithout %q", text, want)
			}
		}
		shown := write(fmt.Sprint("shown", i), command(0, "present", file, "--key", key, "--audience", "im:example.org", "--nonce", "n"))
		command(0, append([]string{"verify", shown, "--audience", "im:example.org", "--nonce", "n"}, trusted...)...)
		command(1, append([]string{"verify", shown, "--audience", "im:example.org", "--nonce", "other"}, trusted...)...)
	}
}

// walletSteps is what openid4vci.mjs prints.
const walletSteps = `offer: im-device, authorization_code
metadata: V1, dc+sd-jwt of tag:imidentity.github.io,2026:im-device:1
authorization: client_id,request_uri
token: DPoP, im:credential
credentials: 2
signatures of the issuer: true
the same proofs again: invalid_proof
one of 3 ends: 204, valid before, invalid after
`
