package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// Grant and token types of RFC 8693.
const (
	exchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessToken = "urn:ietf:params:oauth:token-type:access_token"
	anyJWT      = "urn:ietf:params:oauth:token-type:jwt"
)

// An actorGrant is the issuer's answer when a user grants a client the right to act for them.
type actorGrant struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// mine sends a request about Alice's account, with a token whose only audience is the issuer.
func (t *telling) mine(ctx context.Context, method, path string, body, answer any) error {
	var err error
	if t.tokens, err = t.app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {t.tokens.RefreshToken},
		"scope": {"account"}, "resource": {t.dev.Issuer},
	}); err != nil {
		return err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, t.dev.Issuer+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "DPoP "+t.tokens.AccessToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.app.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s was answered %d", method, path, resp.StatusCode)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

func (t *telling) grant(ctx context.Context) error {
	err := t.mine(ctx, http.MethodPost, "/me/actors", map[string]any{
		"actor": BotID, "actor_iss": t.dev.Issuer, "scope": "im:handle", "expires_in": 3600,
	}, &t.granted)
	if err != nil {
		return err
	}
	t.ok("the issuer signed her grant: the bot may act for %s for an hour", t.set.Handle)
	t.say("the grant is not an access token: Alice keeps her key and her session")
	return nil
}

func (t *telling) act(ctx context.Context) error {
	signer, err := newSigner()
	if err != nil {
		return err
	}
	t.bot = &client.Client{Server: t.server, ID: BotID, Secret: t.dev.BotSecret, HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer},
	}}
	if t.acting, err = t.exchange(ctx); err != nil {
		return err
	}
	a, err := t.answer(ctx, t.acting.AccessToken)
	if err != nil {
		return err
	}
	if !a.Active || a.Handle != t.set.Handle || a.Actor == nil || a.Actor.Subject != BotID || a.Device != "" || len(a.Tokens) != 1 {
		return fmt.Errorf("the answer does not name Alice and her bot, with her grant inside: %+v", a)
	}
	t.ok("active: %s, and the client %s acts for her, as the grant inside the token proves", a.Handle, a.Actor.Subject)
	return nil
}

// exchange gets a token about Alice for the grant and the bot's own token (RFC 8693).
func (t *telling) exchange(ctx context.Context) (client.Tokens, error) {
	own, err := t.bot.Token(ctx, url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		return client.Tokens{}, err
	}
	return t.bot.Token(ctx, url.Values{
		"grant_type": {exchange}, "subject_token": {t.granted.Token}, "subject_token_type": {anyJWT},
		"actor_token": {own.AccessToken}, "actor_token_type": {accessToken}, "im_evidence": {"true"},
	})
}

func (t *telling) takeBack(ctx context.Context) error {
	if err := t.mine(ctx, http.MethodDelete, "/me/actors/"+t.granted.ID, nil, nil); err != nil {
		return err
	}
	a, err := t.answer(ctx, t.acting.AccessToken)
	if err != nil {
		return err
	}
	if a.Active {
		return errors.New("the bot's token is still active")
	}
	t.ok("the peer asks again: inactive")
	_, err = t.exchange(ctx)
	if wrong := expect(err, "invalid_request"); wrong != nil {
		return wrong
	}
	t.ok("the bot asks for another token: refused")
	return nil
}
