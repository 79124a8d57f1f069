// Command app is a native app in which a user signs in with the browser (RFC 8252). It uses golang.org/x/oauth2 for the
// authorization code flow and dpop.Transport for the proofs. It sends the access token to a resource, refreshes it, and sends
// the new one.
//
// Environment variables: ISSUER; CLIENT_ID, a public client with the redirect URI http://127.0.0.1/callback; RESOURCE, a URL
// that requires DPoP.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"golang.org/x/oauth2"

	"github.com/imidentity/issuer/dpop"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// The key of the device. A real app creates it once and stores it where it cannot be exported.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: &dpop.Transport{Signer: signer}})

	// The issuer accepts any port of the loopback address. The name localhost may resolve to another host (RFC 8252 §8.3).
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	issuer := os.Getenv("ISSUER")
	config := &oauth2.Config{
		ClientID:    os.Getenv("CLIENT_ID"),
		RedirectURL: "http://" + listener.Addr().String() + "/callback",
		Endpoint: oauth2.Endpoint{
			AuthURL: issuer + "/authorize", TokenURL: issuer + "/token", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	fmt.Println("Open", config.AuthCodeURL(state,
		oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("dpop_jkt", signer.JKT())))

	code, err := callback(listener, state, issuer)
	if err != nil {
		return err
	}
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return err
	}
	// The client sends the token with a proof and refreshes it before it expires. An app that stays signed in after a restart
	// also stores the newest refresh token.
	client := config.Client(ctx, token)
	if err := call(client); err != nil {
		return err
	}
	token, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if err != nil {
		return err
	}
	return call(config.Client(ctx, token))
}

// callback waits for the redirect of the browser and returns the code. It accepts only an answer to this request (state) and
// from this issuer (RFC 9207).
func callback(listener net.Listener, state, issuer string) (string, error) {
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path != "/callback" || q.Get("state") != state || q.Get("iss") != issuer:
			http.NotFound(w, r)
		case q.Get("error") != "":
			fmt.Fprintln(w, "You are not signed in. You may close this page.")
			answers <- answer{err: errors.New(q.Get("error") + ": " + q.Get("error_description"))}
		default:
			fmt.Fprintln(w, "You are signed in. You may close this page.")
			answers <- answer{code: q.Get("code")}
		}
	})}
	go server.Serve(listener)
	a := <-answers
	return a.code, errors.Join(a.err, server.Shutdown(context.Background()))
}

func call(client *http.Client) error {
	answer, err := client.Get(os.Getenv("RESOURCE"))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Print(answer.StatusCode, " ")
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
