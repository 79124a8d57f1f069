// Command resource is a service that requires an access token of an issuer and a proof by the key of the token. It asks the
// issuer about each token (RFC 7662), so a revoked token is refused at once.
//
// Environment variables: ISSUER; PEER_ID and PEER_SECRET, the credentials of a client that may introspect; AUDIENCE, the
// identifier of this service, which tokens must name in `aud`. The service listens on loopback and prints its URL.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	for _, name := range []string{"ISSUER", "PEER_ID", "PEER_SECRET", "AUDIENCE"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set", name)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	publicURL := "http://" + listener.Addr().String() // in production a setting, such as https://api.example.com/v1

	var secret [32]byte // all processes of a service share it
	rand.Read(secret[:])
	nonces, err := dpop.NewNonces([][32]byte{secret}, nil)
	if err != nil {
		return err
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{}) // for one process; several share a Redis: see storage/redis
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
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func hello(w http.ResponseWriter, r *http.Request) {
	access, _ := dpop.FromContext(r.Context())
	fmt.Fprintf(w, "Hello %s, your key is %s\n", access.Claims, access.JKT)
}

var client = &http.Client{Timeout: 5 * time.Second}

// introspect asks the issuer about a token. The error is [dpop.ErrInvalidToken] for a token that is not valid. Any other error,
// as for a missing or malformed answer, means that the issuer did not decide.
func introspect(ctx context.Context, token string) (dpop.Confirmation, error) {
	body := strings.NewReader(url.Values{"token": {token}}.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("ISSUER")+"/introspect", body)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	r.SetBasicAuth(url.QueryEscape(os.Getenv("PEER_ID")), url.QueryEscape(os.Getenv("PEER_SECRET"))) // RFC 6749 §2.3.1
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return dpop.Confirmation{}, fmt.Errorf("introspection: %s", answer.Status)
	}
	var found struct {
		Active    bool     `json:"active"`
		Issuer    string   `json:"iss"`
		Audience  audience `json:"aud"`
		TokenType string   `json:"token_type"`
		Handle    string   `json:"handle"`
		Subject   string   `json:"sub"`
		Cnf       struct {
			JKT string `json:"jkt"`
		} `json:"cnf"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&found); err != nil {
		return dpop.Confirmation{}, fmt.Errorf("introspection: %w", err)
	}
	// The issuer also answers for tokens of other services. Without this check, the operator of another service could send the
	// tokens here that users sent there (RFC 9068 §4).
	if !found.Active || found.TokenType != "DPoP" || found.Issuer != os.Getenv("ISSUER") ||
		!slices.Contains(found.Audience, os.Getenv("AUDIENCE")) {
		return dpop.Confirmation{}, dpop.ErrInvalidToken
	}
	return dpop.Confirmation{JKT: found.Cnf.JKT, Claims: cmp.Or(found.Handle, found.Subject)}, nil
}

// An audience is the claim `aud`: a string or an array of strings (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*a = audience{one}
		return nil
	}
	if err := json.Unmarshal(text, (*[]string)(a)); err != nil {
		return errors.New("aud is neither a string nor an array of strings")
	}
	return nil
}
