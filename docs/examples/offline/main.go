// Command offline is a service that requires an access token of an issuer and a proof by the key of the token. It verifies
// tokens itself with the keys that the issuer publishes (RFC 9068 §4). A revoked token is accepted until it expires, some
// minutes later. A service that must refuse it at once asks the issuer instead: see the example resource.
//
// Environment variables: ISSUER; AUDIENCE, the identifier of this service, which tokens must name in `aud`. The service listens
// on loopback and prints its URL.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/imidentity/issuer/dpop"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	tokens := &verifier{issuer: os.Getenv("ISSUER"), audience: os.Getenv("AUDIENCE"), now: time.Now}
	if tokens.issuer == "" || tokens.audience == "" {
		return errors.New("ISSUER and AUDIENCE must be set")
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
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay})
	if err != nil {
		return err
	}
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier:  proofs,
		PublicURL: publicURL,
		Token:     tokens.verify, // the resource compares the key of the token with that of the proof
		Metadata:  &dpop.ResourceMetadata{AuthorizationServers: []string{tokens.issuer}},
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

// algorithm is the algorithm that the issuer signs with (`signing.alg`). It is pinned: the header of a token does not choose
// the algorithm that verifies it (RFC 8725 §3.1).
const algorithm = jose.ES256

// A verifier verifies access tokens of one issuer for one audience.
type verifier struct {
	issuer, audience string
	now              func() time.Time
	keys             keySet
}

// verify returns the key that a token is bound to, and the handle. The error is [dpop.ErrInvalidToken] for a token that is not
// valid; any other error means that the keys of the issuer are not available.
func (v *verifier) verify(ctx context.Context, token string) (dpop.Confirmation, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return dpop.Confirmation{}, invalid("not a JWT signed with " + string(algorithm))
	}
	// The same keys sign statements and introspection answers: only the type tells them apart (RFC 8725 §3.11).
	header := parsed.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
		return dpop.Confirmation{}, invalid("not an access token")
	}
	key, err := v.keys.find(ctx, v.issuer, header.KeyID, v.now())
	if err != nil {
		return dpop.Confirmation{}, err
	}
	var claims jwt.Claims
	var more struct {
		Handle string `json:"handle"`
		Cnf    struct {
			JKT string `json:"jkt"`
		} `json:"cnf"`
	}
	if err := parsed.Claims(key, &claims, &more); err != nil {
		return dpop.Confirmation{}, invalid("the signature does not verify, or the claims are malformed")
	}
	expected := jwt.Expected{Issuer: v.issuer, AnyAudience: jwt.Audience{v.audience}, Time: v.now()}
	if err := claims.ValidateWithLeeway(expected, 30*time.Second); err != nil || claims.Expiry == nil {
		return dpop.Confirmation{}, invalid("wrong issuer, wrong audience, or expired")
	}
	if more.Cnf.JKT == "" || claims.Subject == "" {
		return dpop.Confirmation{}, invalid("not bound to a key, or without a subject")
	}
	if more.Handle == "" { // the token of a service
		more.Handle = claims.Subject
	}
	return dpop.Confirmation{JKT: more.Cnf.JKT, Claims: more.Handle}, nil
}

func invalid(words string) error { return fmt.Errorf("%s: %w", words, dpop.ErrInvalidToken) }
