package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// refreshForm continues a session.
func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {oauth.GrantRefresh}, "refresh_token": {token}}
}

// bothWays runs a test with refreshes in one transaction, and with the proof spent before it.
func bothWays(t *testing.T, test func(t *testing.T, i *issuer)) {
	t.Run("one transaction", func(t *testing.T) { test(t, newIssuer(t, true)) })
	t.Run("proof spent before", func(t *testing.T) { test(t, newIssuer(t, false)) })
}

// TestRefresh holds that each refresh has a successor, that a repeat gets the same one, and that the token says what the rows
// say now.
func TestRefresh(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		alice, d := i.user(t, "alice"), newDevice(t)
		first := i.login(t, alice, d)
		i.change(t, alice, func(u *storage.User) { u.Handle, u.Gen = "alicia", u.Gen+1 })
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		set := claimsOf(t, second.AccessToken)
		if set.Handle != "im:%40alicia@example.com" || set.Gen != alice.Gen+1 || set.SID != claimsOf(t, first.AccessToken).SID {
			t.Errorf("claims = %+v, want the new handle in the same session", set)
		}
		for range 2 {
			if again := i.token(t, "app", d, refreshForm(first.RefreshToken)); again.RefreshToken != second.RefreshToken {
				t.Error("a repeat got another refresh token")
			}
		}
		third := i.token(t, "app", d, refreshForm(second.RefreshToken))
		if third.RefreshToken == second.RefreshToken {
			t.Error("the successor is the same token")
		}
	})
}

// TestRefreshRefused holds every refusal of a refresh token. The session lives on where it lived.
func TestRefreshRefused(t *testing.T) {
	const invalid = "invalid_grant"
	unknown := refusal{code: invalid,
		description: "The refresh token is unknown, was replaced, or its session has ended: begin a new login."}
	for name, test := range map[string]struct {
		client string // "" for app
		by     func(t *testing.T, d *device) *device
		change func(token string) url.Values
		before func(t *testing.T, i *issuer, u storage.User, set string)
		want   refusal
		over   bool // the session
	}{
		"no proof": {by: func(*testing.T, *device) *device { return nil }, want: refusal{err: dpop.ErrNoProof}},
		"no token": {change: func(string) url.Values { return url.Values{"refresh_token": nil} },
			want: refusal{code: "invalid_request", description: "The parameter refresh_token is missing."}},
		"garbage":   {change: func(string) url.Values { return url.Values{"refresh_token": {"garbage"}} }, want: unknown},
		"cut short": {change: func(token string) url.Values { return url.Values{"refresh_token": {token[:len(token)-4]}} }, want: unknown},
		"padded":    {change: func(token string) url.Values { return url.Values{"refresh_token": {token + "="}} }, want: unknown},
		"in two lines": {change: func(token string) url.Values {
			return url.Values{"refresh_token": {token[:20] + "\n" + token[20:]}}
		}, want: unknown},
		"another MAC": {change: func(token string) url.Values {
			return url.Values{"refresh_token": {token[:60] + strings.Map(func(r rune) rune { return r ^ 1 }, token[60:61]) + token[61:]}}
		}, want: unknown},
		"another client's": {client: "short", want: unknown},
		"another key": {by: func(t *testing.T, _ *device) *device { return newDevice(t) },
			want: refusal{code: invalid,
				description: "The refresh token is bound to another key: send a proof by the key that it was issued for."}},
		"idle too long": {before: func(t *testing.T, i *issuer, _ storage.User, _ string) {
			i.advance(t, 24*time.Hour)
		}, want: unknown, over: true},
		"ended": {before: func(t *testing.T, i *issuer, _ storage.User, sid string) {
			i.update(t, func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, sid, i.clock.now(), "revoked") })
		}, want: unknown, over: true},
		"deleted user": {before: func(t *testing.T, i *issuer, u storage.User, _ string) {
			i.change(t, u, func(u *storage.User) { u.DisabledAt = i.clock.now() })
		}, want: unknown, over: true},
		"removed device": {before: func(t *testing.T, i *issuer, u storage.User, sid string) {
			g, _, _, err := i.store.Session(t.Context(), sid)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.accounts.RemoveDevice(t.Context(), g.Domain, g.Device, "lost"); err != nil {
				t.Fatal(err)
			}
		}, want: unknown, over: true},
		"a domain that the client lost": {before: func(t *testing.T, i *issuer, _ storage.User, _ string) {
			i.register(t, "app", func(c *clients.Client) { c.Domains = []string{"acme.example"} })
		}, want: refusal{code: invalid, description: "The client is no longer registered for the domain of this session."}, over: true},
		"a scope that was not granted": {change: func(string) url.Values { return url.Values{"scope": {"im:handle account"}} },
			want: refusal{code: "invalid_scope", description: "The scope 'account' was not granted. These were: im:handle, im:device."}},
		"a scope that the client lost": {before: func(t *testing.T, i *issuer, _ storage.User, _ string) {
			i.register(t, "app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} })
		}, want: refusal{code: "invalid_scope",
			description: "The client is no longer registered for the scope 'im:device': ask for fewer, or begin a new login."}, over: true},
		"a resource that was not granted": {change: func(string) url.Values {
			return url.Values{"resource": {"https://rooms.example.com"}}
		},
			want: refusal{code: "invalid_target", description: "The resource 'https://rooms.example.com' was not granted."}},
		"the issuer as a resource, without a scope for it": {change: func(string) url.Values { return url.Values{"resource": {issuerURL}} },
			want: refusal{code: "invalid_target", description: "was not granted"}},
		"the user asks too often": {before: func(_ *testing.T, i *issuer, _ storage.User, _ string) { i.limits.user = errLimit },
			want: refusal{err: errLimit}, over: true},
		"a client without the grant": {before: func(t *testing.T, i *issuer, _ storage.User, _ string) {
			i.register(t, "app", func(c *clients.Client) { c.Grants = []string{oauth.GrantCode} })
		}, want: refusal{code: "unauthorized_client",
			description: "The client is not registered for the grant type 'refresh_token'."}, over: true},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, i *issuer) {
				alice, d := i.user(t, "alice"), newDevice(t)
				held := i.login(t, alice, d)
				if test.before != nil {
					test.before(t, i, alice, claimsOf(t, held.AccessToken).SID)
				}
				by, client := d, test.client
				if test.by != nil {
					by = test.by(t, d)
				}
				if client == "" {
					client = "app"
				}
				form := refreshForm(held.RefreshToken)
				if test.change != nil {
					form = with(form, test.change(held.RefreshToken))
				}
				i.refuses(t, i.request(t, client, by, form), test.want)
				if !test.over {
					i.token(t, "app", d, refreshForm(held.RefreshToken))
				}
			})
		})
	}
}

