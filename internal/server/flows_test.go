package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

var stored = map[string]string{"replay": "storage"}

// flows are what TestStoreFails goes through. Whoever adds a request that asks the store for something adds it here.
var flows = []flow{
	{"first login, pushed", stored, 40, firstLogin},
	{"login of a known device", nil, 10, knownDevice},
	{"login of a known device at the limit", map[string]string{"devices": "1"}, 10, knownDeviceAtLimit},
	{"login that removes a device at the limit", map[string]string{"devices": "1"}, 12, removingAtLimit},
	{"login with a choice of handle", map[string]string{"choose": "true"}, 25, choosingLogin},
	{"choice of domain and provider", nil, 10, choosingPlace},
	{"session of a browser", nil, 15, browsing},
	{"first login by an ID token", stored, 12, exchangingIDToken},
	{"registration of a client", withRegistration(), 8, registering},
	{"refresh", stored, 9, refreshing},
	{"refresh, with spent proofs in memory", nil, 7, refreshing},
	{"login that the OpenID provider is asked about", rechecked(""), 45, recheckedLogin},
	{"client_credentials", stored, 3, func(t *testing.T, s *site) []step {
		d := newDevice(t)
		return []step{{
			name: "client_credentials",
			ask: func() answer {
				return s.token(t, peer, d, url.Values{"grant_type": {"client_credentials"}})
			},
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("token_type") != "DPoP" {
					t.Errorf("answer = %v, want a token", a)
				}
			},
		}}
	}},
	{"introspection", nil, 1, func(t *testing.T, s *site) []step {
		held := s.login(t, newDevice(t), "alice")
		return []step{{
			name: "introspection",
			ask:  func() answer { return s.introspect(t, peer, held.access) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.json["active"] != true {
					t.Errorf("introspection = %v, want active", a)
				}
			},
		}}
	}},
	{"introspection with a proof of the holder", stored, 3, heldByProof()},
	{"staple", stored, 3, stapled},
	{"question about a successor", nil, 7, successors},
	{"revocation of a refresh token", nil, 9, func(t *testing.T, s *site) []step {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		revocation := step{
			name: "revocation",
			ask:  func() answer { return s.revoke(t, app, held.refresh) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, d, held)
			},
		}
		again := revocation
		again.name = "revocation of a session that has ended"
		return []step{revocation, again}
	}},
	{"revocation of an access token", stored, 7, func(t *testing.T, s *site) []step {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		return []step{{
			name: "revocation",
			ask:  func() answer { return s.revokeBy(t, app, d, held.access) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonInactive(t, held.access)
				s.faults.quietly(func() { s.refreshed(t, d, held.refresh) })
			},
		}}
	}},
	{"client that signs assertions", stored, 50, asserted},
	{"identity chaining, both ends", stored, 15, chainedFlow},
	{"code used by another key", nil, 9, stolenCode},
	{"refresh token used long after", map[string]string{"devices": "100"}, 9, replacedLongAgo()},
	{"removal of a device", nil, 9, func(t *testing.T, s *site) []step {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		id := deviceOf(t, held)
		return []step{{
			name: "removal",
			ask:  func() answer { return s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+id.Device(), nil) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, d, held)
			},
		}}
	}},
	{"logout at the OpenID provider", nil, 7, loggedOutAtProvider},
	{"replacement of the key of a device", stored, 14, rekeyingOnce},
	{"credential", stored, 14, gettingCredential},
	{"token for Wire", map[string]string{"replay": "storage", "wire": withWire("")["wire"]}, 8, gettingWireToken},
	{"certificate", stored, 10, gettingCertificate},
	{"the devices of a user", stored, 30, manage},
	{"profile, sessions, links and handle of a user",
		map[string]string{"others": "rename: {by: user}", "limits": ", per_user: off, per_user_client: off, lookups: off"}, 30, manageSelf},
	{"login that follows the handle of the provider", map[string]string{"others": "rename: {by: provider}"}, 7, followProvider},
	{"a device without a browser", stored, 30, linking},
	{"decision about privacy, and a look-up of a handle", stored, 5, privately},
	{"cross signing, and a question about it", stored, 12, crossSigning},
	{"a profile of places", stored, 80, publishing},
	{"rename", nil, 9, func(t *testing.T, s *site) []step {
		s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
		d := newDevice(t)
		held := s.login(t, d, "alice")
		user := deviceOf(t, held).Local()
		return []step{{
			name: "rename",
			ask: func() answer {
				return s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {handleOf(t, "renamed")}})
			},
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonInactive(t, held.access)
				s.faults.quietly(func() {
					if next := s.refreshed(t, d, held.refresh); next.set.Handle != "im:%40"+handleOf(t, "renamed")+"@example.com" {
						t.Errorf("handle = %q, want the new one", next.set.Handle)
					}
				})
			},
		}}
	}},
	{"disabling of a user, and her return", nil, 12, disabledAndBack},
	{"a user takes their data and leaves", stored, 25, leaving},
	{"export and erasure of a user", nil, 25, erased},
	{"removal of a user, and their return", nil, 20, removedAndBack},
	{"an OpenID provider manages its users", nil, 30, managedBySCIM},
	{"a bot acts for a person", stored, 40, actingFor},
	{"a device that a key of the person takes in", stored, 40, takingIn},
	{"a statement of the operator", stored, 25, attesting},
	{"sessions that ended", nil, 3, func(t *testing.T, s *site) []step {
		s.login(t, newDevice(t), "alice")
		return []step{{
			name: "list",
			ask: func() answer {
				return s.operate(t, http.MethodGet, "/admin/sessions", url.Values{"domain": {"example.com"}, "ended": {"true"}})
			},
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		}}
	}},
	{"the credentials of a user", nil, 40, endingCredentials},
	{"the audit log", nil, 10, func(t *testing.T, s *site) []step {
		return []step{{
			name: "an act, and the export of the log",
			ask: func() answer {
				if a := s.operate(t, http.MethodPost, "/admin/keys", url.Values{"now": {"true"}}); a.status != http.StatusOK {
					return a
				}
				return s.exported(t)
			},
			good: func(a answer) {
				if wantStatus(t, a, http.StatusOK); !strings.HasSuffix(a.body, "}\n") || !strings.Contains(a.body, `{"heads":`) {
					t.Errorf("the export is %q, want it whole", a.body)
				}
			},
		}, {
			name: "its chains",
			ask:  func() answer { return s.operate(t, http.MethodGet, "/admin/audit/chains", nil) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		}, {
			name: "the keys of its heads",
			ask:  func() answer { return s.operate(t, http.MethodGet, "/admin/audit/keys", nil) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		}}
	}},
	{"rotation of the signing key", nil, 5, func(t *testing.T, s *site) []step {
		signer := s.signingKey(t)
		return []step{
			{
				name: "rotation",
				ask:  func() answer { return s.operate(t, http.MethodPost, "/admin/keys", nil) },
				good: func(a answer) {
					if wantStatus(t, a, http.StatusOK); a.text("state") != "published" || s.signingKey(t) != signer {
						t.Errorf("answer = %v, want a key that is published, while %s signs", a, signer)
					}
				},
			},
			{
				name: "rotation at once",
				ask:  func() answer { return s.operate(t, http.MethodPost, "/admin/keys", url.Values{"now": {"true"}}) },
				good: func(a answer) {
					if wantStatus(t, a, http.StatusOK); a.text("state") != "signing" || s.signingKey(t) != a.text("kid") {
						t.Errorf("answer = %v, want the key that signs", a)
					}
				},
			},
		}
	}},
	{"rotation of the cluster secret", nil, 5, func(t *testing.T, s *site) []step {
		return []step{
			{
				name: "rotation",
				ask:  func() answer { return s.operate(t, http.MethodPost, "/admin/cluster-secrets", nil) },
				good: func(a answer) {
					if a.status == http.StatusConflict && a.text("error") == "cluster_secret_rotating" {
						return // the answer was lost: the secret was made
					}
					if wantStatus(t, a, http.StatusOK); a.text("state") != "published" {
						t.Errorf("answer = %v, want a secret that is published", a)
					}
				},
			},
			{
				name: "rotation after a leak",
				ask: func() answer {
					return s.operate(t, http.MethodPost, "/admin/cluster-secrets", url.Values{"leaked": {"true"}})
				},
				good: func(a answer) {
					if wantStatus(t, a, http.StatusOK); a.text("state") != "current" {
						t.Errorf("answer = %v, want a secret that is used", a)
					}
				},
			},
		}
	}},
	{"revocation of the signing key", nil, 6, func(t *testing.T, s *site) []step {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		signer := s.signingKey(t)
		return []step{{
			name: "revocation",
			ask:  func() answer { return s.operate(t, http.MethodDelete, "/admin/keys/"+signer, nil) },
			good: func(a answer) {
				if wantStatus(t, a, http.StatusOK); a.text("state") != "revoked" || s.signingKey(t) == signer {
					t.Errorf("answer = %v, want a revoked key, and another one to sign", a)
				}
				s.soonInactive(t, held.access)
				s.faults.quietly(func() { s.wantActive(t, s.refreshed(t, d, held.refresh).access) })
			},
		}}
	}},
	{"the entry of a session in a status list", withStatuses, 9, listed},
	{"a service in storage", stored, 20, serviceInStorage},
	{"an app in storage", nil, 30, appInStorage},
	{"release of a former handle", nil, 8, func(t *testing.T, s *site) []step {
		handle := handleOf(t, "former")
		s.namesake(t, "former "+t.Name(), handle)
		s.login(t, newDevice(t), "alice")
		domain := func(name, value string) url.Values { return url.Values{"domain": {"example.com"}, name: {value}} }
		wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/@"+handle+"/handle", domain("handle", handleOf(t, "later"))), http.StatusOK)
		return []step{onceOf(t, s, "release", "handle_refused", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/names", domain("handle", handle))
		})}
	}},
	{"a link moves", nil, 5, func(t *testing.T, s *site) []step {
		subject := "moves " + t.Name()
		s.namesake(t, subject, handleOf(t, "moves"))
		s.login(t, newDevice(t), "alice")
		move := fmt.Sprintf(`{"from": {"iss": %[1]q, "sub": %[2]q}, "to": {"iss": %[1]q, "sub": "later %[3]s"}}`, s.provider.url, subject, t.Name())
		return []step{onceOf(t, s, "move", "relink_refused", func() answer {
			return s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/links?domain=example.com", move))
		})}
	}},
	{"a change with an idempotency key", nil, 7, keyedOnce},
	{"a backup", nil, 4, func(t *testing.T, s *site) []step {
		to := filepath.Join(t.TempDir(), "backup.db")
		return []step{{
			name: "backup",
			ask:  func() answer { return s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {to}}) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		}}
	}},
	{"lists of an operator", nil, 1, func(t *testing.T, s *site) []step {
		held := s.login(t, newDevice(t), "alice")
		list := func(path string, query url.Values) step {
			return step{
				name: path,
				ask:  func() answer { return s.operate(t, http.MethodGet, path, query) },
				good: func(a answer) { wantStatus(t, a, http.StatusOK) },
			}
		}
		return []step{
			list("/admin/devices", url.Values{"domain": {"example.com"}}),
			list("/admin/devices", url.Values{"domain": {"example.com"}, "user": {deviceOf(t, held).Local()}}),
			list("/admin/users", url.Values{"domain": {"example.com"}}),
			list("/admin/users", url.Values{"domain": {"example.com"}, "search": {"alice"}}),
			list("/admin/users/@alice", url.Values{"domain": {"example.com"}}),
			list("/admin/clients", nil),
			list("/admin/client", url.Values{"id": {peer.id}}),
			list("/admin/keys", nil),
		}
	}},
}

