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
)

// A room is a resource server: a Go service that uses package dpop.
type room struct {
	url  string
	http *http.Server
}

// openRoom starts a room that asks the issuer about tokens.
func (t *telling) openRoom() (*room, error) {
	verifier, err := newVerifier()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &room{url: "http://" + listener.Addr().String()}
	resource, err := dpop.NewResource(dpop.ResourceConfig{Verifier: verifier, PublicURL: r.url, Token: t.introspected})
	if err != nil {
		_ = listener.Close() // it was not used
		return nil, err
	}
	joined := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r.http = &http.Server{Handler: resource.Protect(joined), ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = r.http.Serve(listener) }() // until close; requests fail if it ends earlier
	return r, nil
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

// join sends a request with a token and a proof by signer. It returns the error code of the refusal, "" if it is accepted.
func (r *room) join(ctx context.Context, signer *dpop.Signer, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/join", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "DPoP "+token)
	base := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer, Base: base}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < http.StatusBadRequest {
		return "", nil
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&refusal); err != nil || refusal.Error == "" {
		return "", fmt.Errorf("the resource answered %d without an error code", resp.StatusCode)
	}
	return refusal.Error, nil
}

func (r *room) close() { _ = r.http.Close() }
