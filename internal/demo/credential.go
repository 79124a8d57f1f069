package demo

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// credentialScope is the scope of tokens that get credentials.
const credentialScope = "im:credential"

// A holder is the app on Alice's device, with a credential for a key of its own.
type holder struct {
	key        crypto.Signer
	credential *sdjwt.Token
}

// credential gets a credential of a configuration, for a key that the device makes for it.
func (t *telling) credential(ctx context.Context, configuration string) (key crypto.Signer, text string, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, "", err
	}
	prover, err := dpop.NewSigner(key, "")
	if err != nil {
		return nil, "", err
	}
	meta, err := client.DiscoverCredentials(ctx, &http.Client{Timeout: 30 * time.Second}, t.dev.Issuer)
	if err != nil {
		return nil, "", err
	}
	t.tokens, err = t.app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {t.tokens.RefreshToken}, "scope": {credentialScope}, "resource": {t.dev.Issuer},
	})
	if err != nil {
		return nil, "", err
	}
	list, err := t.app.Credentials(ctx, meta, client.CredentialRequest{
		Configuration: configuration, AccessToken: t.tokens.AccessToken, Keys: []*dpop.Signer{prover},
	})
	if err != nil {
		return nil, "", err
	}
	return key, list[0], nil
}

// obtain gets a credential.
func (t *telling) obtain(ctx context.Context) error {
	key, text, err := t.credential(ctx, "im-device")
	if err != nil {
		return err
	}
	token, err := sdjwt.Parse(text)
	if err != nil {
		return err
	}
	t.holder = holder{key, token}
	t.ok("the device made another key and proved it: the issuer signed a credential for it, of %d bytes", len(text))
	t.say("it names the device and the user; the handle is in a part that the device shows or not")
	return nil
}

// show shows the credential without the handle to a verifier, which checks it without asking the issuer about it.
func (t *telling) show(ctx context.Context) error {
	got, err := t.check(ctx)
	if err != nil {
		return err
	}
	if got.Identity.Device.String() != t.set.Device || !got.Identity.Handle.IsZero() {
		return fmt.Errorf("the verifier saw %+v, want the device without its handle", got.Identity)
	}
	t.ok("valid: the holder of the key is the device %s", got.Identity.Device)
	t.say("the verifier has seen no handle; it read keys and a status list, and the issuer does not learn about which device")
	return nil
}

// refuse shows the credential again.
func (t *telling) refuse(ctx context.Context) error {
	_, err := t.check(ctx)
	if !errors.Is(err, credential.CodeEnded) {
		return fmt.Errorf("the verifier's answer is %w, want that the credential has ended", err)
	}
	t.ok("not valid any more: %s", strings.TrimPrefix(err.Error(), "credential: "))
	return nil
}

// check makes a presentation for a verifier, and returns what the verifier finds.
func (t *telling) check(ctx context.Context) (credential.Credential, error) {
	verifier := sdjwt.Binding{Audience: claims.DomainURI(otherDomain), Nonce: rand.Text()}
	shown, err := t.holder.credential.Present(t.holder.key, verifier, time.Now())
	if err != nil {
		return credential.Credential{}, err
	}
	options, err := t.verifier()
	if err != nil {
		return credential.Credential{}, err
	}
	return sdjwt.Verify(ctx, shown, sdjwt.Options{Options: options, Binding: &verifier})
}

// verifier returns what a verifier starts with that trusts the issuer for its domain.
func (t *telling) verifier() (credential.Options, error) {
	web := &http.Client{Timeout: 30 * time.Second}
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: Domain, Issuer: t.dev.Issuer}}, Client: web, Development: true,
	})
	if err != nil {
		return credential.Options{}, err
	}
	lists, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: web, Bits: 2, AllowHTTP: true})
	if err != nil {
		return credential.Options{}, err
	}
	return credential.Options{Issuers: table, Status: lists, Development: true}, nil
}
