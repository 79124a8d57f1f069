package server_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/storage"
)

// A line is an audit event in the log: its attributes.
type line map[string]string

var attribute = regexp.MustCompile(`([a-z_]+)=("(?:[^"\\]|\\.)*"|[^" ]*)(?: |$)`)

// audited returns the audit events in the log so far. Each has the id of a request that the log says was answered afterwards,
// except those of the issuer itself.
func (w *witness) audited(t *testing.T) (list []line) {
	t.Helper()
	w.mu.Lock()
	text := w.log.String()
	w.mu.Unlock()
	waiting := make(map[string]line)
	for row := range strings.Lines(text) {
		l := make(line)
		for _, m := range attribute.FindAllStringSubmatch(strings.TrimSpace(row), -1) {
			value := m[2]
			if strings.HasPrefix(value, `"`) {
				var err error
				if value, err = strconv.Unquote(value); err != nil {
					t.Fatalf("%v: %s", err, row)
				}
			}
			l[m[1]] = value
		}
		id := l["id"]
		switch {
		case l["msg"] == "request":
			delete(waiting, id)
		case l["audit"] == "true":
			if id != "" {
				waiting[id] = l
			} else if l["actor"] != string(audit.ActorIssuer) {
				t.Errorf("an event of no request: %s", row)
			}
			for _, of := range []string{"time", "level", "msg", "audit"} {
				delete(l, of)
			}
			list = append(list, l)
		}
	}
	for id, l := range waiting {
		t.Errorf("an event of the request %s, which was not answered after it: %v", id, l)
	}
	return list
}