// firstLogin is that of a new person on a new device: a pushed request, the browser's way through the provider and
// back, the redemption of the code, and a first refresh.
func firstLogin(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	var (
		uri, code string
		held      tokens
		v         visit
	)
	push := func() answer { return s.push(t, d, nil) }
	pushed := func(a answer) {
		if uri = a.text("request_uri"); a.status != http.StatusCreated || uri == "" {
			t.Errorf("answer = %v, want a request_uri", a)
		}
	}
	provider := func() { v = s.visitBy(t, url.Values{"client_id": {app.id}, "request_uri": {uri}}) }
	enter := func() answer { return s.arrive(t, v.browser, v.callback) }
	arrived := func(a answer) { v.callback = s.consentIn(t, a) }
	decide := func() answer { return s.decide(t, v.browser, v.callback.Query().Get("state"), "allow") }
	return []step{
		{name: "push", ask: push, good: pushed},
		{
			name: "authorize", page: true,
			ask: func() answer { return s.refer(t, app.id, uri) },
			good: func(a answer) {
				if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
					t.Errorf("answer = %v, want a redirect to the provider", a)
				}
			},
		},
		{
			name: "callback", page: true, ready: provider, ask: enter, good: arrived,
			again: func(bool) answer {
				s.faults.quietly(provider)
				return enter()
			},
		},
		s.askedStep(t, &v),
		{
			name: "decision", page: true, ask: decide,
			good: func(a answer) { code = codeIn(t, a) },
			again: func(durable bool) (a answer) {
				// The decision and the pushed request are spent with the code that was made of them, and with nothing else.
				if sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes WHERE user_id = (SELECT user_id FROM links WHERE subject = ?)", "person "+t.Name()) > 0 {
					if !durable {
						t.Error("there is a code that nobody acknowledged")
					}
					s.faults.quietly(func() {
						codeIn(t, decide()) // the same browser gets its answer again
						wantPage(t, s.refer(t, app.id, uri), http.StatusBadRequest)
					})
					pushed(push())
					s.faults.quietly(provider)
					arrived(enter())
				}
				return decide()
			},
		},
		s.codeStep(t, d, &code, &held),
		s.refreshStep(t, d, &held),
		s.aliveStep(t, d, &held),
	}
}

