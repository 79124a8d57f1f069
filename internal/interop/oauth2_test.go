package interop_test

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// oauth2App runs the examples that use golang.org/x/oauth2: an app that logs bob in and refreshes, and a service.
func oauth2App(t *testing.T, ctx context.Context, issuer string) {
	resource := startResource(t, ctx, issuer, "offline")
	t.Run("app", func(t *testing.T) {
		app := exec.CommandContext(ctx, program(t, "./docs/examples/app"))
		app.Env = []string{"ISSUER=" + issuer, "CLIENT_ID=im-app", "RESOURCE=" + resource}
		app.Stderr = t.Output()
		out, err := app.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		address, ok := strings.CutPrefix(lines.Text(), "Open ")
		begin, err := url.Parse(address)
		if !ok || err != nil {
			t.Fatalf("the app prints %q, want where to go", lines.Text())
		}
		back, err := browser.New(nil).Login(ctx, address, browser.To(begin.Query().Get("redirect_uri")), map[string]string{"login": "bob", "password": "bob"})
		if err != nil {
			t.Fatal(err)
		}
		// Whoever sends the browser back with something else is not listened to.
		for name, value := range map[string]string{"state": "another", "iss": "https://another.example"} {
			query := back.Query()
			query.Set(name, value)
			if got := visit(t, ctx, back, query); got != http.StatusNotFound {
				t.Errorf("the app answers another %s with %d, want 404", name, got)
			}
		}
		if got := visit(t, ctx, back, back.Query()); got != http.StatusOK {
			t.Errorf("the app answers the browser with %d, want 200", got)
		}
		var printed []string
		for lines.Scan() {
			printed = append(printed, lines.Text())
		}
		want := regexp.MustCompile(`^200 Hello im:%40bob@example.com, your key is [\w-]{43}$`)
		if err := app.Wait(); err != nil || len(printed) != 2 || printed[0] != printed[1] || !want.MatchString(printed[0]) {
			t.Errorf("the app = %v and %q, want two lines that match %s", err, printed, want)
		}
	})
	for name, env := range map[string][]string{
		"service": {"CLIENT_ID=peer", "CLIENT_SECRET=" + peerSecret},
		"keyed":   {"CLIENT_ID=web", "KEY=" + signers.file(t, "ES256"), "KID=ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			service := exec.CommandContext(ctx, program(t, "./docs/examples/"+name))
			service.Env = append(env, "ISSUER="+issuer, "RESOURCE="+resource)
			service.Stderr = t.Output()
			out, err := service.Output()
			if want := regexp.MustCompile(`^200 Hello .*, your key is [\w-]{43}\n$`); err != nil || !want.Match(out) {
				t.Errorf("the service = %v and %q, want a line that matches %s", err, out, want)
			}
		})
	}
}

// visit opens the address that a browser was sent to, with a query.
func visit(t *testing.T, ctx context.Context, at *url.URL, query url.Values) int {
	t.Helper()
	to := *at
	to.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
