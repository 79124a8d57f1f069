package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A service that lets in whoever proves to hold the key of an access token, and a client of it.
func ExampleResource() {
	var secret [32]byte
	rand.Read(secret[:])
	nonces, err := dpop.NewNonces([][32]byte{secret}, nil)
	if err != nil {
		log.Fatal(err)
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay})
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier:  verifier,
		PublicURL: server.URL, // in production from the settings
		Token: func(ctx context.Context, token string) (dpop.Confirmation, error) {
			if token != "alices-token" { // ask the issuer, or verify it here
				return dpop.Confirmation{}, dpop.ErrInvalidToken
			}
			return dpop.Confirmation{JKT: signer.JKT(), Claims: "alice"}, nil
		},
		Metadata: &dpop.ResourceMetadata{AuthorizationServers: []string{"https://issuer.example"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle(resource.Metadata())
	mux.Handle("/", resource.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := dpop.FromContext(r.Context())
		fmt.Fprintf(w, "Hello %s", access.Claims)
	})))

	client := &http.Client{Transport: &dpop.Transport{Signer: signer}}
	for _, scheme := range []string{"DPoP", "Bearer"} {
		request, err := http.NewRequest("GET", server.URL+"/thing", nil)
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("Authorization", scheme+" alices-token")
		answer, err := client.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			fmt.Println(answer.Status, string(body))
		} else {
			fmt.Println(answer.Status)
		}
	}
	// Output:
	// 200 OK Hello alice
	// 401 Unauthorized
}

// A client shows a room who holds its token, over a connection that is not HTTP.
func ExampleSigner_Presentation() {
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{})
	if err != nil {
		log.Fatal(err)
	}
	// Nothing counts from before a store began to remember, so this server is a minute old.
	now := func() time.Time { return time.Now().Add(time.Minute) }
	verifier, err := dpop.NewVerifier(dpop.Config{Replay: replay, Now: now})
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		log.Fatal(err)
	}
	const room, token = "mimi://example.org/r/42", "alices-token"
	ctx := context.Background()

	// The room sends a nonce of its own.
	nonce := rand.Text()
	// The client answers with its token and a presentation of it.
	text, err := signer.Presentation(dpop.PresentationParams{
		Audience: room, Nonce: nonce, AccessToken: token, IssuedAt: now(),
	})
	if err != nil {
		log.Fatal(err)
	}
	// The room checks the token by itself, or asks the issuer; jkt is its cnf.jkt.
	jkt := signer.JKT()
	presentation, err := verifier.CheckPresentation(ctx, dpop.PresentationRequest{
		Presentation: text, Audiences: []string{room}, Nonce: nonce, AccessToken: token, JKT: jkt,
	})
	if err == nil {
		err = verifier.SpendPresentation(ctx, presentation, netip.Addr{})
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the holder of the token is here, in", presentation.Audience)
	// Output: the holder of the token is here, in mimi://example.org/r/42
}
