// Command app is a native app that logs a person in with her browser (RFC 8252): golang.org/x/oauth2 for the authorization
// code flow, and dpop.Transport for the proofs. It shows her token to a resource, twice: the second time it is a new one.
//
// In the environment: ISSUER; CLIENT_ID, a public client with the redirect URI http://127.0.0.1/callback; RESOURCE, a URL
// that wants proven tokens.
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
	// The device's key. A real app makes it once and keeps it where it cannot be exported.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: &dpop.Transport{Signer: signer}})

	// Any free port will do, by its address: the name localhost may mean somebody else (RFC 8252 §8.3).
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
	// It shows the token with a proof, and refreshes it in time. What it refreshed is lost with the process: an app
	// that is to stay logged in keeps the newest refresh token.
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

// callback waits for the browser to come back, and returns the code if the answer is one to this request (state) and of
// this issuer (RFC 9207).
func callback(listener net.Listener, state, issuer string) (string, error) {
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1) // of whoever comes back first
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
