package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// An outage is a request of which something fails.
type outage struct {
	setup setup
	// begin prepares a request of alice, who is a new user each time, and returns it. It is made anew whenever it is sent.
	begin func(t *testing.T, i *issuer, alice storage.User) (ask func() error)
	want  refusal // when nothing fails; none if that is zero
	lost  refusal // of the next try, if the work was done and only the answer was lost; want if that is zero
	least int     // how many operations it is known to ask for
}

// asking is a request to the token endpoint.
func (i *issuer) asking(t *testing.T, client string, d *device, form url.Values) func() error {
	return func() error {
		_, err := i.Token(t.Context(), i.request(t, client, d, form))
		return err
	}
}

// outages are the requests of every grant, of revocation and of pushed requests: those that succeed, and those whose refusal ends
// a session.
func outages() map[string]outage {
	late := func(t *testing.T, i *issuer, alice storage.User) (*device, string) { // a refresh token that was replaced for good
		d := newDevice(t)
		first := i.login(t, alice, d)
		i.token(t, "app", d, refreshForm(i.token(t, "app", d, refreshForm(first.RefreshToken)).RefreshToken))
		i.advance(t, 3*time.Minute)
		return d, first.RefreshToken
	}
	spent := refusal{code: "invalid_grant", description: "The authorization code is unknown, spent or expired"}
	replaced := refusal{code: "invalid_grant", description: "was replaced"}
	list := map[string]outage{
		"code, new device": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				return i.asking(t, "app", newDevice(t), codeForm(i.code(t, alice, nil)))
			},
			lost: spent, least: 10,
		},
		"code, known device": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				i.login(t, alice, d)
				return i.asking(t, "app", d, codeForm(i.code(t, alice, nil)))
			},
			lost: spent, least: 10,
		},
		"code, of a stored client with an assertion": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				form := codeForm(i.code(t, alice, url.Values{"client_id": {"signing"}}))
				return i.asking(t, "signing", newDevice(t), i.signed(t, form))
			},
			lost: refusal{code: "invalid_grant", description: "spent"}, least: 14,
		},
		"code spent by another key": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				code := i.code(t, alice, nil)
				i.token(t, "app", newDevice(t), codeForm(code))
				return i.asking(t, "app", newDevice(t), codeForm(code))
			},
			want: spent, least: 7,
		},
		"client credentials": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				return i.asking(t, "service", newDevice(t), serviceForm)
			},
			least: 4,
		},
		"client credentials, of a stored client with an assertion": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				return i.asking(t, "signing", newDevice(t), i.signed(t, serviceForm))
			},
			lost: refusal{code: "invalid_client", description: "The client assertion was used before"}, least: 8,
		},
		"exchange for a narrower token": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				return i.asking(t, "app", d, exchangeForm(i.login(t, alice, d).AccessToken, accessToken, ""))
			},
			least: 7,
		},
		"exchange for a CWT": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				return i.asking(t, "app", d, cwtForm(i.login(t, alice, d).AccessToken))
			},
			least: 6,
		},
		"exchange of a token that encloses others": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d, tokens := newDevice(t), i.memberOf(t, alice)
				held := i.login(t, alice, d).AccessToken
				nest := i.token(t, "app", d, with(embedForm(tokens), subjectForm(held))).AccessToken
				return i.asking(t, "app", d, exchangeForm(nest, accessToken, ""))
			},
			least: 10,
		},
		"exchange for an actor, by may_act": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				machine := newDevice(t)
				set := claimsOf(t, i.login(t, alice, newDevice(t)).AccessToken)
				set.MayAct = act("service")
				form := exchangeForm(i.sign(t, set), accessToken, i.token(t, "service", machine, serviceForm).AccessToken)
				return i.asking(t, "service", machine, with(form, url.Values{"scope": {"im:handle"}}))
			},
			least: 9,
		},
		"exchange for an actor, by a grant": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				machine := newDevice(t)
				grant := i.state(t, i.login(t, alice, newDevice(t)).AccessToken, grantTo("service", "im:handle"))
				form := exchangeForm(grant.Token, statement, i.token(t, "service", machine, serviceForm).AccessToken)
				return i.asking(t, "service", machine, with(form, url.Values{"im_evidence": {"true"}}))
			},
			least: 16,
		},
		"exchange for an actor, by the user's key": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				machine, key := newDevice(t), newKey(t)
				grant := i.byKey(t, key, i.delegate(t, i.login(t, alice, newDevice(t)).AccessToken, key), grantTo("service", "im:handle"))
				form := exchangeForm(grant, statement, i.token(t, "service", machine, serviceForm).AccessToken)
				return i.asking(t, "service", machine, form)
			},
			least: 20,
		},
		"authorization grant for another issuer": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				i.peer(t, "away.example")
				return i.asking(t, "app", d, chainForm(i.login(t, alice, d).AccessToken, "https://id.away.example"))
			},
			least: 7,
		},
		"authorization grant of another issuer": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				d := newDevice(t)
				return i.asking(t, "visitors", d, bearerForm(i.peer(t, "away.example").grants(t, d.JKT(), nil)))
			},
			lost: refusal{code: "invalid_grant", description: "The assertion was used before"}, least: 7,
		},
		"embedding of a grant": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				grant := i.state(t, i.login(t, alice, newDevice(t)).AccessToken, grantTo("service", "im:handle"))
				return i.asking(t, "service", newDevice(t), embedForm(entry(t, nested.ActsFor, grant.Token)))
			},
			least: 8,
		},
		"embedding in the user's token": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d, tokens := newDevice(t), i.memberOf(t, alice)
				return i.asking(t, "app", d, with(embedForm(tokens), subjectForm(i.login(t, alice, d).AccessToken)))
			},
			least: 9,
		},
		"embedding of a device, new": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				laptop, tokens := i.takenIn(t, alice)
				return i.asking(t, "app", laptop, embedForm(tokens))
			},
			least: 20,
		},
		"embedding of a device, known": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				laptop, tokens := i.takenIn(t, alice)
				i.token(t, "app", laptop, embedForm(tokens))
				return i.asking(t, "app", laptop, embedForm(tokens))
			},
			least: 20,
		},
		"revocation of a refresh token": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				held := i.login(t, alice, newDevice(t)).RefreshToken
				return func() error {
					return i.Revoke(t.Context(), i.request(t, "app", nil, url.Values{"token": {held}}))
				}
			},
			least: 5,
		},
		"revocation of an access token": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				held := i.login(t, alice, d).AccessToken
				return func() error { return i.Revoke(t.Context(), i.revocation(t, "app", d, held)) }
			},
			least: 5,
		},
		"revocation of an access token of a user of another domain": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				d := newDevice(t)
				held := i.token(t, "visitors", d, bearerForm(i.peer(t, "away.example").grants(t, d.JKT(), nil))).AccessToken
				return func() error { return i.Revoke(t.Context(), i.revocation(t, "visitors", d, held)) }
			},
			least: 4,
		},
		"revocation of nothing, with an assertion": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				form := i.signed(t, url.Values{"token": {"unknown"}})
				return func() error { return i.Revoke(t.Context(), i.request(t, "signing", nil, form)) }
			},
			lost: refusal{code: "invalid_client", description: "The client assertion was used before"}, least: 3,
		},
		"pushed request": {
			begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
				d := newDevice(t)
				form := i.signed(t, authorization(nil))
				return func() error {
					_, err := i.Push(t.Context(), i.pushing(t, "signing", d, form), admitAll)
					return err
				}
			},
			lost: refusal{code: "invalid_client", description: "The client assertion was used before"}, least: 7,
		},
		"authorization by a pushed request": {
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				pushed, err := i.Push(t.Context(), i.pushing(t, "app", d, authorization(nil)), admitAll)
				if err != nil {
					t.Fatal(err)
				}
				return func() error {
					return i.authorized(t, alice, url.Values{"client_id": {"app"}, "request_uri": {pushed.RequestURI}})
				}
			},
			lost: refusal{code: "invalid_request_uri", description: "used"}, least: 8,
		},
	}
	list["end of a login without a code"] = outage{
		begin: func(t *testing.T, i *issuer, _ storage.User) func() error {
			pushed, err := i.Push(t.Context(), i.pushing(t, "app", newDevice(t), authorization(nil)), admitAll)
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				return i.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					return i.Spend(ctx, tx, url.Values{"request_uri": {pushed.RequestURI}})
				})
			}
		},
		least: 5,
	}
	for name, inUpdate := range map[string]bool{"in one transaction": true, "with the proof spent before": false} {
		list["refresh, "+name] = outage{
			setup: setup{inUpdate: inUpdate},
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				return i.asking(t, "app", d, refreshForm(i.login(t, alice, d).RefreshToken))
			},
			least: 7,
		}
		list["refresh repeated, "+name] = outage{
			setup: setup{inUpdate: inUpdate},
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				held := i.login(t, alice, d).RefreshToken
				i.token(t, "app", d, refreshForm(held))
				return i.asking(t, "app", d, refreshForm(held))
			},
			least: 5,
		}
		list["refresh with a replaced token, "+name] = outage{
			setup: setup{inUpdate: inUpdate},
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d, token := late(t, i, alice)
				return i.asking(t, "app", d, refreshForm(token))
			},
			want: replaced, least: 6,
		}
		list["refresh of a stored client with an assertion, "+name] = outage{
			setup: setup{inUpdate: inUpdate},
			begin: func(t *testing.T, i *issuer, alice storage.User) func() error {
				d := newDevice(t)
				form := i.signed(t, codeForm(i.code(t, alice, url.Values{"client_id": {"signing"}})))
				held := i.token(t, "signing", d, form).RefreshToken
				return i.asking(t, "signing", d, i.signed(t, refreshForm(held)))
			},
			lost: refusal{code: "invalid_client", description: "The client assertion was used before"}, least: 10,
		}
	}
	return list
}

