package server_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// register sends the registration of a client, as an operator.
func (s *site) register(t *testing.T, client object) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, s.admin+"/admin/clients", string(encode(client)))
	req.Header.Set("Content-Type", "application/json")
	return s.send(t, s.http, req)
}

// registered wants a client to be registered, and returns how it authenticates.
func (s *site) registered(t *testing.T, client object) caller {
	t.Helper()
	a := s.register(t, client)
	if a.status != http.StatusOK || a.text("source") != "storage" || len(a.text("secret")) != 43 && client["auth"] == "secret" {
		t.Fatalf("registration = %v, want a client in storage", a)
	}
	if secret := a.text("secret"); secret != "" {
		s.witness.keep("client secret", secret)
	}
	return caller{client["id"].(string), a.text("secret")}
}

func (s *site) unregister(t *testing.T, id string) answer {
	t.Helper()
	return s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {id}, "reason": {"shut down"}})
}

func (s *site) newSecret(t *testing.T, id, keep string) answer {
	t.Helper()
	return s.operate(t, http.MethodPost, "/admin/clients/secret", url.Values{"id": {id}, "keep": {keep}})
}

func hashOf(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// What the clients of these tests are registered for. Their ids hold what a path would not.
func newService(id string) object {
	return object{"id": id, "auth": "secret", "grants": []string{"client_credentials"}, "scopes": []string{"introspect", "introspect:domain"},
		"domains": []string{"example.com"}}
}

func newAppClient(id string) object {
	return object{"id": id, "auth": "none", "first_party": true, "redirect_uris": []string{"http://127.0.0.1/callback"},
		"grants": []string{"authorization_code", "refresh_token"}, "domains": []string{"example.com"}}
}

// wantService holds a client to what a service can do, or cannot.
func (s *site) wantService(t *testing.T, c caller, good bool) {
	t.Helper()
	token := s.token(t, c, newDevice(t), serviceForm)
	asked := s.introspect(t, c, "AAAA")
	if good {
		if token.status != http.StatusOK || asked.status != http.StatusOK {
			t.Errorf("answers to %s = %v and %v, want 200", c.id, token, asked)
		}
		return
	}
	wantInvalidClient(t, token)
	wantInvalidClient(t, asked)
}

// TestRegister walks through the life of a service that is registered while the issuer runs.
func TestRegister(t *testing.T) {
	s := start(t, nil)
	const id = "team/rooms?x=1&y"
	s.wantService(t, caller{id, secret}, false)
	c := s.registered(t, newService(id))
	s.wantService(t, c, true)
	s.wantService(t, caller{id, secret}, false)
	s.wantService(t, caller{id, ""}, false)

	var list []object
	decode(t, []byte(s.get(t, s.admin+"/admin/clients").body), &list)
	sources := make(map[any]any)
	for _, k := range list {
		sources[k["id"]] = k["source"]
	}
	if sources[id] != "storage" || sources[peer.id] != "settings" {
		t.Errorf("clients are kept in %v, want %s in storage and peer in the settings", sources, id)
	}
	shown := s.operate(t, http.MethodGet, "/admin/client", url.Values{"id": {id}})
	if shown.text("auth") != "secret" || shown.json["public"] != false || shown.text("created_at") == "" || strings.Contains(shown.body, c.secret) {
		t.Errorf("client = %v, want what it is registered for, without its secret", shown)
	}
	row, err := s.store.Client(t.Context(), id)
	if err != nil || strings.Contains(string(row.Registration), c.secret) || string(row.Secret) == c.secret || len(row.Secret) != 32 {
		t.Errorf("Client = %+v, %v, want the hash of the secret alone", row, err)
	}

	t.Run("taken", func(t *testing.T) {
		for _, taken := range []string{id, peer.id} {
			wantRefusal(t, s.register(t, newService(taken)), http.StatusConflict, "client_taken")
		}
		s.wantService(t, c, true)
	})
	t.Run("after a restart", func(t *testing.T) {
		s.restart(t, nil)
		s.wantService(t, c, true)
	})
	t.Run("new secret", func(t *testing.T) {
		old := c
		a := s.newSecret(t, id, "24h")
		if a.status != http.StatusOK || a.text("old_secret_until") == "" {
			t.Fatalf("answer = %v, want a secret", a)
		}
		c = caller{id, a.text("secret")}
		s.wantService(t, c, true)
		s.wantService(t, old, true)
		s.advance(t, 24*time.Hour)
		s.wantService(t, c, true)
		s.wantService(t, old, false)
		second := s.newSecret(t, id, "24h").text("secret")
		third := s.newSecret(t, id, "24h").text("secret")
		s.wantService(t, caller{id, third}, true)
		s.wantService(t, caller{id, second}, true)
		s.wantService(t, c, false) // two at a time
		c = caller{id, s.newSecret(t, id, "0s").text("secret")}
		s.wantService(t, c, true)
		s.wantService(t, caller{id, third}, false)
		for _, keep := range []string{"", "-1s", "721h", "soon"} {
			wantRefusal(t, s.newSecret(t, id, keep), http.StatusBadRequest, "invalid_request")
		}
		s.wantService(t, c, true)
	})
	t.Run("removed", func(t *testing.T) {
		token := s.token(t, c, newDevice(t), serviceForm).text("access_token")
		s.wantActive(t, token)
		for range 2 {
			a := s.unregister(t, id)
			if a.status != http.StatusOK || a.text("removed_at") == "" || a.text("removed_reason") != "shut down" {
				t.Errorf("removal = %v, want 200 with time and reason", a)
			}
		}
		s.wantInactive(t, token)
		s.wantService(t, c, false)
		wantRefusal(t, s.register(t, newService(id)), http.StatusConflict, "client_taken")
		wantRefusal(t, s.newSecret(t, id, "0s"), http.StatusNotFound, "not_found")
		s.restart(t, nil)
		s.wantService(t, c, false)
		s.wantInactive(t, token)
		wantRefusal(t, s.register(t, newService(id)), http.StatusConflict, "client_taken")
		if a := s.operate(t, http.MethodGet, "/admin/client", url.Values{"id": {id}}); a.text("removed_reason") != "shut down" {
			t.Errorf("client = %v, want it to be shown as removed", a)
		}
		if a := s.get(t, s.admin+"/admin/clients"); strings.Contains(a.body, "team/rooms") {
			t.Errorf("clients = %v, want none that was removed", a)
		}
	})
}

// wantRefusal wants the admin interface to refuse, in words.
func wantRefusal(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code || a.text("error_description") == "" {
		t.Errorf("answer = %v, want %d %s", a, status, code)
	}
}

// TestRegisterRefuses holds that what is no good as a client of the settings is none of storage, and that those of the
// settings are not touched.
func TestRegisterRefuses(t *testing.T) {
	s := start(t, nil)
	change := func(with object) object {
		c := newService("new")
		for name, v := range with {
			c[name] = v
		}
		return c
	}
	for name, test := range map[string]struct {
		client object
		words  string
	}{
		"colon":      {change(object{"id": "a:b"}), "id: "},
		"no id":      {change(object{"id": ""}), "id: "},
		"domain":     {change(object{"domains": []string{"acme.im"}}), "domains[0]: "},
		"scope":      {change(object{"scopes": []string{"admin"}}), "scopes[0]: "},
		"own secret": {change(object{"secret_sha256": strings.Repeat("1", 64)}), "secret_sha256: "},
		"key":        {change(object{"secret": "x"}), "secret: unknown key"},
		"auth":       {change(object{"auth": "password"}), "auth: "},
		"keys":       {change(object{"auth": "private_key_jwt"}), "jwks: "},
		"several":    {change(object{"id": "a b", "resources": []string{"nonsense"}}), "resources[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.register(t, test.client)
			wantRefusal(t, a, http.StatusBadRequest, "invalid_request")
			if !strings.Contains(a.text("error_description"), test.words) {
				t.Errorf("answer = %v, want it to say %s", a, test.words)
			}
		})
	}
	for name, body := range map[string]string{"no JSON": "id: new", "half": `{"id":`, "list": "[]", "long": `{"id":"` + strings.Repeat("x", 1<<17) + `"}`} {
		req := s.request(t, http.MethodPost, s.admin+"/admin/clients", body)
		req.Header.Set("Content-Type", "application/json")
		if a := s.send(t, s.http, req); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: answer = %v, want a refusal", name, a)
		}
	}
	form := s.post(t, s.admin+"/admin/clients", url.Values{"id": {"new"}}, nil)
	wantRefusal(t, form, http.StatusBadRequest, "invalid_request")
	if list, err := s.store.Clients(t.Context(), 0); err != nil || len(list) != 0 {
		t.Errorf("Clients = %v, %v, want none", list, err)
	}

	for _, of := range []func() answer{
		func() answer { return s.unregister(t, peer.id) }, func() answer { return s.newSecret(t, peer.id, "1h") },
	} {
		wantRefusal(t, of(), http.StatusConflict, "client_of_settings")
	}
	s.wantService(t, peer, true)
	for _, of := range []func() answer{
		func() answer { return s.unregister(t, "nobody") }, func() answer { return s.newSecret(t, "nobody", "1h") },
		func() answer { return s.operate(t, http.MethodGet, "/admin/client", url.Values{"id": {"nobody"}}) },
	} {
		wantRefusal(t, of(), http.StatusNotFound, "not_found")
	}
	s.registered(t, newAppClient("new-app"))
	wantRefusal(t, s.newSecret(t, "new-app", "1h"), http.StatusConflict, "no_secret")
}

