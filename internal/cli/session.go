package cli

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// kept holds the flag for the session file of a user.
type kept struct {
	Session string `placeholder:"FILE" help:"The session file (issuer/session.json in your configuration folder)."`
}

// file returns the path of the session file.
func (k *kept) file() (string, error) {
	if k.Session != "" {
		return k.Session, nil
	}
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", usage("name the session file with --session: %w", err)
	}
	return filepath.Join(folder, "issuer", "session.json"), nil
}

// noSession returns an error of a session file in the user's words, with its exit code.
func noSession(ctx context.Context, path string, err error) error {
	var bad *client.SessionError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refused("there is no session in %s: run issuer login", path)
	case errors.As(err, &bad):
		return usage("%w", bad)
	case ctx.Err() != nil:
		return unknown("%s: another process is using the session", path)
	}
	return usage("read the session: %w", err)
}

// bare sends requests without proofs and follows no redirects.
func bare() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the issuer answered with a redirect, which is not allowed")
	}}
}

// clientOf returns the client of a session. Its requests have proofs by the key of the session.
func clientOf(ctx context.Context, s client.Session) (*client.Client, error) {
	signer, err := s.Signer()
	if err != nil {
		return nil, err
	}
	h := bare()
	meta, err := client.Discover(ctx, h, s.Issuer)
	if err != nil {
		return nil, unknown("no issuer answers at %s: %w", s.Issuer, root(err))
	}
	for _, endpoint := range []string{meta.AuthorizationEndpoint, meta.TokenEndpoint, meta.RevocationEndpoint, meta.PAREndpoint} {
		if endpoint != "" && !client.Safe(endpoint) {
			return nil, refused("the issuer names the endpoint %q, which is neither https nor on this machine", endpoint)
		}
	}
	h.Transport = &dpop.Transport{Signer: signer}
	return &client.Client{Server: meta, ID: s.ClientID, HTTP: h}, nil
}

// patient asks again a few times while the issuer is unavailable. Codes and refresh tokens stay valid meanwhile.
func patient(ctx context.Context, ask func() (client.Tokens, error)) (client.Tokens, error) {
	for try := 1; ; try++ {
		t, err := ask()
		var e *client.Error
		if try == 3 || !errors.As(err, &e) || !e.Temporary() {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, err
		case <-time.After(time.Second):
		}
	}
}

// answered returns an error of the issuer in the user's words, with its exit code.
func answered(issuer string, err error) error {
	var (
		e    *client.Error
		net  *url.Error
		said *exit
	)
	switch {
	case err == nil || errors.As(err, &said):
		return err
	case errors.As(err, &e) && e.Temporary():
		return unknown("the issuer is unavailable: %s (%s)", printable(e.Description), printable(e.Code))
	case errors.As(err, &e):
		return refused("the issuer refuses: %s (%s)", printable(e.Description), printable(e.Code))
	case errors.As(err, &net):
		return unknown("no issuer answers at %s: %w", issuer, root(err))
	}
	return refused("%w", err)
}
