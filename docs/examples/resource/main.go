// Command resource is a service that lets in whoever has an access token of an issuer and proves to hold its key. It
// asks the issuer about each token. With ISSUER, PEER_ID and PEER_SECRET in the environment (the credentials of a
// client that may introspect) it listens on loopback and prints its URL.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/imidentity/issuer/dpop"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	publicURL := "http://" + listener.Addr().String() // in production from the settings: https://api.example.com/v1

	var secret [32]byte // every process of the service has the same one
	rand.Read(secret[:])
	nonces, err := dpop.NewNonces([][32]byte{secret}, nil)
	if err != nil {
		return err
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{}) // one process; for more: storage/redis
	if err != nil {
		return err
	}
	verifier, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay})
	if err != nil {
		return err
	}
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier:  verifier,
		PublicURL: publicURL,
		Token:     introspect,
		Metadata:  &dpop.ResourceMetadata{AuthorizationServers: []string{os.Getenv("ISSUER")}},
		Report:    func(r *http.Request, err error) { log.Printf("%s %s: %v", r.Method, r.URL.Path, err) },
	})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle(resource.Metadata())
	mux.Handle("/", resource.Protect(http.HandlerFunc(hello)))
	fmt.Println(publicURL)
	return http.Serve(listener, mux)
}

func hello(w http.ResponseWriter, r *http.Request) {
	access, _ := dpop.FromContext(r.Context())
	fmt.Fprintf(w, "Hello %s, your key is %s\n", access.Claims, access.JKT)
}

// introspect asks the issuer what a token is bound to (RFC 7662). Whatever the issuer does not say is an outage, never
// a verdict.
func introspect(ctx context.Context, token string) (dpop.Confirmation, error) {
	body := strings.NewReader(url.Values{"token": {token}}.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("ISSUER")+"/introspect", body)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	r.SetBasicAuth(url.QueryEscape(os.Getenv("PEER_ID")), url.QueryEscape(os.Getenv("PEER_SECRET"))) // RFC 6749 §2.3.1
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return dpop.Confirmation{}, fmt.Errorf("introspection: %s", answer.Status)
	}
	var found struct {
		Active bool
		Handle string
		CNF    struct{ JKT string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return dpop.Confirmation{}, fmt.Errorf("introspection: %w", err)
	}
	if !found.Active {
		return dpop.Confirmation{}, dpop.ErrInvalidToken
	}
	return dpop.Confirmation{JKT: found.CNF.JKT, Claims: found.Handle}, nil
}
