package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/config"
	assembly "github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// build builds the issuer as `make build` does and returns its file.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "issuer")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary,
		"github.com/imidentity/issuer/cmd/issuer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the issuer (in the module's folder, or use -binary): %w\n%s", err, out)
	}
	return binary, nil
}

// An issuer is a running process of "issuer serve" with its own settings and database.
type issuer struct {
	binary string
	args   []string // before the settings file
	dir    string   // settings, database in a file, log
	db     database
	addr   string
	url    string
	secret string // of the client "peer"
	place  placement

	cmd *exec.Cmd
	log *os.File
}

// Names in the settings.
const (
	appID      = "app"  // public: signs users in
	peerID     = "peer" // confidential: service tokens, introspection
	providerID = "dev"
	domainName = "example.com"
)

// newIssuer writes the settings of an issuer that users sign in to through provider. Its database is on the server, if there is one, and
// in a file otherwise.
func newIssuer(ctx context.Context, binary, dir, addr, provider string, place placement, server *postgrestest.Server) (*issuer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &issuer{
		binary: binary, args: []string{"serve", "--config"}, dir: dir,
		addr: addr, url: "http://" + addr, secret: rand.Text(), place: place,
	}
	if s.db = sqliteFile(filepath.Join(s.data(), "issuer.db")); server != nil {
		var err error
		if s.db, err = newPostgresDatabase(server, filepath.Base(dir), dir); err != nil {
			return nil, err
		}
	}
	settings := fmt.Sprintf(`
issuer: %s
listen: %s
data: %q
%sdevelopment: true
log: {level: info}
lifetimes: {access: 60m}
limits:
  replay_proofs: 10000000
  devices_per_user: 1000
  per_address: 10000000/1s
  per_client: 10000000/1s
  per_user_client: 5000000/1s
  per_user: 10000000/1s
outbound: {allow_networks: [127.0.0.0/8]}
domains:
  - name: %s
    providers: [{id: %s, issuer: %q, client_id: issuer, authoritative_handles: true}]
clients:
  - id: %s
    auth: none
    redirect_uris: [%q]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [%s]
  - id: %s
    auth: secret
    secret_sha256: %x
    grants: [client_credentials]
    scopes: [introspect, "introspect:domain"]
    domains: [%s]
`, s.url, addr, s.data(), s.db.settings(), domainName, providerID, provider, appID, redirectURI, domainName, peerID,
		sha256.Sum256([]byte(s.secret)), domainName)
	if err := os.WriteFile(s.settings(), []byte(settings), 0o600); err != nil || server == nil {
		return s, err
	}
	cfg, err := config.Load(s.settings(), nil)
	if err == nil {
		_, err = assembly.Migrate(ctx, cfg)
	}
	return s, err
}

func (s *issuer) data() string        { return filepath.Join(s.dir, "data") }
func (s *issuer) adminSocket() string { return filepath.Join(s.data(), "admin.sock") }
func (s *issuer) settings() string    { return filepath.Join(s.dir, "issuer.yaml") }

// start starts the process and returns how long it took until /readyz was 200.
func (s *issuer) start(ctx context.Context) (time.Duration, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	s.log = log
	s.cmd = exec.CommandContext(ctx, s.binary, append(slices.Clone(s.args), s.settings())...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	if err := s.place.start(s.cmd); err != nil {
		_ = log.Close()
		return 0, fmt.Errorf("start the issuer: %w", err)
	}
	took, err := s.untilReady(ctx, begin)
	if err != nil {
		return 0, errors.Join(err, s.stop(), s.lastWords())
	}
	return took, nil
}

// readyLimit is how long a start may take. A database of a million users takes most of a minute when it is read from a disk.
const readyLimit = 5 * time.Minute

func (s *issuer) untilReady(ctx context.Context, begin time.Time) (time.Duration, error) {
	ask := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for time.Since(begin) < readyLimit {
		answer, err := ask.Get(s.url + "/readyz")
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		if !running(s.cmd.Process.Pid) {
			return 0, errors.New("the issuer ended before it was ready")
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
	return 0, fmt.Errorf("the issuer was not ready after %v", readyLimit)
}

// lastWords returns the end of the log as an error: the last warnings and errors or, if there are none, the last lines.
func (s *issuer) lastWords() error {
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil || len(log) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	troubled := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return !strings.Contains(line, "level=WARN") && !strings.Contains(line, "level=ERROR")
	})
	if len(troubled) > 0 {
		lines = troubled
	}
	return fmt.Errorf("the log of %s ends with:\n%s", s.binary, strings.Join(lines[max(0, len(lines)-5):], "\n"))
}

// stop ends the process and waits for its end.
func (s *issuer) stop() error {
	defer s.log.Close()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the issuer: %w", err)
	}
	return nil
}

// pid returns the id of the running process.
func (s *issuer) pid() int { return s.cmd.Process.Pid }

// nonce asks for a nonce for proofs.
func (s *issuer) nonce(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/nonce", nil)
	if err != nil {
		return "", err
	}
	return nonceFrom(request)
}

// nonceFrom sends a request and returns the nonce of the answer.
func nonceFrom(request *http.Request) (string, error) {
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	nonce := answer.Header.Get("DPoP-Nonce")
	if nonce == "" {
		return "", fmt.Errorf("%s %s: %s without a nonce", request.Method, request.URL.Path, answer.Status)
	}
	return nonce, nil
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