// TestRegisterRace holds that of many who take an id at once one gets it.
func TestRegisterRace(t *testing.T) {
	s := start(t, nil)
	var got []caller
	for _, a := range parallel(8, func() answer { return s.register(t, newService("race")) }) {
		if a.status == http.StatusOK {
			got = append(got, caller{"race", a.text("secret")})
		} else {
			wantRefusal(t, a, http.StatusConflict, "client_taken")
		}
	}
	if len(got) != 1 {
		t.Fatalf("%d of 8 got the id, want 1", len(got))
	}
	s.wantService(t, got[0], true)
}

// TestRemovedApp holds that a removed app and all that it had is over: sessions, tokens, codes, logins under way.
func TestRemovedApp(t *testing.T) {
	s := start(t, nil)
	c := s.registered(t, newAppClient("new-app"))
	of := url.Values{"client_id": {c.id}}
	d, other := newDevice(t), newDevice(t)
	held := wantTokens(t, s.token(t, c, d, codeForm(s.code(t, "alice", of), nil)))
	held = wantTokens(t, s.token(t, c, d, refreshForm(held.refresh)))
	bystander := s.login(t, other, "alice")
	s.wantActive(t, held.access)
	code, v := s.code(t, "bob", of), s.visit(t, "bob", of)

	if a := s.unregister(t, c.id); a.status != http.StatusOK {
		t.Fatalf("removal = %v, want 200", a)
	}
	s.wantInactive(t, held.access)
	wantInvalidClient(t, s.token(t, c, d, refreshForm(held.refresh)))
	wantInvalidClient(t, s.token(t, c, newDevice(t), codeForm(code, nil)))
	wantInvalidClient(t, s.revoke(t, c, held.access))
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusBadRequest)
	wantPage(t, s.get(t, "/authorize?"+authorization(of).Encode()), http.StatusBadRequest)
	s.wantAlive(t, other, bystander)

	g, _, _, err := s.store.Session(t.Context(), held.set.SID)
	if err != nil || g.EndedReason != "client_removed" {
		t.Errorf("session = %+v, %v, want it ended", g, err)
	}
	// A token that another client exchanged for one of its names the session, not the client.
	if _, err := s.store.Revocation(t.Context(), storage.RevokeGrant, held.set.SID); err != nil {
		t.Errorf("Revocation of the session = %v, want one", err)
	}
}

