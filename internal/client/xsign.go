package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/imidentity/issuer/types/api"
)

// maxStatements is how many bytes are read of statements of cross signing: 1000 vouches of 8 KiB, and those about keys and devices.
const maxStatements = 16 << 20

// OwnXSign returns the statements of cross signing that the issuer stores of the user of an access token, which is for the issuer alone.
func (c *Client) OwnXSign(ctx context.Context, token string) (api.OwnXSign, error) {
	var own api.OwnXSign
	err := c.sendJSON(ctx, http.MethodGet, c.Server.Issuer+"/me/xsign", token, nil, &own)
	return own, err
}

// PutXSign stores the keys and the device list of the user, of which one may be empty.
func (c *Client) PutXSign(ctx context.Context, token, keys, devices string) error {
	return c.sendJSON(ctx, http.MethodPut, c.Server.Issuer+"/me/xsign", token, api.XSignBundle{Keys: keys, Devices: devices}, nil)
}

// PutVouch stores a vouch or a distrust about a master key.
func (c *Client) PutVouch(ctx context.Context, token, master, statement string) error {
	return c.sendJSON(ctx, http.MethodPut, c.vouch(master), token, struct {
		Statement string `json:"statement"`
	}{statement}, nil)
}

// DeleteVouch removes the vouch or distrust about a master key.
func (c *Client) DeleteVouch(ctx context.Context, token, master string) error {
	return c.sendJSON(ctx, http.MethodDelete, c.vouch(master), token, nil, nil)
}

func (c *Client) vouch(master string) string {
	return c.Server.Issuer + "/me/vouches/" + url.PathEscape(master)
}

// An XSignQuestion asks an issuer about users by their URIs, and for public vouches about them by the authors that By names.
type XSignQuestion struct {
	Users []string `json:"users"`
	By    []string `json:"by,omitempty"`
}

// QueryXSign returns the statements that an issuer shows of users. None of them is verified. The token is that of a user or a client, with
// the scope introspect; an empty one stands for the client's secret.
func (c *Client) QueryXSign(ctx context.Context, issuer, token string, q XSignQuestion) (api.XSignUsers, error) {
	var answer api.XSignUsers
	err := c.sendJSON(ctx, http.MethodPost, issuer+"/xsign/query", token, q, &answer)
	return answer, err
}

// sendJSON sends a JSON body, of which nil is none, and reads the answer, of which nil is none.
func (c *Client) sendJSON(ctx context.Context, method, endpoint, token string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, endpoint, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "DPoP "+token)
	} else {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	return send(c.HTTP, req, maxStatements, answer)
}