// knownDevice is another login of a device, which goes on with it.
func knownDevice(t *testing.T, s *site) []step {
	d := newDevice(t)
	held := s.login(t, d, "alice")
	device, code := held.set.Device, s.code(t, "alice", url.Values{"dpop_jkt": {d.JKT()}})
	same := s.codeStep(t, d, &code, &held)
	good := same.good
	same.good = func(a answer) {
		if good(a); held.set.Device != device {
			t.Errorf("device = %q, want %q", held.set.Device, device)
		}
	}
	return []step{same, s.aliveStep(t, d, &held)}
}

// knownDeviceAtLimit is a login of the only device that its user may have.
func knownDeviceAtLimit(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	ofDevice := url.Values{"dpop_jkt": {d.JKT()}}
	code := s.code(t, "alice", ofDevice)
	same := s.codeStep(t, d, &code, &held)
	same.again = func(durable bool) answer {
		if durable {
			wantError(t, same.ask(), http.StatusBadRequest, "invalid_grant")
			s.faults.quietly(func() { code = s.code(t, "alice", ofDevice) })
		}
		return same.ask()
	}
	return []step{same}
}

// choosingLogin is that of a person whose handle is taken, and who chooses another one on a page.
func choosingLogin(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), "admin")
	d := newDevice(t)
	var (
		code, state string
		held        tokens
		v           visit
	)
	provider := func() { v = s.visit(t, "alice", nil) }
	enter := func() answer { return s.arrive(t, v.browser, v.callback) }
	offered := func(a answer) { state = handleForm(t, a, http.StatusConflict, "admin") }
	return []step{
		{
			name: "callback", page: true, ready: provider, ask: enter, good: offered,
			again: func(bool) answer {
				s.faults.quietly(provider)
				return enter()
			},
		},
		{
			name: "choice", page: true,
			ask:  func() answer { return s.call(t, v.browser, state, handleOf(t, "chosen")) },
			good: func(a answer) { v.callback = s.consentIn(t, a) },
			again: func(bool) answer {
				a := s.call(t, v.browser, state, handleOf(t, "chosen"))
				if a.status != http.StatusBadRequest { // "this sign-in is over"
					return a
				}
				// It was over before she was asked for consent, and so she signs in again, by the name that she has by now.
				s.faults.quietly(provider)
				return enter()
			},
		},
		s.askedStep(t, &v),
		{
			name: "refusal", page: true,
			ask: func() answer { return s.decide(t, v.browser, v.callback.Query().Get("state"), "deny") },
			good: func(a answer) {
				s.wantRedirect(t, a, redirectURI, appState, "access_denied")
				s.faults.quietly(func() { code = s.code(t, "alice", nil) }) // then she does allow it
			},
			again: func(durable bool) answer {
				state := v.callback.Query().Get("state")
				if durable {
					s.wantRedirect(t, s.decide(t, v.browser, state, "deny"), redirectURI, appState, "access_denied")
					s.faults.quietly(provider)
					state = s.consentIn(t, enter()).Query().Get("state")
				}
				return s.decide(t, v.browser, state, "deny")
			},
		},
		s.codeStep(t, d, &code, &held),
		s.aliveStep(t, d, &held),
	}
}

