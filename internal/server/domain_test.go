package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Clients that serve a domain of each system.
var (
	manyApp  = caller{id: "many-app"}
	manyPeer = caller{id: "many-peer", secret: secret}
)

// TestSystems logs in at a domain of each system that identities are issued in, and reads the three URIs back in the
// token and in introspection.
func TestSystems(t *testing.T) {
	s := start(t, nil)
	const (
		id     = `[A-Za-z0-9_-]{22}`
		uuid   = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
		device = `[1-9a-f][0-9a-f]{0,15}`
	)
	for _, test := range []struct{ domain, audience, handle, user, device, username string }{
		{
			"generic.example", "im:generic.example", `im:%40alice@generic\.example`,
			`im:(` + id + `)@generic\.example;id-type=user`, `im:(` + id + `)/` + device + `@generic\.example`, "@alice@generic.example",
		},
		{
			"wxyz.example", "im:wxyz.example", `im:wxyz=%40alice@wxyz\.example`,
			`im:wxyz=(` + id + `)@wxyz\.example`, `im:wxyz=(` + id + `)/` + device + `@wxyz\.example`, "@alice@wxyz.example",
		},
		{
			"wire.example", "im:wire.example", `im:wire=%40alice@wire\.example`,
			`im:wire=(` + uuid + `)@wire\.example`, `im:wire=(` + uuid + `)/` + device + `@wire\.example`, "@alice@wire.example",
		},
		{
			"xmpp.example", "im:xmpp.example", `im:xmpp=alice@xmpp\.example`,
			`im:xmpp=(alice)@xmpp\.example`, `im:xmpp=(alice)/` + device + `@xmpp\.example`, "alice@xmpp.example",
		},
		{
			"mimi.example", "mimi://mimi.example", `mimi://mimi\.example/u/alice`,
			`mimi://mimi\.example/u/(` + id + `)`, `mimi://mimi\.example/d/(` + id + `)/` + device, "@alice@mimi.example",
		},
	} {
		t.Run(test.domain, func(t *testing.T) {
			d := newDevice(t)
			code := s.code(t, "alice", url.Values{"client_id": {manyApp.id}, "im_domain": {test.domain}})
			got := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
			for _, c := range []struct{ claim, got, want string }{
				{"handle", got.set.Handle, test.handle}, {"sub", got.set.Subject, test.user}, {"device", got.set.Device, test.device},
			} {
				if !regexp.MustCompile("^" + c.want + "$").MatchString(c.got) {
					t.Errorf("%s = %q, want it to match %s", c.claim, c.got, c.want)
				}
			}
			user := regexp.MustCompile(test.user).FindStringSubmatch(got.set.Subject)
			device := regexp.MustCompile(test.device).FindStringSubmatch(got.set.Device)
			if len(user) == 2 && len(device) == 2 && user[1] != device[1] {
				t.Errorf("device of user %q under %q", user[1], device[1])
			}
			if len(got.set.Audience) != 1 || got.set.Audience[0] != test.audience {
				t.Errorf("aud = %q, want %q", got.set.Audience, test.audience)
			}
			a := s.introspect(t, manyPeer, got.access)
			if a.json["active"] != true || a.text("handle") != got.set.Handle || a.text("sub") != got.set.Subject || a.text("device") != got.set.Device {
				t.Errorf("introspection = %v, want the identity of the token", a)
			}
			if a.text("username") != test.username {
				t.Errorf("username = %q, want %q", a.text("username"), test.username)
			}
			again := s.refreshedAs(t, manyApp, d, got.refresh)
			if again.set.Subject != got.set.Subject || again.set.Device != got.set.Device || again.set.Handle != got.set.Handle {
				t.Errorf("after a refresh the token is of %q, want %q", again.set.Device, got.set.Device)
			}
			s.remove(t, got.set.Device)
			if a := s.introspect(t, manyPeer, again.access); strings.TrimSpace(a.body) != `{"active":false}` {
				t.Errorf("introspection after the device was removed = %v, want inactive", a)
			}
		})
	}
}

// refreshedAs refreshes with any client and wants success.
func (s *site) refreshedAs(t *testing.T, c caller, d *device, token string) tokens {
	t.Helper()
	return wantTokens(t, s.token(t, c, d, refreshForm(token)))
}

// TestRename renames a user while she is logged in: her tokens are void, her session carries the new handle, and nobody
// gets the old one.
func TestRename(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	rename := func(user, to string) answer {
		query := url.Values{"domain": {"example.com"}, "handle": {to}}
		return s.send(t, s.http, s.request(t, http.MethodPut, s.admin+"/admin/users/"+user+"/handle?"+query.Encode(), ""))
	}
	user := regexp.MustCompile(`^im:([^@]+)@`).FindStringSubmatch(held.set.Subject)[1]
	if a := rename(user, "alex"); a.status != http.StatusOK || a.text("handle") != "alex" {
		t.Fatalf("answer = %v, want the user called alex", a)
	}
	if a := s.introspect(t, peer, held.access); strings.TrimSpace(a.body) != `{"active":false}` {
		t.Errorf("introspection of a token with the old handle = %v, want inactive", a)
	}
	next := s.refreshed(t, d, held.refresh)
	if next.set.Handle != "im:%40alex@example.com" || next.set.Subject != held.set.Subject || next.set.Device != held.set.Device {
		t.Errorf("after a refresh the token is of %q, %q and %q", next.set.Handle, next.set.Subject, next.set.Device)
	}
	if a := s.introspect(t, peer, next.access); a.json["active"] != true {
		t.Errorf("introspection of the new token = %v, want active", a)
	}
	bob := s.login(t, newDevice(t), "bob")
	bobID := regexp.MustCompile(`^im:([^@]+)@`).FindStringSubmatch(bob.set.Subject)[1]
	for _, name := range []string{"alice", "alex", "ALICE"} {
		if a := rename(bobID, name); a.status != http.StatusConflict {
			t.Errorf("renaming bob to %s = %v, want 409", name, a)
		}
	}
}

// callbacks are the redirect URIs of the issuer at a provider, one for each provider of the settings.
func callbacks(prefix string) []string {
	var list []string
	for _, id := range []string{"dev", "other", "generic", "wxyz", "wire", "xmpp", "mimi", "choose", "staff", "guests"} {
		list = append(list, prefix+id)
	}
	return list
}
