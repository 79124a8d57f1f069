package client

import (
	"context"
	"net/http"

	"github.com/imidentity/issuer/types/api"
)

// PutProfile stores the profile of the places of the user of an access token, which is for the issuer alone. It returns what is stored.
func (c *Client) PutProfile(ctx context.Context, token, profile string) (api.PlacesProfile, error) {
	var stored api.PlacesProfile
	err := c.sendJSON(ctx, http.MethodPut, c.profile(), token, struct {
		Profile string `json:"profile"`
	}{profile}, &stored)
	return stored, err
}

// DeleteProfile removes the profile of the user.
func (c *Client) DeleteProfile(ctx context.Context, token string) error {
	return c.sendJSON(ctx, http.MethodDelete, c.profile(), token, nil, nil)
}

func (c *Client) profile() string { return c.Server.Issuer + "/me/profile" }
