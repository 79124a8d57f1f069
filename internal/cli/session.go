package cli

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// issuerToken gets an access token for the issuer alone with one scope. The access token of the session stays. Of a session without a
// refresh token, the access token itself is used, if it is such a one. noScope is the error of a session that may not have the scope.
func issuerToken(
	ctx context.Context, path, scope string, noScope func(client.Session) error,
) (*client.Client, string, error) {
	return issuerTokenFor(ctx, path, "", scope, noScope)
}

// issuerTokenFor is issuerToken for another issuer than that of the session, if it is not empty.
func issuerTokenFor(
	ctx context.Context, path, issuer, scope string, noScope func(client.Session) error,
) (*client.Client, string, error) {
	held, err := client.HoldSession(ctx, path)
	if err != nil {
		return nil, "", noSession(ctx, path, err)
	}
	defer held.Release()
	if issuer == "" {
		issuer = held.Issuer
	}
	app, err := clientOf(ctx, held.Session)
	if err != nil {
		return nil, "", err
	}
	if held.RefreshToken == "" {
		set, err := claimsOf(held.AccessToken)
		switch {
		case err != nil:
			return nil, "", refused("%w", err)
		case !slices.Equal(set.Audience, []string{issuer}):
			return nil, "", refused("client %s may not refresh, and the token of the session is not for the issuer: "+
				"log in again with issuer login --resource %s --scope %s", held.ClientID, held.Issuer, scope)
		case time.Now().After(held.ExpiresAt):
			return nil, "", refused("the token of the session has expired, and client %s may not refresh: log in again with issuer login",
				held.ClientID)
		}
		return app, held.AccessToken, nil
	}
	tokens, err := patient(ctx, func() (client.Tokens, error) {
		return app.Token(ctx, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {held.RefreshToken}, "scope": {scope}, "resource": {issuer},
		})
	})
	if err != nil {
		var e *client.Error
		switch errors.As(err, &e); {
		case e != nil && e.Code == "invalid_scope":
			return nil, "", noScope(held.Session)
		case e != nil && e.Code == "invalid_grant":
			return nil, "", sessionEnded(e)
		}
		return nil, "", answered(held.Issuer, err)
	}
	if !strings.EqualFold(tokens.TokenType, "DPoP") {
		return nil, "", refused("the issuer gave a token that is not bound to the key of this device")
	}
	if tokens.RefreshToken != "" {
		held.RefreshToken = tokens.RefreshToken
	}
	if err := held.Save(); err != nil {
		return nil, "", usage("%w", err)
	}
	return app, tokens.AccessToken, nil
}
