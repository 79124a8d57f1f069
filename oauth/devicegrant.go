package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// Refusals of a device code. The client gets the same answer for one that is unknown, another client's or spent.
var (
	errDeviceCode = refuse(CodeInvalidGrant,
		"The device code is unknown, spent, or was ended with the login that allowed it: begin a new device authorization.")
	errDeviceCodeKey = refuse(CodeInvalidGrant, "The device code is bound to another key: send a proof by the key of the first request.")
	errDeviceExpired = refuse(CodeExpiredToken, "The device code has expired: begin a new device authorization.")
	errDevicePending = refuse(CodeAuthorizationPending, "The user has not decided yet: send the request again after the interval.")
	// RFC 8628 §3.5 takes access_denied for an answer of RFC 6749 §5.2, with status 400.
	errDeviceDenied = &Error{Code: CodeAccessDenied, Description: "The user has denied the request.", HTTP: http.StatusBadRequest}
)

// A deviceGrant redeems a device code that a person has allowed (RFC 8628 §3.4), or tells that no user has decided yet.
type deviceGrant struct {
	*Provider
	r *tokenRequest

	code    storage.DeviceCode
	session session // that the code becomes
}

func (g *deviceGrant) check(ctx context.Context, db Reader) (*token, error) {
	r := g.r
	if r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	code := r.Form.Get("device_code")
	if code == "" {
		return nil, refuse(CodeInvalidRequest, "The parameter device_code is missing.")
	}
	c, err := db.DeviceCode(ctx, hash(code))
	if err != nil {
		return nil, notFound(err, errDeviceCode)
	}
	switch {
	case c.Client != r.client.ID || !c.SpentAt.IsZero():
		return nil, errDeviceCode
	case c.JKT != "" && c.JKT != r.proof.JKT:
		return nil, errDeviceCodeKey
	case !r.at.Before(c.ExpiresAt):
		return nil, errDeviceExpired
	case c.DecidedAt.IsZero():
		return nil, g.pending(ctx, c)
	case !c.Allowed:
		return nil, errDeviceDenied
	}
	g.code = c
	if g.session, err = g.newSession(ctx, db); err != nil {
		return nil, err
	}
	return g.firstToken(r, &g.session)
}

// pending answers a poll before the decision. The proof is spent, so that a copy of the request cannot slow down the device, or be sent
// again after the decision. The first valid poll binds a device code that is bound to no key.
func (g *deviceGrant) pending(ctx context.Context, c storage.DeviceCode) error {
	r := g.r
	if c.JKT == "" {
		if err := g.keyUsable(ctx, c.Request.Get("im_domain"), r.proof.JKT); err != nil {
			return err
		}
	}
	if err := g.spendProof(ctx, r); err != nil {
		return err
	}
	if c.JKT == "" {
		err := g.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if err := r.client.Check(ctx, tx); err != nil {
				return err
			}
			if err := r.assertion.Spend(ctx, tx); err != nil {
				return err
			}
			return tx.BindDeviceCode(ctx, c.Hash, r.proof.JKT)
		})
		switch {
		case errors.Is(err, storage.ErrConflict):
			return errDeviceCodeKey
		case err != nil:
			return notFound(err, errDeviceCode)
		}
	}
	if interval, early := g.polls.poll(c.Hash, r.at, c.ExpiresAt); early {
		return refuse(CodeSlowDown,
			fmt.Sprintf("The client polls too often: wait %d seconds between two requests.", int(interval.Seconds())))
	}
	return errDevicePending
}

// newSession returns the session of a device code, for the client as it is registered now.
func (g *deviceGrant) newSession(ctx context.Context, db Reader) (session, error) {
	c := g.code
	user, err := db.User(ctx, c.Domain, c.User)
	if err != nil {
		return session{}, notFound(err, errDeviceCode)
	}
	if !user.DisabledAt.IsZero() {
		return session{}, errDisabled
	}
	audience, err := g.audience(g.r.client, c.Domain, g.resources(c.Request))
	if err != nil {
		return session{}, err
	}
	return g.loginSession(ctx, g.r, user, description(c.Request), storage.Grant{
		Scopes: loginScopes(g.r.client, c.Request), Audience: audience,
		Issuer: c.Issuer, UpstreamSID: c.UpstreamSID, AuthTime: c.AuthTime, ACR: c.ACR, AMR: c.AMR,
		UpstreamToken: c.UpstreamToken,
	})
}

// commit spends the device code, once, and stores its device and its session.
func (g *deviceGrant) commit(ctx context.Context, tx storage.Tx) error {
	err := tx.SpendDeviceCode(ctx, g.code.Hash, g.r.proof.JKT, g.r.at, g.session.grant.ID)
	if errors.Is(err, storage.ErrConflict) { // another request was faster
		return errDeviceCode
	} else if err != nil {
		return notFound(err, errDeviceCode)
	}
	g.polls.forget(g.code.Hash)
	return g.storeSession(ctx, tx, g.r, g.session)
}
