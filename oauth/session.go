package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// A session is the rows that a user's token comes from: a grant, its user and its device.
type session struct {
	grant  storage.Grant
	user   storage.User
	device storage.Device
}

// loginSession returns the session of a user who has logged in: its device is the one of the proof's key, or a new one with the name
// and the platform of described. login has the scopes, the audience and the facts of the login; the rest of the grant is filled in.
func (p *Provider) loginSession(
	ctx context.Context, r *tokenRequest, user storage.User, described storage.Device, login storage.Grant,
) (s session, err error) {
	s.user = user
	s.device, err = p.accounts.DeviceFor(ctx, user, r.proof.JKT)
	if errors.Is(err, account.ErrKeyInUse) {
		return s, errKeyInUse
	} else if err != nil {
		return s, err
	}
	if s.device.Client == "" { // a new one
		s.device.Client, s.device.Alg = r.client.ID, r.proof.Alg
		s.device.Name, s.device.Platform = described.Name, described.Platform
	}
	s.grant = login
	s.grant.Domain, s.grant.Client, s.grant.User, s.grant.Device = user.Domain, r.client.ID, user.ID, s.device.ID
	s.grant.JKT, s.grant.Gen, s.grant.CreatedAt = r.proof.JKT, 1, r.at
	s.grant.IdleAt, s.grant.ExpiresAt = r.at.Add(p.lifetimes.RefreshIdle), r.at.Add(p.lifetimes.RefreshMax)
	s.grant.ID, err = p.newGrantID()
	return s, err
}

// storeSession stores the session of a login and its device, in the transaction that redeems the login.
func (p *Provider) storeSession(ctx context.Context, tx storage.Tx, r *tokenRequest, s session) error {
	added, err := p.accounts.BindDevice(ctx, tx, s.device)
	switch {
	case errors.Is(err, account.ErrKeyInUse):
		return errKeyInUse
	case errors.Is(err, account.ErrTooManyDevices):
		return errDevices
	case errors.Is(err, storage.ErrConflict):
		return refuse(CodeTemporarilyUnavailable, "The same device is logging in twice: send the request again with a new proof.")
	case err != nil:
		return err
	}
	if r.event = nil; added {
		r.event = r.addedDevice(s.device, s.grant.ID)
	}
	return tx.InsertGrant(ctx, s.grant)
}

// firstToken returns the tokens of a session that is stored with them.
func (p *Provider) firstToken(r *tokenRequest, s *session) (*token, error) {
	t, err := p.sessionToken(r, *s)
	if err != nil {
		return nil, err
	}
	t.writes, t.session = true, &s.grant
	return t, nil
}

// sessionToken returns the tokens of a session (RFC 9068; RFC 9449 §6.1). Handle, user and device are those of the rows that
// were read for this request.
func (p *Provider) sessionToken(r *tokenRequest, s session) (*token, error) {
	set, err := p.grantClaims(r, s.grant)
	if err != nil {
		return nil, err
	}
	id, err := p.accounts.Identify(s.user, s.device)
	if err != nil {
		return nil, fmt.Errorf("oauth: write the identity into a token: %w", err)
	}
	set.Subject, set.Handle, set.Device = id.User, id.Handle, id.Device
	describeScope(&set)
	set.AuthTime, set.ACR, set.AMR = s.grant.AuthTime, s.grant.ACR, s.grant.AMR
	set.SID, set.Gen = s.grant.ID, s.user.Gen
	t := &token{claims: set, user: s.user}
	if r.client.Allows(GrantRefresh) {
		t.refresh, err = p.refresh.derive(s.grant.ID, s.grant.Gen)
	}
	return t, err
}

// grantClaims returns the claims that follow from a grant and the request, with the client as the subject. Scope and audience
// are those of the grant, or the fewer that the request asks for (RFC 6749 §6, RFC 8707 §2.2).
func (p *Provider) grantClaims(r *tokenRequest, g storage.Grant) (set claims.Set, err error) {
	scopes, audience, err := p.narrow(r, g)
	if err != nil {
		return set, err
	}
	set = claims.Set{
		Issuer:   p.issuer,
		Subject:  r.client.ID,
		Audience: audience,
		ClientID: r.client.ID,
		Scope:    strings.Join(scopes, " "),
		IssuedAt: r.at.Truncate(time.Second),
		Expires:  r.at.Add(p.lifetimes.Access).Truncate(time.Second),
	}
	if end := g.ExpiresAt; !end.IsZero() && end.Before(set.Expires) {
		set.Expires = end
	}
	if r.proof != nil {
		set.JKT = r.proof.JKT
	}
	set.JTI, err = p.newGrantID()
	return set, err
}

// narrow returns scopes and audience of the token: those of the grant, or the fewer that the request asks for.
func (p *Provider) narrow(r *tokenRequest, g storage.Grant) (scopes, audience []string, err error) {
	if !slices.Contains(r.client.Domains, g.Domain) {
		return nil, nil, refuse(CodeInvalidGrant, "The client is no longer registered for the domain of this session.")
	}
	scopes, audience = g.Scopes, p.withoutLostPeers(r.client, g.Audience)
	if asked := scopeList(r.Form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(g.Scopes, s) {
				return nil, nil, refuse(CodeInvalidScope, "The scope "+named(s)+" was not granted. These were: "+listed(g.Scopes)+".")
			}
		}
		scopes = asked
	}
	if asked := p.resources(r.Form); len(asked) > 0 {
		for _, resource := range asked {
			// The server itself as the audience need not be granted before: no resource sees such a token.
			if !slices.Contains(g.Audience, resource) && !(resource == p.issuer && forServer(scopes)) {
				return nil, nil, refuse(CodeInvalidTarget,
					"The resource "+named(resource)+" was not granted. These were: "+listed(g.Audience)+".")
			}
		}
		audience = asked
	}
	// The client's registration may have shrunk since.
	for _, s := range scopes {
		if !r.client.HasScope(s) {
			return nil, nil, refuse(CodeInvalidScope,
				"The client is no longer registered for the scope "+named(s)+": ask for fewer, or begin a new login.")
		}
	}
	audience, err = p.audience(r.client, g.Domain, audience)
	return scopes, audience, err
}

// forServer reports whether a scope is about the server's own endpoints.
func forServer(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return s != ScopeHandle && s != ScopeDevice })
}
