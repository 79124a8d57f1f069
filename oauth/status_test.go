package oauth_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// entries are status lists that count how many entries were taken. They are off for sessions from before they exist.
type entries struct {
	*statuses.Lists
	off   atomic.Bool
	taken atomic.Int32
}

func (e *entries) Serves(domain string) bool { return !e.off.Load() && e.Lists.Serves(domain) }

func (e *entries) Take(domain string) (storage.StatusEntry, bool) {
	entry, ok := e.Lists.Take(domain)
	if ok {
		e.taken.Add(1)
	}
	return entry, ok
}

// newStatuses returns status lists of which no entry is ready; nil if there are none.
func (i *issuer) newStatuses(t *testing.T, on bool) oauth.Statuses {
	t.Helper()
	if !on {
		return nil
	}
	lists, err := statuses.New(statuses.Config{
		Issuer: issuerURL, Domains: []string{"example.com"}, SessionLife: 72 * time.Hour, Store: i.store, Keys: i.ring,
		Revocations: revocation.NewMirror(revocation.Config{Source: i.store, Now: i.clock.now}), Now: i.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	i.entries = &entries{Lists: lists}
	return i.entries
}

// withStatuses runs a test as bothWays does, with status lists.
func withStatuses(t *testing.T, test func(t *testing.T, i *issuer)) {
	t.Run("one transaction", func(t *testing.T) { test(t, startIssuer(t, setup{inUpdate: true, statuses: true})) })
	t.Run("proof spent before", func(t *testing.T) { test(t, startIssuer(t, setup{statuses: true})) })
}

// stored returns the reference to the entry in the row of the session of a token.
func (i *issuer) stored(t *testing.T, token string) claims.Status {
	t.Helper()
	g, _, _, err := i.store.Session(t.Context(), claimsOf(t, token).SID)
	if err != nil {
		t.Fatal(err)
	}
	return *i.entries.Reference(g.Status)
}

// wantStatus wants a token to refer to the entry in the row of its session, and that so many were taken.
func (i *issuer) wantStatus(t *testing.T, a oauth.TokenAnswer, taken int32) {
	t.Helper()
	if status := claimsOf(t, a.AccessToken).Status; status == nil || *status != i.stored(t, a.AccessToken) {
		t.Errorf("status = %+v, want %+v", status, i.stored(t, a.AccessToken))
	}
	if got := i.entries.taken.Load(); got != taken {
		t.Errorf("%d entries were taken, want %d", got, taken)
	}
}

// A session has one entry, from its login on, also if none was ready.
func TestStatusEntry(t *testing.T) {
	withStatuses(t, func(t *testing.T, i *issuer) {
		alice, d := i.user(t, "alice"), newDevice(t)
		first := i.login(t, alice, d)
		i.wantStatus(t, first, 1)
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		i.wantStatus(t, second, 1)
		i.wantStatus(t, i.token(t, "app", d, refreshForm(first.RefreshToken)), 1)

		// A narrower token of it has the same entry.
		narrower := i.token(t, "app", d, exchangeForm(second.AccessToken, accessToken, ""))
		if a, b := claimsOf(t, narrower.AccessToken).Status, claimsOf(t, second.AccessToken).Status; a == nil || *a != *b {
			t.Errorf("status = %+v, want %+v", a, b)
		}
		i.advance(t, 8*24*time.Hour) // what was ready may not be given any more
		i.wantStatus(t, i.login(t, alice, newDevice(t)), 2)
	})
}

// A session from before gets its entry with its next refresh, once, and a request that is refused uses up none.
func TestStatusEntryOfAnEarlierSession(t *testing.T) {
	withStatuses(t, func(t *testing.T, i *issuer) {
		i.entries.off.Store(true)
		alice, d := i.user(t, "alice"), newDevice(t)
		first := i.login(t, alice, d)
		if status := claimsOf(t, first.AccessToken).Status; status != nil {
			t.Fatalf("status = %+v, want none", status)
		}
		i.entries.off.Store(false)
		r := i.request(t, "app", d, refreshForm(first.RefreshToken))
		second, err := i.Token(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		i.wantStatus(t, second, 1)

		// Where a generation ends the tokens of the user, the session gets another. A repeated request does, too.
		i.revokeBelow(t, alice)
		for range 3 {
			if _, err := i.Token(t.Context(), r); !errors.Is(err, dpop.ErrReplayed) {
				t.Errorf("Token with a spent proof = %v, want %v", err, dpop.ErrReplayed)
			}
		}
		old := claimsOf(t, second.AccessToken).Status
		repeated := i.token(t, "app", d, refreshForm(first.RefreshToken))
		i.wantStatus(t, repeated, 2)
		if now := claimsOf(t, repeated.AccessToken).Status; *now == *old {
			t.Errorf("status = %+v, want another", now)
		}
		i.wantStatus(t, i.token(t, "app", d, refreshForm(repeated.RefreshToken)), 2)
	})
}

// revokeBelow ends the tokens of a user so far.
func (i *issuer) revokeBelow(t *testing.T, u storage.User) {
	t.Helper()
	u.Gen++
	i.update(t, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.Revoke(ctx, revocation.RevokeBelow(u.Domain, u.ID, u.Gen, revocation.Cause{Reason: "test", At: i.clock.now()}))
		return errors.Join(err, tx.UpdateUser(ctx, u))
	})
}

// While no entry can be reserved nothing is issued without one, and nothing is lost.
func TestStatusOutage(t *testing.T) {
	withStatuses(t, func(t *testing.T, i *issuer) {
		fire := errors.New("fire")
		for _, op := range []string{"TakeStatusEntries", "InsertStatusList", "Update", "Commit", "Committed"} {
			alice, d := i.user(t, "alice"), newDevice(t)
			code := i.code(t, alice, nil)
			i.faults.set(func(at string) error {
				if at == op {
					i.faults.set(nil)
					return fire
				}
				return nil
			})
			var refused *oauth.Error
			if _, err := i.Token(t.Context(), i.request(t, "app", d, codeForm(code))); !errors.Is(err, fire) || errors.As(err, &refused) {
				t.Errorf("%s: Token = %v, want that it is not known", op, err)
			}
			i.faults.set(nil)
			a := i.token(t, "app", d, codeForm(code))
			if claimsOf(t, a.AccessToken).Status == nil {
				t.Errorf("%s: no status after the outage", op)
			}
			i.advance(t, 8*24*time.Hour) // nothing is ready for the next
			if op == "TakeStatusEntries" {
				i.endLists(t)
			}
		}
	})
}

// endLists ends all lists, so that the next entry comes from a new one.
func (i *issuer) endLists(t *testing.T) {
	t.Helper()
	i.update(t, func(ctx context.Context, tx storage.Tx) error {
		for {
			if _, err := tx.TakeStatusEntries(ctx, storage.SessionStatuses, "example.com", 256, i.clock.now()); errors.Is(err, storage.ErrNotFound) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

// Of two refreshes that race for the first entry of a session, one gets it and the other is refused: no token refers to an entry that
// the session does not have.
func TestStatusEntryRace(t *testing.T) {
	i := startIssuer(t, setup{statuses: true})
	i.entries.off.Store(true)
	alice, d := i.user(t, "alice"), newDevice(t)
	first := i.login(t, alice, d)
	i.entries.off.Store(false)
	if err := i.entries.Fill(t.Context(), "example.com"); err != nil {
		t.Fatal(err)
	}
	var winner oauth.TokenAnswer
	race := i.request(t, "app", d, refreshForm(first.RefreshToken))
	i.faults.once("Update", func() { // the entry of the first request is chosen, and not stored yet
		winner = i.token(t, "app", d, refreshForm(first.RefreshToken))
	})
	_, err := i.Token(t.Context(), race)
	refusal{code: oauth.CodeTemporarilyUnavailable,
		description: "Another request of the session was faster: send the request again with a new proof."}.check(t, err)
	i.wantStatus(t, winner, 2)
	i.wantStatus(t, i.token(t, "app", d, refreshForm(first.RefreshToken)), 2)
}