// TestOutage fails, in turn, everything that a request asks of others, and each answer of a durable update. No request is refused
// for that, nothing is half done, and no event is recorded of what was not done. The next try ends as if nothing had failed, with
// the same code, refresh token and client assertion.
func TestOutage(t *testing.T) {
	for name, test := range outages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := startIssuer(t, test.setup)
			i.signing(t)
			var ops []string
			for n := 1; n == len(ops)+1 && !t.Failed(); n++ {
				ask := test.begin(t, i, i.user(t, fmt.Sprintf("alice%d", n)))
				i.log.take(t)
				if op := i.failNth(t, n, test, ask); op != "" {
					ops = append(ops, op)
				}
			}
			if len(ops) < test.least {
				t.Errorf("%d operations failed in turn, want at least %d", len(ops), test.least)
			}
			t.Logf("%d operations failed in turn: %s", len(ops), strings.Join(ops, " "))
		})
	}
}

// failNth sends a request whose nth operation fails, and returns the name of that; "" if it has fewer.
func (i *issuer) failNth(t *testing.T, n int, test outage, ask func() error) (failed string) {
	t.Helper()
	want := func(err error, want refusal) {
		t.Helper()
		if want == (refusal{}) && err != nil {
			t.Errorf("%v, want success", err)
		} else if want != (refusal{}) {
			want.check(t, err)
		}
	}
	before, count, done := sqlitetest.Rows(t, i.path), 0, 0
	i.faults.set(func(op string) error {
		if failed != "" {
			return nil
		}
		if op == "Committed" {
			done++
		}
		if count++; count == n {
			failed = op
			return errFire
		}
		return nil
	})
	err := ask()
	i.faults.set(nil)
	if failed == "" {
		want(err, test.want)
		return ""
	}
	if refused, proof := (*oauth.Error)(nil), (*dpop.ProofError)(nil); !errors.Is(err, errFire) || errors.As(err, &refused) ||
		errors.As(err, &proof) {
		t.Errorf("with %s failing: %v, want no refusal, but the fault", failed, err)
	}
	events := i.log.take(t)
	if done == 0 {
		if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, i.path)); len(changes) > 0 {
			t.Errorf("with %s failing: rows changed:\n%s", failed, strings.Join(changes, "\n"))
		}
		if len(events) > 0 {
			t.Errorf("with %s failing: events %v, want none", failed, events)
		}
	}
	sqlitetest.Whole(t, i.path)
	if done > 0 && test.lost != (refusal{}) {
		want(ask(), test.lost)
	} else {
		want(ask(), test.want)
	}
	return failed
}