// documentedEvents reads which fields docs/audit.md promises for each event, and which others an event may have.
func documentedEvents(t *testing.T) (always, sometimes map[string][]string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	always, sometimes = make(map[string][]string), make(map[string][]string)
	optional, field := regexp.MustCompile("\\[`([a-z_]+)`\\]"), regexp.MustCompile("`([a-z_]+)`")
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z_]+)` \\| .+ \\| (.*)\\|$").FindAllStringSubmatch(string(page), -1) {
		for _, f := range optional.FindAllStringSubmatch(m[2], -1) {
			sometimes[m[1]] = append(sometimes[m[1]], f[1])
		}
		always[m[1]] = []string{"event", "actor"}
		for _, f := range field.FindAllStringSubmatch(optional.ReplaceAllString(m[2], ""), -1) {
			always[m[1]] = append(always[m[1]], f[1])
		}
	}
	return always, sometimes
}

// A listener compares the events in the log of a site with those that a test expects.
type listener struct {
	*site
	seen  int
	kinds map[string]bool
}

// wants wants exactly these events since the last time, in this order. Each is an event and an actor, and then names and values
// of its other fields except id.
func (l *listener) wants(t *testing.T, step string, want ...[]string) {
	t.Helper()
	always, sometimes := documentedEvents(t)
	all := l.witness.audited(t)
	got := all[l.seen:]
	l.seen = len(all)
	for _, g := range got {
		kind := g["event"]
		l.kinds[kind] = true
		for _, field := range always[kind] {
			if g[field] == "" {
				t.Errorf("%s: the event has no %s, which docs/audit.md promises: %v", step, field, g)
			}
		}
		for field := range g {
			if !slices.Contains(always[kind], field) && !slices.Contains(sometimes[kind], field) {
				t.Errorf("%s: docs/audit.md does not say that %s has the field %s: %v", step, kind, field, g)
			}
		}
		delete(g, "id")
	}
	var wanted []line
	for _, w := range want {
		x := line{"event": w[0], "actor": w[1]}
		for i := 2; i < len(w); i += 2 {
			x[w[i]] = w[i+1]
		}
		wanted = append(wanted, x)
	}
	if !slices.EqualFunc(got, wanted, func(a, b line) bool { return maps.Equal(a, b) }) {
		t.Errorf("%s: the audit events are\n%s\nwant\n%s", step, rows(got), rows(wanted))
	}
}

func rows(list []line) string {
	var text strings.Builder
	for _, l := range list {
		fmt.Fprintln(&text, map[string]string(l))
	}
	return text.String()
}

// event is an event of a user's request or, for an operator, of one at the admin socket.
func event(kind audit.Kind, actor audit.Actor, fields ...string) []string {
	list := []string{kind.String(), string(actor)}
	if actor != audit.ActorAdmin && actor != audit.ActorIssuer {
		list = append(list, "address", "127.0.0.1")
	}
	return append(list, fields...)
}

// TestAudit plays each kind of event and wants one line for each, and no other: with its actor, subject, address and reason, after
// the change and before the answer. The witness of the site wants no secret in them.
func TestAudit(t *testing.T) {
	s := start(t, map[string]string{
		"devices": "3", "more": withRegistration()["more"] + "\nkek_file_new: " + kekFile(t), "wire": withWire("")["wire"],
	})
	l := &listener{site: s, kinds: make(map[string]bool)}
	here := func(name, value string) url.Values { return url.Values{"domain": {"example.com"}, name: {value}} }
	admin := func(method, path string, query url.Values) answer {
		t.Helper()
		a := s.operate(t, method, path, query)
		wantStatus(t, a, http.StatusOK)
		return a
	}
	const (
		user, client, issuer, operator = audit.ActorUser, audit.ActorClient, audit.ActorIssuer, audit.ActorAdmin
	)
	wireKey, _ := s.wireKey(t, http.MethodGet)
	l.wants(t, "first start", event(audit.KeyRotated, issuer, "key", s.signingKey(t), "reason", "start"),
		event(audit.WireKeyMade, issuer, "key", wireKey, "reason", "start"))

	// Logins.
	phone := newDevice(t)
	alice := s.login(t, phone, "alice")
	id := deviceOf(t, alice)
	subject := []string{"domain", "example.com", "user", id.Local(), "client", app.id}
	session := append(slices.Clone(subject), "device", id.Device(), "session", alice.set.SID)
	l.wants(t, "first login",
		event(audit.UserCreated, user, subject...), event(audit.ConsentGiven, user, subject...), event(audit.UserSignedIn, user, subject...),
		event(audit.DeviceAdded, user, session...))
	alice = s.login(t, phone, "alice")
	l.wants(t, "second login of the device", event(audit.ConsentGiven, user, subject...), event(audit.UserSignedIn, user, subject...))
	session = append(slices.Clone(subject), "device", id.Device(), "session", alice.set.SID)
	browser, _, state := s.consented(t, "alice", nil)
	s.wantRedirect(t, s.decide(t, browser, state, "deny"), redirectURI, appState, "access_denied")
	l.wants(t, "consent denied", event(audit.ConsentDenied, user, subject...))

	// Tokens.
	wantStatus(t, s.revokeBy(t, app, phone, alice.access), http.StatusOK)
	l.wants(t, "access token revoked", event(audit.TokenRevoked, client, session...))
	wantStatus(t, s.revoke(t, app, alice.refresh), http.StatusOK)
	l.wants(t, "refresh token revoked", event(audit.SessionRevoked, client, session...))
	wantStatus(t, s.revoke(t, app, alice.refresh), http.StatusOK)
	l.wants(t, "refresh token revoked again")

	code := s.code(t, "alice", nil)
	stolen := wantTokens(t, s.token(t, app, phone, codeForm(code, nil)))
	l.wants(t, "third login", event(audit.ConsentGiven, user, subject...), event(audit.UserSignedIn, user, subject...))
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	session = append(slices.Clone(subject), "device", id.Device(), "session", stolen.set.SID)
	l.wants(t, "code used by another key", event(audit.CodeReused, client, session...))

	old := s.login(t, phone, "alice")
	next := s.refreshed(t, phone, s.refreshed(t, phone, old.refresh).refresh)
	l.wants(t, "fourth login", event(audit.ConsentGiven, user, subject...), event(audit.UserSignedIn, user, subject...))
	s.advance(t, 3*time.Minute)
	wantError(t, s.token(t, app, phone, refreshForm(old.refresh)), http.StatusBadRequest, "invalid_grant")
	session = append(slices.Clone(subject), "device", id.Device(), "session", next.set.SID)
	l.wants(t, "refresh token used again", event(audit.RefreshReused, client, session...))

	// Statements, and a device that a key of the user adds.
	laptop, key := newDevice(t), newKey(t)
	held := s.account(t, laptop, "bob")
	bob := deviceOf(t, held)
	subject = []string{"domain", "example.com", "user", bob.Local(), "client", accounts.id}
	session = append(slices.Clone(subject), "device", bob.Device(), "session", held.set.SID)
	l.wants(t, "login of another user",
		event(audit.UserCreated, user, subject...), event(audit.ConsentGiven, user, subject...), event(audit.UserSignedIn, user, subject...),
		event(audit.DeviceAdded, user, session...))
	own := s.forIssuer(t, laptop, held, "account").access
	limits := delegating(t, key)
	limits["devices"] = "*"
	a := s.held(t, laptop, own, http.MethodPost, "/me/delegations", limits)
	wantStatus(t, a, http.StatusCreated)
	delegation := a.text("id")
	stated := append(slices.Clone(subject), "session", held.set.SID, "statement", delegation, "reason", nested.TypeDelegation)
	l.wants(t, "delegation made", event(audit.StatementMade, user, stated...))
	watch := newDevice(t)
	by := s.device(t, key, held.set, a.text("token"), watch.JKT(), watch.JKT()[:12], 1, nil)
	issued(t, s.token(t, accounts, watch, url.Values{
		"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "attested_by", by.token))},
	}))
	l.wants(t, "device added by a delegate",
		event(audit.DeviceAdded, user, append(slices.Clone(subject), "device", watch.JKT()[:12], "statement", delegation)...))
	wantStatus(t, s.held(t, laptop, own, http.MethodDelete, "/me/delegations/"+delegation, nil), http.StatusNoContent)
	l.wants(t, "delegation withdrawn", event(audit.StatementWithdrawn, user, stated...))

	wantStatus(t, s.held(t, laptop, own, http.MethodPatch, "/me/devices/"+bob.Device(), object{"name": "Laptop"}), http.StatusNoContent)
	l.wants(t, "device renamed", event(audit.DeviceRenamed, user, session...))
	for i := range 2 {
		wantStatus(t, s.findableBy(t, laptop, own, "handle"), http.StatusOK)
		if i == 0 {
			l.wants(t, "privacy", event(audit.UserFindable, user, append(slices.Clone(subject), "session", held.set.SID, "reason", "handle")...))
		}
	}
	l.wants(t, "privacy again")

	crossed := append(slices.Clone(subject), "session", held.set.SID)
	bobs := &crossSigner{site: s, t: t, device: laptop, own: own, id: bobID(t, held), master: newOwnKey(t), listing: newOwnKey(t), vouches: newOwnKey(t)}
	bobs.puts(object{"keys": bobs.keys(1)})
	l.wants(t, "first keys", event(audit.UserKeysChanged, user, append(slices.Clone(crossed), "reason", "first")...))
	bobs.puts(object{"keys": bobs.keys(2)})
	l.wants(t, "keys", event(audit.UserKeysChanged, user, crossed...))
	bobs.publishes(bobs.profile(bobs.master))
	l.wants(t, "first profile", event(audit.UserPlacesChanged, user, append(slices.Clone(crossed), "reason", "first")...))
	for range 2 {
		bobs.publishes(bobs.profile(bobs.master, func(p *places.Profile) { p.Places = nil }))
	}
	l.wants(t, "another profile", event(audit.UserPlacesChanged, user, crossed...))
	wantStatus(t, bobs.places(http.MethodDelete, nil), http.StatusNoContent)
	wantStatus(t, bobs.places(http.MethodDelete, nil), http.StatusNotFound)
	l.wants(t, "profile deleted", event(audit.UserPlacesChanged, user, append(slices.Clone(crossed), "reason", "deleted")...))
	bobs.master, bobs.own = newOwnKey(t), s.justNow(t, own)
	bobs.puts(object{"keys": bobs.keys(1)})
	l.wants(t, "another master key", event(audit.UserMasterChanged, user, append(slices.Clone(crossed), "reason", "without succession")...))

	inWallet := s.inWallet(t, laptop, "bob")
	forCredentials := s.forCredentials(t, laptop, inWallet)
	l.seen = len(s.witness.audited(t))
	issuedNow, err := s.verifyCredential(t, wantCredentials(t, s.askCredentials(t, laptop, forCredentials, s.keyProofs(t, 1)...), 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	l.wants(t, "credential issued", event(audit.CredentialIssued, user, "domain", "example.com", "user", bob.Local(), "device", bob.Device(),
		"client", wallet.id, "session", inWallet.set.SID, "credential", issuedNow.ID))

	onWire := s.onWire(t, "bob")
	l.seen = len(s.witness.audited(t))
	wantWireToken(t, s.askWire(t, onWire, s.wireProof(t, onWire, nil)))
	device := deviceOf(t, onWire.held)
	l.wants(t, "token for Wire", event(audit.WireTokenIssued, user, "domain", "wire.example", "user", device.Local(), "device", device.Device(),
		"client", manyApp.id, "session", onWire.held.set.SID, "key", wireKey, "peer", "https://ca.example.com/acme/wire"))

	// Sessions and links.
	lost := s.login(t, newDevice(t), "bob")
	link := storage.Link{Domain: "example.com", Issuer: "https://former.example", Subject: "bob", User: bob.Local()}
	if err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertLink(ctx, link) }); err != nil {
		t.Fatal(err)
	}
	l.seen = len(s.witness.audited(t))
	wantStatus(t, s.held(t, laptop, own, http.MethodDelete, "/me/sessions/"+lost.set.SID, nil), http.StatusNoContent)
	l.wants(t, "session ended", event(audit.SessionEnded, user, "domain", "example.com", "user", bob.Local(), "device", deviceOf(t, lost).Device(),
		"client", app.id, "session", lost.set.SID))
	first, second := s.insertCredential(t, held, nil), s.insertCredential(t, held, nil)
	ofCredential := func(c storage.Credential, actor audit.Actor, more ...string) []string {
		return event(audit.CredentialEnded, actor, append([]string{
			"domain", "example.com", "user", bob.Local(), "device", deviceOf(t, held).Device(), "credential", c.ID,
		}, more...)...)
	}
	for range 2 {
		wantStatus(t, s.held(t, laptop, own, http.MethodDelete, "/me/credentials/"+first.ID, nil), http.StatusNoContent)
	}
	l.wants(t, "credential ended", ofCredential(first, user, "client", accounts.id, "session", held.set.SID))
	for range 2 {
		admin(http.MethodDelete, "/admin/credentials/example.com/"+second.ID, url.Values{"reason": {"copied"}})
	}
	l.wants(t, "credential revoked", ofCredential(second, operator, "reason", "copied"))
	for _, v := range s.list(t, laptop, own, "/me/provider-links") {
		if v["iss"] == link.Issuer {
			wantStatus(t, s.held(t, laptop, own, http.MethodDelete, "/me/provider-links/"+v["id"].(string), nil), http.StatusNoContent)
		}
	}
	l.wants(t, "link removed", event(audit.LinkRemoved, user, "domain", "example.com", "user", bob.Local(), "client", accounts.id,
		"session", held.set.SID, "peer", link.Issuer))

	replacing := s.rekeyingOf(t, laptop, newDevice(t), held, own)
	for i := range 2 {
		wantStatus(t, s.askRekey(t, replacing), http.StatusOK)
		if i == 0 {
			l.wants(t, "key of a device replaced", event(audit.DeviceRekeyed, user, session...))
		}
	}
	l.wants(t, "key of a device replaced again")

	about := object{"typ": nested.TypeMove, "sub": held.set.Subject, "moved_to": oldAlice}
	made, _ := s.attested(t, about)
	stated = []string{"domain", "example.com", "user", bob.Local(), "statement", made}
	l.wants(t, "statement of the operator made", event(audit.StatementMade, operator, append(stated, "reason", nested.TypeMove)...))
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/statements/"+made, here("reason", "wrong")), http.StatusNoContent)
	l.wants(t, "statement of the operator withdrawn", event(audit.StatementWithdrawn, operator, append(stated, "reason", "wrong")...))

	// The limit of devices. The operator removes one.
	s.login(t, newDevice(t), "bob")
	s.login(t, newDevice(t), "bob")
	l.seen = len(s.witness.audited(t))
	browser, _, state = s.atLimit(t, "bob", url.Values{"dpop_jkt": {newDevice(t).JKT()}})
	s.wantRedirect(t, s.decide(t, browser, state, "deny"), redirectURI, appState, "access_denied")
	subject = []string{"domain", "example.com", "user", bob.Local(), "client", app.id}
	l.wants(t, "device limit reached", event(audit.DeviceLimitReached, user, subject...), event(audit.ConsentDenied, user, subject...))
	admin(http.MethodDelete, "/admin/devices/example.com/"+bob.Device(), url.Values{"reason": {"lost"}})
	l.wants(t, "device removed", event(audit.DeviceRemoved, operator,
		"domain", "example.com", "user", bob.Local(), "device", bob.Device(), "client", accounts.id, "reason", "lost"))
	admin(http.MethodDelete, "/admin/devices/example.com/"+bob.Device(), url.Values{"reason": {"lost"}})
	l.wants(t, "device removed again")

	// Users.
	subject = []string{"domain", "example.com", "user", bob.Local()}
	for _, act := range []struct {
		kind         audit.Kind
		method, path string
		query        url.Values
		more         []string
	}{
		{audit.UserRenamed, http.MethodPut, "/handle", here("handle", "robert"), []string{"handle", "robert"}},
		{audit.UserDisabled, http.MethodPost, "/disable", here("reason", ""), nil},
		{audit.UserEnabled, http.MethodPost, "/enable", here("reason", ""), nil},
	} {
		admin(act.method, "/admin/users/"+bob.Local()+act.path, act.query)
		l.wants(t, act.kind.String(), event(act.kind, operator, append(slices.Clone(subject), act.more...)...))
		admin(act.method, "/admin/users/"+bob.Local()+act.path, act.query)
		l.wants(t, act.kind.String()+" again")
	}
	admin(http.MethodDelete, "/admin/names", here("handle", "bob"))
	l.wants(t, "handle released", event(audit.HandleReleased, operator, append(slices.Clone(subject), "handle", "bob")...))
	moves := fmt.Sprintf(`{"from": {"iss": %[1]q, "sub": "dev-10021"}, "user": %[2]q}`, s.provider.url, bob.Local())
	move := func(query string) {
		wantStatus(t, s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/links?"+query, moves)), http.StatusOK)
	}
	move("domain=example.com&dry_run=true")
	l.wants(t, "link not moved")
	move("domain=example.com")
	l.wants(t, "link moved", event(audit.LinkMoved, operator, append(slices.Clone(subject), "former_user", id.Local())...))

	// The OpenID provider.
	ahead := s.scim(t, corpToken, http.MethodPost, "/Users", newUser("dora", "dora"))
	wantStatus(t, ahead, http.StatusCreated)
	provisioned := []string{"domain", "example.com", "user", ahead.text("id"), "client", managers.id}
	l.wants(t, "user created by SCIM", event(audit.UserProvisioned, client, provisioned...))
	for _, act := range []struct {
		kind   audit.Kind
		change object
		more   []string
	}{
		{audit.UserRenamed, patch(object{"op": "replace", "path": "userName", "value": "theodora"}), []string{"handle", "theodora"}},
		{audit.UserDisabled, setActive(false), nil},
		{audit.UserEnabled, setActive(true), nil},
	} {
		for i := range 2 {
			wantStatus(t, s.scim(t, corpToken, http.MethodPatch, "/Users/"+ahead.text("id"), act.change), http.StatusOK)
			if i == 0 {
				l.wants(t, act.kind.String()+" by SCIM", event(act.kind, client, append(slices.Clone(provisioned), act.more...)...))
			}
		}
		l.wants(t, act.kind.String()+" by SCIM again")
	}
	out := s.logoutToken(object{"sub": bobSubject})
	wantStatus(t, s.logOut(t, "dev", out), http.StatusOK)
	l.wants(t, "logout at the provider", event(audit.UserLoggedOut, audit.ActorProvider, append(slices.Clone(subject), "peer", s.provider.url)...))
	wantStatus(t, s.logOut(t, "dev", out), http.StatusBadRequest)
	l.wants(t, "logout at the provider again")

	// Another issuer.
	school := s.chainedPeer(t)
	carol := newDevice(t)
	travels := s.travel(t, carol, "alice", "example.com")
	l.seen = len(s.witness.audited(t))
	s.grantFor(t, carol, travels, school.issuer)
	away := deviceOf(t, travels)
	l.wants(t, "grant for another issuer", event(audit.ChainingGranted, client, "domain", "example.com", "user", away.Local(),
		"device", away.Device(), "client", travelApp.id, "session", travels.set.SID, "peer", school.issuer))
	wantChained(t, s.bearer(t, travelApp, carol, school.grants(t, carol.JKT(), s.issuer, func(g *chaining.Grant) {
		g.ClientID, g.Device = travelApp.id, "im:n0b0dy/7@school.example"
	}), url.Values{"im_domain": {"example.com"}}))
	l.wants(t, "grant of another issuer", event(audit.ChainingRedeemed, client, "domain", "school.example", "user", "n0b0dy",
		"device", "7", "client", travelApp.id, "peer", school.issuer))

	// The end of a user.
	admin(http.MethodGet, "/admin/users/"+bob.Local()+"/export", url.Values{"domain": {"example.com"}})
	l.wants(t, "user exported", event(audit.UserExported, operator, subject...))
	admin(http.MethodDelete, "/admin/users/"+bob.Local(), here("may_return", "false"))
	l.wants(t, "user removed", event(audit.UserRemoved, operator, subject...))
	admin(http.MethodDelete, "/admin/users/"+bob.Local(), here("may_return", "true"))
	l.wants(t, "user removed again")
	wantStatus(t, s.readmit(t, bobSubject), http.StatusNoContent)
	l.wants(t, "user readmitted", event(audit.UserReadmitted, operator, "domain", "example.com", "peer", s.provider.url))
	wantStatus(t, s.readmit(t, bobSubject), http.StatusConflict)
	l.wants(t, "user readmitted again")

	s.namesake(t, "dev-10077", "newcomer")
	stranger := deviceOf(t, s.login(t, newDevice(t), "alice"))
	l.seen = len(s.witness.audited(t))
	admin(http.MethodPost, "/admin/users/"+stranger.Local()+"/erase", here("confirm", "true"))
	l.wants(t, "user erased", event(audit.UserErased, operator, "domain", "example.com", "user", stranger.Local()))
	admin(http.MethodPost, "/admin/users/"+stranger.Local()+"/erase", here("confirm", "true"))
	l.wants(t, "user erased again")

	// Clients.
	service := s.registered(t, newService("gateway"))
	l.wants(t, "client added", event(audit.ClientAdded, operator, "client", service.id))
	wantStatus(t, s.newSecret(t, service.id, "1h"), http.StatusOK)
	l.wants(t, "client secret replaced", event(audit.ClientSecretReplaced, operator, "client", service.id))
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {service.id}, "reason": {"retired"}}), http.StatusOK)
	l.wants(t, "client removed", event(audit.ClientRemoved, operator, "client", service.id, "reason", "retired"))

	newcomer := s.registration(t, http.MethodPost, "/register", partnerToken, appMetadata)
	itself := newcomer.text("client_id")
	l.wants(t, "client registered itself", event(audit.ClientAdded, client, "client", itself, "reason", "partners"))
	managed := func(method, body string) answer {
		return s.registration(t, method, "/register/"+itself, newcomer.text("registration_access_token"), body)
	}
	wantStatus(t, managed(http.MethodPut, withID(appMetadata, itself)), http.StatusOK)
	l.wants(t, "client changed", event(audit.ClientChanged, client, "client", itself))
	wantStatus(t, managed(http.MethodDelete, ""), http.StatusNoContent)
	l.wants(t, "client removed itself", event(audit.ClientRemoved, client, "client", itself, "reason", "unregistered"))

	// Keys and backups.
	published := admin(http.MethodPost, "/admin/keys", nil).text("kid")
	l.wants(t, "key rotated", event(audit.KeyRotated, operator, "key", published, "reason", "operator"))
	signer := s.signingKey(t)
	admin(http.MethodDelete, "/admin/keys/"+signer, url.Values{"reason": {"leaked"}})
	l.wants(t, "key revoked", event(audit.KeyRevoked, operator, "key", signer, "reason", "leaked"),
		event(audit.KeyRotated, operator, "key", s.signingKey(t), "reason", "revocation"))
	wireKey, _ = s.wireKey(t, http.MethodPost)
	l.wants(t, "key for Wire replaced", event(audit.WireKeyMade, operator, "key", wireKey, "reason", "operator"))
	secret := admin(http.MethodPost, "/admin/cluster-secrets", nil).text("id")
	l.wants(t, "cluster secret rotated", event(audit.ClusterSecretRotated, operator, "key", secret, "reason", "operator"))
	used := keys.KEKID(nextKEK)
	admin(http.MethodPost, "/admin/key-encryption-keys", nil)
	l.wants(t, "key-encryption key rotated", event(audit.KEKRotated, operator, "key", used, "reason", "operator"))
	admin(http.MethodPost, "/admin/backup", url.Values{"to": {filepath.Join(t.TempDir(), "backup.db")}})
	l.wants(t, "backup", event(audit.BackupMade, operator))

	for _, k := range audit.Kinds() {
		if !l.kinds[k.String()] && k != audit.BackupRestored { // the program restores backups: see cmd/issuer
			t.Errorf("no event %s was recorded", k)
		}
	}
	l.wantsAgreement(t)
}