// TestRefreshReplaced holds that a refresh token that was replaced for good ends the session if it comes with a nonce from after
// the replacement, and that it is a late duplicate otherwise.
func TestRefreshReplaced(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		alice, d := i.user(t, "alice"), newDevice(t)
		first := i.login(t, alice, d)
		early := i.request(t, "app", d, refreshForm(first.RefreshToken))
		i.advance(t, time.Second)
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		third := i.token(t, "app", d, refreshForm(second.RefreshToken))

		i.refuses(t, early, refusal{code: "invalid_grant", description: "was replaced"})
		held := i.token(t, "app", d, refreshForm(third.RefreshToken))

		i.advance(t, 3*time.Minute)
		late := i.request(t, "app", d, refreshForm(first.RefreshToken))
		_, err := i.Token(t.Context(), late)
		refusal{code: "invalid_grant", description: "was replaced"}.check(t, err)
		_, err = i.Token(t.Context(), i.request(t, "app", d, refreshForm(held.RefreshToken)))
		refusal{code: "invalid_grant", description: "its session has ended"}.check(t, err)
		if g, _, _, err := i.store.Session(t.Context(), claimsOf(t, held.AccessToken).SID); err != nil ||
			g.EndedReason != "refresh_reused" {
			t.Errorf("session = %+v, %v, want it ended: refresh_reused", g, err)
		}
	})
}

// TestRefreshRaced holds that any number of refreshes at one time get the same successor, and that the session lives.
func TestRefreshRaced(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		alice, d := i.user(t, "alice"), newDevice(t)
		held := i.login(t, alice, d)
		requests := make([]oauth.TokenRequest, 16)
		for n := range requests {
			requests[n] = i.request(t, "app", d, refreshForm(held.RefreshToken))
		}
		answers, start := make(chan string, len(requests)), make(chan struct{})
		for _, r := range requests {
			go func() {
				<-start
				a, err := i.Token(context.WithoutCancel(t.Context()), r)
				if err != nil {
					t.Errorf("Token = %v, want tokens", err)
				}
				answers <- a.RefreshToken
			}()
		}
		close(start)
		successors := map[string]bool{}
		for range requests {
			successors[<-answers] = true
		}
		if len(successors) != 1 {
			t.Errorf("%d successors, want one", len(successors))
		}
		for next := range successors {
			i.token(t, "app", d, refreshForm(next))
		}
	})
}

