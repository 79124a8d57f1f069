package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// signIn starts a development issuer and signs people in at it.
func signIn(t *testing.T, people []string, flags ...string) *devIssuer {
	t.Helper()
	d := serveDev(t, nil, append([]string{"--listen", "127.0.0.1:0"}, flags...)...)
	for _, person := range people {
		app, err := newApp(d.addr["issuer"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.login(person); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// issuer runs a command in the folder of the issuer and returns its output, that on standard error included.
func (d *devIssuer) issuer(args ...string) (string, error) {
	cmd := exec.Command("issuer", args...)
	cmd.Dir = d.folder
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestReviewD5FindsUsers holds that an operator finds a user by a bare handle, by part of a name and page by page, and sees
// whose device is whose.
func TestReviewD5FindsUsers(t *testing.T) {
	t.Parallel()
	d := signIn(t, []string{"alice", "bob"})
	if out, err := d.issuer("users", "show", "bob"); err != nil || !strings.Contains(out, "im:%40bob@example.com") {
		t.Errorf("users show bob = %v, want the user with the handle\n%s", err, out)
	}
	out, err := d.issuer("users", "show", "carol")
	if err == nil || !strings.Contains(out, "by id, by URI or by handle, as in @alice") {
		t.Errorf("users show carol = %v, want how to name a user\n%s", err, out)
	}
	if out, err := d.issuer("devices", "list"); err != nil || !regexp.MustCompile(`(?m)^[0-9a-f]+ +bob's laptop +bob +`).MatchString(out) {
		t.Errorf("devices list = %v, want the handle beside the device\n%s", err, out)
	}
	for search, want := range map[string][2]string{"ali": {"alice", "bob"}, "@BOB": {"bob", "alice"}} {
		out, err := d.issuer("users", "list", "--search", search)
		if err != nil || !strings.Contains(out, " "+want[0]+" ") || strings.Contains(out, " "+want[1]+" ") {
			t.Errorf("users list --search %s = %v, want %s alone\n%s", search, err, want[0], out)
		}
	}
	first, err := d.issuer("users", "list", "--limit", "1")
	after := regexp.MustCompile(`add --after (\S+)`).FindStringSubmatch(first)
	if err != nil || after == nil || strings.Count(first, "example.com") != 1 {
		t.Fatalf("users list --limit 1 = %v, want one user and how to go on\n%s", err, first)
	}
	second, err := d.issuer("users", "list", "--limit", "2", "--after", after[1])
	if err != nil || strings.Count(second, "example.com") != 1 || strings.Contains(second, after[1]) || strings.Contains(second, "--after") {
		t.Errorf("the next page = %v, want the other user, and no more\n%s", err, second)
	}
}

// TestReviewC5HandleURIOfMimi holds that a mimi: URI, which does not tell handles from ids, finds a user by either.
func TestReviewC5HandleURIOfMimi(t *testing.T) {
	t.Parallel()
	overlay := filepath.Join(t.TempDir(), "mimi.yaml")
	if err := os.WriteFile(overlay, []byte("domains:\n  - {name: example.com, uri: mimi}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := signIn(t, []string{"alice"}, "--config", overlay)
	out, err := d.issuer("users", "show", "@alice")
	if err != nil {
		t.Fatalf("users show @alice = %v\n%s", err, out)
	}
	uris := regexp.MustCompile(`mimi:\S+`).FindAllString(out, 2)
	if len(uris) != 2 {
		t.Fatalf("users show @alice has the URIs %v, want those of user and handle\n%s", uris, out)
	}
	for _, uri := range uris {
		if got, err := d.issuer("users", "show", uri); err != nil || got != out {
			t.Errorf("users show %s = %v, want what @alice shows\n%s", uri, err, got)
		}
	}
}
