package dpop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/imidentity/issuer/dpop"
)

// A server that demands proofs with nonces, and a client that needs to know nothing of either.
func Example() {
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

	var publicURL string // from the server's configuration
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce, err := verifier.Nonce(r.Context())
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("DPoP-Nonce", nonce)
		w.Header().Set("Cache-Control", "no-store")

		request := dpop.Request{Method: r.Method, URL: publicURL + "/token", Proofs: r.Header.Values("DPoP")}
		proof, err := verifier.Check(r.Context(), request)
		if err == nil {
			// Here the client is authenticated and the code is found and compared with proof.JKT.
			source, _ := netip.ParseAddrPort(r.RemoteAddr)
			err = verifier.Spend(r.Context(), proof, source.Addr())
		}
		switch {
		case err == nil:
			fmt.Fprint(w, "a token bound to ", proof.JKT)
		case errors.Is(err, dpop.ErrUseNonce):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		case errors.Is(err, dpop.ErrInvalidProof):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_dpop_proof"}`)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	publicURL = server.URL

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &dpop.Transport{Signer: signer}}
	answer, err := client.Post(server.URL+"/token", "application/x-www-form-urlencoded", http.NoBody)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	// Output: 200 OK
}
