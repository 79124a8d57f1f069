package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// The messages of a WebSocket whose client proves itself. The client sends Hello first, and again whenever the server
// says Prove, which it does before the interval is over.
type (
	Hello struct{ Token, Proof string }
	Prove struct{ Nonce, End string } // End: why the server closes
)

const chatURL = "wss://chat.example/room"

// serveChat serves one connection until its client goes, or does not prove itself when again ticks.
func serveChat(
	ctx context.Context, conn net.Conn, resource *dpop.Resource, verifier *dpop.Verifier, again <-chan time.Time,
) error {
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	url, err := dpop.WebSocketURL(chatURL) // from the configuration
	if err != nil {
		return err
	}
	// admit asks for a proof with a fresh nonce and checks what comes back. The token is checked with it each time.
	admit := func() (*dpop.Access, error) {
		nonce, err := verifier.Nonce(ctx)
		if err != nil {
			return nil, err
		}
		if err := out.Encode(Prove{Nonce: nonce}); err != nil {
			return nil, err
		}
		var hello Hello
		if err := in.Decode(&hello); err != nil {
			return nil, err
		}
		return resource.Admit(ctx, dpop.Request{
			Method: "GET", URL: url, Proofs: []string{hello.Proof}, AccessToken: hello.Token,
		}, netip.Addr{})
	}

	access, err := admit()
	if err != nil {
		return errors.Join(err, out.Encode(Prove{End: "not admitted"}))
	}
	binding := dpop.Bind(ctx, access.JKT, 5*time.Minute)
	defer binding.End(nil)
	stop := context.AfterFunc(binding.Context(), func() { conn.Close() }) // whatever ends it, ends the connection
	defer stop()
	fmt.Println("open")

	for range again { // beside the chat itself
		access, err := admit()
		if err == nil {
			err = binding.Renew(access.JKT)
		}
		if err != nil {
			return errors.Join(err, out.Encode(Prove{End: "not proven"}))
		}
		fmt.Println("proven again")
	}
	return nil
}

// A WebSocket, or any other connection that lasts: the client proves itself in the first message and again on a
// timer, always by the key of its token, until the token is revoked.
func ExampleBinding() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		log.Fatal(err)
	}
	nonces, err := dpop.NewNonces([][32]byte{{1}}, nil) // the secret is random elsewhere
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
	asked := 0
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: verifier, PublicURL: "https://chat.example",
		Token: func(_ context.Context, token string) (dpop.Confirmation, error) {
			if asked++; asked > 3 { // somebody revokes it
				return dpop.Confirmation{}, dpop.ErrInvalidToken
			}
			return dpop.Confirmation{JKT: signer.JKT()}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	client, server := net.Pipe()
	go func() { // the client: a page in a browser, say
		in, out := json.NewDecoder(client), json.NewEncoder(client)
		url, err := dpop.WebSocketURL(chatURL)
		if err != nil {
			log.Fatal(err)
		}
		for {
			var ask Prove
			if err := in.Decode(&ask); err != nil || ask.End != "" {
				client.Close()
				return
			}
			proof, err := signer.Proof(dpop.ProofParams{
				Method: "GET", URL: url, Nonce: ask.Nonce, AccessToken: "token",
			})
			if err != nil {
				log.Fatal(err)
			}
			if err := out.Encode(Hello{Token: "token", Proof: proof}); err != nil {
				log.Fatal(err)
			}
		}
	}()
	again := make(chan time.Time, 3) // time.Tick(4 * time.Minute), for people
	for range 3 {
		again <- time.Now()
	}
	err = serveChat(context.Background(), server, resource, verifier, again)
	fmt.Println("closed:", errors.Is(err, dpop.ErrInvalidToken))
	// Output:
	// open
	// proven again
	// proven again
	// closed: true
}
