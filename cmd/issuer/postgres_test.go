package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// anotherNode starts a second process for the database of v, with an address of its own.
func anotherNode(t *testing.T, v *victim) *victim {
	t.Helper()
	listen := freeAddress(t)
	node := &victim{issuer: "http://" + listen, listen: listen, folder: t.TempDir()}
	node.data = filepath.Join(node.folder, "data")
	text := strings.Replace(v.settings(t), "listen: "+v.listen, "listen: "+listen, 1)
	text = strings.Replace(text, v.data, node.data, 1) + "audit: {node: at-" + strings.ReplaceAll(listen, ":", "-") + "}\n"
	if err := os.Mkdir(node.data, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{filepath.Join("data", "kek"): filepath.Join(v.data, "kek"), "url": filepath.Join(v.folder, "url")} {
		secret, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(node.folder, name), secret, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(node.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	node.start(t)
	return node
}

// activeAt asks a process whether a token is active.
func activeAt(t *testing.T, node *victim, token string) bool {
	t.Helper()
	status, active := answerAt(t, node, token)
	if status != http.StatusOK {
		t.Fatalf("introspection at %s = %d", node.issuer, status)
	}
	return active
}

// answerAt asks a process whether a token is active, and returns the status of the answer.
func answerAt(t *testing.T, node *victim, token string) (status int, active bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, node.issuer+"/introspect", strings.NewReader("token="+token))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("rooms", "test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, false
	}
	var answer struct {
		Active *bool `json:"active"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Active == nil {
		t.Fatalf("introspection at %s = %d, %v", node.issuer, resp.StatusCode, err)
	}
	return resp.StatusCode, *answer.Active
}

// TestPostgres runs an issuer on PostgreSQL: it needs migrate up first; logs in, refreshes, introspects and revokes; goes on after a
// restart; shares everything with a second process; and answers 503 while the server is down, at the start and later. No output has the
// password.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	v := newVictim(t, "storage: postgres", "storage_url_file: url", "replay: storage")
	url := filepath.Join(v.folder, "url")
	connect := func(text string) {
		t.Helper()
		if err := os.WriteFile(url, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := []string{"--config", v.config()}
	migrate := func(code int, want, command string) {
		t.Helper()
		if out := v.run(t, code, want, append([]string{"migrate", command}, config...)...); strings.Contains(out, "pass-word") {
			t.Errorf("the output has the password: %s", out)
		}
	}
	with := func(database string) string {
		return strings.Replace(server.URL(database), "issuer@", "issuer:pass-word@", 1)
	}
	for text, want := range map[string]string{
		"postgres://u:pass-word@127.0.0.1:1/issuer":                    "does not answer",
		"postgres://u:pass-word@db.example.com/issuer?sslmode=disable": "sslmode=disable",
		"mysql://u:pass-word@127.0.0.1/issuer":                         "does not begin with postgres://",
		with("none"):                                                   "create it with ENCODING 'UTF8'",
		with("postgres"):                                               "run `issuer migrate up`",
	} {
		connect(text)
		code := 2
		if want == "does not answer" {
			code = 3
		}
		v.refused(t, code, want)
	}
	connect(with("postgres"))
	migrate(1, "^lacking\t00001_first.sql", "status")
	migrate(0, "^Took step 1 ", "up")
	migrate(0, "^The schema is that of this release", "up")
	migrate(0, "^applied\t00001_first.sql", "status")

	v.start(t)
	v.becomes(t, "/readyz", http.StatusOK)
	s, other := v.session(t, person(0)), v.session(t, person(1))
	s.refresh(t)
	if !v.active(t, s.AccessToken) || !v.active(t, other.AccessToken) {
		t.Error("a new token is inactive")
	}
	two := anotherNode(t, v)
	if !activeAt(t, two, other.AccessToken) {
		t.Error("a token of one process is inactive at the other")
	}
	if err := other.Client.Revoke(t.Context(), other.RefreshToken); err != nil {
		t.Fatal(err)
	}
	if v.active(t, other.AccessToken) {
		t.Error("a token of a session that was ended is active")
	}
	for end := time.Now().Add(time.Minute); activeAt(t, two, other.AccessToken); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a session that was ended at one process is live at the other")
		}
	}
	if !activeAt(t, two, s.AccessToken) {
		t.Error("the token of another session ended")
	}
	two.stop(t)
	v.run(t, 1, `This database is backed up with its own tools`, "backup", "--config", v.config(), "--to", filepath.Join(v.folder, "backup"))
	v.run(t, 2, `the database is PostgreSQL`, "restore", "--config", v.config(), "--from", "backup")
	v.run(t, 0, `database.*PostgreSQL answers`, "doctor", "--config", v.config())
	v.stop(t)

	v.start(t)
	s.refresh(t)
	if v.active(t, other.AccessToken) {
		t.Error("a revoked token is active after a restart")
	}
	server.Signal(syscall.SIGINT)
	v.becomes(t, "/readyz", http.StatusServiceUnavailable)
	var refusal *client.Error
	if err := s.tryRefresh(t); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refresh without a server = %v, want 503", err)
	}
	// Answers come from memory, which is fresh for two seconds.
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer, err := v.introspected(s.AccessToken)
		if errors.Is(err, introspect.ErrUnknown) {
			break
		}
		if err != nil || !answer.Active || time.Now().After(end) {
			t.Fatalf("introspection without a server = %+v, %v, want %v soon", answer, err, introspect.ErrUnknown)
		}
	}
	resp, err := http.PostForm(v.issuer+"/revoke", map[string][]string{"token": {s.RefreshToken}, "client_id": {"im-app"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("revocation without a server = %d with Retry-After %q, want 503", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/oauth-authorization-server"} {
		if status := v.status(t, path); status != http.StatusOK {
			t.Errorf("%s without a server = %d, want 200", path, status)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	v.becomes(t, "/readyz", http.StatusOK)
	s.refresh(t)
	if !v.active(t, s.AccessToken) || v.active(t, other.AccessToken) {
		t.Error("an outage changed which tokens are active")
	}
	v.end(t, "pass-word")
}
