package oauth_test

import (
	"net/url"
	"testing"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

var errAccountChanged = refusal{code: "temporarily_unavailable", description: "The account has just changed: ask again"}

// anyTime are the changes of a user that stop each grant that writes something: the row of the user is another one by then.
var anyTime = map[string]func(t *testing.T, i *issuer, u storage.User){
	"the user is renamed": func(t *testing.T, i *issuer, u storage.User) {
		if _, err := i.accounts.Rename(t.Context(), u.Domain, u.ID, "alicia"); err != nil {
			t.Fatal(err)
		}
	},
	"the user is disabled": func(t *testing.T, i *issuer, u storage.User) {
		if _, err := i.accounts.Disable(t.Context(), u.Domain, u.ID); err != nil {
			t.Fatal(err)
		}
	},
	"all tokens of the user ended": func(t *testing.T, i *issuer, u storage.User) {
		i.change(t, u, func(u *storage.User) { u.Gen++ })
	},
}

// TestCodeMeanwhile lets something happen between what the redemption of a code reads and what it writes.
func TestCodeMeanwhile(t *testing.T) {
	spent := refusal{code: "invalid_grant", description: "The authorization code is unknown, spent or expired"}
	inUse := refusal{code: "invalid_grant", description: "The key belongs to another device or to one that was removed"}
	type event func(t *testing.T, i *issuer, alice storage.User, d *device, code string)
	tests := map[string]struct {
		known bool // the device
		event event
		want  refusal
		ended bool // the session of the other request that redeemed the code
	}{
		"the code is redeemed by the same key": {event: func(t *testing.T, i *issuer, _ storage.User, d *device, code string) {
			i.token(t, "app", d, codeForm(code))
		}, want: spent},
		"the code is redeemed by another key": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, code string) {
			i.token(t, "app", newDevice(t), codeForm(code))
		}, want: spent, ended: true},
		"the code is deleted": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, _ string) {
			sqlitetest.Exec(t, i.path, "DELETE FROM codes")
		}, want: spent},
		"the same device logs in": {event: func(t *testing.T, i *issuer, alice storage.User, d *device, _ string) {
			i.login(t, alice, d)
		}, want: refusal{code: "temporarily_unavailable", description: "The same device is logging in twice"}},
		"another user takes the key": {event: func(t *testing.T, i *issuer, _ storage.User, d *device, _ string) {
			i.login(t, i.user(t, "bob"), d)
		}, want: inUse},
		"the device is removed": {known: true, event: func(t *testing.T, i *issuer, alice storage.User, d *device, _ string) {
			there, err := i.store.DeviceByKey(t.Context(), alice.Domain, d.JKT())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.accounts.RemoveDevice(t.Context(), there.Domain, there.ID, "lost"); err != nil {
				t.Fatal(err)
			}
		}, want: inUse},
		"the user logs in on too many devices": {event: func(t *testing.T, i *issuer, alice storage.User, _ *device, _ string) {
			for range 4 {
				i.login(t, alice, newDevice(t))
			}
		}, want: refusal{code: "invalid_grant", description: "The user has as many devices as allowed"}},
	}
	for name, change := range anyTime {
		test := tests[name]
		test.event = func(t *testing.T, i *issuer, alice storage.User, _ *device, _ string) { change(t, i, alice) }
		test.want = errAccountChanged
		tests[name] = test
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			alice, d := i.user(t, "alice"), newDevice(t)
			if test.known {
				i.login(t, alice, d)
			}
			code := i.code(t, alice, nil)
			r := i.request(t, "app", d, codeForm(code))
			i.faults.once("Update", func() { test.event(t, i, alice, d, code) })
			_, err := i.Token(t.Context(), r)
			test.want.check(t, err)
			sqlitetest.Whole(t, i.path)
			if n := sqlitetest.Count(t, i.path, "SELECT count(*) FROM grants WHERE ended_reason = 'code_reused'"); (n == 1) != test.ended {
				t.Errorf("%d sessions ended by a reused code", n)
			}
		})
	}
}

