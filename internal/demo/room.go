package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/types/api"
)

// A room is a resource server: a Go service.
type room struct {
	url  string
	http *http.Server
}

// open starts a room. The handler gets its URL.
func open(handler func(url string) (http.Handler, error)) (*room, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &room{url: "http://" + listener.Addr().String()}
	h, err := handler(r.url)
	if err != nil {
		_ = listener.Close() // it was not used
		return nil, err
	}
	r.http = &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = r.http.Serve(listener) }() // until close; requests fail if it ends earlier
	return r, nil
}

// openRoom starts a room that uses package dpop, and asks the issuer about tokens.
func (t *telling) openRoom() (*room, error) {
	verifier, err := newVerifier()
	if err != nil {
		return nil, err
	}
	return open(func(url string) (http.Handler, error) {
		resource, err := dpop.NewResource(dpop.ResourceConfig{Verifier: verifier, PublicURL: url, Token: t.introspected})
		if err != nil {
			return nil, err
		}
		return resource.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })), nil
	})
}

func newVerifier() (*dpop.Verifier, error) {
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: 1024})
	if err != nil {
		return nil, err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	nonces, err := dpop.NewNonces([][32]byte{secret}, nil)
	if err != nil {
		return nil, err
	}
	return dpop.NewVerifier(dpop.Config{Replay: replay, Nonces: nonces})
}

// introspected asks the issuer about a token and returns the key that it is bound to.
func (t *telling) introspected(ctx context.Context, token string) (dpop.Confirmation, error) {
	answer, err := t.answer(ctx, token)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	// The issuer answers about tokens for other services, too. A room accepts those for its domain.
	if !answer.Active || answer.Confirmation == nil || !slices.Contains(answer.Audience, claims.DomainURI(Domain)) {
		return dpop.Confirmation{}, dpop.ErrInvalidToken
	}
	return dpop.Confirmation{JKT: answer.Confirmation.JKT}, nil
}

// join sends a request with a token and a proof by signer. It returns the answer, or how it is refused.
func (r *room) join(ctx context.Context, signer *dpop.Signer, token string) (answer string, refused *api.Error, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/join", nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Authorization", "DPoP "+token)
	base := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer, Base: base}}
	resp, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil || resp.StatusCode < http.StatusBadRequest {
		return string(text), nil, err
	}
	refused = new(api.Error)
	if err := json.Unmarshal(text, refused); err != nil || refused.Code == "" {
		return "", nil, fmt.Errorf("the resource answered %d without an error code", resp.StatusCode)
	}
	return "", refused, nil
}

func (r *room) close() { _ = r.http.Close() }
