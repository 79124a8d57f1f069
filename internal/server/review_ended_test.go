package server_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// full adds rows to storage until the user of held has 150 statements made by their device, and as many live revocations.
func (c *cast) full(t *testing.T, held tokens) {
	t.Helper()
	user, err := claims.Parse(held.set.Subject)
	if err != nil {
		t.Fatal(err)
	}
	device, err := claims.Parse(held.set.Device)
	if err != nil {
		t.Fatal(err)
	}
	now, domain := c.clock.now(), user.Domain()
	err = c.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range 150 {
			jti := fmt.Sprint(user.Local(), "-", i)
			err := tx.InsertStatement(ctx, storage.Statement{
				JTI: jti, Domain: domain, User: user.Local(), Device: device.Device(), Type: nested.TypeActor, Claims: []byte("{}"),
				CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			})
			if err != nil {
				return err
			}
			if _, err := tx.Revoke(ctx, storage.Revocation{
				Kind: storage.RevokeToken, Key: jti, Owner: domain + "/" + user.Local(), Reason: "revoked", At: now, ExpiresAt: now.Add(time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReviewA1ActorEndsWithSession: a token by which a user acts for another ends with the device and the session of who acts,
// however many statements were made by the device and however many live revocations the user has. No row of a session is
// needed for that.
func TestReviewA1ActorEndsWithSession(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		end    func(t *testing.T, c *cast)
	}{
		"device removed": {"device_removed", func(t *testing.T, c *cast) { c.remove(t, c.bob.set.Device) }},
		"signed out":     {"revoked", func(t *testing.T, c *cast) { wantStatus(t, c.revoke(t, accounts, c.bob.refresh), http.StatusOK) }},
		"disabled":       {"user_disabled", func(t *testing.T, c *cast) { wantStatus(t, c.disable(t, "@bob"), http.StatusOK) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCastWith(t, map[string]string{"limits": ", revocations_per_user: 100"})
			_, grant := c.lets(t, c.bob.set.Subject, "", "im:handle")
			acting := issued(t, c.token(t, accounts, c.bobs, exchanging(grant, typeJWT, c.bob.access, nil)))
			c.wantActive(t, acting)
			c.full(t, c.bob)
			test.end(t, c)
			c.wantOver(t, nest{token: acting}, test.reason, "")
			c.wantInactive(t, c.bob.access)
			c.restart(t, nil)
			c.wantInactive(t, acting)
			c.wantActive(t, c.alice.access)
		})
	}
}

// TestReviewA1WithdrawSignedBounded: a user who signs and withdraws without end leaves no more revocations than the limit
// allows. What is withdrawn beyond it ends all the same, with the delegation of the key.
func TestReviewA1WithdrawSignedBounded(t *testing.T) {
	const limit = 10
	c := startCastWith(t, map[string]string{"embed": ", acts_for", "limits": fmt.Sprint(", revocations_per_user: ", limit)})
	hers := c.signing(t, c.phone, c.alice)
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	rows := func() int {
		t.Helper()
		list, _, err := c.store.Revocations(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := rows()
	for i := range limit + 5 {
		grant := c.says(t, hers.key, nested.TypeActor, c.alice.set.Subject, hers.delegation, func(s *nested.Statement) {
			s.Party, s.Scope = c.bob.set.Subject, "im:handle"
		})
		if i == limit { // still good, until it is withdrawn in its turn
			issued(t, c.token(t, accounts, c.bobs, exchanging(grant, typeJWT, c.bob.access, nil)))
		}
		a := c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": grant})
		if a.status == http.StatusUnauthorized { // the access token ended with others of the user
			own = c.forIssuer(t, c.phone, c.alice, "account").access
			a = c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": grant})
		}
		wantStatus(t, a, http.StatusNoContent)
		wantError(t, c.token(t, accounts, c.bobs, exchanging(grant, typeJWT, c.bob.access, nil)), http.StatusBadRequest, "invalid_request")
	}
	if n := rows() - before; n > limit+1 { // and one of the generation
		t.Errorf("%d withdrawals left %d revocations, want at most %d", limit+5, n, limit+1)
	}
}

// TestReviewB2SweptDevice: the key of a removed device admits nothing after everything that expires has been swept, though its
// delegation was signed by the user's own key and is not stored.
func TestReviewB2SweptDevice(t *testing.T) {
	c := startCast(t)
	key, further := newDevice(t), newDevice(t)
	limits := delegating(t, key.key)
	limits["depth"], limits["expires_in"], limits["lifetime"] = 2, 30*24*3600, 30*24*3600
	_, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	sub := c.says(t, key.key, nested.TypeDelegation, c.alice.set.Subject, delegation, func(v *nested.Statement) {
		v.JKT, v.Limits = further.JKT(), &nested.Limits{Devices: "*", Count: 9, Lifetime: 30 * 24 * time.Hour, Depth: 1}
		v.Expires = v.IssuedAt.Add(29 * 24 * time.Hour)
	})
	c.remove(t, c.account(t, further, "alice").set.Device)
	c.advance(t, 20*24*time.Hour)
	for range 2 {
		err := c.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return sweepAll(ctx, tx, c.clock.now()) })
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := embedding{c: accounts, d: newDevice(t)}
	ask.inside = []inside{c.device(t, further.key, c.alice.set, sub, ask.d.JKT(), "07b", 2, nil)}
	wantRefusedAt(t, c.ask(t, ask), "tokens[0].tokens[0]", string(nested.CodeRevoked))
}