// actingFor is a grant to a bot: a person makes it, the bot exchanges it and encloses it in a token of its own, somebody
// asks about both, and the person takes the grant back.
func actingFor(t *testing.T, s *site) []step {
	phone, machine := newDevice(t), newDevice(t)
	alice := s.account(t, phone, "alice")
	own, actor := s.forIssuer(t, phone, alice, "account").access, s.service(t, bot, machine, nil)
	var (
		id, grant, exchanged, embedded string
		done                           = http.StatusNoContent
	)
	withdraw := func() answer { return s.held(t, phone, own, http.MethodDelete, "/me/actors/"+id, nil) }
	asked := func(name string, token *string, active bool) step {
		return step{
			name: name,
			ask:  func() answer { return s.introspect(t, peer, *token) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.json["active"] != active {
					t.Errorf("introspection = %v, want active: %t", a, active)
				}
			},
		}
	}
	return []step{
		{
			name: "grant",
			ask: func() answer {
				return s.held(t, phone, own, http.MethodPost, "/me/actors", object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle", "expires_in": 3600})
			},
			good: func(a answer) {
				if id, grant = a.text("id"), a.text("token"); a.status != http.StatusCreated || grant == "" {
					t.Errorf("answer = %v, want a statement", a)
				}
			},
		},
		{
			name: "exchange",
			ask: func() answer {
				return s.token(t, bot, machine, url.Values{
					"grant_type": {grantExchange}, "subject_token": {grant}, "subject_token_type": {typeJWT},
					"actor_token": {actor}, "actor_token_type": {typeAccess},
				})
			},
			good: func(a answer) { exchanged = issued(t, a) },
		},
		{
			name: "embedding",
			ask: func() answer {
				return s.token(t, bot, machine, url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))}})
			},
			good: func(a answer) { embedded = issued(t, a) },
		},
		asked("question about the exchanged token", &exchanged, true),
		asked("question about the enclosing token", &embedded, true),
		{
			name: "withdrawal", ask: withdraw,
			again: func(durable bool) answer {
				if durable { // there is none any more
					done = http.StatusNotFound
				}
				return withdraw()
			},
			good: func(a answer) {
				wantStatus(t, a, done)
				s.soonInactive(t, exchanged)
				s.soonInactive(t, embedded)
			},
		},
		{
			name: "exchange afterwards",
			ask: func() answer {
				return s.token(t, bot, machine, url.Values{
					"grant_type": {grantExchange}, "subject_token": {grant}, "subject_token_type": {typeJWT},
					"actor_token": {actor}, "actor_token_type": {typeAccess},
				})
			},
			good: func(a answer) { wantError(t, a, http.StatusBadRequest, "invalid_request") },
		},
	}
}

