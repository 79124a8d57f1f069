package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

func (t *telling) steal(ctx context.Context) error {
	thief, err := newSigner()
	if err != nil {
		return err
	}
	other := *t.app
	other.HTTP = &http.Client{Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: thief}}
	_, err = other.Refresh(ctx, t.tokens.RefreshToken)
	if wrong := expect(err, "invalid_grant"); wrong != nil {
		return wrong
	}
	t.ok("the stolen refresh token with the thief's own key: refused, %s", reason(err))

	room, err := t.openRoom()
	if err != nil {
		return err
	}
	defer room.close()
	// First the device itself: a resource that refused every token would prove nothing.
	if _, refused, err := room.join(ctx, t.signer, t.tokens.AccessToken); err != nil {
		return err
	} else if refused != nil {
		return fmt.Errorf("the resource refuses the device that holds the key: %s", refused.Code)
	}
	t.ok("the access token at a resource, with the device's own key: accepted")
	_, refused, err := room.join(ctx, thief, t.tokens.AccessToken)
	switch {
	case err != nil:
		return err
	case refused == nil:
		return errors.New("the resource accepted the thief; expected invalid_token")
	case refused.Code != "invalid_token":
		return fmt.Errorf("expected invalid_token, got: %s", refused.Code)
	}
	t.ok("the stolen access token at a resource: refused, %s, the proof has key %.12s…, the token is bound to %.12s…", refused.Code,
		thief.JKT(), t.set.JKT)
	return nil
}

func (t *telling) replay(ctx context.Context) error {
	endpoint := t.app.Server.TokenEndpoint
	resp, err := http.Get(t.dev.Issuer + "/nonce")
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	proof, err := t.signer.Proof(dpop.ProofParams{Method: http.MethodPost, URL: endpoint, Nonce: resp.Header.Get("DPoP-Nonce")})
	if err != nil {
		return err
	}
	plain := *t.app
	plain.HTTP = &http.Client{Timeout: 30 * time.Second, Transport: fixedProof(proof)}
	if t.tokens, err = plain.Refresh(ctx, t.tokens.RefreshToken); err != nil {
		return err
	}
	t.say("the first time, it is a normal refresh")
	_, err = plain.Refresh(ctx, t.tokens.RefreshToken)
	if wrong := expect(err, "invalid_dpop_proof"); wrong != nil {
		return wrong
	}
	t.ok("the second time: refused, %s", reason(err))
	return nil
}

// fixedProof sends the same proof with every request.
type fixedProof string

func (p fixedProof) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("DPoP", string(p))
	return http.DefaultTransport.RoundTrip(r)
}

func (t *telling) remove(ctx context.Context) error {
	device, err := claims.Parse(t.set.Device)
	if err != nil {
		return err
	}
	if _, err := client.Socket(t.dev.Admin).RemoveDevice(ctx, device.Domain(), device.Device(), "reported stolen"); err != nil {
		return err
	}
	t.say("the demo uses the admin socket, like issuer devices remove")
	a, err := t.answer(ctx, t.tokens.AccessToken)
	if err != nil {
		return err
	}
	if a.Active || a.Reason != "" {
		return fmt.Errorf("the answer about a removed device is %+v", a)
	}
	t.ok("the peer asks again: inactive, with no further details")
	_, err = t.app.Refresh(ctx, t.tokens.RefreshToken)
	if wrong := expect(err, "invalid_grant"); wrong != nil {
		return wrong
	}
	t.ok("the device refreshes: refused")
	return nil
}

// expect checks that err is a refusal of the issuer with that code.
func expect(err error, code string) error {
	var refusal *client.Error
	switch {
	case err == nil:
		return fmt.Errorf("the request was accepted; expected %s", code)
	case !errors.As(err, &refusal) || refusal.Code != code:
		return fmt.Errorf("expected %s, got: %w", code, err)
	}
	return nil
}

func reason(err error) string {
	var refusal *client.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}