// TestRemovedElsewhere holds that a client which another process has removed gets nothing here, though this one has not
// heard of it: the rows decide, and not the memory.
func TestRemovedElsewhere(t *testing.T) {
	s := start(t, nil)
	public, service := s.registered(t, newAppClient("new-app")), s.registered(t, newService("new-service"))
	of := url.Values{"client_id": {public.id}}
	d := newDevice(t)
	first := wantTokens(t, s.token(t, public, d, codeForm(s.code(t, "alice", of), nil)))
	held := wantTokens(t, s.token(t, public, d, refreshForm(first.refresh)))
	code, v := s.code(t, "alice", of), s.visit(t, "alice", of)

	s.faults.set("Clients") // it hears of nothing any more
	defer s.faults.set("")
	for _, id := range []string{public.id, service.id} {
		row, err := s.store.Client(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		row.RemovedAt = time.Now()
		// Not what else a removal does: each of these alone must be enough.
		if err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateClient(ctx, row) }); err != nil {
			t.Fatal(err)
		}
	}
	for name, form := range map[string]url.Values{
		"refresh": refreshForm(held.refresh), "repeated refresh": refreshForm(first.refresh), "code": codeForm(code, nil),
	} {
		t.Run(name, func(t *testing.T) { wantInvalidClient(t, s.token(t, public, d, form)) })
	}
	wantInvalidClient(t, s.token(t, service, d, serviceForm))
	if a := s.open(t, v.browser, v.callback); a.header.Get("Location") != "" {
		t.Errorf("answer = %v to %s, want no way on", a, a.header.Get("Location"))
	} else {
		wantPage(t, a, http.StatusBadRequest)
	}
	if c, err := s.store.Code(t.Context(), hashOf(code)); err != nil || !c.SpentAt.IsZero() {
		t.Errorf("code = %+v, %v, want it unspent", c, err)
	}
}