// choosingPlace is the beginning of a login for which the person is asked where her account is.
func choosingPlace(t *testing.T, s *site) []step {
	b, state := s.browser(), ""
	pick := func(choice url.Values) func() answer {
		return func() answer { return s.pick(t, b, state, choice) }
	}
	return []step{
		{
			name: "authorize", page: true,
			ask:  func() answer { return s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}}) },
			good: func(a answer) { state = wantChoice(t, a, "domain", "two.example", "example.org") },
		},
		{
			name: "domain", page: true, ask: pick(url.Values{"domain": {"two.example"}}),
			good: func(a answer) { wantChoice(t, a, "provider", "staff", "guests") },
		},
		{
			name: "provider", page: true, ask: pick(url.Values{"domain": {"two.example"}, "provider": {"staff"}}),
			good: func(a answer) {
				if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
					t.Errorf("answer = %v, want a redirect to the provider", a)
				}
			},
		},
	}
}

// askedStep loads the page that asks for consent.
func (s *site) askedStep(t *testing.T, v *visit) step {
	return step{
		name: "consent", page: true,
		ask: func() answer {
			return s.send(t, v.browser.Client(), s.request(t, http.MethodGet, v.callback.String(), ""))
		},
		good: func(a answer) { wantStatus(t, a, http.StatusOK) },
	}
}