// TestRefreshMeanwhile does the same to a refresh whose proof is spent before the transaction.
func TestRefreshMeanwhile(t *testing.T) {
	replaced := refusal{code: "invalid_grant", description: "The refresh token is unknown, was replaced, or its session has ended"}
	type event func(t *testing.T, i *issuer, alice storage.User, d *device, held oauth.TokenAnswer)
	tests := map[string]struct {
		event event
		want  refusal // none if it is zero
	}{
		"the session is refreshed": {event: func(t *testing.T, i *issuer, _ storage.User, d *device, held oauth.TokenAnswer) {
			i.token(t, "app", d, refreshForm(held.RefreshToken))
		}},
		"the session is refreshed twice": {event: func(t *testing.T, i *issuer, _ storage.User, d *device, held oauth.TokenAnswer) {
			i.token(t, "app", d, refreshForm(i.token(t, "app", d, refreshForm(held.RefreshToken)).RefreshToken))
		}, want: replaced},
		"the session ends": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, held oauth.TokenAnswer) {
			if err := i.Revoke(t.Context(), i.request(t, "app", nil, url.Values{"token": {held.RefreshToken}})); err != nil {
				t.Fatal(err)
			}
		}, want: replaced},
		"the session is refreshed and ends": {event: func(t *testing.T, i *issuer, _ storage.User, d *device, held oauth.TokenAnswer) {
			next := i.token(t, "app", d, refreshForm(held.RefreshToken))
			if err := i.Revoke(t.Context(), i.request(t, "app", nil, url.Values{"token": {next.RefreshToken}})); err != nil {
				t.Fatal(err)
			}
		}, want: replaced},
		"the session is deleted": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, _ oauth.TokenAnswer) {
			sqlitetest.Exec(t, i.path, "DELETE FROM grants")
		}, want: replaced},
	}
	for name, change := range anyTime {
		test := tests[name]
		test.event = func(t *testing.T, i *issuer, alice storage.User, _ *device, _ oauth.TokenAnswer) {
			change(t, i, alice)
		}
		test.want = errAccountChanged
		tests[name] = test
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, false)
			alice, d := i.user(t, "alice"), newDevice(t)
			held := i.login(t, alice, d)
			r := i.request(t, "app", d, refreshForm(held.RefreshToken))
			i.faults.once("Update", func() { test.event(t, i, alice, d, held) })
			a, err := i.Token(t.Context(), r)
			if test.want != (refusal{}) {
				test.want.check(t, err)
				return
			}
			if err != nil {
				t.Fatalf("Token = %v, want tokens", err)
			}
			if again := i.token(t, "app", d, refreshForm(held.RefreshToken)); again.RefreshToken != a.RefreshToken {
				t.Error("a repeat got another refresh token")
			}
		})
	}
}

// TestEmbedMeanwhile does the same to the first token of a device that a user's own key took in.
func TestEmbedMeanwhile(t *testing.T) {
	over := refusal{code: "invalid_embedded_token", description: "tokens[0].tokens[0]: revoked"}
	another := refusal{code: "invalid_embedded_token", description: "tokens[0]: not_bound: the statement is about another device"}
	type event func(t *testing.T, i *issuer, alice storage.User, laptop *device, tokens string)
	tests := map[string]struct {
		event event
		want  refusal // none if it is zero
	}{
		"the delegation is withdrawn": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, _ string) {
			sqlitetest.Exec(t, i.path, "UPDATE statements SET withdrawn_at = 1, withdrawn_reason = 'withdrawn'")
		}, want: over},
		"the delegation is deleted": {event: func(t *testing.T, i *issuer, _ storage.User, _ *device, _ string) {
			sqlitetest.Exec(t, i.path, "DELETE FROM statements")
		}, want: over},
		"the device gets its token": {event: func(t *testing.T, i *issuer, _ storage.User, laptop *device, tokens string) {
			i.token(t, "app", laptop, embedForm(tokens))
		}},
		"the device is removed": {event: func(t *testing.T, i *issuer, alice storage.User, laptop *device, tokens string) {
			i.token(t, "app", laptop, embedForm(tokens))
			sqlitetest.Exec(t, i.path, "UPDATE devices SET removed_at = 1 WHERE jkt = ?", laptop.JKT())
		}, want: another},
		"the user logs in with the key": {event: func(t *testing.T, i *issuer, alice storage.User, laptop *device, _ string) {
			i.login(t, alice, laptop)
		}, want: another},
		"another user logs in with the key": {event: func(t *testing.T, i *issuer, _ storage.User, laptop *device, _ string) {
			i.login(t, i.user(t, "bob"), laptop)
		}, want: another},
		"the user logs in on too many devices": {event: func(t *testing.T, i *issuer, alice storage.User, _ *device, _ string) {
			for range 3 {
				i.login(t, alice, newDevice(t))
			}
		}, want: refusal{code: "invalid_grant", description: "The user has as many devices as allowed"}},
	}
	for name, change := range anyTime {
		test := tests[name]
		test.event = func(t *testing.T, i *issuer, alice storage.User, _ *device, _ string) { change(t, i, alice) }
		test.want = errAccountChanged
		tests[name] = test
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			alice := i.user(t, "alice")
			laptop, tokens := i.takenIn(t, alice)
			r := i.request(t, "app", laptop, embedForm(tokens))
			i.faults.once("Update", func() { test.event(t, i, alice, laptop, tokens) })
			_, err := i.Token(t.Context(), r)
			if test.want == (refusal{}) && err != nil {
				t.Errorf("Token = %v, want a token", err)
			} else if test.want != (refusal{}) {
				test.want.check(t, err)
			}
			sqlitetest.Whole(t, i.path)
		})
	}
}

