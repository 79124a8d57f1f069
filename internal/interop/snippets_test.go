package interop_test

import (
	"context"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// snippets runs the JavaScript of docs/dpop.md: it redeems a code, shows the token to the example resource, refreshes,
// and shows the new one.
func snippets(t *testing.T, ctx context.Context, issuer string) {
	resource := startResource(t, ctx, issuer, "resource")

	// RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	query := url.Values{
		"response_type": {"code"}, "client_id": {"im-app"}, "redirect_uri": {redirect},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	back, err := browser.New(nil).Login(ctx, issuer+"/authorize?"+query.Encode(), browser.To(redirect),
		map[string]string{"login": "bob", "password": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	script := node(t, ctx, "../../docs/dpop-example.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "CODE": back.Query().Get("code"), "CODE_VERIFIER": verifier,
		"REDIRECT_URI": redirect, "RESOURCE": resource,
	})
	script.Stderr = t.Output()
	printed, err := script.Output()
	want := regexp.MustCompile(`^DPoP token for the key [\w-]{43}\n200 Hello (im:\S+).*\n(?s:.*)200 Hello im:\S+.*\n$`)
	if err != nil || !want.Match(printed) {
		t.Errorf("dpop-example.mjs = %v and\n%s\nwant it to match %s", err, printed, want)
	}
}

// startResource starts an example of a resource, and returns the URL that it guards.
func startResource(t *testing.T, ctx context.Context, issuer, name string) string {
	t.Helper()
	resource := exec.CommandContext(ctx, program(t, "./docs/examples/"+name))
	resource.Env = []string{"ISSUER=" + issuer, "PEER_ID=peer", "PEER_SECRET=" + peerSecret, "AUDIENCE=im:example.com"}
	return started(t, resource) + "/hello"
}

// started starts a program that serves until the test ends, and is then killed. It returns the first line of its output.
func started(t *testing.T, program *exec.Cmd) string {
	t.Helper()
	program.Stderr = t.Output()
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait() // it was killed
	})
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n]))
}