// consentIn returns the URL of the page that asks for consent, which the browser is sent to.
func (s *site) consentIn(t *testing.T, a answer) *url.URL {
	t.Helper()
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), s.issuer+"/login/consent?") {
		t.Fatalf("answer = %v to %q, want a redirect to the page that asks for consent", a, to)
	}
	return to
}

// stolenCode is the use of a spent code by another key: one of the two who had it is a thief.
func stolenCode(t *testing.T, s *site) []step {
	d := newDevice(t)
	code := s.code(t, "alice", nil)
	held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
	ask := func() answer { return s.token(t, app, newDevice(t), codeForm(code, nil)) }
	return []step{{
		name: "token", ask: ask,
		good: func(a answer) {
			wantError(t, a, http.StatusBadRequest, "invalid_grant")
			s.soonEnded(t, d, held)
		},
		again: func(durable bool) answer {
			if !durable {
				s.faults.quietly(func() { s.wantActive(t, held.access) })
			}
			return ask()
		},
	}}
}

// replacedLongAgo is the use of a refresh token with a nonce that was made after the token was replaced.
func replacedLongAgo() func(t *testing.T, s *site) []step {
	type session struct {
		d          *device
		held, next tokens
	}
	var (
		at       *site
		sessions []session // their logins are at one time, for the provider's clock stays
	)
	return func(t *testing.T, s *site) []step {
		if at != s {
			at, sessions = s, nil
			for range 20 {
				d := newDevice(t)
				held := s.login(t, d, "alice")
				sessions = append(sessions, session{d, held, s.refreshed(t, d, s.refreshed(t, d, held.refresh).refresh)})
			}
			s.advance(t, 3*time.Minute)
		}
		if len(sessions) == 0 {
			t.Fatal("more operations than sessions: make more of them")
		}
		u := sessions[0]
		sessions = sessions[1:]
		return []step{{
			name: "refresh",
			ask:  func() answer { return s.token(t, app, u.d, refreshForm(u.held.refresh)) },
			good: func(a answer) {
				wantError(t, a, http.StatusBadRequest, "invalid_grant")
				s.soonEnded(t, u.d, u.next)
			},
		}}
	}
}

// codeStep redeems a code. If that was done when its answer was lost, the code is spent: the app begins a new login,
// which goes on with the device.
func (s *site) codeStep(t *testing.T, d *device, code *string, held *tokens) step {
	ask := func() answer { return s.token(t, app, d, codeForm(*code, nil)) }
	return step{
		name: "code", ask: ask,
		good: func(a answer) { *held = wantTokens(t, a) },
		again: func(durable bool) answer {
			if durable {
				wantError(t, ask(), http.StatusBadRequest, "invalid_grant")
				s.faults.quietly(func() { *code = s.code(t, "alice", nil) })
			}
			a := ask()
			jkt := d.JKT()
			if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM devices WHERE jkt = ?", jkt); n != 1 {
				t.Errorf("the key has %d devices, want 1", n)
			}
			return a
		},
	}
}