// TestClientMeanwhile removes a stored client, or uses its assertion, between what each grant reads and what it writes.
func TestClientMeanwhile(t *testing.T) {
	removed := refusal{code: "invalid_client", description: "The client is unknown or its credentials are wrong."}
	used := refusal{code: "invalid_client", description: "The client assertion was used before"}
	for name, begin := range map[string]func(t *testing.T, i *issuer, d *device) url.Values{
		"code": func(t *testing.T, i *issuer, _ *device) url.Values {
			return codeForm(i.code(t, i.user(t, "alice"), url.Values{"client_id": {"signing"}}))
		},
		"refresh": func(t *testing.T, i *issuer, d *device) url.Values {
			form := codeForm(i.code(t, i.user(t, "alice"), url.Values{"client_id": {"signing"}}))
			return refreshForm(i.token(t, "signing", d, i.signed(t, form)).RefreshToken)
		},
		"client credentials": func(*testing.T, *issuer, *device) url.Values { return serviceForm },
		"exchange": func(t *testing.T, i *issuer, d *device) url.Values {
			held := i.token(t, "signing", d, i.signed(t, serviceForm)).AccessToken
			return exchangeForm(held, accessToken, "")
		},
		"embedding": func(t *testing.T, i *issuer, _ *device) url.Values {
			held := i.login(t, i.user(t, "alice"), newDevice(t)).AccessToken
			return embedForm(entry(t, nested.ActsFor, i.state(t, held, grantTo("signing", "im:handle")).Token))
		},
	} {
		for _, inUpdate := range []bool{true, false} {
			if name != "refresh" && !inUpdate {
				continue
			}
			i, d := newIssuer(t, inUpdate), newDevice(t)
			i.signing(t)
			form := i.signed(t, begin(t, i, d))
			t.Run(name+", the assertion is used", func(t *testing.T) {
				r := i.request(t, "signing", d, form)
				i.faults.once("Update", func() {
					q := i.request(t, "signing", newDevice(t), with(serviceForm, url.Values{
						"client_assertion": form["client_assertion"], "client_assertion_type": form["client_assertion_type"],
					}))
					if _, err := i.Token(t.Context(), q); err != nil {
						t.Error(err)
					}
				})
				_, err := i.Token(t.Context(), r)
				used.check(t, err)
			})
			t.Run(name+", the client is removed", func(t *testing.T) {
				r := i.request(t, "signing", d, i.signed(t, form))
				i.faults.once("Update", func() {
					if _, _, err := i.registry.Remove(t.Context(), "signing", "test"); err != nil {
						t.Error(err)
					}
				})
				_, err := i.Token(t.Context(), r)
				removed.check(t, err)
				_, err = i.Token(t.Context(), i.request(t, "signing", d, i.signed(t, form)))
				removed.check(t, err)
			})
		}
	}
}

// TestReuseMeanwhile holds that a reused code ends its session only together with the client's assertion, and that an outage while
// a race is judged refuses nothing.
func TestReuseMeanwhile(t *testing.T) {
	i := newIssuer(t, true)
	i.signing(t)
	alice := i.user(t, "alice")
	code := i.code(t, alice, url.Values{"client_id": {"signing"}})
	held := i.token(t, "signing", newDevice(t), i.signed(t, codeForm(code))).AccessToken
	form := i.signed(t, codeForm(code))
	r := i.request(t, "signing", newDevice(t), form)
	i.faults.once("Update", func() {
		assertion := url.Values{"client_assertion": form["client_assertion"], "client_assertion_type": form["client_assertion_type"]}
		i.token(t, "signing", newDevice(t), with(serviceForm, assertion))
	})
	_, err := i.Token(t.Context(), r)
	refusal{code: "invalid_client", description: "The client assertion was used before"}.check(t, err)
	if !i.active(t, held) {
		t.Error("a request without a good assertion ended the session")
	}
	_, err = i.Token(t.Context(), i.request(t, "signing", newDevice(t), i.signed(t, codeForm(code))))
	refusal{code: "invalid_grant", description: "The authorization code is unknown, spent or expired"}.check(t, err)
	if i.active(t, held) {
		t.Error("the session of the reused code did not end")
	}

	d := newDevice(t)
	code = i.code(t, alice, nil)
	r = i.request(t, "app", d, codeForm(code))
	i.faults.once("Update", func() {
		i.token(t, "app", d, codeForm(code))
		i.faults.set(func(op string) error {
			if op == "Code" {
				return errFire
			}
			return nil
		})
	})
	_, err = i.Token(t.Context(), r)
	i.faults.set(nil)
	refusal{err: errFire}.check(t, err)
}
