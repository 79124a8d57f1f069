package sdjwt_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// A signer is an issuer's key. In an issuer it is the key ring of package keys.
type signer struct{ key *ecdsa.PrivateKey }

func (s signer) Sign(typ string, claims []byte) (string, error) {
	return jose.Sign(s.key, "ES256", []byte(`{"typ":"`+typ+`","alg":"ES256","kid":"k1"}`), claims)
}

// An issuer signs the credential of a device, the device shows it without its handle, and a verifier checks it.
func Example() {
	issuerKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	deviceKey, deviceSecret, err2 := ed25519.GenerateKey(rand.Reader)
	if errors.Join(err, err2) != nil {
		fmt.Println(err, err2)
		return
	}
	now := time.Now()

	// The issuer.
	issued, err := issueTo(signer{issuerKey}, deviceKey, now)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The device. The audience and the nonce are those of the verifier.
	token, err := sdjwt.Parse(issued)
	if err != nil {
		fmt.Println(err)
		return
	}
	binding := sdjwt.Binding{Audience: "https://app.example.org", Nonce: "n-0S6_WzA2Mj"}
	shown, err := token.Present(deviceSecret, binding, now) // with "handle" as the last argument, it shows the handle
	if err != nil {
		fmt.Println(err)
		return
	}

	// The verifier.
	trusted, err := trust.NewTable(trust.Config{
		Peers:       []trust.Peer{{Domain: "example.com", Issuer: "https://id.example.net", JWKS: keySet(issuerKey.Public())}},
		Development: true, // example.com is reserved
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	options := sdjwt.Options{
		Options: credential.Options{
			Issuers:     trusted,
			Unchecked:   true, // in a real verifier: Status, a statuslist.Reader
			Development: true,
		},
		Binding: &binding,
	}
	c, err := sdjwt.Verify(context.Background(), shown, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("user:", c.Identity.User)
	fmt.Println("device:", c.Identity.Device)
	fmt.Println("handle shown:", !c.Identity.Handle.IsZero())

	// The presentation is good for this verifier and this nonce alone.
	options.Binding.Nonce = "another"
	_, err = sdjwt.Verify(context.Background(), shown, options)
	fmt.Println(err, errors.Is(err, credential.CodeNonce))
	// Output:
	// user: im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user
	// device: im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com
	// handle shown: false
	// credential: key binding: wrong_nonce true
}

func issueTo(s sdjwt.Signer, key crypto.PublicKey, now time.Time) (string, error) {
	vc := sdjwt.VC{
		Issuer: "https://id.example.net",
		ID:     "0hQJ4kR7cYw1aZt2",
		Device: "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com",
		User:   "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user",
		Handle: "im:%40alice@example.com",
		Key:    key, IssuedAt: now, Expires: now.Add(30 * 24 * time.Hour),
	}
	return vc.Sign(s, nil)
}

// A holder looks into a credential, and chooses what to show.
func ExampleToken_Disclose() {
	issuerKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	deviceKey, _, err2 := ed25519.GenerateKey(rand.Reader)
	if errors.Join(err, err2) != nil {
		fmt.Println(err, err2)
		return
	}
	issued, err := issueTo(signer{issuerKey}, deviceKey, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := sdjwt.Parse(issued)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range token.Disclosures() {
		fmt.Printf("can be shown or not: %s, which is %s\n", d.Claim, d.Value)
	}
	for _, claims := range [][]string{{"handle"}, nil, {"name"}} {
		text, err := token.Disclose(claims...)
		if err != nil {
			fmt.Println(err)
			return
		}
		shown, err := sdjwt.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		var says struct {
			Handle string `json:"handle"`
		}
		if err := json.Unmarshal(shown.Claims(), &says); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q\n", says.Handle)
	}
	// Output:
	// can be shown or not: handle, which is "im:%40alice@example.com"
	// "im:%40alice@example.com"
	// ""
	// credential: name: bad_disclosure: there is no disclosure of it
}

// An answer is one of four kinds: good, good until it ended, refused, or unknown for now.
func ExampleVerify() {
	verify := func(text string, o sdjwt.Options) {
		c, err := sdjwt.Verify(context.Background(), text, o)
		refused := (*credential.Error)(nil)
		switch {
		case err == nil:
			fmt.Println("good:", c.Identity.Device)
		case credential.Stands(err): // the rest was checked
			fmt.Println("was good:", c.Identity.Device, "has", refusal(err))
		case errors.As(err, &refused):
			fmt.Println("refused:", refused.Part, refused.Code)
		default: // try again later
			fmt.Println("unknown:", err)
		}
	}
	issuerKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	deviceKey, deviceSecret, err2 := ed25519.GenerateKey(rand.Reader)
	if errors.Join(err, err2) != nil {
		fmt.Println(err, err2)
		return
	}
	trusted, err := trust.NewTable(trust.Config{
		Peers:       []trust.Peer{{Domain: "example.com", Issuer: "https://id.example.net", JWKS: keySet(issuerKey.Public())}},
		Development: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	issued, err := issueTo(signer{issuerKey}, deviceKey, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := sdjwt.Parse(issued)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, after := range []time.Duration{0, 31 * 24 * time.Hour} {
		at := now.Add(after)
		options := sdjwt.Options{
			Options: credential.Options{Issuers: trusted, Unchecked: true, Development: true, Now: func() time.Time { return at }},
			Binding: &sdjwt.Binding{Audience: "https://app.example.org", Nonce: "n-0S6_WzA2Mj"},
		}
		shown, err := token.Present(deviceSecret, *options.Binding, at)
		if err != nil {
			fmt.Println(err)
			return
		}
		verify(shown, options)
		verify(issued, options) // anyone can send what they have seen
	}
	// Output:
	// good: im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com
	// refused: key binding no_binding
	// was good: im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com has expired
	// refused: key binding no_binding
}

func refusal(err error) credential.Code {
	refused := (*credential.Error)(nil)
	errors.As(err, &refused)
	return refused.Code
}

// keySet is what the issuer publishes.
func keySet(key crypto.PublicKey) []byte {
	jwk, err := jose.MarshalJWK(key)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"keys":[{"kid":"k1","alg":"ES256",%s]}`, jwk[1:])
}
