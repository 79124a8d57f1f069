package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/imidentity/issuer/nested"
)

// atOnce runs all of them at the same time, and waits for them.
func atOnce(all ...func()) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for _, do := range all {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			do()
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
}

// TestWithdrawalRaces withdraws what tokens are being made of. Whoever is first, no token that was issued is active
// afterwards, and nothing but a refusal is answered from then on.
func TestWithdrawalRaces(t *testing.T) {
	c := startCast(t)
	const rounds, racers = 4, 6
	for _, test := range []struct {
		name string
		// make prepares a round: what is asked by racer i, and what ends it all.
		make func(t *testing.T) (ask func(t *testing.T, i int) answer, end func(t *testing.T) answer)
	}{
		{"exchange", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			id, grant := c.lets(t, bot.id, c.issuer, "im:handle")
			actor, own := c.service(t, bot, c.machine, nil), c.forIssuer(t, c.phone, c.alice, "account").access
			ask := func(t *testing.T, i int) answer {
				return c.token(t, bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"im_evidence": {fmt.Sprint(i%2 == 0)}}))
			}
			return ask, func(t *testing.T) answer { return c.held(t, c.phone, own, http.MethodDelete, "/me/actors/"+id, nil) }
		}},
		{"embedding", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			id, grant := c.lets(t, bot.id, c.issuer, "im:handle")
			own := c.forIssuer(t, c.phone, c.alice, "account").access
			ask := func(t *testing.T, _ int) answer { return c.ask(t, c.its(inside{rel: "acts_for", token: grant})) }
			return ask, func(t *testing.T) answer { return c.held(t, c.phone, own, http.MethodDelete, "/me/actors/"+id, nil) }
		}},
		{"countersigning, the delegation withdrawn", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			ask, id := c.countersigning(t, racers)
			own := c.forIssuer(t, c.phone, c.alice, "account").access
			return ask, func(t *testing.T) answer {
				return c.held(t, c.phone, own, http.MethodDelete, "/me/delegations/"+id, nil)
			}
		}},
		{"exchange of her own token, her device removed", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			d := newDevice(t)
			held := c.account(t, d, "alice")
			ask := func(t *testing.T, _ int) answer {
				return c.token(t, accounts, d, exchanging(held.access, typeAccess, "", nil))
			}
			return ask, func(t *testing.T) answer {
				return c.operate(t, http.MethodDelete, "/admin/devices/example.com/"+deviceOf(t, held).Device(), nil)
			}
		}},
		{"exchange by a person, his session ended", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			d := newDevice(t)
			held := c.account(t, d, "bob")
			_, grant := c.lets(t, c.bob.set.Subject, "", "im:handle")
			ask := func(t *testing.T, _ int) answer {
				return c.token(t, accounts, d, exchanging(grant, typeJWT, held.access, nil))
			}
			return ask, func(t *testing.T) answer { return c.revoke(t, accounts, held.refresh) }
		}},
		{"countersigning, the user shut out", func(t *testing.T) (func(t *testing.T, i int) answer, func(t *testing.T) answer) {
			wantStatus(t, c.enable(t, "@alice"), http.StatusOK)
			c.phone = newDevice(t)
			c.alice = c.account(t, c.phone, "alice")
			ask, _ := c.countersigning(t, racers)
			return ask, func(t *testing.T) answer { return c.disable(t, "@alice") }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := 0
			for round := range rounds {
				ask, end := test.make(t)
				first := make(chan struct{}) // is closed by the first answer
				var answered sync.Once
				var mu sync.Mutex
				var tokens []string
				all := []func(){func() {
					if round%2 == 1 {
						<-first
					}
					if a := end(t); a.status >= 300 {
						t.Errorf("the end = %v", a)
					}
				}}
				for i := range racers {
					all = append(all, func() {
						for range 3 {
							a := ask(t, i)
							answered.Do(func() { close(first) })
							mu.Lock()
							if a.status == http.StatusOK {
								tokens = append(tokens, a.text("access_token"))
							} else if a.status != http.StatusBadRequest && a.text("error") != "temporarily_unavailable" {
								t.Errorf("answer = %v, want a token or a refusal", a)
							}
							mu.Unlock()
						}
					})
				}
				atOnce(all...)
				for _, token := range tokens {
					c.wantInactive(t, token)
				}
				before += len(tokens)
				for i := range racers {
					if a := ask(t, i); a.status != http.StatusBadRequest {
						t.Errorf("answer afterwards = %v, want a refusal", a)
					}
				}
			}
			if before == 0 {
				t.Error("no request came before the end: nothing was raced")
			}
			t.Logf("%d of %d requests came before the end", before, rounds*racers*3)
		})
	}
}

// countersigning lets each racer bring a device of its own under one delegation.
func (c *cast) countersigning(t *testing.T, racers int) (ask func(t *testing.T, i int) answer, id string) {
	t.Helper()
	key := newKey(t)
	limits := delegating(t, key)
	limits["count"], limits["devices"] = racers, "*"
	id, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	var list []embedding
	for i := range racers {
		d := newDevice(t)
		statement := c.device(t, key, c.alice.set, delegation, d.JKT(), fmt.Sprintf("%s%x", id[:6], i), i+1, nil)
		list = append(list, embedding{c: accounts, d: d, inside: []inside{statement}})
	}
	return func(t *testing.T, i int) answer { return c.ask(t, list[i]) }, id
}

// TestOneNumber lets sixteen devices race for one number of a delegation: one of them gets it, and keeps it.
func TestOneNumber(t *testing.T) {
	c := startCast(t)
	key := newKey(t)
	_, delegation := c.made(t, c.phone, c.alice, "delegations", delegating(t, key))
	const racers = 16
	answers, list, all := make([]answer, racers), make([]embedding, racers), []func(){}
	for i := range racers {
		d := newDevice(t)
		list[i] = embedding{c: accounts, d: d, inside: []inside{c.device(t, key, c.alice.set, delegation, d.JKT(), fmt.Sprintf("07%x", i), 1, nil)}}
		all = append(all, func() { answers[i] = c.ask(t, list[i]) })
	}
	atOnce(all...)
	winner := -1
	for i, a := range answers {
		if a.status == http.StatusOK {
			if winner >= 0 {
				t.Errorf("racers %d and %d both won", winner, i)
			}
			winner = i
			c.wantActive(t, a.text("access_token"))
			continue
		}
		wantRefusedAt(t, a, "tokens[0]", string(nested.CodeBinding))
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	c.nested(t, list[winner], asValue)
	wantRefusedAt(t, c.ask(t, list[(winner+1)%racers]), "tokens[0]", string(nested.CodeBinding))

	// The same device by many requests is one device.
	_, delegation = c.made(t, c.phone, c.alice, "delegations", delegating(t, key))
	d := newDevice(t)
	same := embedding{c: accounts, d: d, inside: []inside{c.device(t, key, c.alice.set, delegation, d.JKT(), "07f0", 1, nil)}}
	all = nil
	for i := range racers {
		all = append(all, func() { answers[i] = c.ask(t, same) })
	}
	atOnce(all...)
	for _, a := range answers {
		if a.status == http.StatusOK {
			c.wantActive(t, a.text("access_token"))
		} else if a.text("error") != "temporarily_unavailable" {
			t.Errorf("answer = %v, want a token", a)
		}
	}
	c.nested(t, same, asValue)
}
