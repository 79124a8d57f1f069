// Command offline is a service that requires an access token of an issuer and a proof by the key of the token. It verifies
// tokens itself with the keys that the issuer publishes (RFC 9068 §4): package gateway is the verifier. A revoked token is accepted
// until it expires, some minutes later. A service that must refuse it at once follows the feed of the issuer or asks it: see
// docs/clients.md.
//
// Environment variables: ISSUER; AUDIENCE, the identifier of this service, which tokens must name in `aud`; DOMAIN, the domain of the
// users, by default that of an AUDIENCE such as im:example.com. The service listens on loopback and prints its URL.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/trust"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	issuer, audience := os.Getenv("ISSUER"), os.Getenv("AUDIENCE")
	domain := cmp.Or(os.Getenv("DOMAIN"), strings.TrimPrefix(audience, "im:"))
	if issuer == "" || audience == "" {
		return errors.New("ISSUER and AUDIENCE must be set")
	}
	verifier, err := newVerifier(issuer, domain, audience, time.Now)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	publicURL := "http://" + listener.Addr().String() // in production a setting, such as https://api.example.com/v1
	guard, err := gateway.NewGuard(gateway.GuardConfig{
		Verifier:  verifier,
		PublicURL: publicURL,
		Metadata:  &dpop.ResourceMetadata{AuthorizationServers: []string{issuer}},
		Report: func(r *http.Request, d *gateway.Decision) {
			log.Printf("%s %s: %s: %s", r.Method, r.URL.Path, d.Reason, d.Explanation)
		},
	})
	if err != nil {
		return err
	}
	policy, err := gateway.NewPolicy(gateway.PolicyConfig{Bots: true}) // services may call, too
	if err != nil {
		return err
	}
	protect, err := guard.Middleware(policy)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle(guard.Metadata())
	mux.Handle("/", protect(http.HandlerFunc(hello)))
	fmt.Println(publicURL)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func hello(w http.ResponseWriter, r *http.Request) {
	id, _ := gateway.FromContext(r.Context())
	fmt.Fprintf(w, "Hello %s, your key is %s\n", cmp.Or(id.Handle, id.User, id.ClientID), id.JKT)
}

// newVerifier returns a verifier of the tokens of one issuer, for the users of one domain. It pins `typ`, `alg`, `iss` and `aud`. It
// keeps nonces and used proofs in memory: several processes give [gateway.Config] a Proofs with a shared store.
func newVerifier(issuer, domain, audience string, now func() time.Time) (*gateway.Verifier, error) {
	peers := trust.Config{Peers: []trust.Peer{{Domain: domain, Issuer: issuer}}, Now: now}
	local := strings.HasPrefix(issuer, "http:") // an issuer on this machine, for development
	if local {
		peers.Client = &http.Client{Timeout: 10 * time.Second}
		peers.ForeignClient, peers.Development = peers.Client, true
	}
	table, err := trust.NewTable(peers)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{Trust: table, Audience: []string{audience}, Development: local, Now: now})
}
