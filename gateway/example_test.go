package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// A chat service of a.example lets users of b.example in. Bob's app has a token and the key that it is bound to; somebody who saw the
// token has it, too.
func Example() {
	issuer, bob := bExample() // the issuer of b.example, and the app of Bob with his token
	defer issuer.Close()

	table, err := trust.NewTable(trust.Config{
		Peers:  []trust.Peer{{Domain: "b.example", Issuer: issuer.URL}},
		Client: issuer.Client(), Development: true, // in production leave both out
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := gateway.New(gateway.Config{Trust: table, Audience: []string{"im:a.example"}, Development: true})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	guard, err := gateway.NewGuard(gateway.GuardConfig{Verifier: verifier, PublicURL: server.URL}) // in production from the settings
	if err != nil {
		log.Fatal(err)
	}
	for path, cfg := range map[string]gateway.PolicyConfig{
		"/rooms": {Scopes: []string{"im:handle"}},
		"/staff": {Domains: []string{"a.example"}},
	} {
		policy, err := gateway.NewPolicy(cfg)
		if err != nil {
			log.Fatal(err)
		}
		protect, err := guard.Middleware(policy)
		if err != nil {
			log.Fatal(err)
		}
		mux.Handle(path, protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, _ := gateway.FromContext(r.Context())
			fmt.Fprintf(w, "Hello %s of %s", id.Handle, id.Domain)
		})))
	}

	thief := exampleApp{newExampleSigner(), bob.token}
	fmt.Println(bob.get(server.URL + "/rooms"))
	fmt.Println(bob.get(server.URL + "/staff"))
	fmt.Println(thief.get(server.URL + "/rooms"))
	// Output:
	// 200 Hello im:%40bob@b.example of b.example
	// 403 This route does not accept the domain of the user.
	// 401 The token is not bound to the key of the proof.
}

// ExampleVerifier_Decide decides about a request that is not one of net/http, and prints each step.
func ExampleVerifier_Decide() {
	issuer, bob := bExample()
	defer issuer.Close()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "b.example", Issuer: issuer.URL}}, Client: issuer.Client(), Development: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := gateway.New(gateway.Config{Trust: table, Audience: []string{"im:c.example"}, Development: true})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	request := gateway.Request{Method: "GET", URL: "https://chat.c.example/rooms", Explain: true}
	first := verifier.Decide(ctx, request, nil)
	fmt.Println(first.Status(), first.Reason, first.Nonce != "")

	proof, err := bob.Proof(dpop.ProofParams{Method: request.Method, URL: request.URL, Nonce: first.Nonce, AccessToken: bob.token})
	if err != nil {
		log.Fatal(err)
	}
	request.Authorization, request.DPoP = []string{"DPoP " + bob.token}, []string{proof}
	decision := verifier.Decide(ctx, request, nil)
	fmt.Println(decision.Status(), decision.Reason)
	for _, step := range decision.Steps {
		fmt.Printf("%-9s %5v  %s\n", step.Check, step.Passed, step.Detail)
	}
	// Output:
	// 401 no_token true
	// 401 wrong_audience
	// headers    true  There is one Authorization header.
	// proof      true  The proof is for this request and this token, and its time or nonce is good.
	// token      true  The token has the form and the type of an access token.
	// binding    true  The token is bound to the key of the proof.
	// proof      true  The key of the proof made its signature.
	// claims    false  The token is not for this service: aud names others.
}

// ExampleNewPolicy shows that a policy that contradicts itself is refused.
func ExampleNewPolicy() {
	_, err := gateway.NewPolicy(gateway.PolicyConfig{
		Mode: gateway.Introspect, Freshness: time.Minute, Outage: gateway.Grace, MaxOutage: 15 * time.Minute,
	})
	fmt.Println(err)
	_, err = gateway.NewPolicy(gateway.PolicyConfig{Outage: gateway.Grace, MaxOutage: 15 * time.Minute})
	fmt.Println(err)
	// Output:
	// <nil>
	// gateway: policy: Outage: the mode offline asks nobody, so there is no outage: choose introspect or status, or deny
}

// An exampleApp has a key and a token.
type exampleApp struct {
	*dpop.Signer
	token string
}

// get sends a GET with the token and a proof, and returns the answer.
func (a exampleApp) get(url string) string {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+a.token)
	answer, err := (&http.Client{Transport: &dpop.Transport{Signer: a.Signer}}).Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	var refused struct {
		Description string `json:"error_description"`
	}
	if answer.StatusCode != http.StatusOK && json.Unmarshal(body, &refused) == nil {
		return fmt.Sprint(answer.StatusCode, " ", refused.Description)
	}
	return fmt.Sprint(answer.StatusCode, " ", string(body))
}

func newExampleSigner() *dpop.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		log.Fatal(err)
	}
	return signer
}

// bExample returns an issuer for b.example, and an app with a token of it for a.example.
func bExample() (*httptest.Server, exampleApp) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	p := &provider{domain: "b.example", now: time.Now, keys: map[string]*ecdsa.PrivateKey{"k1": key}}
	p.Server = httptest.NewTLSServer(p)
	app := exampleApp{newExampleSigner(), ""}
	set := claims.Set{
		Issuer: p.URL, Subject: "im:u7@b.example;id-type=user", Handle: "im:%40bob@b.example", Audience: []string{"im:a.example"},
		ClientID: "app", Scope: "im:handle im:device", JTI: rand.Text(), IssuedAt: time.Now(), Expires: time.Now().Add(10 * time.Minute),
		JKT: app.JKT(),
	}
	if app.token, err = jose.Sign(key, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"k1"}`), set.AppendJSON(nil)); err != nil {
		log.Fatal(err)
	}
	return p.Server, app
}
