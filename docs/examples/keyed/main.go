// Command keyed is a service that authenticates with a key (private_key_jwt, RFC 7523). It gets a token for itself with
// golang.org/x/oauth2, and sends it to a resource with a proof.
//
// Environment variables: ISSUER; CLIENT_ID; KEY, a file with a P-256 key (PKCS #8 in PEM); KID, the kid that the key is
// registered with; RESOURCE, a URL that requires DPoP.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
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
	asserter, err := newAsserter(os.Getenv("KEY"), os.Getenv("KID"))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // signs the proofs: not the key that authenticates the client
	if err != nil {
		return err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: &dpop.Transport{Signer: signer}})
	service := &service{ctx: ctx, issuer: os.Getenv("ISSUER"), id: os.Getenv("CLIENT_ID"), asserter: asserter}
	answer, err := oauth2.NewClient(ctx, oauth2.ReuseTokenSource(nil, service)).Get(os.Getenv("RESOURCE"))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Print(answer.StatusCode, " ")
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// newAsserter returns a signer of assertions with the key in a file.
func newAsserter(file, kid string) (jose.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
}

// A service gets tokens for itself.
type service struct {
	ctx        context.Context
	issuer, id string
	asserter   jose.Signer
}

// Token requests a token. Each request needs a new assertion, because an assertion is accepted once.
func (s *service) Token() (*oauth2.Token, error) {
	now := time.Now()
	assertion, err := jwt.Signed(s.asserter).Claims(jwt.Claims{
		Issuer: s.id, Subject: s.id, Audience: jwt.Audience{s.issuer}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID: s.id, TokenURL: s.issuer + "/token", AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {assertion},
		},
	}
	return config.Token(s.ctx)
}
