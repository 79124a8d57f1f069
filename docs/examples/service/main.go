// Command service is a service that authenticates with a secret. It gets a token for itself with golang.org/x/oauth2, and sends
// it to a resource with a proof.
//
// Environment variables: ISSUER; CLIENT_ID and CLIENT_SECRET; RESOURCE, a URL that requires DPoP.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/imidentity/issuer/dpop"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // each process may use a new key
	if err != nil {
		return err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: &dpop.Transport{Signer: signer}})
	config := clientcredentials.Config{
		ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL: os.Getenv("ISSUER") + "/token", AuthStyle: oauth2.AuthStyleInHeader,
	}
	answer, err := config.Client(ctx).Get(os.Getenv("RESOURCE"))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Print(answer.StatusCode, " ")
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