// TestRefreshReplayed holds that one proof refreshes once, and that its second use changes nothing.
func TestRefreshReplayed(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		d := newDevice(t)
		held := i.login(t, i.user(t, "alice"), d)
		r := i.request(t, "app", d, refreshForm(held.RefreshToken))
		if _, err := i.Token(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		i.refuses(t, r, refusal{err: dpop.ErrReplayed})
	})
}

// TestRefreshNonceOff does the same where proofs have no nonce: their iat tells when they were made, less what a clock may be ahead.
func TestRefreshNonceOff(t *testing.T) {
	for _, inUpdate := range []bool{true, false} {
		i := startIssuer(t, setup{inUpdate: inUpdate, nonceOff: true})
		d := newDevice(t)
		i.advance(t, time.Minute) // proofs of the first seconds are refused
		first := i.login(t, i.user(t, "alice"), d)
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		third := i.token(t, "app", d, refreshForm(second.RefreshToken))
		replaced := refusal{code: "invalid_grant", description: "was replaced"}

		i.advance(t, time.Minute)
		i.refuses(t, i.request(t, "app", d, refreshForm(first.RefreshToken)), replaced)
		i.token(t, "app", d, refreshForm(third.RefreshToken))
		i.advance(t, time.Minute+time.Second)
		_, err := i.Token(t.Context(), i.request(t, "app", d, refreshForm(first.RefreshToken)))
		replaced.check(t, err)
		_, err = i.Token(t.Context(), i.request(t, "app", d, refreshForm(third.RefreshToken)))
		refusal{code: "invalid_grant", description: "its session has ended"}.check(t, err)
	}
}

// TestRefreshRestored holds that a session whose last rotations the database has lost goes on, with the newest token or with the one that
// the database knows, whichever comes first. After the newest, those before are refused as ever, and the successor is the same again.
func TestRefreshRestored(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		d := newDevice(t)
		first := i.login(t, i.user(t, "alice"), d)
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		third := i.token(t, "app", d, refreshForm(second.RefreshToken))
		fourth := i.token(t, "app", d, refreshForm(third.RefreshToken))
		sqlitetest.Exec(t, i.path, "UPDATE grants SET gen = 1")
		if again := i.token(t, "app", d, refreshForm(third.RefreshToken)); again.RefreshToken != fourth.RefreshToken {
			t.Error("the newest token has another successor than before")
		}
		i.refuses(t, i.request(t, "app", d, refreshForm(first.RefreshToken)), refusal{code: "invalid_grant", description: "was replaced"})
		i.refuses(t, i.request(t, "app", newDevice(t), refreshForm(fourth.RefreshToken)), refusal{code: "invalid_grant"})
		i.token(t, "app", d, refreshForm(fourth.RefreshToken))

		sqlitetest.Exec(t, i.path, "UPDATE grants SET gen = 1")
		i.token(t, "app", d, refreshForm(first.RefreshToken))

		sqlitetest.Exec(t, i.path, "UPDATE grants SET gen = -1000") // no failover loses so many
		i.refuses(t, i.request(t, "app", d, refreshForm(fourth.RefreshToken)), refusal{code: "invalid_grant", description: "was replaced"})
	})
}

// TestRefreshEnd holds that no token outlives its session, and that a session ends at its time however often it is refreshed.
func TestRefreshEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, i *issuer) {
		d := newDevice(t)
		held := i.login(t, i.user(t, "alice"), d)
		end := i.clock.now().Add(72 * time.Hour)
		for range 3 {
			i.advance(t, 23*time.Hour)
			held = i.token(t, "app", d, refreshForm(held.RefreshToken))
		}
		i.advance(t, 2*time.Hour+55*time.Minute)
		held = i.token(t, "app", d, refreshForm(held.RefreshToken))
		if set := claimsOf(t, held.AccessToken); !set.Expires.Equal(end) || held.ExpiresIn != 300 {
			t.Errorf("exp = %v, in %d s, want the end of the session, %v", set.Expires, held.ExpiresIn, end)
		}
		i.advance(t, 5*time.Minute)
		i.refuses(t, i.request(t, "app", d, refreshForm(held.RefreshToken)),
			refusal{code: "invalid_grant", description: "its session has ended"})
	})
}
