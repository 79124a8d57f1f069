package interop_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

var scimToken = strings.Repeat("5c1a", 16)

// scim lets a provider that is not ours manage its users by SCIM messages that are not ours: it creates a person, who then signs in there,
// and ends all access of the person.
func scim(t *testing.T, ctx context.Context, issuer string) {
	meta, err := client.Discover(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	ask := scimClient(t, ctx, issuer, scimToken)
	wants := func(command, want string) {
		t.Helper()
		if got := ask(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	wants("discover", "patch true, 1 type at /Users, 1 schema true with userName and active")
	wants("find externalId greta", "nobody")
	wants("provision Greta@example.com greta", "201 greta@example.com greta active true")
	wants("provision greta@example.com greta", "409 uniqueness A user with this externalId exists.")
	wants("find userName greta@example.com", "greta@example.com greta active")
	wants("count", "1, and all of them are there: true")

	// Greta is not asked for a handle, because she has one.
	phone, laptop := signInAtProvider(t, ctx, meta, "greta"), signInAtProvider(t, ctx, meta, "greta")
	devices := map[string]signedIn{"phone": phone, "laptop": laptop}
	for name, p := range devices {
		if answer := askAbout(t, ctx, issuer, p); !strings.Contains(answer, `"active":true`) || !strings.Contains(answer, `"im:%40greta@example.com"`) {
			t.Errorf("%s: introspection = %s, want Greta", name, answer)
		}
	}
	wants("put greta other@example.com", "greta@example.com greta active") // the provider does not decide about handles
	wants("set greta inactive", "greta@example.com greta active, then greta@example.com greta inactive, then 304")
	for name, p := range devices {
		if answer := askAbout(t, ctx, issuer, p); answer != `{"active":false}` {
			t.Errorf("%s: introspection = %s, want inactive", name, answer)
		}
		_, err := p.app.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.tokens.RefreshToken}})
		if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("%s: refresh = %v, want invalid_grant", name, err)
		}
	}
	flow := phone.app.Begin(redirect, url.Values{"scope": {"im:handle im:device"}})
	if back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirect), map[string]string{"login": "greta", "password": "greta"}); err == nil {
		t.Errorf("login of a disabled person = %v, want a page", back)
	}
	wants("set greta active", "greta@example.com greta inactive, then greta@example.com greta active, then 304")
	if again := signInAtProvider(t, ctx, meta, "greta"); !strings.Contains(askAbout(t, ctx, issuer, again), `"active":true`) {
		t.Error("Greta cannot sign in again")
	}
	wants("remove greta", "204")
	wants("find externalId greta", "nobody")
	if got := scimClient(t, ctx, issuer, strings.Repeat("0", 64))("count"); got != "401  The bearer token is not valid." {
		t.Errorf("with a wrong token: %q", got)
	}
}

// askAbout introspects the access token of a person and returns the answer.
func askAbout(t *testing.T, ctx context.Context, issuer string, p signedIn) string {
	t.Helper()
	form := url.Values{"token": {p.tokens.AccessToken}, "client_id": {"peer"}, "client_secret": {peerSecret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/introspect", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("introspection = %d %s, %v", resp.StatusCode, answer, err)
	}
	return strings.TrimSpace(string(answer))
}

// scimClient runs scim.mjs and returns a function that gives it a command and returns what came of it.
func scimClient(t *testing.T, ctx context.Context, issuer, token string) func(command string) string {
	t.Helper()
	cmd := node(t, ctx, "scim.mjs", map[string]string{"ISSUER": issuer, "TOKEN": token})
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			t.Errorf("scim.mjs: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	return func(command string) string {
		t.Helper()
		if _, err := fmt.Fprintln(in, command); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("scim.mjs ended: %v", lines.Err())
		}
		return lines.Text()
	}
}