// signing registers the client signing, which is stored and authenticates by assertions.
func (i *issuer) signing(t *testing.T) {
	t.Helper()
	key := newKey(t)
	i.assertions = func(t *testing.T) string {
		t.Helper()
		text, err := assertion.Sign(key, "", "signing", issuerURL, i.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	c := clientList()[0]
	c.ID, c.Stored = "signing", true
	c.Grants = slices.Concat(c.Grants, []string{oauth.GrantClientCredentials})
	c.Keys = []assertion.Key{{Alg: assertion.AlgorithmFor(key.Public()), Public: key.Public()}}
	i.clients = append(i.clients, c)
	if err := i.registry.Set(i.clients); err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.registry.Add(t.Context(), "signing", []byte("{}"), false); err != nil {
		t.Fatal(err)
	}
}

// signed adds a client assertion to a form.
func (i *issuer) signed(t *testing.T, form url.Values) url.Values {
	t.Helper()
	return with(form, url.Values{
		"client_assertion": {i.assertions(t)}, "client_assertion_type": {assertion.Type},
	})
}

// memberOf is the parameter tokens with the statement of a peer that a user is a member of an organisation.
func (i *issuer) memberOf(t *testing.T, u storage.User) string {
	t.Helper()
	school := i.peers.peers["https://id.school.example"]
	if school == nil {
		school = i.peer(t, "school.example")
	}
	return entry(t, nested.MemberOf, school.states(t, nested.TypeMember, "im:wxyz=%23%23engineering@school.example",
		func(s *nested.Statement) { s.Party = "im:" + u.ID + "@example.com;id-type=user" }))
}

// takenIn returns a device and the parameter tokens with the statement of a user's key about it.
func (i *issuer) takenIn(t *testing.T, u storage.User) (laptop *device, tokens string) {
	t.Helper()
	key, laptop := newKey(t), newDevice(t)
	held := i.login(t, u, newDevice(t))
	delegation := i.delegate(t, held.AccessToken, key)
	sign := func(s nested.Statement) string { return i.byKey(t, key, delegation, s) }
	return laptop, entry(t, nested.AttestedBy, i.deviceBy(t, sign, claimsOf(t, held.AccessToken), laptop.JKT(), "d"+laptop.JKT()[:12], 1))
}

// subjectForm names the token of a client's own.
func subjectForm(token string) url.Values {
	return url.Values{"subject_token": {token}, "subject_token_type": {accessToken}}
}

// proofFor makes a proof for an endpoint.
func (i *issuer) proofFor(t *testing.T, d *device, path string) http.Header {
	t.Helper()
	nonce, err := i.proofs.Nonce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: issuerURL + path, Nonce: nonce, IssuedAt: i.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Dpop": {p}}
}

// revocation is a request of a device to the revocation endpoint.
func (i *issuer) revocation(t *testing.T, client string, d *device, token string) oauth.TokenRequest {
	t.Helper()
	r := i.request(t, client, nil, url.Values{"token": {token}})
	r.Header = i.proofFor(t, d, "/revoke")
	return r
}

// pushing is a request of a device to push an authorization request.
func (i *issuer) pushing(t *testing.T, client string, d *device, form url.Values) oauth.TokenRequest {
	t.Helper()
	r := i.request(t, client, nil, form)
	r.Header = i.proofFor(t, d, "/par")
	return r
}

// admitAll stores every pushed request.
func admitAll(_ *clients.Client, _ [32]byte, _ time.Time, store func() error) error { return store() }

// authorized logs a user in for an authorization request, up to the stored code.
func (i *issuer) authorized(t *testing.T, u storage.User, params url.Values) error {
	t.Helper()
	a, err := i.Authorize(t.Context(), params)
	if err != nil {
		return err
	}
	if _, err := i.ConsentNeeded(t.Context(), a.Request, u); err != nil {
		return err
	}
	if _, err := i.Consent(t.Context(), a.Request, u); err != nil {
		return err
	}
	c, err := i.PrepareCode(t.Context(), a.Request, oauth.Login{User: u, Issuer: provider, AuthTime: i.clock.now()})
	if err != nil {
		return err
	}
	return c.Refused(i.store.Update(t.Context(), c.Insert))
}