// refreshStep refreshes. Whoever repeats it gets the same successor, whether it was done or not.
func (s *site) refreshStep(t *testing.T, d *device, held *tokens) step {
	return step{
		name: "refresh",
		ask:  func() answer { return s.token(t, app, d, refreshForm(held.refresh)) },
		good: func(a answer) {
			next := wantTokens(t, a)
			if next.set.SID != held.set.SID || next.set.Device != held.set.Device || next.refresh == held.refresh {
				t.Errorf("refresh = a token of session %q and device %q, want %q and %q", next.set.SID, next.set.Device, held.set.SID, held.set.Device)
			}
			*held = next
		},
	}
}

// aliveStep holds that a session lives.
func (s *site) aliveStep(t *testing.T, d *device, held *tokens) step {
	return step{
		name: "session",
		ask: func() (a answer) {
			s.faults.quietly(func() {
				s.wantActive(t, held.access)
				a = s.token(t, app, d, refreshForm(held.refresh))
			})
			return a
		},
		good: func(a answer) { wantTokens(t, a) },
	}
}

// visitBy is visit with another authorization request.
func (s *site) visitBy(t *testing.T, query url.Values) visit {
	t.Helper()
	b := s.browser()
	back, err := b.Login(t.Context(), s.issuer+"/authorize?"+query.Encode(),
		func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return visit{b, back}
}

// onceOf is a step of an operator that can be done once: if it was durable before its answer was lost, it is refused then.
func onceOf(t *testing.T, s *site, name, refused string, ask func() answer) step {
	return step{
		name: name, ask: ask,
		good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		again: func(durable bool) answer {
			a := ask()
			if durable {
				if wantStatus(t, a, http.StatusConflict); a.text("error") != refused { // its description may have several lines
					t.Errorf("answer = %v, want %s", a, refused)
				}
				return s.operate(t, http.MethodGet, "/admin/keys", nil)
			}
			return a
		},
	}
}

// operate sends a request of an operator.
func (s *site) operate(t *testing.T, method, path string, query url.Values) answer {
	t.Helper()
	return s.send(t, s.http, s.request(t, method, s.admin+path+"?"+query.Encode(), ""))
}

// exported returns the audit log: lines of JSON, or an error.
func (s *site) exported(t *testing.T) answer {
	t.Helper()
	resp, err := s.http.Do(s.request(t, http.MethodGet, s.admin+"/admin/audit", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.StatusCode != http.StatusOK {
		decode(t, body, &a.json)
	}
	return a
}

// soonEnded wants a session to be over: at once to refresh it, and within moments to introspection, which learns from
// the store what it was not told because the answer was lost.
func (s *site) soonEnded(t *testing.T, d *device, held tokens) {
	t.Helper()
	s.faults.quietly(func() {
		wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
		s.soonInactive(t, held.access)
	})
}

func (s *site) soonInactive(t *testing.T, token string) {
	t.Helper()
	s.faults.quietly(func() {
		for range 1000 {
			if s.introspect(t, peer, token).json["active"] != true {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		s.wantInactive(t, token)
	})
}

// codeIn returns the code that the browser is sent to the app with.
func codeIn(t *testing.T, a answer) string {
	t.Helper()
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || to.Query().Get("code") == "" {
		t.Fatalf("answer = %v to %q, want a redirect with a code", a, to)
	}
	return to.Query().Get("code")
}

func deviceOf(t *testing.T, held tokens) claims.ID {
	t.Helper()
	id, err := claims.Parse(held.set.Device)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// handleOf returns a handle that only this test uses.
func handleOf(t *testing.T, kind string) string {
	return kind + t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
}

func wantStatus(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("answer = %v, want %d", a, status)
	}
}

func refreshing(t *testing.T, s *site) []step {
	d := newDevice(t)
	held := s.login(t, d, "alice")
	return []step{s.refreshStep(t, d, &held), s.aliveStep(t, d, &held)}
}