// TestRemovedMeanwhile lets a client be removed between what a request reads and what it writes.
func TestRemovedMeanwhile(t *testing.T) {
	s := start(t, nil)
	for name, ask := range map[string]func(c caller, d *device, held tokens, code string) answer{
		"refresh": func(c caller, d *device, held tokens, _ string) answer {
			return s.token(t, c, d, refreshForm(held.refresh))
		},
		"code": func(c caller, d *device, _ tokens, code string) answer { return s.token(t, c, d, codeForm(code, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.registered(t, newAppClient("app-of-"+name))
			of := url.Values{"client_id": {c.id}}
			d := newDevice(t)
			held := wantTokens(t, s.token(t, c, d, codeForm(s.code(t, "alice", of), nil)))
			code := s.code(t, "alice", of)
			s.faults.beforeUpdate(func() {
				if a := s.unregister(t, c.id); a.status != http.StatusOK {
					t.Errorf("removal = %v, want 200", a)
				}
			})
			wantInvalidClient(t, ask(c, d, held, code))
		})
	}
}

// TestRegisteredElsewhere holds that this process takes up, by itself, what another one did.
func TestRegisteredElsewhere(t *testing.T) {
	s := start(t, nil)
	sum := hashOf(secret)
	c := caller{"elsewhere", secret}
	soon := func(what string, ok func() bool) {
		t.Helper()
		for range 600 {
			if ok() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s is not noticed", what)
	}
	knows := func() bool { return s.introspect(t, c, "AAAA").status == http.StatusOK }
	change := func(fn func(ctx context.Context, tx storage.Tx) error) {
		t.Helper()
		if err := s.store.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	row := storage.Client{ID: c.id, Registration: encode(newService(c.id)), Secret: sum[:], CreatedAt: time.Now()}
	change(func(ctx context.Context, tx storage.Tx) error { return tx.InsertClient(ctx, row) })
	soon("a new client", knows)
	row.RemovedAt = time.Now()
	change(func(ctx context.Context, tx storage.Tx) error { return tx.UpdateClient(ctx, row) })
	soon("a removal", func() bool { return !knows() })

	// What does not go with the settings here is not served, and said to be so; one of the settings stays what it is.
	stray := newService("stray")
	stray["domains"] = []string{"acme.im"}
	change(func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertClient(ctx, storage.Client{ID: "stray", Registration: encode(stray), Secret: sum[:]}); err != nil {
			return err
		}
		if err := tx.InsertClient(ctx, storage.Client{ID: "alias", Registration: encode(newService("other")), Secret: sum[:]}); err != nil {
			return err
		}
		other := hashOf("another secret")
		return tx.InsertClient(ctx, storage.Client{ID: peer.id, Registration: encode(newService(peer.id)), Secret: other[:]})
	})
	var list []object
	fault := func(id string) string {
		list = nil
		decode(t, []byte(s.get(t, s.admin+"/admin/clients").body), &list)
		i := slices.IndexFunc(list, func(k object) bool { return k["id"] == id })
		if i < 0 {
			return ""
		}
		text, _ := list[i]["fault"].(string)
		return text
	}
	soon("a client that is no good", func() bool { return strings.Contains(fault("stray"), "acme.im") && fault("alias") != "" })
	s.wantService(t, caller{"stray", secret}, false)
	s.wantService(t, caller{"alias", secret}, false)
	s.wantService(t, peer, true)
	s.wantService(t, caller{peer.id, "another secret"}, false)
}
