package oauth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// issue signs the access token of a flow (RFC 9068; RFC 9449 §6.1). Handle, user and device are written as they are
// in the rows that were read for this very request.
func (p *Provider) issue(f *flow) (string, error) {
	set, err := p.claimsOf(f)
	if err != nil {
		return "", err
	}
	body, err := set.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("oauth: write claims: %w", err)
	}
	token, err := p.keys.Sign(jose.TypeAccessToken, body)
	if err != nil {
		return "", fmt.Errorf("oauth: sign access token: %w", err)
	}
	return token, nil
}

// claimsOf returns what the token of a flow will say.
func (p *Provider) claimsOf(f *flow) (set claims.Set, err error) {
	if f.claims != nil {
		return *f.claims, nil
	}
	set = claims.Set{
		Issuer:   p.issuer,
		Subject:  f.client.ID,
		Audience: f.audience,
		ClientID: f.client.ID,
		Scope:    strings.Join(f.scopes, " "),
		IssuedAt: f.now.Truncate(time.Second),
		Expires:  f.expires,
	}
	if f.proof != nil {
		set.JKT = f.proof.JKT
	}
	if f.grant.User != "" {
		if err := p.describe(&set, f); err != nil {
			return set, fmt.Errorf("oauth: write the identity into a token: %w", err)
		}
	}
	set.JTI, err = p.newGrantID()
	return set, err
}

// describe writes who the token is about, and how she logged in. What the provider did not say is left out.
func (p *Provider) describe(set *claims.Set, f *flow) error {
	id, err := p.accounts.Identify(f.user, f.device)
	if err != nil {
		return err
	}
	set.Subject = id.User
	if slices.Contains(f.scopes, ScopeHandle) {
		set.Handle = id.Handle
	}
	if slices.Contains(f.scopes, ScopeDevice) {
		set.Device = id.Device
	}
	set.AuthTime, set.ACR, set.AMR = f.grant.AuthTime, f.grant.ACR, f.grant.AMR
	set.SID, set.Gen = f.grant.ID, f.user.Gen
	return nil
}

// tokenType is what the answer calls the token (RFC 9449 §5, RFC 6750).
func (f *flow) tokenType() string {
	if f.proof == nil {
		return "Bearer"
	}
	return "DPoP"
}
